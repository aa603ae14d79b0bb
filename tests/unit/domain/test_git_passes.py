"""When a Git source is due, and which pass begins next."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pymigrate.engine.domain.git_passes import (
    BACKOFF_SECONDS_MAX,
    HOST_AT_ONCE_MAX,
    PASSES_AT_ONCE_MAX,
    Schedule,
    first_due,
    next_begun,
    sleep_seconds,
    wait_seconds,
)

FRACTIONS = st.floats(0, 1)


def test_after_a_pass_that_went_well_the_next_comes_at_the_interval() -> None:
    assert Schedule(60, 0, failures=3).after(100, 0.5, is_well=True) == Schedule(60, 160)


def test_after_failures_the_interval_doubles_up_to_ten_minutes() -> None:
    assert [wait_seconds(60, failures) for failures in range(6)] == [60, 120, 240, 480, 600, 600]
    assert wait_seconds(5, 1_000) == BACKOFF_SECONDS_MAX
    assert wait_seconds(3_600, 4) == 3_600


@given(FRACTIONS, st.integers(0, 20))
def test_jitter_is_a_tenth_at_most(fraction: float, failures: int) -> None:
    found = Schedule(60, 0, failures=failures).after(0, fraction, is_well=False)
    wait = wait_seconds(60, failures + 1)
    assert 0.9 * wait <= found.due <= 1.1 * wait + 1e-9
    assert found.failures == failures + 1


@given(FRACTIONS, st.integers(1, 5_000))
def test_many_sources_do_not_come_at_once_after_a_start(fraction: float, sources: int) -> None:
    assert 10 <= first_due(10, 60, fraction, sources) <= 10 + min(60, sources * 0.05)


def test_who_was_asked_for_comes_before_who_is_due_the_longest() -> None:
    schedules = {"a": Schedule(60, 5), "b": Schedule(60, 1), "c": Schedule(60, 900).rung(), "d": Schedule(60, 901)}
    begun: list[str] = []
    while name := next_begun(schedules, begun, (), 10):
        begun.append(name)
    assert begun == ["c", "b", "a"]


def test_a_source_whose_pass_is_under_way_is_not_begun_again() -> None:
    assert next_begun({"a": Schedule(60, 0).rung()}, ["a"], (), 10) is None


def test_no_more_go_on_at_once_than_may() -> None:
    schedules = {f"s{at}": Schedule(60, 0, f"host{at}") for at in range(10)}
    assert next_begun(schedules, [f"s{at}" for at in range(PASSES_AT_ONCE_MAX)], (), 10) is None


@pytest.mark.parametrize(("slow", "most"), [((), HOST_AT_ONCE_MAX), (("slow",), 1)])
def test_one_host_leaves_room_for_others(slow: tuple[str, ...], most: int) -> None:
    schedules = {f"s{at:02}": Schedule(60, 0, "slow") for at in range(10)} | {"z": Schedule(60, 9, "other")}
    begun: list[str] = []
    while name := next_begun(schedules, begun, slow, 10):
        begun.append(name)
    assert (len(begun) - 1, begun[-1]) == (most, "z")


def test_the_loop_sleeps_until_the_next_is_due() -> None:
    schedules = {"a": Schedule(60, 15, "x"), "b": Schedule(60, 1, "y")}
    assert sleep_seconds(schedules, ["b"], (), 10, 2) == 2
    assert sleep_seconds(schedules, ["b"], (), 14, 2) == 1
    assert sleep_seconds(schedules, [], (), 10, 2) == 0
    assert sleep_seconds({"a": Schedule(60, 90).rung()}, [], (), 10, 2) == 0
    assert sleep_seconds({}, [], (), 10, 2) == 2


def test_what_waits_for_the_end_of_a_pass_keeps_the_loop_from_no_sleep() -> None:
    schedules = {"a": Schedule(60, 1, "slow"), "b": Schedule(60, 1, "slow")}
    assert sleep_seconds(schedules, ["a"], ["slow"], 10, 2) == 2
    assert sleep_seconds(schedules, ["a"], [], 10, 2, 1) == 2
