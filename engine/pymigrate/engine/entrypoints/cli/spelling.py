"""Figures as tables show them: durations, moments, counts and sizes."""

from datetime import UTC

from google.protobuf.timestamp_pb2 import Timestamp

MINUTE_SECONDS, HOUR_SECONDS, DAY_SECONDS = 60, 3_600, 86_400


def spell_span(seconds: float) -> str:
    """A duration in the unit that fits it."""
    if seconds < MINUTE_SECONDS:
        return f"{seconds:.1f} s"
    if seconds < HOUR_SECONDS:
        return f"{int(seconds // MINUTE_SECONDS)} min {int(seconds % MINUTE_SECONDS):02d} s"
    if seconds < DAY_SECONDS:
        return f"{int(seconds // HOUR_SECONDS)} h {int(seconds % HOUR_SECONDS // MINUTE_SECONDS):02d} min"
    return f"{int(seconds // DAY_SECONDS)} d {int(seconds % DAY_SECONDS // HOUR_SECONDS):02d} h"


def spell_moment(moment: Timestamp) -> str:
    """A moment in UTC."""
    return f"{moment.ToDatetime(UTC):%Y-%m-%d %H:%M:%S}Z" if moment.seconds else "none"


def spell_amount(number: int) -> str:
    """A count; -1 is not known."""
    return "unknown" if number < 0 else f"{number:,}"


def spell_bytes(number: int) -> str:
    """A size; -1 is not known."""
    return "unknown" if number < 0 else f"{number / 1e6:,.1f} MB"
