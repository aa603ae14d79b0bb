"""When work may be done: windows across midnight and clock changes, blackouts, and the next moment at which that changes."""

import random
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pymigrate.engine.domain.calendar import (
    ALWAYS,
    Almanac,
    Calendar,
    LocalBlackout,
    WeeklyWindow,
    are_open,
    next_change,
    next_opening,
)

BERLIN = ZoneInfo("Europe/Berlin")
NIGHTS = Calendar(UTC, (WeeklyWindow(time(22), time(4)),))
SUNDAYS = Calendar(BERLIN, (WeeklyWindow(time(2), time(5), frozenset({6})),))


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_without_a_window_it_is_always_open() -> None:
    assert ALWAYS.is_open(at("2026-05-05T12:00"))
    assert ALWAYS.next_change(at("2026-05-05T12:00")) is None


@pytest.mark.parametrize(
    ("moment", "is_open"),
    [("2026-05-05T21:59", False), ("2026-05-05T22:00", True), ("2026-05-06T03:59", True), ("2026-05-06T04:00", False)],
)
def test_a_window_goes_on_past_midnight(moment: str, is_open: bool) -> None:
    assert NIGHTS.is_open(at(moment)) is is_open


def test_a_window_that_begins_on_a_day_is_open_on_the_next_morning_alone_where_it_passes_midnight() -> None:
    fridays = Calendar(UTC, (WeeklyWindow(time(22), time(4), frozenset({4})),))
    assert fridays.is_open(at("2026-05-09T03:00")), "Saturday morning"
    assert not fridays.is_open(at("2026-05-08T03:00")), "Friday morning"


def test_a_window_from_a_time_to_the_same_time_is_a_whole_day() -> None:
    mondays = Calendar(UTC, (WeeklyWindow(time(6), time(6), frozenset({0})),))
    assert mondays.is_open(at("2026-05-05T05:59"))
    assert not mondays.is_open(at("2026-05-05T06:00"))


def test_a_window_is_read_on_the_local_clock_in_summer_and_winter() -> None:
    nights = Calendar(BERLIN, (WeeklyWindow(time(22), time(4)),))
    assert nights.is_open(at("2026-07-01T20:00"))
    assert not nights.is_open(at("2026-01-01T20:00"))
    assert nights.is_open(at("2026-01-01T21:00"))


def test_a_window_that_begins_in_the_hour_that_spring_skips_still_opens() -> None:
    half_past_two = Calendar(BERLIN, (WeeklyWindow(time(2, 30), time(5)),))
    assert half_past_two.is_open(at("2026-03-29T02:00"))
    assert not half_past_two.is_open(at("2026-03-29T03:00"))


def test_an_hour_that_autumn_shows_twice_is_open_both_times() -> None:
    assert SUNDAYS.is_open(at("2026-10-25T00:30"))
    assert SUNDAYS.is_open(at("2026-10-25T01:30"))
    assert not SUNDAYS.is_open(at("2026-10-25T04:00"))


def test_a_blackout_closes_what_a_window_opens() -> None:
    ban = LocalBlackout(datetime.fromisoformat("2026-05-05T23:00"), datetime.fromisoformat("2026-05-06T01:00"))
    calendar = Calendar(UTC, NIGHTS.windows, (ban,))
    assert calendar.is_open(at("2026-05-05T22:30"))
    assert not calendar.is_open(at("2026-05-05T23:00"))
    assert calendar.next_change(at("2026-05-05T23:00")) == at("2026-05-06T01:00")
    assert calendar.is_open(at("2026-05-06T01:00"))


def test_two_calendars_are_open_when_both_are() -> None:
    mornings = Calendar(UTC, (WeeklyWindow(time(3), time(9)),))
    now = at("2026-05-05T12:00")
    assert next_opening((NIGHTS, mornings), now) == at("2026-05-06T03:00")
    assert next_opening((), now) == now
    assert not are_open((NIGHTS, mornings), at("2026-05-06T05:00"))


def test_calendars_that_never_agree_have_no_opening() -> None:
    noons = Calendar(UTC, (WeeklyWindow(time(11), time(13)),))
    assert next_opening((NIGHTS, noons), at("2026-05-05T12:00")) is None


@given(
    st.datetimes(datetime.fromisoformat("2026-01-01"), datetime.fromisoformat("2027-01-01")),
    st.sampled_from(["UTC", "Europe/Berlin", "America/St_Johns", "Pacific/Apia", "Asia/Kathmandu"]),
    st.lists(
        st.builds(
            WeeklyWindow,
            st.times().map(lambda moment: moment.replace(second=0, microsecond=0)),
            st.times().map(lambda moment: moment.replace(second=0, microsecond=0)),
            st.frozensets(st.integers(0, 6), max_size=3),
        ),
        min_size=1,
        max_size=3,
    ),
)
def test_nothing_opens_or_closes_before_the_next_change(
    naive: datetime, zone: str, windows: list[WeeklyWindow]
) -> None:
    now = naive.replace(tzinfo=UTC)
    calendar = Calendar(ZoneInfo(zone), tuple(windows))
    change = next_change((calendar,), now)
    assert change is not None
    assert change > now
    for share in (0.01, 0.5, 0.99):
        between = now + (change - now) * share
        assert calendar.is_open(between) is calendar.is_open(now)
    assert change - now <= timedelta(days=8)


def test_an_almanac_answers_as_the_calendar_does_whenever_it_is_asked() -> None:
    nights = Calendar(
        ZoneInfo("Europe/Zurich"),
        (WeeklyWindow(time(22), time(4)),),
        (LocalBlackout(datetime.fromisoformat("2026-03-28T23:00"), datetime.fromisoformat("2026-03-29T03:00")),),
    )
    almanac, rng = Almanac(), random.Random(1)
    moments = [datetime(2026, 3, 25, tzinfo=UTC) + timedelta(minutes=rng.randrange(10_000)) for _ in range(500)]
    for now in moments:
        assert almanac.is_open(nights, now) is nights.is_open(now)
        assert almanac.next_change(nights, now) == nights.next_change(now)


def test_an_almanac_keeps_calendars_apart() -> None:
    almanac, now = Almanac(), datetime(2026, 1, 1, 12, tzinfo=UTC)
    noon, night = (Calendar(UTC, (WeeklyWindow(time(hour), time(hour + 1)),)) for hour in (12, 22))
    assert [almanac.is_open(calendar, now) for calendar in (noon, night, noon)] == [True, False, True]


def test_a_calendar_that_never_changes_is_told_by_an_almanac_too() -> None:
    assert Almanac().next_change(Calendar(), datetime(2026, 1, 1, tzinfo=UTC)) is None
