"""Who is on duty: turns of whole days on the schedule's clock, hours, and people who stand in."""

from datetime import UTC, datetime, time
from zoneinfo import ZoneInfo

import pytest

from pymigrate.engine.domain.calendar import WeeklyWindow
from pymigrate.engine.domain.duty import on_duty
from pymigrate.engine.domain.notices import DutyOverride, Rotation, Schedule

ZURICH = ZoneInfo("Europe/Zurich")
TURNS = ("ann", "ben", "cem")


def local(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZURICH).astimezone(UTC)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def schedule(start: str = "2026-03-02T09:00", days: int = 7, hours: WeeklyWindow | None = None) -> Schedule:
    return Schedule("ops", ZURICH, {"first": Rotation(TURNS, local(start), days, hours)})


def names(found: Schedule, now: datetime) -> list[str]:
    return [each.stakeholder for each in on_duty(found, now)]


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        ("2026-03-02T08:59:59", []),
        ("2026-03-02T09:00", ["ann"]),
        ("2026-03-09T08:59:59", ["ann"]),
        ("2026-03-09T09:00", ["ben"]),
        ("2026-03-16T09:00", ["cem"]),
        ("2026-03-23T09:00", ["ann"]),
    ],
)
def test_people_take_turns_from_the_start_on(moment: str, expected: list[str]) -> None:
    assert names(schedule(), local(moment)) == expected


def test_turns_change_at_the_same_local_time_after_the_clock_was_changed() -> None:
    assert names(schedule(), at("2026-03-30T06:59:59")) == ["ann"]
    assert names(schedule(), at("2026-03-30T07:00")) == ["ben"]  # 09:00 of summer time
    assert names(schedule("2026-10-19T09:00"), at("2026-10-26T07:59:59")) == ["ann"]
    assert names(schedule("2026-10-19T09:00"), at("2026-10-26T08:00")) == ["ben"]


def test_a_turn_that_begins_in_an_hour_that_comes_twice_begins_with_the_first() -> None:
    daily = schedule("2026-10-24T02:30", days=1)
    assert names(daily, at("2026-10-25T00:29:59")) == ["ann"]
    assert names(daily, at("2026-10-25T00:30")) == ["ben"]
    assert names(daily, at("2026-10-25T01:15")) == ["ben"]  # 02:15 for the second time
    assert names(daily, at("2026-10-26T01:29:59")) == ["ben"]
    assert names(daily, at("2026-10-26T01:30")) == ["cem"]


def test_a_turn_that_begins_in_an_hour_that_is_skipped_begins_when_the_clock_was_set() -> None:
    daily = schedule("2026-03-28T02:30", days=1)
    assert names(daily, at("2026-03-29T00:59:59")) == ["ann"]
    assert names(daily, at("2026-03-29T01:30")) == ["ben"]
    assert names(daily, at("2026-03-30T00:29:59")) == ["ben"]
    assert names(daily, at("2026-03-30T00:30")) == ["cem"]


def test_a_rotation_with_hours_has_nobody_on_duty_outside_of_them() -> None:
    nights = schedule(hours=WeeklyWindow(time(22), time(7)))
    assert names(nights, local("2026-03-05T21:59")) == []
    assert names(nights, local("2026-03-05T22:00")) == ["ann"]
    assert names(nights, local("2026-03-06T06:59")) == ["ann"]


def test_everybody_whom_a_rotation_has_on_duty_is_each_once() -> None:
    start = local("2026-03-02T09:00")
    found = Schedule(
        "ops",
        ZURICH,
        {"a": Rotation(("ann",), start, 7), "b": Rotation(("ben",), start, 7), "c": Rotation(("ann",), start, 7)},
    )
    assert names(found, start) == ["ann", "ben"]
    assert "rotation a of ops" in on_duty(found, start)[0].because


def test_while_somebody_stands_in_nobody_else_is_on_duty() -> None:
    holiday = DutyOverride("dan", local("2026-03-05T00:00"), local("2026-03-06T00:00"))
    found = Schedule("ops", ZURICH, schedule().rotations, {"holiday": holiday})
    assert names(found, local("2026-03-04T23:59")) == ["ann"]
    assert names(found, local("2026-03-05T00:00")) == ["dan"]
    assert names(found, local("2026-03-05T23:59")) == ["dan"]
    assert names(found, local("2026-03-06T00:00")) == ["ann"]


def test_a_schedule_without_rotations_has_nobody_on_duty() -> None:
    assert on_duty(Schedule("ops"), at("2026-03-05T00:00")) == ()
