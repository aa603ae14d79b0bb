"""What the stores' contract on notifications is tried with: deliveries and incidents, and short ways to store and read them."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from pymigrate.engine.domain.delivery import Content, Delivery, DeliveryState, DeliveryTry, Incident, TryOutcome
from pymigrate.engine.domain.notices import Severity
from pymigrate.engine.ports.store import Store, Unit
from tests.contract.store.records import FAILURE, NOW, RUN, at

PROD = "environments/prod"
TRIES = [
    DeliveryTry(at(11), 0.25, TryOutcome.TRANSIENT, "451 “später”", "dispatcher-1"),
    DeliveryTry(at(12), 1.5, TryOutcome.UNKNOWN, "", "dispatcher-2"),
]
CONTENT = Content("Straße gesperrt", "line\nnext “line”", "<p>ü</p>", "short", 3, "sha256 of it")


def named(id: str) -> str:
    return f"{PROD}/deliveries/{id}"


def full_delivery() -> Delivery:
    """Every field has a value that is not its default."""
    return Delivery(
        name=named("full"),
        environment=PROD,
        state=DeliveryState.SENDING,
        rule="failures",
        stakeholder="ann",
        address="mail",
        channel="smtp",
        to="Ann Ü <ann@example.com>",
        thread="thread of full",
        key="key of full",
        severity=Severity.CRITICAL,
        create_time=at(1),
        due_time=at(2),
        entries=[3, 2**40],
        entry_count=7,
        duplicates=5,
        run=RUN,
        template="short",
        template_role="operator",
        incident="i1",
        escalation=2,
        needs_acknowledgement=True,
        content=CONTENT,
        tries=list(TRIES),
        try_count=2,
        lease="lease 1",
        lease_until=at(3),
        dispatcher="dispatcher-2",
        next_try_time=at(4),
        last_try_time=at(5),
        frozen_time=at(6),
        accept_time=at(7),
        deliver_time=at(8),
        acknowledge_time=at(9),
        acknowledger="bob",
        failure=FAILURE,
        may_be_repeated=True,
        confirm_by_time=at(10),
        confirm_state="acknowledged",
    )


def delivery(id: str, **changes: Any) -> Delivery:
    """One that waits."""
    plain = Delivery(
        name=named(id),
        environment=PROD,
        state=DeliveryState.WAITING,
        rule="failures",
        stakeholder="ann",
        address="mail",
        channel="smtp",
        to="ann@example.com",
        thread=f"thread of {id}",
        key=f"key of {id}",
        severity=Severity.WARNING,
        create_time=NOW,
        due_time=NOW,
    )
    return replace(plain, **changes)


def pending(id: str, seconds: float = 0, **changes: Any) -> Delivery:
    """One that may be tried from then on."""
    return delivery(id, state=DeliveryState.PENDING, next_try_time=at(seconds), **changes)


def sending(id: str, seconds: float = 0, **changes: Any) -> Delivery:
    """One that a dispatcher has until then."""
    return delivery(id, state=DeliveryState.SENDING, lease="l", lease_until=at(seconds), **changes)


def incident(id: str, **changes: Any) -> Incident:
    """One that is under way."""
    return replace(Incident(id, PROD, "failures", f"thread of {id}", NOW, next_time=at(60)), **changes)


def inserting(*deliveries: Delivery) -> Callable[[Unit], None]:
    """Inserts them."""
    return lambda unit: unit.deliveries.insert(deliveries)


def saving(*deliveries: Delivery) -> Callable[[Unit], None]:
    """Saves them."""
    return lambda unit: unit.deliveries.save(deliveries)


async def stored(store: Store, id: str) -> Delivery:
    found = await store.read(lambda unit: unit.deliveries.get(named(id)))
    assert found is not None
    return found


def ids(deliveries: Sequence[Delivery]) -> list[str]:
    return [each.name.rpartition("/")[2] for each in deliveries]
