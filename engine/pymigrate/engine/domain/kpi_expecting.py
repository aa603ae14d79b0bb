"""What is expected of a run, from what was agreed, from rehearsals of its rest and from what was estimated when it started."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from pymigrate.engine.domain.business import BusinessFigures, Move
from pymigrate.engine.domain.drawing import Draws
from pymigrate.engine.domain.kpi import RunKpis
from pymigrate.engine.domain.kpi_outlook import (
    NOTHING_AGREED,
    UNKNOWN,
    Outlook,
    RunOutlook,
    agreed_seconds,
    end_after,
    risk,
)
from pymigrate.engine.domain.kpi_phase import PhaseKpis
from pymigrate.engine.domain.outages import Outages
from pymigrate.engine.domain.quantiles import Quantiles, quantiles_of
from pymigrate.engine.domain.reach import Effect, reach
from pymigrate.engine.domain.run_states import PHASE_ENDED
from pymigrate.engine.domain.systems import Landscape
from pymigrate.engine.domain.windows import OpenTimes

FIRST_ATTEMPT = 1


@dataclass(frozen=True, slots=True)
class Estimated:
    """What was estimated when a run started, in seconds: its makespan, the duration of each phase, and how long each lane of a dataset was
    to copy, by (phase, dataset)."""

    makespan: Quantiles | None = None
    phases: Mapping[str, Quantiles] = field(default_factory=dict)
    lanes: Mapping[tuple[str, str], Quantiles] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Rehearsals:
    """The rest of a run rehearsed at a moment, and what that costs the business."""

    draws: Draws
    figures: BusinessFigures
    time: datetime


@dataclass(frozen=True, slots=True)
class Expecting:
    """A run, what its phases do, whom that hits, and what is known of how it goes on."""

    run: RunKpis
    moves: Mapping[str, Move]
    landscape: Landscape
    estimated: Estimated
    now: datetime
    rehearsals: Rehearsals | None = None

    def outlook(self) -> RunOutlook:
        """What is expected of the run and its parts."""
        phases = {name: self._phase(self.run.phases[name], move) for name, move in self._moves().items()}
        departments = {name: self._department(name, own, phases) for name, own in self._departments().items()}
        return RunOutlook(
            whole=self._whole(departments),
            phases=phases,
            departments=departments,
            lanes=self.estimated.lanes,
            is_final=not self.run.is_active,
        )

    def _moves(self) -> dict[str, Move]:
        return {name: move for name, move in sorted(self.moves.items()) if name in self.run.phases}

    def _departments(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for name, move in self._moves().items():
            found.setdefault(move.department, []).append(name)
        return found

    def _phase(self, phase: PhaseKpis, move: Move) -> Outlook:
        known = Outlook(budget_seconds=self._budget(phase, move), estimated=self.estimated.phases.get(phase.id))
        record, rehearsals = phase.record, self.rehearsals
        if record is None or record.state in PHASE_ENDED:
            start, end = phase.copying_times()[0], record.end_time if record else None
            return replace(known, expected_seconds=(end - start).total_seconds() if start and end else None)
        figures = rehearsals.figures.phases.get(phase.id) if rehearsals else None
        if rehearsals is None or figures is None:
            return known
        is_agreed = known.budget_seconds >= 0 or bool(move.calendars)
        level, reasons = risk(figures.breaches, is_agreed=is_agreed)
        return replace(
            known,
            level=level,
            reasons=reasons,
            end=end_after(rehearsals.time, figures.end),
            downtime=_plus(figures.downtime, phase.ended_down_seconds()),
            expected_seconds=figures.duration.p50,
        )

    def _budget(self, phase: PhaseKpis, move: Move) -> float:
        """The least that was agreed of the systems that are down; else what its window leaves it."""
        if move.effect is not Effect.DOWN:
            return NOTHING_AGREED
        hits = reach(self.landscape, move.department, move.sources, move.effect, move.loaded).hits
        agreed = agreed_seconds(self.landscape, hits)
        if agreed >= 0 or not move.calendars:
            return agreed
        start = (phase.record.start_time if phase.record else None) or self.now
        span = OpenTimes(move.calendars, start, 0.0).span_at(0.0)
        return NOTHING_AGREED if span is None or math.isinf(span[1]) else span[1] - span[0]

    def _department(self, name: str, own: Sequence[str], phases: Mapping[str, Outlook]) -> Outlook:
        parts = [phases[phase] for phase in own]
        known = Outlook(budget_seconds=_least(parts))
        figures = self.rehearsals.figures.departments.get(name) if self.rehearsals else None
        if self.rehearsals is None or figures is None or all(part.end is None for part in parts):
            return known
        draws = self.rehearsals.draws
        rehearsed = [phase for phase in own if phase in draws.phases]
        outage = Outages(draws.phases, dict.fromkeys(rehearsed, name), len(draws.makespans)).of(rehearsed)
        earlier = sum(self.run.phases[phase].ended_down_seconds() for phase in own if phases[phase].end is not None)
        is_agreed = any(part.level for part in parts)
        level, reasons = risk(figures.breaches, is_agreed=is_agreed)
        end = end_after(self.rehearsals.time, figures.end)
        return replace(known, level=level, reasons=reasons, end=end, downtime=_plus(outage.total, earlier))

    def _whole(self, departments: Mapping[str, Outlook]) -> Outlook:
        record, parts = self.run.record, list(departments.values())
        if record is None:
            return UNKNOWN
        # Between a failure and the retry a person was waited for, perhaps for days: that is no drift of an estimate.
        estimated = self.estimated.makespan if record.attempt == FIRST_ATTEMPT else None
        known = Outlook(budget_seconds=_least(parts), estimated=estimated)
        if record.end_time is not None:
            return replace(known, expected_seconds=(record.end_time - record.create_time).total_seconds())
        if self.rehearsals is None:
            return known
        left, time = quantiles_of(self.rehearsals.draws.makespans), self.rehearsals.time
        breaches = [breach for each in self.rehearsals.figures.departments.values() for breach in each.breaches]
        level, reasons = risk(breaches, is_agreed=any(part.level for part in parts))
        downtimes = [part.downtime for part in parts if part.downtime is not None]
        return replace(
            known,
            level=level,
            reasons=reasons,
            end=end_after(time, left),
            downtime=Quantiles(sum(each.p50 for each in downtimes), sum(each.p90 for each in downtimes)),
            expected_seconds=(time - record.create_time).total_seconds() + left.p50,
        )


def _least(parts: Sequence[Outlook]) -> float:
    return min((part.budget_seconds for part in parts if part.budget_seconds >= 0), default=NOTHING_AGREED)


def _plus(found: Quantiles, seconds: float) -> Quantiles:
    return Quantiles(found.p50 + seconds, found.p90 + seconds)
