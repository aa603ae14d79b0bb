"""A dispatcher at work: what it holds, how many it sends at once, what it reports, and how it ends."""

import random
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from pymigrate.engine.domain.delivery import TryOutcome
from pymigrate.engine.domain.errors import EngineUnavailable
from pymigrate.engine.entrypoints.dispatcher.dispatcher import AWAY_SECONDS_MAX, HELD_MAX, IDLE_SECONDS_MAX
from pymigrate.engine.entrypoints.dispatcher.outlets import AGE_SECONDS_MAX, OVERTIME_SECONDS
from pymigrate.engine.entrypoints.dispatcher.reports import GATHER_SECONDS
from pymigrate.engine.ports.channel import Letter, Sent
from pymigrate.engine.testing.virtual_loop import VirtualLoop, run_virtually
from pymigrate.v1 import notification_pb2
from tests.unit.dispatcher.offices import MAIL, SECRET, Office

Scene = Callable[[Office], Coroutine[Any, Any, None]]


def played(scene: Scene, **options: Any) -> None:
    """Plays a scene on a loop of its own, in which no error may go unheard."""

    async def main(loop: VirtualLoop) -> None:
        await scene(Office(loop, **options))
        assert loop.errors == []

    run_virtually(main, random.Random(1))


def hangs(_: Letter) -> None:
    """Never answers."""


def test_what_is_claimed_is_sent_and_reported_with_the_answer_and_how_long_it_took() -> None:
    async def scene(office: Office) -> None:
        office.engine.put(3)
        assert await office.run_for(1) == 0
        (channel,) = office.built
        assert sorted(letter.key for letter in channel.taken) == ["k1", "k2", "k3"]
        assert office.engine.outcomes() == ["accepted"] * 3
        report = next(each for each in office.engine.reports if each.lease == "l1")
        assert (report.delivery, report.is_delivered) == ("environments/e/deliveries/d1", True)
        attempt = getattr(report, "try")
        assert (attempt.answer, attempt.dispatcher, round(attempt.seconds, 3)) == ("250 OK", "d1", 0.2)

    played(scene, try_seconds=0.2, answer=lambda _: Sent(TryOutcome.ACCEPTED, "250 OK", is_delivered=True))


def test_of_a_channel_no_more_are_under_way_than_the_engine_says() -> None:
    async def scene(office: Office) -> None:
        office.engine.put(30, at_once_max=4)
        await office.run_for(20)
        assert office.built[0].most_under_way == 4
        assert len(office.engine.reports) == 30

    played(scene, try_seconds=0.5)


def test_it_takes_a_smaller_part_when_others_have_come() -> None:
    async def scene(office: Office) -> None:
        office.engine.put(8, at_once_max=8)
        office.engine.put(20, at_once_max=2)
        running = office.start()
        await office.clock.sleep(0.9)
        assert office.built[0].under_way == 2
        office.ending.set()
        await running

    played(scene, try_seconds=0.5)


def test_it_claims_more_while_others_are_under_way_and_never_holds_more_than_it_can() -> None:
    async def scene(office: Office) -> None:
        office.engine.put(HELD_MAX + 500)
        office.engine.is_away = False
        running = office.start()
        await office.clock.sleep(5)
        assert sum(office.engine.claims) == office.dispatcher.held == HELD_MAX
        office.ending.set()
        await running

    played(scene, answer=hangs)


def test_reports_are_gathered_for_a_moment() -> None:
    async def scene(office: Office) -> None:
        office.engine.put(60, at_once_max=60)
        running = office.start()
        await office.clock.sleep(GATHER_SECONDS * 1.5)
        assert [len(batch) for batch in office.engine.batches] == [60]
        office.ending.set()
        await running

    played(scene)


def test_many_reports_are_told_before_the_moment_is_over() -> None:
    async def scene(office: Office) -> None:
        office.engine.put(200, at_once_max=200)
        running = office.start()
        await office.clock.sleep(GATHER_SECONDS * 0.5)
        assert len(office.engine.reports) == 200
        office.ending.set()
        await running

    played(scene)


def test_it_goes_on_when_the_engine_is_back_and_forgets_nothing_meanwhile() -> None:
    async def scene(office: Office) -> None:
        office.engine.put(5)
        running = office.start()
        await office.clock.sleep(0.01)
        office.engine.is_away = True
        await office.clock.sleep(300)
        assert office.engine.reports == []
        office.engine.is_away = False
        office.engine.put(5)
        await office.clock.sleep(30)
        assert office.engine.outcomes() == ["accepted"] * 10
        office.ending.set()
        assert await running == 0

    played(scene, try_seconds=1.0)


def test_when_it_is_told_to_end_it_gives_back_what_it_has_not_begun_and_finishes_the_rest() -> None:
    async def scene(office: Office) -> None:
        office.engine.put(10, at_once_max=3)
        assert await office.run_for(0.5) == 0
        assert sorted(office.engine.outcomes()) == [""] * 7 + ["accepted"] * 3
        assert office.built[0].is_closed

    played(scene, try_seconds=2.0)


def test_what_has_not_ended_within_the_grace_is_given_up_and_may_have_been_sent() -> None:
    async def scene(office: Office) -> None:
        office.engine.put(2)
        assert await office.run_for(1) == 0
        assert office.engine.outcomes() == ["unknown"] * 2
        assert "stopped while it was under way" in getattr(office.engine.reports[0], "try").answer

    played(scene, grace_seconds=3.0, answer=hangs)


def test_one_that_ends_waits_a_minute_for_an_engine_that_hears_its_reports() -> None:
    async def scene(office: Office) -> None:
        office.engine.put(2)
        running = office.start()
        await office.clock.sleep(0.5)
        office.engine.is_away = True
        office.ending.set()
        await office.clock.sleep(AWAY_SECONDS_MAX / 2)
        assert not running.done()
        office.engine.is_away = False
        assert await running == 0
        assert office.engine.outcomes() == ["accepted"] * 2

    played(scene, try_seconds=1.0)


def test_one_that_nobody_hears_ends_all_the_same_and_says_how_much_was_lost() -> None:
    async def scene(office: Office) -> None:
        office.engine.put(2)
        running = office.start()
        await office.clock.sleep(0.5)
        office.engine.is_away = True
        office.ending.set()
        assert await running == 2

    played(scene, try_seconds=1.0)


def test_a_message_that_can_not_be_tried_within_its_lease_is_given_back() -> None:
    async def scene(office: Office) -> None:
        office.engine.put(1, lease_seconds=9.0)
        office.engine.put(1, lease_seconds=11.0)
        await office.run_for(1)
        assert sorted(office.engine.outcomes()) == ["", "accepted"]

    played(scene)


def test_what_waited_too_long_behind_others_is_given_back() -> None:
    async def scene(office: Office) -> None:
        office.engine.put(6, at_once_max=2)
        await office.run_for(60)
        assert sorted(office.engine.outcomes()) == ["", ""] + ["accepted"] * 4

    played(scene, try_seconds=8.0)


def test_a_channel_that_does_not_keep_its_limit_is_given_up() -> None:
    async def scene(office: Office) -> None:
        office.engine.put(1)
        running = office.start()
        await office.clock.sleep(10 + OVERTIME_SECONDS + 1)
        assert office.engine.outcomes() == ["unknown"]
        office.ending.set()
        await running

    played(scene, try_seconds=100.0)


@pytest.mark.parametrize("is_built", [True, False])
def test_a_channel_with_a_defect_ends_nothing_but_its_own_tries(is_built: bool) -> None:
    def fail(_: Letter) -> Sent:
        raise ZeroDivisionError(SECRET)

    async def scene(office: Office) -> None:
        office.build_error = None if is_built else ZeroDivisionError(SECRET)
        office.engine.put(2)
        assert await office.run_for(1) == 0
        assert office.engine.outcomes() == ["unknown" if is_built else "transient"] * 2
        answer = getattr(office.engine.reports[0], "try").answer
        assert "ZeroDivisionError" in answer
        assert SECRET not in answer

    played(scene, answer=fail)


def test_no_secret_is_in_a_report() -> None:
    async def scene(office: Office) -> None:
        office.engine.put(1)
        await office.run_for(1)
        assert getattr(office.engine.reports[0], "try").answer == "535 no such password: ***"

    played(scene, answer=lambda _: Sent(TryOutcome.TRANSIENT, f"535 no such password: {SECRET}"))


def test_a_channel_that_is_declared_otherwise_is_built_anew_and_the_former_ends_with_its_tries() -> None:
    async def scene(office: Office) -> None:
        office.engine.put(1)
        running = office.start()
        await office.clock.sleep(0.5)
        other = notification_pb2.NotificationChannel()
        other.CopyFrom(MAIL)
        other.smtp.host = "other.example.com"
        office.engine.put(1, channel=other)
        await office.clock.sleep(0.2)
        former, present = office.built
        assert not former.is_closed
        await office.clock.sleep(2)
        assert (former.is_closed, present.is_closed) == (True, False)
        assert office.engine.outcomes() == ["accepted"] * 2
        office.ending.set()
        await running

    played(scene, try_seconds=1.0)


def test_a_channel_is_built_anew_now_and_then_since_its_secrets_may_have_changed() -> None:
    async def scene(office: Office) -> None:
        running = office.start()
        for _ in range(12):
            office.engine.put(1)
            await office.clock.sleep(AGE_SECONDS_MAX / 10)
        assert len(office.built) == 2
        assert office.built[0].is_closed
        office.ending.set()
        await running

    played(scene)


def test_a_channel_that_nothing_is_sent_by_is_closed() -> None:
    async def scene(office: Office) -> None:
        office.engine.put(1)
        running = office.start()
        await office.clock.sleep(IDLE_SECONDS_MAX + 60)
        assert office.built[0].is_closed
        office.ending.set()
        await running

    played(scene)


def test_a_defect_in_the_loop_is_not_hidden() -> None:
    async def scene(office: Office) -> None:
        office.engine.refusal = ZeroDivisionError("a defect")
        with pytest.raises(ZeroDivisionError):
            await office.run_for(1)

    played(scene)


def test_an_engine_that_is_away_from_the_beginning_is_waited_for() -> None:
    async def scene(office: Office) -> None:
        office.engine.refusal = EngineUnavailable("no engine yet")
        running = office.start()
        await office.clock.sleep(30)
        office.engine.put(1)
        office.engine.refusal = None
        await office.clock.sleep(5)
        assert office.engine.outcomes() == ["accepted"]
        office.ending.set()
        await running

    played(scene)
