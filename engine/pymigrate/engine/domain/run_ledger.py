"""A run's aggregate while decisions are made: its parts, each step that is checked and told, and what must be stored in the end."""

from datetime import datetime

from pymigrate.engine.domain.run import (
    LANE_STEPS,
    PHASE_STEPS,
    RUN_STEPS,
    TASK_STEPS,
    Entity,
    Failure,
    Lane,
    LaneState,
    PhaseRun,
    PhaseState,
    RunAggregate,
    RunEvent,
    RunState,
    Task,
    TaskKind,
    TaskState,
    check_step,
)

ENGINE = "engine"


class RunLedger:
    """What every decision is made with. `take` hands over what changed; nothing else leaves the run."""

    def __init__(self, aggregate: RunAggregate) -> None:
        self.aggregate = aggregate
        self.run = aggregate.run
        self._changed: dict[int, Entity] = {}
        self._events: list[RunEvent] = []
        self._actor = ENGINE
        self._now: datetime = aggregate.run.create_time

    def take(self) -> tuple[list[Entity], list[RunEvent]]:
        """What changed since the last call. Stale entities and events never come twice."""
        if self._changed or self._events:
            self.run.update_time = self._now
            self._changed[id(self.run)] = self.run
        changed, events = list(self._changed.values()), self._events
        self._changed, self._events = {}, []
        return changed, events

    # Parts -------------------------------------------------------------------------------------------------------------------------

    def _datasets(self, phase: PhaseRun) -> list[str]:
        return [dataset for owner, dataset in self.aggregate.datasets if owner == phase.id]

    def _lanes(self, phase: PhaseRun) -> list[Lane]:
        return [n for n in self.aggregate.lanes.values() if n.phase == phase.id and n.attempt == phase.attempt]

    def _tasks(self, phase: PhaseRun) -> list[Task]:
        return [t for t in self.aggregate.tasks.values() if t.phase == phase.id and t.attempt == phase.attempt]

    def _are_done(self, phase: PhaseRun, kind: TaskKind) -> bool:
        tasks = [task for task in self._tasks(phase) if task.kind is kind]
        return bool(tasks) and all(task.state is TaskState.DONE for task in tasks)

    def _add_by_target(self, kind: TaskKind, phase: PhaseRun) -> None:
        by_target: dict[str, list[str]] = {}
        for dataset in self._datasets(phase):
            by_target.setdefault(self.aggregate.datasets[phase.id, dataset].target_connection, []).append(dataset)
        for target, datasets in sorted(by_target.items()):
            self._add_task(kind, phase, tuple(datasets), target)

    def _add_task(self, kind: TaskKind, phase: PhaseRun, datasets: tuple[str, ...], part: str, lane: str = "") -> None:
        record = self.aggregate.datasets[phase.id, datasets[0]]
        task = Task(
            id=f"{self.run.name}/tasks/{phase.id}.{part}.{kind}.{phase.attempt}",
            kind=kind,
            phase=phase.id,
            attempt=phase.attempt,
            datasets=datasets,
            target=record.target_connection,
            affinity=record.affinity,
            lane=lane,
        )
        self.aggregate.tasks[task.id] = task
        self._note(task)

    # Steps -------------------------------------------------------------------------------------------------------------------------

    def _step_run(self, after: RunState, failure: Failure | None = None) -> None:
        before = self.run.state
        check_step(RUN_STEPS, self.run.name, before, after)
        self.run.state = after
        self._emit(f"run.{after}", self.run.name, before, after, failure)

    def _step_phase(self, phase: PhaseRun, after: PhaseState, failure: Failure | None = None) -> None:
        before, subject = phase.state, self._subject("phases", phase.id)
        check_step(PHASE_STEPS, subject, before, after)
        phase.state = after
        self._note(phase)
        self._emit(f"phase.{after}", subject, before, after, failure)

    def _step_lane(self, lane: Lane, after: LaneState, failure: Failure | None = None) -> None:
        before, subject = lane.state, self._subject("lanes", lane.id)
        check_step(LANE_STEPS, subject, before, after)
        lane.state = after
        if after is not LaneState.RUNNING:
            lane.host = ""
            self._add_copy_seconds(lane)
        self._note(lane)
        self._emit(f"lane.{after}", subject, before, after, failure)

    def _add_copy_seconds(self, lane: Lane) -> None:
        task = next((t for t in self.aggregate.tasks.values() if t.lane == lane.id and t.leased_time), None)
        if task is not None and task.leased_time is not None:
            dataset = self.aggregate.datasets[lane.phase, lane.dataset]
            dataset.copy_seconds += (self._now - task.leased_time).total_seconds()
            task.leased_time = None
            self._note(dataset)
            self._note(task)

    def _step_task(self, task: Task, after: TaskState) -> None:
        check_step(TASK_STEPS, task.id, task.state, after)
        task.state = after
        if after is not TaskState.LEASED:
            task.host, task.lease_expires = "", None
        self._note(task)

    def _subject(self, collection: str, part: str) -> str:
        return f"{self.run.name}/{collection}/{part}"

    def _note(self, entity: Entity) -> None:
        self._changed[id(entity)] = entity

    def _emit(self, kind: str, subject: str, before: str, after: str, failure: Failure | None = None) -> None:
        self.run.events += 1
        self._note(self.run)
        self._events.append(
            RunEvent(self.run.events, self._now, kind, subject, str(before), str(after), self._actor, failure)
        )
