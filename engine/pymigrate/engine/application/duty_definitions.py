"""What may be declared of who is on duty when, and of what is silenced for a while."""

from collections.abc import Collection, Iterator
from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp

from pymigrate.engine.application.field_definitions import (
    DISPLAY_NAME_MAX,
    id_problems,
    length_problems,
    line_problems,
    range_problems,
    text_problems,
)
from pymigrate.engine.application.notification_definitions import NAMES_MAX, match_problems, missing_problems
from pymigrate.engine.application.schedules import REASON_MAX, window_problems, zone_problems
from pymigrate.engine.domain.errors import Problem
from pymigrate.v1 import notification_pb2

ROTATIONS_MAX = 64
OVERRIDES_MAX = 366
TURN_DAYS_MAX = 366
SILENCE_DAYS_MAX = 90


def on_call_schedule_problems(
    schedule: notification_pb2.OnCallSchedule, stakeholders: Collection[str]
) -> Iterator[Problem]:
    """Problems of a schedule within an environment that has these stakeholders."""
    yield from text_problems(schedule)
    yield from line_problems("display_name", schedule.display_name, DISPLAY_NAME_MAX)
    yield from zone_problems("time_zone", schedule.time_zone)
    if not schedule.rotations and not schedule.overrides:
        yield Problem("rotations", "is required: without one nobody is ever on duty")
    if len(schedule.rotations) > ROTATIONS_MAX:
        yield Problem("rotations", f"has at most {ROTATIONS_MAX} entries")
    for name, rotation in sorted(schedule.rotations.items()):
        path = f"rotations.{name}"
        yield from id_problems(path, name)
        if not rotation.stakeholders:
            yield Problem(f"{path}.stakeholders", "is required: say who takes turns")
        if len(rotation.stakeholders) > NAMES_MAX:
            yield Problem(f"{path}.stakeholders", f"has at most {NAMES_MAX:,} entries")
        for each in dict.fromkeys(rotation.stakeholders):  # somebody may take more turns than others
            yield from missing_problems(f"{path}.stakeholders", "stakeholder", each, stakeholders)
        if not rotation.HasField("start_time"):
            yield Problem(f"{path}.start_time", "is required: say when the first turn begins")
        elif _moment(rotation.start_time) is None:
            yield Problem(f"{path}.start_time", "is no time from year 1 to 9999")
        yield from range_problems(f"{path}.turn_days", rotation.turn_days, 1, TURN_DAYS_MAX)
        if rotation.HasField("hours"):
            yield from window_problems(f"{path}.hours", rotation.hours)
    if len(schedule.overrides) > OVERRIDES_MAX:
        yield Problem("overrides", f"has at most {OVERRIDES_MAX} entries")
    for name, override in sorted(schedule.overrides.items()):
        path = f"overrides.{name}"
        yield from id_problems(path, name)
        yield from missing_problems(f"{path}.stakeholder", "stakeholder", override.stakeholder, stakeholders)
        yield from _span_problems(f"{path}.", override)


def silence_problems(silence: notification_pb2.Silence) -> Iterator[Problem]:
    """Problems of a silence."""
    if not silence.reason.strip():
        yield Problem("reason", "is required: say why nobody is told")
    yield from length_problems("reason", silence.reason, REASON_MAX)
    yield from match_problems("match", silence.match, may_find=False)
    yield from _span_problems("", silence, days_max=SILENCE_DAYS_MAX)


def _span_problems(
    prefix: str, span: notification_pb2.DutyOverride | notification_pb2.Silence, days_max: int = 0
) -> Iterator[Problem]:
    """Problems of a beginning and an end."""
    moments = []
    for name in ("start_time", "end_time"):
        moment = _moment(getattr(span, name))
        if not span.HasField(name):
            yield Problem(f"{prefix}{name}", "is required")
        elif moment is None:
            yield Problem(f"{prefix}{name}", "is no time from year 1 to 9999")
        else:
            moments.append(moment)
    if len(moments) < 2:
        return
    if moments[0] >= moments[1]:
        yield Problem(f"{prefix}end_time", "must be after `start_time`")
    elif days_max and (moments[1] - moments[0]).total_seconds() > days_max * 86_400:
        yield Problem(f"{prefix}end_time", f"is at most {days_max} days after `start_time`")


def _moment(message: Timestamp) -> datetime | None:
    """The moment, where there is one: over the wire comes any number of seconds."""
    try:
        return message.ToDatetime(UTC)
    except (ValueError, OverflowError):
        return None
