"""A small business for tests: departments that need one another, phases that move their data, and draws of when they do."""

from dataclasses import dataclass, field
from datetime import UTC, datetime

from pymigrate.engine.domain.business import Move
from pymigrate.engine.domain.calendar import Calendar
from pymigrate.engine.domain.reach import Effect
from pymigrate.engine.domain.systems import Department, Landscape, System

START = datetime(2026, 3, 2, tzinfo=UTC)  # a Monday
HOUR = 3_600.0


@dataclass
class Times:
    """When a phase takes place, one entry for each draw."""

    starts: list[float]
    ends: list[float]
    downtimes: list[float]
    write_downtimes: list[float] = field(default_factory=list)


def offline(*spans: tuple[float, float]) -> Times:
    """Down from start to end."""
    seconds = [end - start for start, end in spans]
    return Times([start for start, _ in spans], [end for _, end in spans], seconds, seconds)


def read_only(*spans: tuple[float, float]) -> Times:
    """Not written to from start to end."""
    seconds = [end - start for start, end in spans]
    return Times([start for start, _ in spans], [end for _, end in spans], [0.0] * len(spans), seconds)


def landscape(**departments: Department) -> Landscape:
    """Departments by name."""
    return Landscape(departments)


def move(
    department: str = "sales",
    *sources: str,
    effect: Effect = Effect.DOWN,
    loaded: tuple[str, ...] = (),
    calendars: tuple[Calendar, ...] = (),
    unknowns: tuple[str, ...] = (),
    rows: int = 10,
    size: int = 100,
) -> Move:
    """A phase of a department, out of the connection `crm` unless others are named."""
    found = frozenset(sources or ("crm",))
    return Move(department, effect, found, frozenset(loaded), calendars, rows, size, unknowns)


def sales(**changes: object) -> Department:
    """A department with a system behind `crm`, ten people and EUR 100 an hour."""
    found: dict[str, object] = {"systems": {"crm": System("crm")}, "users": 10, "currency": "EUR", "hour_cost": 100.0}
    return Department(**(found | changes))  # type: ignore[arg-type]  # fields by name
