"""What happened in a run, in the terms of its estimate: how long its phases and their datasets' steps took, how long sources were down.

What was disturbed says by what: a pause, a closed window, a gate that a person came to late, a host that had to begin again. It
happened all the same, but nothing is learned from it about how long things take.
"""

import math
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from pymigrate.engine.domain.calendar import Calendar, are_open, next_change
from pymigrate.engine.domain.names import last_segment
from pymigrate.engine.domain.run import DatasetRun, Lane, PhaseRun, RunAggregate, RunEvent, Task
from pymigrate.engine.domain.run_states import LaneState, PhaseState, Point, RunState, TaskKind, TaskState

CALENDAR_STEPS_MAX = 1_000
PUBLISHING = frozenset({TaskKind.PREPARE, TaskKind.PUBLISH})
CUTTING_OVER = PUBLISHING | {TaskKind.VERIFY, TaskKind.STEP}
OUTSIDE_LANES = CUTTING_OVER | {TaskKind.CAPTURE}
_PAUSED = f"run.{RunState.PAUSED}"
_RESUMED = f"run.{RunState.RUNNING}"
_SUCCEEDED = f"run.{RunState.SUCCEEDED}"
_OTHER_SUCCEEDED = "plan.succeeded"
_READY = f"phase.{PhaseState.READY}"
_VERIFYING = f"phase.{PhaseState.VERIFYING}"
_PUBLISHED = f"phase.{PhaseState.PUBLISHED}"


@dataclass(frozen=True, slots=True)
class Actual:
    """How long something took; NaN while it has not happened. `disturbance` says what else went into it; empty: nothing did."""

    seconds: float = math.nan
    disturbance: str = ""


NOT_YET = Actual()


@dataclass(frozen=True, slots=True)
class DatasetActuals:
    """What happened to a dataset. `copy` sums up its lanes; `publish` is its share of what was published together with it."""

    copy: Actual = NOT_YET
    verify: Actual = NOT_YET
    publish: Actual = NOT_YET
    rows: int = 0


@dataclass(frozen=True, slots=True)
class PhaseActuals:
    """What happened to a phase, published at `end_time`: from its first lane on to there, and how long its sources were down, and could
    not be written to."""

    duration: Actual = NOT_YET
    downtime: Actual = NOT_YET
    write_downtime: Actual = NOT_YET
    end_time: datetime | None = None
    datasets: Mapping[str, DatasetActuals] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RunActuals:
    """What happened in a run: from its creation to its success, and each of its phases."""

    makespan: Actual
    phases: Mapping[str, PhaseActuals]


@dataclass(slots=True)
class _Way:
    """When a phase passed which point, in its newest attempt."""

    start: datetime | None = None
    verifying: datetime | None = None
    end: datetime | None = None


def actuals_of(
    aggregate: RunAggregate,
    events: Iterable[RunEvent],
    calendars: Mapping[str, Sequence[Calendar]] | None = None,
    weights: Mapping[tuple[str, str], float] | None = None,
) -> RunActuals:
    """What happened, from the run's records and all of its events in order. `calendars` are those of each phase; `weights`, by (phase,
    dataset), share out what was published together: without them it is shared out by rows."""
    story, works = _Story(events), _works(aggregate)
    phases = {
        phase.id: _phase(phase, works[phase.id], story, (calendars or {}).get(phase.id, ()), weights or {})
        for phase in aggregate.phases.values()
    }
    return RunActuals(_makespan(aggregate, story, phases), phases)


class _Story:
    """What the events tell: the ways of the phases, when the run was held or waited, and when it succeeded."""

    def __init__(self, events: Iterable[RunEvent]) -> None:
        self.ways: dict[str, _Way] = {}
        self.pauses: list[tuple[datetime, datetime | None]] = []
        self.success: datetime | None = None
        self.has_waited = False
        for event in events:
            self._take_in(event)

    def _take_in(self, event: RunEvent) -> None:
        part = last_segment(event.subject)
        if event.type == _READY:
            self.ways[part] = _Way(event.time)
        elif event.type == _VERIFYING and part in self.ways:
            self.ways[part].verifying = event.time
        elif event.type == _PUBLISHED and part in self.ways:
            self.ways[part].end = event.time
        elif event.type == _PAUSED:
            self.pauses.append((event.time, None))
        elif event.type == _RESUMED and self.pauses and self.pauses[-1][1] is None:
            self.pauses[-1] = (self.pauses[-1][0], event.time)
        elif event.type == _OTHER_SUCCEEDED:
            self.has_waited = True
        elif event.type == _SUCCEEDED:
            self.success = event.time

    def was_paused(self, start: datetime, end: datetime) -> bool:
        """Whether the run was held at any moment in between."""
        return any(since < end and (until is None or until > start) for since, until in self.pauses)


@dataclass(slots=True)
class _Work:
    """What hosts did for a phase in its newest attempt: its datasets, and the lanes and tasks of each; tasks in all."""

    records: list[DatasetRun] = field(default_factory=list)
    lanes_of: dict[str, list[Lane]] = field(default_factory=dict)
    tasks_of: dict[str, list[Task]] = field(default_factory=dict)
    tasks: list[Task] = field(default_factory=list)


def _works(aggregate: RunAggregate) -> dict[str, _Work]:
    found = {phase: _Work() for phase in aggregate.phases}
    for record in aggregate.datasets.values():
        found[record.phase].records.append(record)
        found[record.phase].lanes_of[record.id], found[record.phase].tasks_of[record.id] = [], []
    for lane in aggregate.lanes.values():
        if lane.attempt == aggregate.phases[lane.phase].attempt:
            found[lane.phase].lanes_of[lane.dataset].append(lane)
    for task in aggregate.tasks.values():
        if task.attempt == aggregate.phases[task.phase].attempt:
            found[task.phase].tasks.append(task)
            for dataset in task.datasets:
                found[task.phase].tasks_of[dataset].append(task)
    return found


def _phase(
    phase: PhaseRun,
    work: _Work,
    story: _Story,
    calendars: Sequence[Calendar],
    weights: Mapping[tuple[str, str], float],
) -> PhaseActuals:
    datasets = _datasets(work, weights)
    way = story.ways.get(phase.id, _Way())
    if way.start is None or way.end is None:
        return PhaseActuals(datasets=datasets)
    start = min((record.start_time for record in work.records if record.start_time is not None), default=way.start)
    seconds = (way.end - start).total_seconds()
    disturbance = _disturbance(phase, work, story, calendars, start, way.end)
    whole, none = Actual(seconds, disturbance), Actual(0.0)
    if not phase.is_online:
        return PhaseActuals(whole, none if phase.is_live else whole, whole, way.end, datasets)
    tail = NOT_YET
    if way.verifying is not None:
        # Neither pauses nor windows hold what blocks writes.
        tail = Actual((way.end - way.verifying).total_seconds(), _again(work, CUTTING_OVER))
    return PhaseActuals(whole, none, tail, way.end, datasets)


def _disturbance(
    phase: PhaseRun, work: _Work, story: _Story, calendars: Sequence[Calendar], start: datetime, end: datetime
) -> str:
    if any(point == Point.BEFORE_PUBLICATION for point in phase.gates.values()):
        return "it waited for an approval"
    if story.was_paused(start, end):
        return "the run was paused meanwhile"
    if _was_closed(calendars, start, end):
        return "its window was closed meanwhile"
    if any(lane.fence > 1 for lanes in work.lanes_of.values() for lane in lanes):
        return "a lane was given to a host more than once"
    return _again(work, OUTSIDE_LANES)


def _again(work: _Work, kinds: Container[TaskKind]) -> str:
    """Whether a host failed or was lost at work of these kinds."""
    return "a task had to be done again" if any(t.retries for t in work.tasks if t.kind in kinds) else ""


def _was_closed(calendars: Sequence[Calendar], start: datetime, end: datetime) -> bool:
    moment: datetime | None = start
    for _ in range(CALENDAR_STEPS_MAX):
        if moment is None or moment >= end:
            return False
        if not are_open(calendars, moment):
            return True
        moment = next_change(calendars, moment)
    return True


def _datasets(work: _Work, weights: Mapping[tuple[str, str], float]) -> dict[str, DatasetActuals]:
    rows = {record.id: sum(lane.rows for lane in work.lanes_of[record.id]) for record in work.records}
    shares = _shares(work.records, rows, weights)
    return {
        record.id: DatasetActuals(
            _copy(record, work.lanes_of[record.id]),
            _verify(record, work.tasks_of[record.id]),
            _publish(record, work.tasks_of[record.id], shares[record.id]),
            rows[record.id],
        )
        for record in work.records
    }


def _shares(
    records: Iterable[DatasetRun], rows: Mapping[str, int], weights: Mapping[tuple[str, str], float]
) -> dict[str, float]:
    """Each dataset's share of what was published together with it: all of its phase that have one target."""
    together: dict[str, list[DatasetRun]] = {}
    for record in records:
        together.setdefault(record.target_connection, []).append(record)
    shares: dict[str, float] = {}
    for group in together.values():
        given = {record.id: weights.get((record.phase, record.id), 0.0) for record in group}
        if not any(given.values()):
            given = {record.id: float(rows[record.id]) for record in group}
        total = sum(given.values())
        shares.update((name, each / total if total > 0 else 1 / len(group)) for name, each in given.items())
    return shares


def _copy(record: DatasetRun, lanes: Sequence[Lane]) -> Actual:
    if not lanes or any(lane.state is not LaneState.DONE for lane in lanes):
        return NOT_YET
    is_again = any(lane.fence > 1 for lane in lanes)
    return Actual(record.copy_seconds, "a lane was given to a host more than once" if is_again else "")


def _verify(record: DatasetRun, tasks: Iterable[Task]) -> Actual:
    """A comparison that has to be done again begins anew: it takes as long as if it were the first."""
    is_done = any(task.state is TaskState.DONE for task in tasks if task.kind is TaskKind.VERIFY)
    return Actual(record.verify_seconds) if is_done else NOT_YET


def _publish(record: DatasetRun, tasks: Iterable[Task], share: float) -> Actual:
    found = [task for task in tasks if task.kind in PUBLISHING]
    if not any(task.kind is TaskKind.PUBLISH for task in found) or any(t.state is not TaskState.DONE for t in found):
        return NOT_YET
    is_again = any(task.fence > 1 for task in found)
    return Actual(record.publish_seconds * share, "it was begun more than once" if is_again else "")


def _makespan(aggregate: RunAggregate, story: _Story, phases: Mapping[str, PhaseActuals]) -> Actual:
    run = aggregate.run
    if story.success is None:
        return NOT_YET
    seconds = (story.success - run.create_time).total_seconds()
    if run.attempt > 1:
        return Actual(seconds, "it was retried")
    if story.was_paused(run.create_time, story.success):
        return Actual(seconds, "it was paused")
    if story.has_waited:
        return Actual(seconds, "it waited for another plan")
    if any(phase.gates for phase in aggregate.phases.values()):
        return Actual(seconds, "it waited for an approval")
    disturbed = ((name, found.duration.disturbance) for name, found in sorted(phases.items()))
    return Actual(seconds, next((f"phase `{name}`: {what}" for name, what in disturbed if what), ""))
