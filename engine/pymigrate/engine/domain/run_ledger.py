"""A run's aggregate while decisions are made: its parts, each step that is checked and told, and what must be stored in the end.

Beside the aggregate it keeps indices, so that taking in one event costs as much as the event changes, not as the run is large: tasks
and lanes by phase, what is leased, what is pending in the order of urgency, and how many of each kind are not done yet.
"""

from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from heapq import heappop, heappush

from pymigrate.engine.domain.names import environment_of
from pymigrate.engine.domain.pending import Pending, Queue, Urgency
from pymigrate.engine.domain.precedence import ReadySet
from pymigrate.engine.domain.run import Entity, Failure, Lane, PhaseRun, RunAggregate, RunEvent, Task
from pymigrate.engine.domain.run_layout import RunLayout
from pymigrate.engine.domain.run_states import (
    LANE_STEPS,
    PHASE_DONE,
    PHASE_IN_HAND,
    PHASE_STEPS,
    RUN_STEPS,
    TASK_OPEN,
    TASK_STEPS,
    UNDOING,
    LaneState,
    PhaseState,
    RunState,
    TaskKind,
    TaskState,
    check_step,
)

ENGINE = "engine"
IN_THE_WAY = PHASE_IN_HAND | PHASE_DONE | {PhaseState.ROLLING_BACK}


class RunLedger:
    """What every decision is made with. `take` hands over what changed; nothing else leaves the run. A quiet one hands nothing over.
    `layout` is that of the run where it is known."""

    def __init__(self, aggregate: RunAggregate, layout: RunLayout | None = None, *, is_quiet: bool = False) -> None:
        self.aggregate = aggregate
        self.run = aggregate.run
        self.environment = environment_of(aggregate.run.name)
        self.layout = layout or RunLayout(aggregate)
        self._is_quiet = is_quiet
        self._changed: dict[int, Entity] = {}
        self._events: list[RunEvent] = []
        self._actor = ENGINE
        self._now: datetime = aggregate.run.create_time
        self._touched: dict[str, None] = {}
        self._precedence = self.layout.precedence
        self._datasets_of = self.layout.datasets
        done = [phase.id for phase in aggregate.phases.values() if phase.state in PHASE_DONE]
        self._ready = ReadySet(self._precedence, done)
        self._index()

    def _index(self) -> None:
        aggregate = self.aggregate
        self._lanes_of: dict[tuple[str, int], list[Lane]] = {}
        self._uncopied: Counter[tuple[str, int]] = Counter()
        for lane in aggregate.lanes.values():
            self._register_lane(lane)
        self._tasks_of: dict[tuple[str, int], list[Task]] = {}
        self._task_of_lane: dict[str, Task] = {}
        self._undone: dict[tuple[str, int, TaskKind], int] = {}
        self._places: dict[str, tuple[Queue, Urgency]] = {}
        self._leased: dict[str, Task] = {}
        self.waiting = Pending()
        self._held_back: dict[str, Task] = {}
        self.lanes_at_work: Counter[str] = Counter()
        for task in aggregate.tasks.values():
            self._register_task(task)

    def take(self) -> tuple[list[Entity], list[RunEvent]]:
        """What changed since the last call. Stale entities and events never come twice."""
        if self._changed or self._events:
            self.run.update_time = self._now
            self._changed[id(self.run)] = self.run
        changed, events = list(self._changed.values()), self._events
        self._changed, self._events = {}, []
        return changed, events

    @property
    def has_open_tasks(self) -> bool:
        """Whether anything is still asked of a host."""
        return bool(self.waiting.queues or self._leased)

    @property
    def is_held_back(self) -> bool:
        """Whether a task waits for a moment too."""
        return bool(self._held_back)

    def leased(self) -> list[Task]:
        """The tasks that hosts have."""
        return list(self._leased.values())

    @property
    def leased_count(self) -> int:
        """How many tasks hosts have."""
        return len(self._leased)

    def pending(self) -> list[Task]:
        """The tasks that wait for a host, the most urgent first."""
        tasks = self.aggregate.tasks
        return [tasks[urgency[3]] for urgency in self.waiting.all()]

    def heads(self, now: datetime, *, lanes: bool = True) -> Iterator[Task]:
        """The first task that may be leased now of each queue, the most urgent first. Tasks of one queue have phase, kind and
        systems in common, so that all of them may be granted or none. Without `lanes` copies are left out."""
        tasks = self.aggregate.tasks
        later: list[Urgency] = []
        for urgency in self.waiting.heads(lanes=lanes):
            while later and later[0] < urgency:
                yield tasks[heappop(later)[3]]
            task = tasks[urgency[3]]
            if task.not_before is None or task.not_before <= now:
                yield task
            elif (following := self._first_due(task, now)) is not None:
                heappush(later, following)
        while later:
            yield tasks[heappop(later)[3]]

    def _first_due(self, head: Task, now: datetime) -> Urgency | None:
        for urgency in self.waiting.queues[self._queue_of(head)]:
            not_before = self.aggregate.tasks[urgency[3]].not_before
            if not_before is None or not_before <= now:
                return urgency
        return None

    def _queue_of(self, task: Task) -> Queue:
        is_copy = task.kind is TaskKind.COPY
        source = self.aggregate.datasets[task.phase, task.datasets[0]].source_connection if is_copy else ""
        return (task.kind, task.phase, source, task.target)

    def _hold_back(self, task: Task, until: datetime | None) -> None:
        """A pending task is not to be leased before."""
        task.not_before = until
        if until is not None:
            self._held_back[task.id] = task

    def _count_lane(self, task: Task, lanes: int) -> None:
        """So many more of a task's kind of lane are at work."""
        for pool in self.layout.pools[task.phase, task.datasets[0]]:
            self.lanes_at_work[pool] += lanes

    # Parts -------------------------------------------------------------------------------------------------------------------------

    def _lanes(self, phase: PhaseRun) -> list[Lane]:
        return self._lanes_of.get((phase.id, phase.attempt), [])

    def _tasks(self, phase: PhaseRun, kind: TaskKind | None = None) -> list[Task]:
        tasks = self._tasks_of.get((phase.id, phase.attempt), [])
        return tasks if kind is None else [task for task in tasks if task.kind is kind]

    def _has(self, phase: PhaseRun, kind: TaskKind) -> bool:
        return (phase.id, phase.attempt, kind) in self._undone

    def _are_done(self, phase: PhaseRun, kind: TaskKind) -> bool:
        return self._undone.get((phase.id, phase.attempt, kind), -1) == 0

    def _targets(self, phase: PhaseRun) -> dict[str, list[str]]:
        return self.layout.targets[phase.id]

    def _add_by_target(self, kind: TaskKind, phase: PhaseRun, *, is_prepared: bool = False) -> None:
        for target, datasets in self._targets(phase).items():
            self._add_for_target(kind, phase, target, datasets, is_prepared=is_prepared)

    def _add_for_target(
        self, kind: TaskKind, phase: PhaseRun, target: str, datasets: list[str], *, is_prepared: bool = False
    ) -> None:
        self._add_task(kind, phase, tuple(datasets), target).is_prepared = is_prepared

    def _add_task(
        self, kind: TaskKind, phase: PhaseRun, datasets: tuple[str, ...], part: str, lane: str = "", detail: str = ""
    ) -> Task:
        record = self.aggregate.datasets[phase.id, datasets[0]] if datasets else None
        name = f"{self.run.name}/tasks/{phase.id}.{part}.{kind}.{phase.attempt}"
        if name in self.aggregate.tasks:
            name += f".{sum(task.id.startswith(name) for task in self._tasks(phase, kind)) + 1}"
        task = Task(
            id=name,
            kind=kind,
            phase=phase.id,
            attempt=phase.attempt,
            datasets=datasets,
            target=record.target_connection if record else "",
            affinity=record.affinity if record else "shared",
            lane=lane,
            detail=detail,
        )
        self.aggregate.tasks[task.id] = task
        self._register_task(task)
        self._note(task)
        return task

    def _add_lane(self, lane: Lane) -> None:
        self.aggregate.lanes[lane.id] = lane
        self._register_lane(lane)
        self._note(lane)

    def _register_lane(self, lane: Lane) -> None:
        self._lanes_of.setdefault((lane.phase, lane.attempt), []).append(lane)
        self._uncopied[lane.phase, lane.attempt] += lane.state is not LaneState.DONE

    def _register_task(self, task: Task) -> None:
        phase, attempt, kind, state = task.phase, task.attempt, task.kind, task.state
        self._tasks_of.setdefault((phase, attempt), []).append(task)
        counted = phase, attempt, kind
        self._undone[counted] = self._undone.get(counted, 0) + (state is not TaskState.DONE)
        if task.lane:
            self._task_of_lane[task.lane] = task
        if state is TaskState.PENDING:
            self._enqueue(task)
            if task.not_before is not None:
                self._held_back[task.id] = task
        elif state is TaskState.LEASED:
            self._leased[task.id] = task
            if kind is TaskKind.COPY:
                self._count_lane(task, 1)

    def _enqueue(self, task: Task) -> None:
        place = self._queue_of(task), self.urgency(task)
        self._places[task.id] = place
        self.waiting.add(*place)

    def urgency(self, task: Task) -> Urgency:
        """Undoing first, then by priority and the critical path."""
        priority, rank = self.layout.urgencies[task.phase]
        return task.kind not in UNDOING, priority, rank, task.id

    # Steps -------------------------------------------------------------------------------------------------------------------------

    def _step_run(self, after: RunState, failure: Failure | None = None) -> None:
        before = self.run.state
        check_step(RUN_STEPS, self.run.name, before, after)
        self.run.state = after
        self._emit(f"run.{after}", self.run.name, before, after, failure)

    def _step_phase(self, phase: PhaseRun, after: PhaseState, failure: Failure | None = None) -> None:
        before = phase.state
        if after not in PHASE_STEPS[before]:
            check_step(PHASE_STEPS, self._subject("phases", phase.id), before, after)
        phase.state = after
        if after in PHASE_DONE:
            self._touch(*self._ready.complete(phase.id))
        elif before in PHASE_DONE:
            self._ready.reopen(phase.id)
        self._touched[phase.id] = None
        if after not in IN_THE_WAY:
            self._touch(*phase.dependencies)  # those wait for it when they are undone
        if not self._is_quiet:
            self._note(phase)
            self._emit(f"phase.{after}", self._subject("phases", phase.id), before, after, failure)

    def _step_lane(self, lane: Lane, after: LaneState, failure: Failure | None = None) -> None:
        before = lane.state
        if after not in LANE_STEPS[before]:
            check_step(LANE_STEPS, self._subject("lanes", lane.id), before, after)
        lane.state = after
        if after is LaneState.DONE:
            self._uncopied[lane.phase, lane.attempt] -= 1
        if after is not LaneState.RUNNING:
            lane.host = ""
            self._add_copy_seconds(lane)
        if not self._is_quiet:
            self._note(lane)
            self._emit(f"lane.{after}", self._subject("lanes", lane.id), before, after, failure)

    def _add_copy_seconds(self, lane: Lane) -> None:
        task = self._task_of_lane.get(lane.id)
        if task is not None and task.leased_time is not None:
            dataset = self.aggregate.datasets[lane.phase, lane.dataset]
            dataset.copy_seconds += (self._now - task.leased_time).total_seconds()
            task.leased_time = None
            self._note(dataset)
            self._note(task)

    def _step_task(self, task: Task, after: TaskState) -> None:
        before = task.state
        if after not in TASK_STEPS[before]:
            check_step(TASK_STEPS, task.id, before, after)
        task.state = after
        if before is TaskState.PENDING:
            self.waiting.remove(*self._places.pop(task.id))
            if self._held_back:
                self._held_back.pop(task.id, None)
        elif before is TaskState.LEASED:
            del self._leased[task.id]
            if task.kind is TaskKind.COPY:
                self._count_lane(task, -1)
        if after is TaskState.LEASED:
            self._leased[task.id] = task
            if task.kind is TaskKind.COPY:
                self._count_lane(task, 1)
        else:
            task.host, task.lease_expires = "", None
            if after is TaskState.PENDING:
                self._enqueue(task)
            elif after is TaskState.DONE:
                self._undone[task.phase, task.attempt, task.kind] -= 1
        if after not in TASK_OPEN or before not in TASK_OPEN:
            self._touched[task.phase] = None
        if not self._is_quiet:
            self._changed[id(task)] = task

    def _subject(self, collection: str, part: str) -> str:
        return f"{self.run.name}/{collection}/{part}"

    def _touch(self, *phases: str) -> None:
        """Something about these phases has changed: what follows from it is to be found out."""
        for phase in phases:
            self._touched[phase] = None

    def _note(self, entity: Entity) -> None:
        if not self._is_quiet:
            self._changed[id(entity)] = entity

    def _emit(self, kind: str, subject: str, before: str, after: str, failure: Failure | None = None) -> None:
        if self._is_quiet:
            return
        self.run.events += 1
        self._note(self.run)
        self._events.append(
            RunEvent(self.run.events, self._now, kind, subject, str(before), str(after), self._actor, failure)
        )
