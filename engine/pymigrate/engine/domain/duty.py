"""Who is on duty at a moment, by a schedule: rotations that take turns of whole days on the schedule's clock, and exceptions.

A turn begins at the same time of the local day as the first one, whatever the clock was changed by meanwhile; a local time that the clock
shows twice counts as the first, as in the calendar.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo

from pymigrate.engine.domain.calendar import Calendar
from pymigrate.engine.domain.notices import Rotation, Schedule

ONE_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class OnDuty:
    """Somebody who is on duty, and why, as a part of a sentence."""

    stakeholder: str
    because: str


def on_duty(schedule: Schedule, now: datetime) -> tuple[OnDuty, ...]:
    """Everybody who is on duty, each once: those of overrides that hold, and nobody else then; else whose turn it is, by rotation."""
    standing_in = [
        OnDuty(override.stakeholder, f"stands in by override {name} of {schedule.id}")
        for name, override in sorted(schedule.overrides.items())
        if override.start <= now < override.end
    ]
    return _each_once(standing_in or _by_rotations(schedule, now))


def _by_rotations(schedule: Schedule, now: datetime) -> Iterator[OnDuty]:
    for name, rotation in sorted(schedule.rotations.items()):
        if rotation.hours is not None and not Calendar(schedule.zone, (rotation.hours,)).is_open(now):
            continue
        turn = _turn(rotation, schedule.zone, now)
        if turn >= 0 and rotation.stakeholders:
            stakeholder = rotation.stakeholders[turn % len(rotation.stakeholders)]
            yield OnDuty(stakeholder, f"has the turn in rotation {name} of {schedule.id}")


def _turn(rotation: Rotation, zone: tzinfo, now: datetime) -> int:
    """Counts turns from 0; negative before the first."""
    if now < rotation.start:
        return -1
    first = rotation.start.astimezone(zone).replace(tzinfo=None)
    days = max(1, rotation.turn_days)
    turn = (now.astimezone(zone).replace(tzinfo=None) - first) // (ONE_DAY * days)

    def begins(number: int) -> datetime:
        return (first + ONE_DAY * days * number).replace(tzinfo=zone).astimezone(UTC)

    # The clock may have been set back or forth around the change of turns.
    if turn > 0 and now < begins(turn):
        return turn - 1
    return turn + 1 if now >= begins(turn + 1) else max(0, turn)


def _each_once(found: Iterable[OnDuty]) -> tuple[OnDuty, ...]:
    known: dict[str, OnDuty] = {}
    for each in found:
        known.setdefault(each.stakeholder, each)
    return tuple(known.values())
