"""Finds what a plan costs the business, from what is declared and from the draws of the plan's rehearsals.

How it is rated is told in `rating`, who bears what in `bearing`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime

from pymigrate.engine.domain.agreements import Breach, Level, outage_breaches, window_breaches
from pymigrate.engine.domain.bearing import Bearing
from pymigrate.engine.domain.business import (
    NOT_KNOWN,
    BusinessFigures,
    DepartmentFigures,
    Move,
    PhaseFigures,
    SummaryFigures,
)
from pymigrate.engine.domain.calendar import Calendar
from pymigrate.engine.domain.outages import Costs, Outage, PhaseTimes
from pymigrate.engine.domain.quantiles import NOTHING, Quantiles, quantiles_of
from pymigrate.engine.domain.rating import (
    NOTICED_SECONDS,
    Rating,
    Reason,
    breach_reasons,
    outage_reasons,
    rate,
    unagreed_reasons,
    unknown_reasons,
)
from pymigrate.engine.domain.reach import Hit
from pymigrate.engine.domain.systems import Landscape
from pymigrate.engine.domain.windows import OpenTimes, WindowFit, unscheduled


def assess(
    moves: Mapping[str, Move], times: Mapping[str, PhaseTimes], landscape: Landscape, start: datetime
) -> BusinessFigures:
    """What the phases cost whose times are given, all with as many draws, at least one. The rehearsals start at `start`."""
    bearing = Bearing(moves, times, landscape)
    windows = _Windows(start, max((max(each.ends) for each in times.values()), default=0.0))
    phases = {name: _phase(name, bearing, windows) for name in bearing.moves}
    departments = {name: _department(name, bearing, phases) for name in bearing.departments}
    summary = _summary(bearing, phases, departments)
    unknowns = [
        *landscape.unknowns,
        *(each for name in phases for each in _unknowns(name, bearing, phases[name].downtime)),
        *(
            each
            for name, found in departments.items()
            for each in _missing_cost(name, bearing, found.downtime, found.write_downtime)
        ),
    ]
    return BusinessFigures(phases, departments, summary, tuple(dict.fromkeys(unknowns)))


class _Windows:
    """The fit of phases, with the open times of each schedule found once."""

    def __init__(self, start: datetime, seconds_max: float) -> None:
        self._start = start
        self._seconds_max = seconds_max
        self._open: dict[tuple[Calendar, ...], OpenTimes] = {}

    def fit(self, move: Move, times: PhaseTimes) -> WindowFit:
        if not move.calendars:
            return unscheduled(times.starts, times.ends)
        if move.calendars not in self._open:
            self._open[move.calendars] = OpenTimes(move.calendars, self._start, self._seconds_max)
        return self._open[move.calendars].fit(times.starts, times.ends)


def _phase(name: str, bearing: Bearing, windows: _Windows) -> PhaseFigures:
    times, found, landscape = bearing.times[name], bearing.reach[name], bearing.landscape
    downtime, write_downtime = quantiles_of(times.downtimes), quantiles_of(times.write_downtimes)
    costs = _quantiles(bearing.phase_costs(name))
    users = bearing.users(found.departments)
    window = windows.fit(bearing.moves[name], times)
    outage = Outage(times.downtimes, downtime, downtime)
    breaches = [
        *_system_breaches(landscape, found.hits, lambda _: outage),
        *window_breaches(_foremost(name, found.hits), window),
    ]
    reasons: list[Reason] = [
        *breach_reasons(breaches),
        *unagreed_reasons(landscape, found.hits, downtime),
        *outage_reasons(bearing.moves[name].department, found.hits, users, downtime, write_downtime, costs),
        *unknown_reasons(_unknowns(name, bearing, downtime)),
    ]
    return PhaseFigures(
        start=quantiles_of(times.starts),
        end=quantiles_of(times.ends),
        duration=quantiles_of([end - start for start, end in zip(times.starts, times.ends, strict=True)]),
        downtime=downtime,
        write_downtime=write_downtime,
        reach=found,
        costs=costs,
        users=users,
        breaches=tuple(breaches),
        window=window,
        rated=rate(reasons),
    )


def _department(name: str, bearing: Bearing, phases: Mapping[str, PhaseFigures]) -> DepartmentFigures:
    department, hit_by = bearing.landscape.department(name), bearing.hit_by(name)
    own = [phase for phase in bearing.moves if bearing.moves[phase].department == name]
    hits = bearing.hits(name)
    downtime, write_downtime = (
        bearing.downtime(name).total,
        bearing.write_downtime(name).total,
    )
    costs = _quantiles({department.currency: bearing.department_cost(name)} if department.currency else {})
    breaches = [
        *_system_breaches(bearing.landscape, hits, bearing.system_downtime),
        *(each for phase in own for each in phases[phase].breaches if each.level is Level.WINDOW),
    ]
    reasons: list[Reason] = [
        *breach_reasons(breaches),
        *(
            reason
            for hit in hits
            for reason in unagreed_reasons(bearing.landscape, [hit], bearing.system_downtime(hit).total)
        ),
        *outage_reasons(name, hits, department.users, downtime, write_downtime, costs),
        *unknown_reasons(_missing_cost(name, bearing, downtime, write_downtime)),
        *unknown_reasons(each for phase in own for each in _unknowns(phase, bearing, phases[phase].downtime)),
    ]
    ordered = [bearing.times[phase] for phase in own or hit_by]
    starts = [min(each) for each in zip(*(times.starts for times in ordered), strict=True)]
    ends = [max(each) for each in zip(*(times.ends for times in ordered), strict=True)]
    return DepartmentFigures(
        phases=tuple(own),
        because_of=tuple(sorted({bearing.moves[phase].department for phase in hit_by} - {name})),
        start=quantiles_of(starts),
        end=quantiles_of(ends),
        duration=quantiles_of([end - start for start, end in zip(starts, ends, strict=True)]),
        downtime=downtime,
        write_downtime=write_downtime,
        costs=costs,
        users=department.users,
        hits=hits,
        breaches=tuple(breaches),
        rated=rate(reasons),
    )


def _summary(
    bearing: Bearing, phases: Mapping[str, PhaseFigures], departments: Mapping[str, DepartmentFigures]
) -> SummaryFigures:
    moves = bearing.moves.values()
    sums = [sum(each) for each in zip(*(times.downtimes for times in bearing.times.values()), strict=True)]
    reasons = [reason for each in departments.values() for reason in each.rated.reasons if reason.rating > Rating.LOW]
    return SummaryFigures(
        downtime=quantiles_of(sums) if sums else NOTHING,
        costs=_quantiles(bearing.costs()),
        users=bearing.users(departments),
        rows=_sum(move.rows for move in moves),
        bytes=_sum(move.bytes for move in moves),
        phases=len(phases),
        phases_in_window=sum(each.window.fits for each in phases.values()),
        breaches=sum(len(each.breaches) for each in departments.values()),
        rated=rate([*reasons, *unknown_reasons(bearing.landscape.unknowns)]),
    )


def _system_breaches(landscape: Landscape, hits: Iterable[Hit], outage_of: Callable[[Hit], Outage]) -> Iterator[Breach]:
    for hit in hits:
        system = landscape.system((hit.department, hit.system))
        if hit.is_down and system is not None and system.has_agreement:
            outage = outage_of(hit)
            yield from outage_breaches(hit.label, system, outage.longest, outage.total)


def _foremost(phase: str, hits: Iterable[Hit]) -> str:
    """The source that a phase's window is that of: the one that the business depends on most."""
    sources = sorted((hit for hit in hits if hit.is_source), key=lambda hit: (-hit.criticality, hit.label))
    return sources[0].label if sources else phase


def _unknowns(phase: str, bearing: Bearing, downtime: Quantiles) -> Iterator[str]:
    move = bearing.moves[phase]
    yield from move.unknowns
    if NOT_KNOWN in (move.rows, move.bytes):
        yield f"How much phase {phase} moves is not known."
    if downtime.p90 >= NOTICED_SECONDS:
        for connection in bearing.reach[phase].undeclared:
            yield f"No department declares a system with connection {connection}: who needs it is not known."


def _missing_cost(name: str, bearing: Bearing, downtime: Quantiles, write_downtime: Quantiles) -> Iterator[str]:
    is_noticed = max(downtime.p90, write_downtime.p90) >= NOTICED_SECONDS
    if is_noticed and not bearing.landscape.department(name).currency:
        yield f"What an hour without its systems costs {name} is not declared."


def _quantiles(costs: Costs) -> dict[str, Quantiles]:
    return {currency: quantiles_of(amounts) for currency, amounts in sorted(costs.items())}


def _sum(figures: Iterable[int]) -> int:
    """The sum; -1 where any part of it is not known."""
    found = list(figures)
    return NOT_KNOWN if NOT_KNOWN in found else sum(found)
