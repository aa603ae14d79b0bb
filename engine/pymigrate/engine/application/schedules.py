"""Schedules as they are declared: their problems, and the calendars that they mean."""

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, time, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo

from pymigrate.engine.domain.calendar import WEEKDAYS, Calendar, LocalBlackout, WeeklyWindow
from pymigrate.engine.domain.errors import Problem
from pymigrate.engine.domain.names import ID_RULE, is_id
from pymigrate.v1 import notification_pb2, plan_pb2, run_pb2

ENTRIES_MAX = 366
ZONES_CACHED_MAX = 64
REASON_MAX = 2_000
_CLOCK = re.compile(r"([01]\d|2[0-3]):[0-5]\d")
_MOMENT = re.compile(r"\d{4}-\d{2}-\d{2}(T([01]\d|2[0-3]):[0-5]\d)?")


def schedule_problems(path: str, schedule: plan_pb2.Schedule) -> Iterator[Problem]:
    """Every problem of a schedule, at fields below `path`."""
    yield from zone_problems(f"{path}.time_zone", schedule.time_zone)
    for name, entries in (("windows", schedule.windows), ("blackouts", schedule.blackouts)):
        if len(entries) > ENTRIES_MAX:
            yield Problem(f"{path}.{name}", f"has at most {ENTRIES_MAX} entries")
        yield from (
            Problem(f"{path}.{name}.{entry}", f"`{entry}` is no name: use {ID_RULE}")
            for entry in sorted(entries)
            if not is_id(entry)
        )
    for name, window in sorted(schedule.windows.items()):
        yield from window_problems(f"{path}.windows.{name}", window)
    for name, blackout in sorted(schedule.blackouts.items()):
        yield from _blackout_problems(f"{path}.blackouts.{name}", blackout)


def schedules_of(revision: run_pb2.PlanRevision, phase: str) -> tuple[plan_pb2.Schedule, ...]:
    """The schedules that a phase keeps to, all of them: its environment's, its plan's and its own."""
    return revision.policy.schedule, revision.plan.schedule, revision.plan.phases[phase].schedule


def calendar_of(schedule: plan_pb2.Schedule) -> Calendar:
    """The calendar that a schedule without problems means."""
    zone = zone_of(schedule.time_zone)
    if zone is None:
        raise ValueError(f"{schedule.time_zone} is no time zone")
    return Calendar(
        zone,
        tuple(
            WeeklyWindow(
                time.fromisoformat(window.start),
                time.fromisoformat(window.end),
                frozenset(WEEKDAYS.index(day) for day in window.days),
            )
            for _, window in sorted(schedule.windows.items())
        ),
        tuple(
            LocalBlackout(datetime.fromisoformat(blackout.start), datetime.fromisoformat(blackout.end))
            for _, blackout in sorted(schedule.blackouts.items())
        ),
    )


@lru_cache(maxsize=ZONES_CACHED_MAX)
def zone_of(name: str) -> tzinfo | None:
    """The zone of an IANA name, UTC of an empty one; None where there is no such zone."""
    if not name:
        return UTC
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # a missing zone, a path out of the folder of zones, a folder's name
        return None


def window_problems(path: str, window: plan_pb2.Window | notification_pb2.QuietHours) -> Iterator[Problem]:
    """Problems of a part of the day on some days of the week."""
    yield from day_problems(f"{path}.days", window.days)
    yield from clock_problems(f"{path}.start", window.start)
    yield from clock_problems(f"{path}.end", window.end)


def day_problems(path: str, days: Sequence[str]) -> Iterator[Problem]:
    """Problems of days of the week."""
    for day in days:
        if day not in WEEKDAYS:
            yield Problem(path, f"`{day}` is no day: use {', '.join(WEEKDAYS)}")
    if len(set(days)) < len(days):
        yield Problem(path, "names a day twice")


def clock_problems(path: str, value: str) -> Iterator[Problem]:
    """Problems of a time of day."""
    if not _CLOCK.fullmatch(value):
        yield Problem(path, f"`{value}` is no time of day: write it as 22:00")


def zone_problems(path: str, name: str) -> Iterator[Problem]:
    """Problems of a time zone."""
    if zone_of(name) is None:
        yield Problem(path, f"`{name}` is no IANA time zone: write it as Europe/Berlin, or leave it empty")


def _blackout_problems(path: str, blackout: plan_pb2.Blackout) -> Iterator[Problem]:
    moments = []
    for field, value in (("start", blackout.start), ("end", blackout.end)):
        moment = _read_moment(value)
        if moment is None:
            yield Problem(f"{path}.{field}", f"`{value}` is no moment: write it as 2026-12-24T18:00 or 2026-12-24")
        else:
            moments.append(moment)
    if len(moments) == 2 and moments[0] >= moments[1]:
        yield Problem(f"{path}.end", "must be after `start`")
    if len(blackout.reason) > REASON_MAX:
        yield Problem(f"{path}.reason", f"has at most {REASON_MAX:,} characters")


def _read_moment(text: str) -> datetime | None:
    if not _MOMENT.fullmatch(text):
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None
