"""The ledger as it is read: one delivery with its text, or pages of them, the newest first."""

from collections.abc import Iterable
from dataclasses import replace

import pytest

from pymigrate.engine.application.delivery_ledger import DeliveryLedger
from pymigrate.engine.domain.delivery import DeliveryState
from pymigrate.engine.domain.errors import InvalidDefinition, NotFound
from pymigrate.v1 import notification_pb2
from tests.unit.application.dispatched import Dispatch, dispatch_of
from tests.unit.application.engines import Engine
from tests.unit.domain.delivered import ENVIRONMENT, later, pending

RUN = f"{ENVIRONMENT}/plans/p/runs/r"


@pytest.fixture
async def dispatch(engine: Engine) -> Dispatch:
    """An environment with five deliveries, a second apart, of which the first two are alike in time."""
    dispatch = await dispatch_of(engine)
    found = [pending(at, create_time=later(max(at, 2))) for at in range(1, 6)]
    found[1] = replace(found[1], stakeholder="bob", state=DeliveryState.DEAD)
    found[2] = replace(found[2], rule="lag", run=RUN)
    await dispatch.make(*found)
    return dispatch


@pytest.fixture
def ledger(dispatch: Dispatch) -> DeliveryLedger:
    return DeliveryLedger(dispatch.store, dispatch.links)


def ids(found: Iterable[notification_pb2.NotificationDelivery]) -> list[str]:
    return [each.name.rpartition("/")[2] for each in found]


async def listed(ledger: DeliveryLedger, **fields: object) -> list[str]:
    request = notification_pb2.ListDeliveriesRequest(parent=ENVIRONMENT, **fields)  # type: ignore[arg-type]  # as given
    return ids((await ledger.page(request)).deliveries)


async def test_a_delivery_is_read_with_its_text(ledger: DeliveryLedger) -> None:
    found = await ledger.get(f"{ENVIRONMENT}/deliveries/d1")
    assert (found.subject, found.body, found.acknowledge_path) == ("It failed", "All of it.", "")


async def test_one_that_is_to_be_acknowledged_tells_the_path_of_its_link(
    dispatch: Dispatch, ledger: DeliveryLedger
) -> None:
    await dispatch.make(pending(9, needs_acknowledgement=True))
    found = await ledger.get(f"{ENVIRONMENT}/deliveries/d9")
    assert found.acknowledge_path.startswith("/acknowledge/")


async def test_a_delivery_that_is_not_there_is_told(ledger: DeliveryLedger) -> None:
    with pytest.raises(NotFound, match="ListDeliveries tells"):
        await ledger.get(f"{ENVIRONMENT}/deliveries/x")
    with pytest.raises(NotFound, match="no delivery's name"):
        await ledger.get("d1")
    with pytest.raises(NotFound, match="there is no environments/x"):
        await ledger.get("environments/x/deliveries/d1")


async def test_pages_go_from_the_newest_to_the_oldest_and_leave_none_out(ledger: DeliveryLedger) -> None:
    found: list[str] = []
    token = ""
    for _ in range(3):
        request = notification_pb2.ListDeliveriesRequest(parent=ENVIRONMENT, page_size=2, page_token=token)
        page = await ledger.page(request)
        found += ids(page.deliveries)
        token = page.next_page_token
    assert found == ["d5", "d4", "d3", "d2", "d1"]
    assert token == ""


async def test_a_list_tells_no_texts(ledger: DeliveryLedger) -> None:
    page = await ledger.page(notification_pb2.ListDeliveriesRequest(parent=ENVIRONMENT))
    assert {each.body for each in page.deliveries} == {""}


async def test_deliveries_are_found_by_whom_rule_state_and_run(ledger: DeliveryLedger) -> None:
    assert await listed(ledger, stakeholder="bob") == ["d2"]
    assert await listed(ledger, rule="lag") == ["d3"]
    assert await listed(ledger, state=notification_pb2.DELIVERY_STATE_DEAD) == ["d2"]
    assert await listed(ledger, run=RUN) == ["d3"]
    assert await listed(ledger, run=RUN, stakeholder="bob") == []


async def test_an_environment_that_is_not_there_is_told(ledger: DeliveryLedger) -> None:
    with pytest.raises(NotFound):
        await ledger.page(notification_pb2.ListDeliveriesRequest(parent="environments/x"))


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"parent": ""}, "parent"),
        ({"stakeholder": "environments/e/stakeholders/ann"}, "stakeholder"),
        ({"rule": "a b"}, "rule"),
        ({"run": "r"}, "run"),
        ({"state": 77}, "state"),
        ({"page_token": "next"}, "page_token"),
        ({"page_size": -1}, "page_size"),
    ],
)
async def test_what_can_not_be_asked_is_told_at_its_field(
    ledger: DeliveryLedger, fields: dict[str, object], field: str
) -> None:
    request = notification_pb2.ListDeliveriesRequest(**{"parent": ENVIRONMENT, **fields})  # type: ignore[arg-type]  # as given
    with pytest.raises(InvalidDefinition) as error:
        await ledger.page(request)
    assert [problem.field for problem in error.value.problems] == [field]
