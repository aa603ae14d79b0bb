"""The figures of a run that has ended without what they were counted from: all that is told of it, of its phases and of what sums it up,
but nothing of its lanes. From them the same figures come as from all of its records and events; a run that goes on is counted anew."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import NoReturn

from pymigrate.engine.domain.kpi import PhaseDifference, RunKpis
from pymigrate.engine.domain.kpi_phase import AT_WORK, TO_BE_COPIED, PhaseKpis
from pymigrate.engine.domain.kpi_tally import Tally, put
from pymigrate.engine.domain.run import Entity, Lane, PhaseRun, Run, RunEvent
from pymigrate.engine.domain.spans import Span


@dataclass(frozen=True, slots=True)
class PhaseSummary:
    """A phase: its record, what was counted, when its sources were down, and when its newest attempt was copied."""

    record: PhaseRun
    tally: Tally
    outages: tuple[Span, ...]
    copying_start: datetime | None
    copying_end: datetime | None


def summary_of(run: RunKpis) -> list[PhaseSummary] | None:
    """What the figures of a run come to once they are final. None while it goes on, or where something of it was not told yet."""
    if run.record is None or run.is_active or run.first_missing_event:
        return None
    found: list[PhaseSummary] = []
    for phase in run.phases.values():
        if phase.record is None or phase.record.state in AT_WORK:
            return None
        start, end, _ = phase.copying_times()
        outages = tuple(phase.down_spans(run.record.create_time))  # all are over: the moment makes no difference
        found.append(PhaseSummary(phase.record, dict(phase.tally), outages, start, end))
    return found


class _KeptPhase(PhaseKpis):
    """A phase from its summary."""

    def __init__(self, summary: PhaseSummary) -> None:
        super().__init__(summary.record.id, _none_left)
        self.record = summary.record
        self.tally = summary.tally
        self._summary = summary

    def lanes(self) -> dict[str, Lane]:
        """Those are not known: raises ValueError, for none would be a wrong answer."""
        raise ValueError(f"the lanes of phase {self.id} were not kept: have its run counted anew")

    def copying_times(self) -> tuple[datetime | None, datetime | None, bool]:
        """As they were found."""
        is_left = self.record is not None and self.record.state in TO_BE_COPIED
        return self._summary.copying_start, self._summary.copying_end, is_left

    def _outages(self) -> tuple[list[Span], datetime | None]:
        return list(self._summary.outages), None


class KeptRun(RunKpis):
    """A run that has ended, from its record and the summaries of its phases."""

    def __init__(self, record: Run, phases: Iterable[PhaseSummary]) -> None:
        super().__init__(record.name, _none_left)
        self.record = record
        for summary in phases:
            self.phases[summary.record.id] = _KeptPhase(summary)
            put(self.tally, summary.tally)

    @property
    def has_lanes(self) -> bool:
        """They were not kept."""
        return False

    @property
    def first_missing_event(self) -> int:
        """None is missing."""
        return 0

    def take_in(
        self, time: datetime, entities: Iterable[Entity], events: Iterable[RunEvent] = ()
    ) -> dict[str, PhaseDifference]:
        """What it was counted from is not known, so nothing can be added: raises ValueError."""
        raise ValueError(f"{self.name} was kept as it ended: have it counted anew")


def _none_left(body: bytes) -> NoReturn:
    raise ValueError(f"a verification of {len(body)} bytes is told of figures that are final")
