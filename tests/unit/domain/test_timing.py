"""When what is told is due: quiet hours, digests, waits and intervals."""

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pymigrate.engine.domain.calendar import Calendar, WeeklyWindow
from pymigrate.engine.domain.delivery import Delivery, DeliveryState
from pymigrate.engine.domain.notices import Digest, Severity
from pymigrate.engine.domain.timing import digest_time, group_time, is_always_quiet, is_in_digest, quiet_until
from tests.unit.domain.notified import NOW, person, rule

ZURICH = ZoneInfo("Europe/Zurich")
NIGHT = WeeklyWindow(time(22), time(7))
WEEKEND = WeeklyWindow(time(0), time(0), frozenset({5, 6}))


def local(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZURICH).astimezone(UTC)


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        ("2026-05-05T21:59", "2026-05-05T21:59"),
        ("2026-05-05T22:00", "2026-05-06T07:00"),
        ("2026-05-06T06:59", "2026-05-06T07:00"),
        ("2026-05-06T07:00", "2026-05-06T07:00"),
    ],
)
def test_quiet_hours_hold_back_until_they_end(moment: str, expected: str) -> None:
    assert quiet_until((NIGHT,), ZURICH, local(moment)) == local(expected)


def test_quiet_hours_that_meet_are_one() -> None:
    assert quiet_until((NIGHT, WEEKEND), ZURICH, local("2026-05-08T23:00")) == local("2026-05-11T07:00")


def test_quiet_hours_end_by_the_recipients_clock_when_it_is_changed() -> None:
    assert quiet_until((NIGHT,), ZURICH, local("2026-03-28T23:00")) == datetime(2026, 3, 29, 5, tzinfo=UTC)
    assert quiet_until((NIGHT,), ZURICH, local("2026-10-24T23:00")) == datetime(2026, 10, 25, 6, tzinfo=UTC)


def test_quiet_hours_that_never_end_are_told() -> None:
    always = (WeeklyWindow(time(0), time(12)), WeeklyWindow(time(12), time(0)))
    assert quiet_until(always, ZURICH, NOW) is None
    assert is_always_quiet(person("ann", quiet_hours=always), NOW)
    assert not is_always_quiet(person("ann", quiet_hours=(NIGHT, WEEKEND)), NOW)


@given(
    st.lists(
        st.builds(
            WeeklyWindow,
            st.times().map(lambda each: each.replace(second=0, microsecond=0)),
            st.times().map(lambda each: each.replace(second=0, microsecond=0)),
            st.frozensets(st.integers(0, 6)),
        ),
        max_size=4,
    ),
    st.integers(0, 365 * 86_400),
)
def test_what_is_held_back_is_told_at_the_first_moment_outside(windows: list[WeeklyWindow], seconds: int) -> None:
    moment = NOW + timedelta(seconds=seconds)
    found, quiet = quiet_until(windows, ZURICH, moment), Calendar(ZURICH, tuple(windows))
    if found is None:
        found = moment + timedelta(days=8)
    elif windows:
        assert not quiet.is_open(found)
    probe = moment
    while windows and probe < found:
        assert quiet.is_open(probe)
        probe = min(quiet.next_change(probe) or found, found)


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        ("2026-05-05T07:59", "2026-05-05T08:00"),
        ("2026-05-05T08:00", "2026-05-05T08:00"),
        ("2026-05-05T08:01", "2026-05-05T17:30"),
        ("2026-05-05T17:31", "2026-05-06T08:00"),
        ("2026-05-08T18:00", "2026-05-11T08:00"),
    ],
)
def test_a_digest_comes_at_its_next_time_on_its_days(moment: str, expected: str) -> None:
    workdays = Digest((time(17, 30), time(8)), frozenset(range(5)))
    assert digest_time(workdays, ZURICH, local(moment)) == local(expected)


def test_a_digest_keeps_the_recipients_time_when_the_clock_is_changed() -> None:
    daily = Digest((time(8),))
    assert digest_time(daily, ZURICH, local("2026-03-28T09:00")) == datetime(2026, 3, 29, 6, tzinfo=UTC)
    assert digest_time(daily, ZURICH, local("2026-10-24T09:00")) == datetime(2026, 10, 25, 7, tzinfo=UTC)


def test_a_digest_once_a_week_finds_the_same_day_again() -> None:
    mondays = Digest((time(8),), frozenset({0}))
    assert digest_time(mondays, UTC, datetime(2026, 5, 4, 8, 1, tzinfo=UTC)) == datetime(2026, 5, 11, 8, tzinfo=UTC)


def test_what_is_critical_waits_for_no_digest() -> None:
    told = rule("r", digest=Digest((time(8),)))
    assert is_in_digest(told, Severity.ERROR)
    assert not is_in_digest(told, Severity.CRITICAL)
    assert not is_in_digest(rule("r"), Severity.INFO)


def told_at(moment: datetime, state: DeliveryState = DeliveryState.ACCEPTED) -> Delivery:
    return Delivery(
        name="d",
        environment="environments/prod",
        state=state,
        rule="r",
        stakeholder="ann",
        address="work",
        channel="mail",
        to="ann@example.com",
        thread="t",
        key="k",
        severity=Severity.INFO,
        create_time=moment,
        due_time=moment,
        frozen_time=None if state is DeliveryState.WAITING else moment,
    )


def test_the_first_of_a_group_waits_and_later_ones_keep_the_interval() -> None:
    told = rule("r", group_by=("run",), group_wait_seconds=30.0, group_interval_seconds=300.0)
    assert group_time(told, None, NOW) == NOW + timedelta(seconds=30)
    assert group_time(told, told_at(NOW - timedelta(seconds=100)), NOW) == NOW + timedelta(seconds=200)
    assert group_time(told, told_at(NOW - timedelta(seconds=290)), NOW) == NOW + timedelta(seconds=30)
    assert group_time(told, told_at(NOW - timedelta(days=1)), NOW) == NOW + timedelta(seconds=30)
