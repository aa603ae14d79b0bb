"""What a plan costs the business, as figures: of phases, of departments, and of the plan as a whole."""

from collections.abc import Mapping
from dataclasses import dataclass

from pymigrate.engine.domain.agreements import Breach
from pymigrate.engine.domain.calendar import Calendar
from pymigrate.engine.domain.quantiles import Quantiles
from pymigrate.engine.domain.rating import Rated
from pymigrate.engine.domain.reach import Effect, Hit, Reach
from pymigrate.engine.domain.windows import WindowFit

NOT_KNOWN = -1


@dataclass(frozen=True, slots=True)
class Move:
    """What a phase does: whose data it moves, out of which connections, what these do meanwhile (`down`, `read_only` or `load`), which
    others it writes to or looks something up in, when it may work, how much it moves (-1: not known), and what of that is not known, each
    as a sentence."""

    department: str
    effect: Effect
    sources: frozenset[str]
    loaded: frozenset[str] = frozenset()
    calendars: tuple[Calendar, ...] = ()
    rows: int = NOT_KNOWN
    bytes: int = NOT_KNOWN
    unknowns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PhaseFigures:
    """What a phase costs; times in seconds since the start, costs by currency."""

    start: Quantiles
    end: Quantiles
    duration: Quantiles
    downtime: Quantiles
    write_downtime: Quantiles
    reach: Reach
    costs: Mapping[str, Quantiles]
    users: int
    breaches: tuple[Breach, ...]
    window: WindowFit
    rated: Rated


@dataclass(frozen=True, slots=True)
class DepartmentFigures:
    """What a department bears. `phases` move its data; `because_of` are the departments whose phases hit what it needs."""

    phases: tuple[str, ...]
    because_of: tuple[str, ...]
    start: Quantiles
    end: Quantiles
    duration: Quantiles
    downtime: Quantiles
    write_downtime: Quantiles
    costs: Mapping[str, Quantiles]
    users: int
    hits: tuple[Hit, ...]
    breaches: tuple[Breach, ...]
    rated: Rated


@dataclass(frozen=True, slots=True)
class SummaryFigures:
    """What the plan costs. `downtime` is the sum of the phases'; costs are those of the departments, where what overlaps counts once."""

    downtime: Quantiles
    costs: Mapping[str, Quantiles]
    users: int
    rows: int
    bytes: int
    phases: int
    phases_in_window: int
    breaches: int
    rated: Rated


@dataclass(frozen=True, slots=True)
class BusinessFigures:
    """What a plan costs the business, and what is not known about it, each as a sentence."""

    phases: Mapping[str, PhaseFigures]
    departments: Mapping[str, DepartmentFigures]
    summary: SummaryFigures
    unknowns: tuple[str, ...]
