"""Whether phases fit their windows: shares over draws, closes, best openings, and clocks that change."""

import math
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pymigrate.engine.domain.calendar import ALWAYS, Calendar, LocalBlackout, WeeklyWindow, open_spans
from pymigrate.engine.domain.windows import OpenTimes, start_candidates, unscheduled
from tests.unit.domain.businesses import HOUR, START

NIGHTS = Calendar(UTC, (WeeklyWindow(time(22), time(4)),))
SUNDAYS = Calendar(UTC, (WeeklyWindow(time(6), time(18), frozenset({6})),))
BERLIN = ZoneInfo("Europe/Berlin")


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def ban(start: str, end: str) -> LocalBlackout:
    return LocalBlackout(datetime.fromisoformat(start), datetime.fromisoformat(end))


def hours(*values: float) -> list[float]:
    return [value * HOUR for value in values]


def open_times(*calendars: Calendar, start: datetime = START) -> OpenTimes:
    return OpenTimes(calendars, start, 0.0)


def test_open_times_are_told_whole_from_the_moment_that_is_asked_for() -> None:
    found = open_spans((NIGHTS,), START, START + timedelta(days=1))
    assert found == [(START, at("2026-03-02T04:00")), (at("2026-03-02T22:00"), at("2026-03-03T04:00"))]


def test_windows_that_touch_are_one_open_time() -> None:
    evening = WeeklyWindow(time(20), time(22))
    assert open_spans((Calendar(UTC, (evening, *NIGHTS.windows)),), at("2026-03-02T12:00"), at("2026-03-03T00:00")) == [
        (at("2026-03-02T20:00"), at("2026-03-03T04:00"))
    ]


def test_what_never_closes_has_no_close() -> None:
    assert open_spans((ALWAYS,), START, START + timedelta(days=1)) == [(START, None)]
    assert open_spans((Calendar(blackouts=(ban("2026-01-01", "2026-01-02"),)),), START, START + timedelta(days=1)) == [
        (START, None)
    ]


def test_a_phase_fits_that_ends_in_the_window_that_it_starts_in() -> None:
    fit = open_times(NIGHTS).fit(hours(0, 0), hours(4, 3))
    assert (fit.is_scheduled, fit.fits, fit.fit_share) == (True, True, 1.0)
    assert fit.close_time == at("2026-03-02T04:00")
    assert fit.best_start_time == START


def test_a_phase_that_ends_in_a_later_window_does_not_fit() -> None:
    fit = open_times(NIGHTS).fit(hours(1), hours(23))
    assert (fit.fits, fit.fit_share) == (False, 0.0)
    assert fit.room_seconds == 3 * HOUR


def test_it_must_fit_in_nine_of_ten_draws() -> None:
    nine = open_times(NIGHTS).fit(hours(*[0] * 10), hours(*[3] * 9, 5))
    eight = open_times(NIGHTS).fit(hours(*[0] * 10), hours(*[3] * 8, 5, 5))
    assert (nine.fits, nine.fit_share) == (True, 0.9)
    assert (eight.fits, eight.fit_share) == (False, 0.8)


def test_time_in_which_the_window_is_closed_is_no_work() -> None:
    fit = open_times(NIGHTS).fit(hours(2), hours(23))
    assert fit.work_seconds.p50 == 3 * HOUR
    assert fit.best_start_time == START, "three hours fit into the rest of the night"


def test_the_best_start_is_the_earliest_opening_that_leaves_enough_time() -> None:
    assert open_times(NIGHTS).fit(hours(2), hours(25)).best_start_time == at("2026-03-02T22:00")
    assert open_times(NIGHTS).fit(hours(0), hours(25.5)).best_start_time is None, "seven and a half hours fit no night"
    either = Calendar(UTC, (*NIGHTS.windows, *SUNDAYS.windows))
    assert open_times(either).fit(hours(0), hours(25.5)).best_start_time == at("2026-03-08T06:00")


def test_a_phase_that_becomes_ready_while_its_window_is_closed_starts_with_the_next_opening() -> None:
    fit = open_times(NIGHTS).fit(hours(10), hours(27))
    assert (fit.fits, fit.close_time) == (True, at("2026-03-03T04:00"))
    assert (fit.work_seconds.p50, fit.room_seconds) == (5 * HOUR, 6 * HOUR)


def test_the_windows_of_plan_and_phase_hold_together() -> None:
    early = Calendar(UTC, (WeeklyWindow(time(0), time(2)),))
    assert open_times(NIGHTS, early).fit(hours(0), hours(3)).close_time == at("2026-03-02T02:00")


def test_a_blackout_closes_a_window_that_a_phase_would_fit() -> None:
    closed = ban("2026-03-02T02:00", "2026-03-17")
    times = OpenTimes((Calendar(UTC, NIGHTS.windows, (closed,)),), START, 20 * 24 * HOUR)
    fit = times.fit(hours(0), hours(15 * 24 + 1.5))
    assert (fit.fits, fit.close_time) == (False, at("2026-03-02T02:00"))
    assert fit.best_start_time is None, "three and a half hours fit nothing that opens within 14 days"


@pytest.mark.parametrize(
    ("day", "lasts"),
    [("2026-03-28T22:00", 4.0), ("2026-10-24T22:00", 6.0), ("2026-06-06T22:00", 5.0)],
    ids=["spring", "autumn", "summer"],
)
def test_a_night_is_shorter_in_spring_and_longer_in_autumn(day: str, lasts: float) -> None:
    nights = Calendar(BERLIN, (WeeklyWindow(time(0), time(5)),))
    opening = datetime.fromisoformat(day).replace(tzinfo=UTC) + timedelta(hours=1 if "03-28" in day else 0)
    times = OpenTimes((nights,), opening, 0.0)
    assert times.fit([0.0], [lasts * HOUR]).fits
    assert not times.fit([0.0], [lasts * HOUR + 1]).fits


def test_without_windows_everything_fits() -> None:
    fit = unscheduled([0.0, 1.0], [5.0, 6.0])
    assert (fit.is_scheduled, fit.fits, fit.fit_share, fit.close_time) == (False, True, 1.0, None)
    assert math.isinf(fit.room_seconds)


def test_starts_to_try_are_now_and_the_openings_of_fourteen_days_at_most_forty() -> None:
    noon = at("2026-03-02T12:00")
    found = start_candidates([(NIGHTS,), (NIGHTS, SUNDAYS), (SUNDAYS,), ()], noon)
    assert found[:2] == [noon, at("2026-03-02T22:00")]
    assert len(found) == 1 + 14 + 2, "fourteen nights, two Sundays, and no time at which both are open"
    hourly = Calendar(UTC, tuple(WeeklyWindow(time(hour), time(hour, 30)) for hour in range(24)))
    assert len(start_candidates([(hourly,)], noon)) == 40


@given(st.floats(0, 13 * 24), st.floats(0.01, 12))
def test_a_best_start_is_open_for_as_long_as_the_phase_works(start: float, work: float) -> None:
    times = open_times(NIGHTS, Calendar(BERLIN, (WeeklyWindow(time(20), time(3)),)))
    best = times.fit(hours(start), hours(start + work)).best_start_time
    if best is not None:
        offset = (best - START).total_seconds()
        worked = times.open_seconds(start * HOUR, (start + work) * HOUR)
        assert times.open_seconds(offset, offset + worked) == pytest.approx(worked)
