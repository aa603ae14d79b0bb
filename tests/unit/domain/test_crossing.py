"""Crossings of a bound: when they begin, hold, are told again and are over."""

from datetime import UTC, datetime, timedelta

import pytest

from pymigrate.engine.domain.crossing import Step, Terms, Unknown, step
from pymigrate.engine.domain.delivery import Condition

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ABOVE = Terms(is_above=True, bound=100.0, hysteresis=0.05)
BELOW = Terms(is_above=False, bound=100.0, hysteresis=0.05)


def condition(seconds: float = 0.0, told_seconds: float | None = None) -> Condition:
    """One that has been beyond for so long, and was told so long ago."""
    told = None if told_seconds is None else NOW - timedelta(seconds=told_seconds)
    return Condition("environments/e", "r", "s", NOW - timedelta(seconds=seconds), told)


@pytest.mark.parametrize(("terms", "value"), [(ABOVE, 100.1), (BELOW, 99.9)])
def test_what_need_not_hold_is_told_at_once(terms: Terms, value: float) -> None:
    assert step(terms, None, value, NOW) is Step.CROSSED


def test_a_value_on_the_bound_crosses_nothing() -> None:
    assert step(ABOVE, None, 100.0, NOW) is Step.STAYS


def test_what_must_hold_is_told_once_it_has() -> None:
    held = Terms(is_above=True, bound=100.0, hold_seconds=60.0)
    assert step(held, None, 101.0, NOW) is Step.BEGINS
    assert step(held, condition(59), 101.0, NOW) is Step.STAYS
    assert step(held, condition(60), 101.0, NOW) is Step.CROSSED
    assert step(held, condition(60), 100.0, NOW) is Step.DROPPED


@pytest.mark.parametrize(
    ("terms", "value", "expected"),
    [
        (ABOVE, 95.1, Step.STAYS),
        (ABOVE, 95.0, Step.RECOVERED),
        (BELOW, 104.9, Step.STAYS),
        (BELOW, 105.0, Step.RECOVERED),
    ],
)
def test_a_crossing_is_over_only_once_the_value_has_come_back_far_enough(
    terms: Terms, value: float, expected: Step
) -> None:
    assert step(terms, condition(10, told_seconds=10), value, NOW) is expected


def test_a_value_need_not_come_back_farther_than_its_range_goes() -> None:
    share = Terms(is_above=False, bound=0.98, hysteresis=0.05, least=0.0, most=1.0)
    assert step(share, condition(10, told_seconds=10), 1.0, NOW) is Step.RECOVERED
    none = Terms(is_above=True, bound=0.0, hysteresis=0.05, least=0.0)
    assert step(none, condition(10, told_seconds=10), 0.0, NOW) is Step.RECOVERED


def test_it_is_told_again_after_the_interval_while_it_holds() -> None:
    again = Terms(is_above=True, bound=100.0, repeat_seconds=60.0)
    assert step(again, condition(100, told_seconds=59), 101.0, NOW) is Step.STAYS
    assert step(again, condition(100, told_seconds=60), 101.0, NOW) is Step.AGAIN
    assert step(ABOVE, condition(10_000, told_seconds=9_000), 101.0, NOW) is Step.STAYS


def test_what_is_still_to_be_found_changes_nothing() -> None:
    again = Terms(is_above=True, bound=100.0, repeat_seconds=60.0)
    for known in (None, condition(100), condition(100, told_seconds=100)):
        assert step(again, known, Unknown.YET, NOW) is Step.STAYS


def test_what_has_no_value_any_more_is_over() -> None:
    assert step(ABOVE, None, Unknown.MOOT, NOW) is Step.STAYS
    assert step(ABOVE, condition(10), Unknown.MOOT, NOW) is Step.DROPPED
    assert step(ABOVE, condition(10, told_seconds=10), Unknown.MOOT, NOW) is Step.RECOVERED


def test_what_is_next_due_is_the_end_of_the_hold_then_the_next_repeat() -> None:
    terms = Terms(is_above=True, bound=1.0, hold_seconds=5.0, repeat_seconds=60.0)
    assert terms.next_time(condition(0)) == NOW + timedelta(seconds=5)
    assert terms.next_time(condition(10, told_seconds=4)) == NOW + timedelta(seconds=56)
    assert ABOVE.next_time(condition(10, told_seconds=4)) is None
