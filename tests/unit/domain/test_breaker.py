"""A system that is away: when nobody tries it any more, who tries it first, and how it comes back."""

import random
from datetime import UTC, datetime, timedelta

from pymigrate.engine.domain.breaker import FAILURES_TO_OPEN, WAIT_FIRST_SECONDS, WAIT_MAX_SECONDS, Breaker
from pymigrate.engine.domain.throttle import PAUSE_SECONDS, SAMPLES_MIN, Throttle

NOW = datetime(2026, 1, 1, tzinfo=UTC)
MEGABYTE = 1_000_000


def opened() -> Breaker:
    """A breaker that has just opened."""
    breaker = Breaker()
    told = [breaker.fail("a", NOW, random.Random(1)) for _ in range(FAILURES_TO_OPEN)]
    assert told == [False] * (FAILURES_TO_OPEN - 1) + [True]
    return breaker


def later(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def test_a_few_failures_in_a_row_open_it_and_nobody_tries() -> None:
    breaker = opened()
    assert not breaker.admits("a", NOW)
    assert not breaker.admits("b", later(WAIT_FIRST_SECONDS / 3))


def test_a_success_in_between_starts_the_count_anew() -> None:
    breaker = Breaker()
    for _ in range(5):
        breaker.fail("a", NOW, random.Random(1))
        breaker.succeed()
    assert breaker.admits("b", NOW)


def test_after_a_while_one_task_tries_for_all() -> None:
    breaker = opened()
    assert breaker.admits("b", later(WAIT_FIRST_SECONDS))
    breaker.try_by("b")
    assert not breaker.admits("c", later(WAIT_FIRST_SECONDS))
    assert breaker.succeed()
    assert breaker.admits("c", later(WAIT_FIRST_SECONDS))


def test_a_try_that_fails_makes_everybody_wait_longer_up_to_a_bound() -> None:
    breaker, now, waits = opened(), NOW, []
    for _ in range(20):
        assert breaker.opens_until is not None
        waits.append((breaker.opens_until - now).total_seconds())
        now = breaker.opens_until
        breaker.try_by("b")
        assert not breaker.fail("b", now, random.Random(1))
    assert waits[3] > waits[0]
    assert max(waits) <= WAIT_MAX_SECONDS


def test_a_failure_from_before_it_opened_does_not_take_the_try_away() -> None:
    breaker = opened()
    breaker.try_by("b")
    assert not breaker.fail("late", later(60), random.Random(1))
    assert breaker.admits("b", later(60))


def test_a_try_that_told_nothing_is_given_to_another() -> None:
    breaker = opened()
    breaker.try_by("b")
    breaker.give_back("b")
    assert breaker.admits("c", later(WAIT_FIRST_SECONDS))


def observe(throttle: Throttle, seconds: float, lanes: int, start: float, times: int = SAMPLES_MIN) -> float:
    """So many chunks of a megabyte at that speed; when the last one was seen."""
    for number in range(times):
        throttle.observe(seconds, MEGABYTE, lanes, 3.0, later(start + number * PAUSE_SECONDS))
    return start + times * PAUSE_SECONDS


def test_a_source_that_keeps_its_speed_bears_any_number_of_lanes() -> None:
    throttle = Throttle()
    observe(throttle, 0.1, 50, 0, times=40)
    assert throttle.lanes_max is None


def test_a_source_that_slows_down_bears_fewer_lanes_and_at_least_one() -> None:
    throttle = Throttle()
    moment = observe(throttle, 0.1, 1, 0)
    observe(throttle, 2.0, 10, moment)
    assert throttle.lanes_max is not None
    assert 1 <= throttle.lanes_max < 10
    observe(throttle, 2.0, throttle.lanes_max, 1_000, times=20)
    assert throttle.lanes_max == 1


def test_a_source_that_recovers_gets_its_lanes_back_one_by_one() -> None:
    throttle = Throttle()
    moment = observe(throttle, 0.1, 1, 0)
    observe(throttle, 2.0, 10, moment, times=10)
    fewest = throttle.lanes_max
    assert fewest is not None
    for step in range(40):
        observe(throttle, 0.1, throttle.lanes_max or 0, 10_000 + step * 100, times=1)
    assert (throttle.lanes_max or 0) > fewest + 5


def test_a_bound_that_is_not_reached_is_not_raised() -> None:
    throttle = Throttle(best_seconds=0.1, seconds=0.1, samples=10, lanes_max=5)
    assert not throttle.observe(0.1, MEGABYTE, 2, 3.0, NOW)
    assert throttle.lanes_max == 5
