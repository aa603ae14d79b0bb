"""Schedules as they are declared: their problems, and the calendars that they mean."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, time, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo

from pymigrate.engine.domain.calendar import WEEKDAYS, Calendar, LocalBlackout, WeeklyWindow
from pymigrate.engine.domain.errors import Problem
from pymigrate.engine.domain.names import ID_RULE, is_id
from pymigrate.v1 import plan_pb2

ENTRIES_MAX = 366
ZONES_CACHED_MAX = 64
REASON_MAX = 2_000
_CLOCK = re.compile(r"([01]\d|2[0-3]):[0-5]\d")
_MOMENT = re.compile(r"\d{4}-\d{2}-\d{2}(T([01]\d|2[0-3]):[0-5]\d)?")


def schedule_problems(path: str, schedule: plan_pb2.Schedule) -> Iterator[Problem]:
    """Every problem of a schedule, at fields below `path`."""
    if _zone(schedule.time_zone) is None:
        yield Problem(
            f"{path}.time_zone",
            f"`{schedule.time_zone}` is no IANA time zone: write it as Europe/Berlin, or leave it empty",
        )
    for name, entries in (("windows", schedule.windows), ("blackouts", schedule.blackouts)):
        if len(entries) > ENTRIES_MAX:
            yield Problem(f"{path}.{name}", f"has at most {ENTRIES_MAX} entries")
        yield from (
            Problem(f"{path}.{name}.{entry}", f"`{entry}` is no name: use {ID_RULE}")
            for entry in sorted(entries)
            if not is_id(entry)
        )
    for name, window in sorted(schedule.windows.items()):
        yield from _window_problems(f"{path}.windows.{name}", window)
    for name, blackout in sorted(schedule.blackouts.items()):
        yield from _blackout_problems(f"{path}.blackouts.{name}", blackout)


def calendar_of(schedule: plan_pb2.Schedule) -> Calendar:
    """The calendar that a schedule without problems means."""
    zone = _zone(schedule.time_zone)
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


def _window_problems(path: str, window: plan_pb2.Window) -> Iterator[Problem]:
    for day in window.days:
        if day not in WEEKDAYS:
            yield Problem(f"{path}.days", f"`{day}` is no day: use {', '.join(WEEKDAYS)}")
    if len(set(window.days)) < len(window.days):
        yield Problem(f"{path}.days", "names a day twice")
    for field, value in (("start", window.start), ("end", window.end)):
        if not _CLOCK.fullmatch(value):
            yield Problem(f"{path}.{field}", f"`{value}` is no time of day: write it as 22:00")


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


@lru_cache(maxsize=ZONES_CACHED_MAX)
def _zone(name: str) -> tzinfo | None:
    if not name:
        return UTC
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # a missing zone, a path out of the folder of zones, a folder's name
        return None
