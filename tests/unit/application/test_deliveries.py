"""Deliveries between the engine and dispatchers: who is given what for how long, what comes of reports, and what of those who are lost."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar

import pytest

from pymigrate.engine.application.claims import LEASE_SPARE_SECONDS
from pymigrate.engine.application.deliveries import LOOK_SECONDS
from pymigrate.engine.application.findings import finding_of
from pymigrate.engine.domain import delivering
from pymigrate.engine.domain.delivery import DeliveryState, TryOutcome
from pymigrate.engine.domain.errors import InvalidDefinition
from pymigrate.engine.domain.notices import Severity
from pymigrate.engine.ports.metric_families import NOTIFICATION_TRIES, NOTIFICATIONS, NOTIFICATIONS_AGREED
from pymigrate.engine.ports.store import Unit
from pymigrate.engine.testing.clock import SETTLE_ROUNDS, ManualClock
from pymigrate.engine.testing.store import MemoryStore
from pymigrate.v1 import notification_pb2
from tests.unit.application.dispatched import Dispatch, dispatch_of, report_of
from tests.unit.application.engines import Engine
from tests.unit.domain.delivered import ENVIRONMENT, NOW, later, pending

Result = TypeVar("Result")


@pytest.fixture
async def dispatch(engine: Engine) -> Dispatch:
    """An environment with the channels mail and hook."""
    return await dispatch_of(engine)


async def test_a_dispatcher_is_given_what_is_to_be_sent_with_the_channel_that_it_goes_out_by(
    dispatch: Dispatch,
) -> None:
    await dispatch.make(pending())
    (message,) = await dispatch.claim()
    assert (message.delivery, message.to) == (f"{ENVIRONMENT}/deliveries/d1", "ann@example.com")
    assert (message.display_name, message.subject, message.body) == ("Ann Meier", "It failed", "All of it.")
    assert (message.key, message.try_number) == (f"{1:064x}", 1)
    assert message.channel.name == f"{ENVIRONMENT}/notificationChannels/mail"
    assert message.channel.smtp.host == "mail.example.com"
    lease = timedelta(seconds=10 + LEASE_SPARE_SECONDS)
    assert message.lease_expire_time.ToDatetime(NOW.tzinfo) == NOW + lease
    stored = await dispatch.get()
    assert (stored.state, stored.dispatcher, stored.lease) == (DeliveryState.SENDING, "d1", message.lease)


async def test_what_one_dispatcher_has_another_one_is_not_given(dispatch: Dispatch) -> None:
    await dispatch.make(pending())
    assert len(await dispatch.claim("d1")) == 1
    assert await dispatch.claim("d2") == []


async def test_the_gravest_come_first(dispatch: Dispatch) -> None:
    await dispatch.make(pending(1, severity=Severity.INFO), pending(2, severity=Severity.CRITICAL), pending(3))
    assert [message.delivery[-2:] for message in await dispatch.claim()] == ["d2", "d3", "d1"]


async def test_what_is_not_due_yet_waits(dispatch: Dispatch) -> None:
    await dispatch.make(pending(next_try_time=later(5)))
    assert await dispatch.claim() == []
    dispatch.clock.advance(5)
    assert len(await dispatch.claim()) == 1


async def test_a_claim_waits_for_what_comes_and_is_woken_by_the_bell(dispatch: Dispatch) -> None:
    waiting = asyncio.create_task(dispatch.claim(wait_seconds=20))
    await dispatch.clock.run_for(0.1)
    await dispatch.make(pending())
    dispatch.bell.ring()
    await dispatch.clock.run_for(0)
    assert len(await waiting) == 1


async def test_a_claim_finds_what_nobody_rang_for_within_a_second(dispatch: Dispatch) -> None:
    waiting = asyncio.create_task(dispatch.claim(wait_seconds=20))
    await dispatch.clock.run_for(0.1)
    await dispatch.make(pending())
    await dispatch.clock.run_for(LOOK_SECONDS)
    assert len(await waiting) == 1


async def test_a_claim_comes_back_as_soon_as_the_next_one_is_due(dispatch: Dispatch) -> None:
    await dispatch.make(pending(next_try_time=later(0.25)))
    waiting = asyncio.create_task(dispatch.claim(wait_seconds=20))
    await dispatch.clock.run_for(0.25)
    assert len(await waiting) == 1


class PassingStore(MemoryStore):
    """Reading takes a while of the clock that a test gives it."""

    clock: ManualClock | None = None

    async def read(self, work: Callable[[Unit], Result]) -> Result:
        """Reads, and lets time pass."""
        result = await super().read(work)
        if self.clock is not None:
            self.clock.advance(0.1)
        return result


async def test_what_becomes_due_while_it_is_looked_for_is_given_at_once() -> None:
    store = PassingStore()
    dispatch = await dispatch_of(Engine(store=store))
    await dispatch.make(pending(next_try_time=later(0.05)))
    store.clock = dispatch.clock
    waiting = asyncio.create_task(dispatch.claim(wait_seconds=20))
    for _ in range(SETTLE_ROUNDS):
        await asyncio.sleep(0)
    assert waiting.done(), "it waits for a clock that nobody moves"
    assert len(await waiting) == 1


async def test_a_claim_of_nothing_ends_after_its_time(dispatch: Dispatch) -> None:
    waiting = asyncio.create_task(dispatch.claim(wait_seconds=3))
    await dispatch.clock.run_for(3)
    assert await waiting == []


async def test_what_was_accepted_is_confirmed_with_its_try(dispatch: Dispatch) -> None:
    await dispatch.make(pending())
    given = await dispatch.claim()
    assert await dispatch.report(*given, outcome="accepted", answer="250 OK") == []
    stored = await dispatch.get()
    assert (stored.state, stored.accept_time) == (DeliveryState.ACCEPTED, NOW)
    assert [(each.outcome, each.answer, each.dispatcher) for each in stored.tries] == [
        (TryOutcome.ACCEPTED, "250 OK", "d1")
    ]


async def test_what_failed_for_the_moment_is_given_again_with_the_same_key(dispatch: Dispatch) -> None:
    await dispatch.make(pending())
    first = await dispatch.claim()
    await dispatch.report(*first, outcome="transient", answer="451 later")
    assert await dispatch.claim() == []
    dispatch.clock.advance(0.5)
    (again,) = await dispatch.claim()
    assert (again.key, again.try_number) == (first[0].key, 2)


async def test_what_is_dead_is_told_in_the_stream_once(dispatch: Dispatch) -> None:
    entry = await dispatch.happen("start")
    await dispatch.make(pending(entries=[entry], run="environments/e/plans/p/runs/r"))
    given = await dispatch.claim()
    await dispatch.report(*given, outcome="permanent", answer="550 no such user")
    await dispatch.report(*given, outcome="permanent", answer="550 no such user")
    *_, told = await dispatch.told()
    assert [each.action for each in await dispatch.told()] == ["start", "notification.dead"]
    assert (told.actor, told.subject) == ("engine", f"{ENVIRONMENT}/deliveries/d1")
    finding = finding_of(told.detail)
    assert finding is not None
    assert (finding.rule, finding.run) == ("failures", "environments/e/plans/p/runs/r")
    assert finding.text == "ann was not told by mail: it was refused for good: 550 no such user"


async def test_a_dead_message_that_tells_of_dead_messages_tells_nothing_more(dispatch: Dispatch) -> None:
    entry = await dispatch.happen("notification.dead")
    await dispatch.make(pending(entries=[entry]))
    await dispatch.report(*await dispatch.claim(), outcome="permanent")
    assert (await dispatch.get()).state is DeliveryState.DEAD
    assert [each.action for each in await dispatch.told()] == ["notification.dead"]


async def test_a_message_whose_channel_is_gone_is_undeliverable_and_says_so(dispatch: Dispatch) -> None:
    await dispatch.make(*(pending(number, "gone") for number in range(1, 4)))
    assert await dispatch.claim() == []
    stored = await dispatch.get(3)
    assert stored.state is DeliveryState.UNDELIVERABLE
    assert stored.failure is not None
    assert stored.failure.reason == delivering.CHANNEL_MISSING
    assert [each.action for each in await dispatch.told()] == ["notification.undeliverable"] * 3


async def test_what_a_dispatcher_did_not_report_in_time_is_given_to_another_and_may_come_twice(
    dispatch: Dispatch,
) -> None:
    await dispatch.make(pending())
    (first,) = await dispatch.claim("d1")
    dispatch.clock.advance(10 + LEASE_SPARE_SECONDS)
    waiting = asyncio.create_task(dispatch.claim("d2", wait_seconds=5))
    await dispatch.clock.run_for(1)
    (again,) = await waiting
    assert (again.key, again.try_number) == (first.key, 1)
    stored = await dispatch.get()
    assert stored.may_be_repeated
    assert [each.outcome for each in stored.tries] == [TryOutcome.UNKNOWN]


async def test_a_late_report_is_noted_and_told(dispatch: Dispatch) -> None:
    await dispatch.make(pending())
    first = await dispatch.claim("d1")
    dispatch.clock.advance(10 + LEASE_SPARE_SECONDS)
    await dispatch.claim("d2")
    assert await dispatch.report(*first) == [first[0].delivery]
    stored = await dispatch.get()
    assert stored.state is DeliveryState.ACCEPTED
    assert len(stored.tries) == 2


async def test_a_report_of_what_there_is_not_is_told_as_late_and_the_others_are_noted(dispatch: Dispatch) -> None:
    await dispatch.make(pending(1), pending(2, next_try_time=later(60)))
    given = await dispatch.claim()
    unknown = notification_pb2.OutgoingMessage(delivery=f"{ENVIRONMENT}/deliveries/d7", lease="x")
    never_claimed = notification_pb2.OutgoingMessage(delivery=f"{ENVIRONMENT}/deliveries/d2", lease="x")
    late = await dispatch.report(unknown, *given, never_claimed)
    assert late == [unknown.delivery, never_claimed.delivery]
    assert (await dispatch.get(1)).state is DeliveryState.ACCEPTED


async def test_what_was_not_begun_is_given_to_another_at_once_and_counts_no_try(dispatch: Dispatch) -> None:
    await dispatch.make(pending())
    assert await dispatch.report(*await dispatch.claim("d1"), outcome="") == []
    (again,) = await dispatch.claim("d2")
    assert again.try_number == 1
    assert not (await dispatch.get()).may_be_repeated


async def test_what_a_lost_dispatcher_had_comes_again_without_waiting_for_the_lease(dispatch: Dispatch) -> None:
    await dispatch.make(pending(1), pending(2))
    given = await dispatch.claim("d1")
    await dispatch.report(given[0])
    assert await dispatch.deliveries.lost("d1")
    dispatch.clock.advance(0.5)
    assert [message.delivery for message in await dispatch.claim("d2")] == [given[1].delivery]
    assert not (await dispatch.get(1)).may_be_repeated


async def test_a_dispatcher_that_had_nothing_is_lost_without_a_trace_and_had_called_or_not(dispatch: Dispatch) -> None:
    assert not await dispatch.deliveries.lost("d1")
    await dispatch.claim("d1")
    assert await dispatch.deliveries.lost("d1")
    assert await dispatch.told() == []


async def test_dispatchers_are_needed_once_there_is_a_channel_or_something_to_send(engine: Engine) -> None:
    dispatch = Dispatch(engine)
    assert not await dispatch.deliveries.is_needed()
    await dispatch.make(pending())
    assert await dispatch.deliveries.is_needed()
    other = await dispatch_of(Engine())
    assert await other.deliveries.is_needed()


class SlowStore(MemoryStore):
    """What it has committed it tells when a test lets it."""

    def __init__(self) -> None:
        super().__init__()
        self.committed, self.telling = asyncio.Event(), asyncio.Event()
        self.telling.set()

    async def transact(self, work: Callable[[Unit], Result]) -> Result:
        """Commits, and tells it later."""
        result = await super().transact(work)
        self.committed.set()
        await self.telling.wait()
        return result


async def test_what_was_given_to_a_call_that_was_given_up_meanwhile_is_given_to_the_next() -> None:
    store = SlowStore()
    dispatch = await dispatch_of(Engine(store=store))
    await dispatch.make(pending())
    store.committed.clear()
    store.telling.clear()
    claiming = asyncio.create_task(dispatch.claim("d1"))
    await store.committed.wait()
    claiming.cancel()
    await asyncio.gather(claiming, return_exceptions=True)
    assert (await dispatch.get()).state is DeliveryState.SENDING
    store.telling.set()
    await dispatch.clock.run_for(0)
    (again,) = await dispatch.claim("d2")
    assert again.try_number == 1


@pytest.mark.parametrize(
    ("given", "field"),
    [
        (("", 1, 0.0), "dispatcher"),
        (("d\n1", 1, 0.0), "dispatcher"),
        (("d1", 0, 0.0), "deliveries_max"),
        (("d1", 501, 0.0), "deliveries_max"),
        (("d1", 1, -1.0), "wait_seconds"),
        (("d1", 1, float("nan")), "wait_seconds"),
    ],
)
async def test_a_claim_that_makes_no_sense_is_refused(
    dispatch: Dispatch, given: tuple[str, int, float], field: str
) -> None:
    with pytest.raises(InvalidDefinition) as refused:
        await dispatch.deliveries.claim(*given)
    assert refused.value.field == field


async def test_reports_that_make_no_sense_are_refused_and_none_is_noted(dispatch: Dispatch) -> None:
    await dispatch.make(pending())
    (message,) = await dispatch.claim()
    right, wrong = report_of(message, "accepted", NOW), report_of(message, "wonderful", NOW)
    endless = report_of(message, "throttled", NOW, retry_after_seconds=float("inf"))
    for reports in ([right, wrong], [right, endless], [right] * 501):
        with pytest.raises(InvalidDefinition, match="reports"):
            await dispatch.deliveries.report("d1", reports)
    assert (await dispatch.get()).state is DeliveryState.SENDING


async def test_what_becomes_of_deliveries_is_counted_once_it_is_committed(dispatch: Dispatch) -> None:
    await dispatch.make(pending(1, confirm_by_time=later(60)), pending(2), pending(3, channel="gone"))
    first, second = await dispatch.claim()
    await dispatch.report(first, outcome=TryOutcome.ACCEPTED)
    await dispatch.report(second, outcome=TryOutcome.PERMANENT)
    await dispatch.report(first, outcome=TryOutcome.ACCEPTED)  # a repetition of what was noted
    values = dispatch.metrics.values
    assert values[NOTIFICATIONS] == {("e", "accepted"): 1.0, ("e", "dead"): 1.0, ("e", "undeliverable"): 1.0}
    assert values[NOTIFICATION_TRIES] == {("e", "smtp", "accepted"): 1.0, ("e", "smtp", "permanent"): 1.0}
    assert values[NOTIFICATIONS_AGREED] == {("e", "in_time"): 1.0}
