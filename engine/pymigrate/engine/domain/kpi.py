"""The figures of one run, folded from what its commits stored: from the same changes the same figures come, in whatever order and however
often they are told, and from the store's records and events too. Only what arrived within the last minute is nowhere but in memory."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

from pymigrate.engine.domain.gates import waiting_gates
from pymigrate.engine.domain.kpi_arrivals import Arrivals, Arrived
from pymigrate.engine.domain.kpi_moments import STALLED, Moments
from pymigrate.engine.domain.kpi_phase import PhaseKpis, VerdictOf
from pymigrate.engine.domain.kpi_tally import Tally, put
from pymigrate.engine.domain.names import last_segment, parent_of
from pymigrate.engine.domain.run import DatasetRun, Entity, Lane, PhaseRun, Run, RunEvent, Task, copied
from pymigrate.engine.domain.run_states import RUN_ENDED
from pymigrate.engine.domain.spans import total_seconds, union


@dataclass(slots=True)
class PhaseDifference:
    """By how much a phase's tally changed, and what arrived. `is_new`: its department became known, and all that there is of it is told."""

    tally: Tally = field(default_factory=dict)
    arrived: list[Arrived] = field(default_factory=list)
    is_new: bool = False


class RunKpis:
    """The fold of one run."""

    def __init__(self, name: str, verdict_of: VerdictOf) -> None:
        self.name = name
        self.plan = parent_of(name)
        self.record: Run | None = None
        self.phases: dict[str, PhaseKpis] = {}
        self.tally: Tally = {}
        self.arrivals = Arrivals()
        self.moments = Moments()
        self._verdict_of = verdict_of
        self._events_seen = 0
        self._events_ahead: set[int] = set()
        self._phase_of_task: dict[str, str] = {}

    @property
    def is_active(self) -> bool:
        """Whether it has not ended."""
        return self.record is not None and self.record.state not in RUN_ENDED

    @property
    def has_lanes(self) -> bool:
        """Whether its lanes are known, and changes can be taken in."""
        return True

    @property
    def first_missing_event(self) -> int:
        """The sequence of the first event that was not told yet; 0 where all were."""
        has_all = self.record is not None and self._events_seen >= self.record.events
        return 0 if has_all else self._events_seen + 1

    def take_in(
        self, time: datetime, entities: Iterable[Entity], events: Iterable[RunEvent] = ()
    ) -> dict[str, PhaseDifference]:
        """A change; what it changed of each phase whose department is known."""
        found: dict[str, PhaseDifference] = {}
        for entity in entities:
            match entity:
                case Lane():
                    phase = self._phase(entity.phase)
                    change, arrived = phase.take_lane(entity, time)
                    self.arrivals.put(arrived)
                    self._tell(found, phase, change, arrived)
                case Task():
                    phase = self._phase(entity.phase)
                    self._tell(found, phase, phase.take_task(entity))
                case DatasetRun():
                    phase = self._phase(entity.phase)
                    self._tell(found, phase, phase.take_dataset(entity))
                case PhaseRun():
                    self._take_phase(found, entity)
                case Run():
                    if self.record is None or self.record.version < entity.version:
                        self.record = copied(entity)
        for event in events:
            self._take_event(found, event)
        return found

    def _take_phase(self, found: dict[str, PhaseDifference], record: PhaseRun) -> None:
        phase = self._phase(record.id)
        is_new = phase.record is None
        change = phase.take_phase(record)
        self._tell(found, phase, change)
        if is_new:
            found[phase.id] = PhaseDifference(dict(phase.tally), phase.arrivals.all(), is_new=True)

    def _take_event(self, found: dict[str, PhaseDifference], event: RunEvent) -> None:
        if event.sequence <= self._events_seen or event.sequence in self._events_ahead:
            return
        self._events_ahead.add(event.sequence)
        while self._events_seen + 1 in self._events_ahead:
            self._events_seen += 1
            self._events_ahead.discard(self._events_seen)
        self.moments.take(event)
        subject = last_segment(event.subject)
        if event.type == STALLED:
            # Names have no dot: what is before the first one of a lane's name is its phase.
            phase = self._phase(subject.split(".", 1)[0])
            reason = event.failure.reason if event.failure else "INTERNAL"
            self._tell(found, phase, phase.take_retry(subject, reason))
        elif event.type.startswith("phase."):
            self._phase(subject).take_step(event)

    def _tell(
        self, found: dict[str, PhaseDifference], phase: PhaseKpis, change: Tally, arrived: Iterable[Arrived] = ()
    ) -> None:
        put(self.tally, change)
        if phase.record is None:
            return
        told = found.setdefault(phase.id, PhaseDifference())
        put(told.tally, change)
        told.arrived.extend(arrived)

    def _phase(self, name: str) -> PhaseKpis:
        if name not in self.phases:
            self.phases[name] = PhaseKpis(name, self._verdict_of)
        return self.phases[name]

    # What follows --------------------------------------------------------------------------------------------------------------------

    def departments(self) -> dict[str, list[PhaseKpis]]:
        """Its phases by department, as far as that is known."""
        found: dict[str, list[PhaseKpis]] = {}
        for name in sorted(self.phases):
            phase = self.phases[name]
            if phase.record is not None:
                found.setdefault(phase.record.department, []).append(phase)
        return found

    def waiting_gates(self) -> Iterator[tuple[PhaseRun, str]]:
        """The gates at which its phases wait for somebody to approve, each with its phase."""
        if self.record is None or not self.is_active:
            return
        records = {name: phase.record for name, phase in self.phases.items() if phase.record is not None}
        for name in sorted(name for name, record in records.items() if record.gates):
            for gate in waiting_gates(self.record, records[name], records):
                yield records[name], gate

    def lag_seconds(self) -> float:
        """How far staging is behind at most; -1 where nothing catches up."""
        return max((phase.lag_seconds() for phase in self.phases.values()), default=-1.0)

    def downtime_seconds(self, now: datetime) -> float:
        """How long departments' sources have been down; of one department overlapping downtimes count once."""
        return sum(down_seconds(phases, now) for phases in self.departments().values())


def down_seconds(phases: Iterable[PhaseKpis], now: datetime) -> float:
    """How long the sources of any of the phases have been down; overlapping downtimes count once."""
    return total_seconds(union(span for phase in phases for span in phase.down_spans(now)))
