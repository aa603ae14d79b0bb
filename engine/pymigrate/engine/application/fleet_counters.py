"""What happens in runs, counted from the stream of changes: rows, bytes, errors, endings and how long things took.

Counters tell what this engine saw happen. A run that it takes over counts from where it stood then, so that nothing is counted by two.
"""

from dataclasses import dataclass, field
from datetime import datetime

from pymigrate.engine.application.changes import Change
from pymigrate.engine.application.verdicts import verdict_of
from pymigrate.engine.domain.kpi_moments import STALLED
from pymigrate.engine.domain.kpi_phase import VERIFICATION_REASON
from pymigrate.engine.domain.names import environment_of, last_segment
from pymigrate.engine.domain.run import DatasetRun, Failure, Lane, PhaseRun, Run, RunEvent, Task
from pymigrate.engine.domain.run_states import PHASE_ENDED, RUN_ENDED, LaneState, PhaseState, RunState, TaskState
from pymigrate.engine.ports.metric_families import (
    BYTES,
    CONFLICTS,
    ERRORS,
    LANE_DURATION,
    PHASE_DURATION,
    PHASES_ENDED,
    QUARANTINED_ROWS,
    REPAIRED_ROWS,
    RETRIES,
    ROWS,
    RUN_DURATION,
    RUNS_ENDED,
    VERIFICATIONS,
)
from pymigrate.engine.ports.metrics import Family, Metrics

ENDED_KEPT_MAX = 256
HISTOGRAMS_KEPT_SECONDS = 600.0
UNKNOWN_REASON = "INTERNAL"
TIMED = frozenset({RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELLED})
TIMED_PHASES = frozenset({PhaseState.PUBLISHED, PhaseState.FAILED})
BEGUN = frozenset({RunState.PENDING, RunState.FAILED})
_OF_DEPARTMENTS = (ROWS, BYTES, RETRIES, QUARANTINED_ROWS, CONFLICTS, REPAIRED_ROWS)


@dataclass(slots=True)
class _Counted:
    """What was counted of a run. `begun` is when it began, or was begun again."""

    environment: str
    begun: datetime | None = None
    is_active: bool = True
    events: int = 0
    departments: dict[str, str] = field(default_factory=dict)
    started: dict[str, datetime] = field(default_factory=dict)
    lanes: dict[str, tuple[int, int, int, int, LaneState]] = field(default_factory=dict)
    datasets: dict[tuple[str, str], tuple[bytes, bool, int]] = field(default_factory=dict)
    failed_tasks: set[str] = field(default_factory=set)


class FleetCounters:
    """Counts every change into the metrics. What is kept of runs that have ended is bounded by `ended_kept_max`."""

    def __init__(self, metrics: Metrics, ended_kept_max: int = ENDED_KEPT_MAX) -> None:
        self._metrics = metrics
        self._ended_kept_max = ended_kept_max
        self.runs: dict[str, _Counted] = {}
        self._ended: dict[str, None] = {}
        self._active: dict[str, set[str]] = {}
        self._idle_since: dict[str, datetime] = {}

    def observe(self, change: Change) -> None:
        """Counts what is new in a change."""
        known = self.runs.get(change.run)
        is_first = known is None
        if known is None:
            known = self.runs[change.run] = _Counted(last_segment(environment_of(change.run)))
        for entity in change.entities:
            if isinstance(entity, PhaseRun):
                self._phase(known, entity)
        for entity in change.entities:
            self._entity(known, entity, is_first=is_first)
        for event in change.events:
            if event.sequence > known.events:
                known.events = event.sequence
                self._event(known, event)
        self._note_activity(change.run, known, change.time)

    def forget_idle(self, now: datetime) -> None:
        """Drops the histograms of environments in which nothing has been under way for so long that the last values were scraped."""
        for environment, since in list(self._idle_since.items()):
            if (now - since).total_seconds() > HISTOGRAMS_KEPT_SECONDS:
                del self._idle_since[environment], self._active[environment]
                for family in (RUN_DURATION, PHASE_DURATION, LANE_DURATION):
                    self._metrics.forget(family, "environment", environment)

    # Entities ------------------------------------------------------------------------------------------------------------------------

    def _phase(self, known: _Counted, phase: PhaseRun) -> None:
        if phase.id not in known.departments:
            known.departments[phase.id] = phase.department
            self._begin_at_zero(known.environment, phase.department)
        if phase.start_time is not None:
            known.started[phase.id] = phase.start_time

    def _begin_at_zero(self, environment: str, department: str) -> None:
        """Series appear before anything is counted into them, so that the first increase is seen as one."""
        for family in _OF_DEPARTMENTS:
            self._metrics.add(family, (environment, department), 0)
        for state in (PhaseState.PUBLISHED, PhaseState.FAILED):
            self._metrics.add(PHASES_ENDED, (environment, department, state), 0)
        for run_state in (RunState.SUCCEEDED, RunState.FAILED):
            self._metrics.add(RUNS_ENDED, (environment, run_state), 0)
        for result in ("verified", "failed"):
            self._metrics.add(VERIFICATIONS, (environment, result), 0)

    def _entity(self, known: _Counted, entity: object, *, is_first: bool) -> None:
        match entity:
            case Lane():
                self._lane(known, entity, is_first=is_first)
            case DatasetRun():
                self._dataset(known, entity, is_first=is_first)
            case Task() if entity.state is TaskState.FAILED and entity.id not in known.failed_tasks:
                known.failed_tasks.add(entity.id)
                if not is_first:
                    self._failed(known, entity.phase, entity.failure)
            case Run():
                known.is_active = entity.state not in RUN_ENDED
                known.begun = known.begun or entity.create_time
                if is_first:
                    known.events = 0 if entity.version <= 1 else entity.events
            case _:
                pass

    def _lane(self, known: _Counted, lane: Lane, *, is_first: bool) -> None:
        now = (lane.rows, lane.bytes, lane.quarantined_rows, lane.retries, lane.state)
        before = now if is_first else known.lanes.get(lane.id, (0, 0, 0, 0, LaneState.PENDING))
        known.lanes[lane.id] = now
        for family, after, was in zip((ROWS, BYTES, QUARANTINED_ROWS, RETRIES), now[:4], before[:4], strict=True):
            if after > was:
                self._metrics.add(family, self._department(known, lane.phase), after - was)
        is_done = lane.state is LaneState.DONE and before[4] is not LaneState.DONE
        if is_done and lane.start_time is not None and lane.end_time is not None:
            self._observe_seconds(LANE_DURATION, known, lane.start_time, lane.end_time)

    def _dataset(self, known: _Counted, dataset: DatasetRun, *, is_first: bool) -> None:
        is_refused = dataset.quarantine is not None and dataset.quarantine.reason == VERIFICATION_REASON
        now = (dataset.verification, is_refused, dataset.conflicts)
        before = now if is_first else known.datasets.get((dataset.phase, dataset.id), (b"", False, 0))
        known.datasets[dataset.phase, dataset.id] = now
        department = self._department(known, dataset.phase)
        if dataset.verification and dataset.verification != before[0]:
            verdict = verdict_of(dataset.verification)
            self._metrics.add(VERIFICATIONS, (known.environment, verdict.word))
            self._metrics.add(REPAIRED_ROWS, department, verdict.repaired_rows)
        if is_refused and not before[1]:
            self._metrics.add(VERIFICATIONS, (known.environment, "failed"))
        self._metrics.add(CONFLICTS, department, max(0, dataset.conflicts - before[2]))

    # Events --------------------------------------------------------------------------------------------------------------------------

    def _event(self, known: _Counted, event: RunEvent) -> None:
        subject = last_segment(event.subject)
        if event.type == STALLED:
            # Names have no dot: what is before the first one of a lane's or a task's name is its phase.
            self._failed(known, subject.split(".", 1)[0], event.failure)
        elif event.type == f"run.{event.to_state}":
            self._run_step(known, event)
        elif event.type == f"phase.{event.to_state}" and event.to_state in PHASE_ENDED:
            self._metrics.add(PHASES_ENDED, (*self._department(known, subject), event.to_state))
            started = known.started.get(subject)
            if started is not None and event.to_state in TIMED_PHASES:
                self._observe_seconds(PHASE_DURATION, known, started, event.time)

    def _run_step(self, known: _Counted, event: RunEvent) -> None:
        if event.to_state == RunState.RUNNING and event.from_state in BEGUN:
            known.begun = event.time
        elif event.to_state in RUN_ENDED:
            self._metrics.add(RUNS_ENDED, (known.environment, event.to_state))
            if known.begun is not None and event.to_state in TIMED:
                self._observe_seconds(RUN_DURATION, known, known.begun, event.time)

    def _failed(self, known: _Counted, phase: str, failure: Failure | None) -> None:
        reason = failure.reason if failure else UNKNOWN_REASON
        self._metrics.add(ERRORS, (*self._department(known, phase), reason))

    def _department(self, known: _Counted, phase: str) -> tuple[str, str]:
        return known.environment, known.departments.get(phase, "")

    def _observe_seconds(self, family: Family, known: _Counted, start: datetime, end: datetime) -> None:
        self._metrics.observe(family, (known.environment,), max(0.0, (end - start).total_seconds()))

    # What is kept --------------------------------------------------------------------------------------------------------------------

    def _note_activity(self, name: str, known: _Counted, time: datetime) -> None:
        active = self._active.setdefault(known.environment, set())
        if known.is_active:
            active.add(name)
            self._ended.pop(name, None)
            self._idle_since.pop(known.environment, None)
            return
        active.discard(name)
        if not active:
            self._idle_since[known.environment] = time
        self._ended[name] = None
        self._forget_ended()

    def _forget_ended(self) -> None:
        while len(self._ended) > self._ended_kept_max:
            name = next(iter(self._ended))
            del self.runs[name], self._ended[name]
