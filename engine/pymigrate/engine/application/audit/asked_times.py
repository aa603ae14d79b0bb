"""Times that a caller asks for, as moments: a timestamp of the contract may be one that no calendar has."""

from datetime import UTC, datetime
from typing import Any

from pymigrate.engine.domain.errors import Problem


def moment_of(request: Any, field: str, problems: list[Problem]) -> datetime | None:
    """The moment in a field; None where it is not set. Adds a problem for one beyond the years 1 to 9999."""
    if not request.HasField(field):
        return None
    try:
        found: datetime = getattr(request, field).ToDatetime(UTC)
    except (ValueError, OverflowError):
        problems.append(Problem(field, "must be a time between the years 1 and 9999"))
        return None
    return found
