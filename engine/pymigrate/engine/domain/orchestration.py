"""The decision core: a run, something that happened, and the time give the run's next state and the work to hand out.

Deterministic and free of I/O: identifiers are derived, randomness (for the jitter of a retry) and time are passed in. The engine
drives it with real hosts; a rehearsal drives the same core with modelled ones.
"""

import random
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import assert_never

from pymigrate.engine.domain import graph
from pymigrate.engine.domain.errors import FailedPrecondition
from pymigrate.engine.domain.happenings import (
    Begun,
    CoreEvent,
    Drained,
    Failed,
    Leased,
    Lost,
    Progressed,
    Renewed,
    Retried,
    Steered,
    Succeeded,
)
from pymigrate.engine.domain.run import (
    PHASE_ENDED,
    PHASE_IN_HAND,
    RUN_ENDED,
    TASK_OPEN,
    DesiredState,
    Failure,
    Lane,
    LaneState,
    PhaseRun,
    PhaseState,
    RunAggregate,
    RunState,
    Task,
    TaskKind,
    TaskState,
)
from pymigrate.engine.domain.run_ledger import ENGINE, RunLedger

RETRIES_MAX = 20
RETRIES_INTERNAL_MAX = 3
LOSSES_REASON = "HOST_LOST"
BACKOFF_FIRST_SECONDS = 0.5
BACKOFF_MAX_SECONDS = 60.0
RETRIABLE_REASONS = frozenset({"INTERNAL", "FENCE_LOST"})


class RunCore(RunLedger):
    """One run's decisions. `apply` changes the aggregate; what `take` hands over must be stored, in one transaction, before
    anything is told to anybody."""

    def __init__(self, aggregate: RunAggregate, rng: random.Random) -> None:
        super().__init__(aggregate)
        self._rng = rng
        dependencies = {phase.id: phase.dependencies for phase in aggregate.phases.values()}
        self._dependents = {phase: graph.descendants(dependencies, phase) for phase in dependencies}
        weights = {
            phase: float(sum(max(d.rows_expected, 1) for d in aggregate.datasets.values() if d.phase == phase))
            for phase in dependencies
        }
        self._ranks = graph.ranks(dependencies, weights)

    def apply(self, event: CoreEvent, now: datetime) -> bool:
        """Takes in one event. False: it came from a host that no longer has the task, and changed nothing."""
        self._now = now
        self._actor = event.actor if isinstance(event, Steered | Retried) else ENGINE
        accepted = self._take_in(event)
        if accepted and not isinstance(event, Progressed | Renewed):
            self._advance()
        return accepted

    def claimable(self, now: datetime) -> list[Task]:
        """The tasks that may be leased now: undoing first, then by priority and the critical path."""
        is_held = self.run.desired is DesiredState.PAUSED  # a run that was cancelled while paused winds down
        tasks = [
            task
            for task in self.aggregate.tasks.values()
            if task.state is TaskState.PENDING
            and (task.not_before is None or task.not_before <= now)
            and (task.kind is TaskKind.ROLLBACK or not is_held)
        ]
        return sorted(tasks, key=self._urgency)

    def to_drain(self) -> list[str]:
        """Leased copies that should stop at their next checkpoint: the run is held or ended, or their phase failed."""
        is_held = self.run.desired is not DesiredState.RUNNING
        return [
            task.id
            for task in self.aggregate.tasks.values()
            if task.state is TaskState.LEASED
            and task.kind is TaskKind.COPY
            and (is_held or self.aggregate.phases[task.phase].state is not PhaseState.STAGING)
        ]

    def next_wake(self, since: datetime) -> datetime | None:
        """When the next task may be leased that is still held back at `since`."""
        pending = [task for task in self.aggregate.tasks.values() if task.state is TaskState.PENDING]
        return min((t.not_before for t in pending if t.not_before and t.not_before > since), default=None)

    def _urgency(self, task: Task) -> tuple[int, int, float, str]:
        phase = self.aggregate.phases[task.phase]
        return (task.kind is not TaskKind.ROLLBACK, -phase.priority, -self._ranks[task.phase], task.id)

    # What happened -----------------------------------------------------------------------------------------------------------------

    def _take_in(self, event: CoreEvent) -> bool:
        match event:
            case Begun():
                return True
            case Steered(desired=desired):
                return self._steer(desired)
            case Retried():
                return self._retry()
            case Leased(task=task_id, host=host, until=until):
                return self._lease(self.aggregate.tasks[task_id], host, until)
            case Lost(task=task_id):
                task = self.aggregate.tasks[task_id]
                return task.state is TaskState.LEASED and self._lose(task)
            case Renewed() | Progressed() | Succeeded() | Failed() | Drained():
                return self._report(event)
            case _:
                assert_never(event)

    def _report(self, event: Renewed | Progressed | Succeeded | Failed | Drained) -> bool:
        task = self.aggregate.tasks.get(event.task)
        if task is None or task.state is not TaskState.LEASED or task.fence != event.fence:
            return False
        match event:
            case Renewed(until=until):
                task.lease_expires = until
            case Progressed():
                self._progress(task, event)
            case Succeeded(verification=verification):
                self._succeed(task, verification)
            case Failed(failure=failure):
                self._fail(task, _placed(task, failure))
            case Drained():
                self._step_task(task, TaskState.PENDING)
                if task.lane:
                    self._step_lane(self.aggregate.lanes[task.lane], LaneState.PENDING)
            case _:
                assert_never(event)
        return True

    def _lease(self, task: Task, host: str, until: datetime) -> bool:
        if task.state is not TaskState.PENDING:
            return False
        self._step_task(task, TaskState.LEASED)
        task.host, task.lease_expires, task.leased_time, task.not_before = host, until, self._now, None
        phase = self.aggregate.phases[task.phase]
        if task.kind is not TaskKind.COPY:
            task.fence += 1
            return True
        lane = self.aggregate.lanes[task.lane]
        self._step_lane(lane, LaneState.RUNNING)
        lane.fence += 1
        lane.host = task.host
        lane.start_time = lane.start_time or self._now
        task.fence = lane.fence
        dataset = self.aggregate.datasets[lane.phase, lane.dataset]
        if dataset.start_time is None:
            dataset.start_time = self._now
            self._note(dataset)
        if phase.state is PhaseState.READY:
            self._step_phase(phase, PhaseState.STAGING)
        return True

    def _progress(self, task: Task, event: Progressed) -> None:
        if not task.lane:  # a verification that drained has got nowhere
            return
        lane = self.aggregate.lanes[task.lane]
        if event.chunks > lane.chunks:
            task.retries = 0
            lane.failure = None
        lane.chunks, lane.rows, lane.bytes = event.chunks, event.rows, event.bytes
        self._note(lane)

    def _succeed(self, task: Task, verification: bytes) -> None:
        self._step_task(task, TaskState.DONE)
        if task.kind is TaskKind.COPY:
            lane = self.aggregate.lanes[task.lane]
            self._step_lane(lane, LaneState.DONE)
            lane.end_time = self._now
            lane.failure = None
            dataset = self.aggregate.datasets[lane.phase, lane.dataset]
            self._note(dataset)
        elif task.kind is TaskKind.VERIFY:
            dataset = self.aggregate.datasets[task.phase, task.datasets[0]]
            dataset.verification = verification
            dataset.end_time = self._now
            self._note(dataset)

    def _lose(self, task: Task) -> bool:
        failure = Failure(LOSSES_REASON, f"worker host {task.host} was lost", is_temporary=True)
        self._try_again(task, failure, delay_seconds=0.0)
        return True

    def _fail(self, task: Task, failure: Failure) -> None:
        is_retriable = failure.is_temporary or failure.reason in RETRIABLE_REASONS
        if is_retriable:
            delay = min(BACKOFF_MAX_SECONDS, BACKOFF_FIRST_SECONDS * 2**task.retries) * self._rng.uniform(0.5, 1.0)
            self._try_again(task, failure, delay)
        else:
            self._give_up(task, failure)

    def _try_again(self, task: Task, failure: Failure, delay_seconds: float) -> None:
        retries_max = RETRIES_INTERNAL_MAX if failure.reason == "INTERNAL" else RETRIES_MAX
        if task.retries >= retries_max:
            self._give_up(task, failure)
            return
        task.retries += 1
        self._step_task(task, TaskState.PENDING)
        task.failure = failure
        task.not_before = self._now + timedelta(seconds=delay_seconds) if delay_seconds else None
        if task.kind is TaskKind.COPY:
            lane = self.aggregate.lanes[task.lane]
            lane.failure, lane.retries = failure, lane.retries + 1
            self._step_lane(lane, LaneState.STALLED, failure)

    def _give_up(self, task: Task, failure: Failure) -> None:
        self._step_task(task, TaskState.FAILED)
        task.failure = failure
        phase = self.aggregate.phases[task.phase]
        if task.kind is TaskKind.COPY:
            lane = self.aggregate.lanes[task.lane]
            lane.failure, lane.end_time = failure, self._now
            self._step_lane(lane, LaneState.FAILED, failure)
        if task.kind is TaskKind.ROLLBACK:
            if phase.state is PhaseState.ROLLING_BACK:
                phase.failure = failure
                self._step_phase(phase, PhaseState.ROLLBACK_BLOCKED, failure)
            else:
                self._emit("staging.left", self._subject("phases", phase.id), phase.state, phase.state, failure)
            return
        if phase.state in PHASE_IN_HAND:
            self._fail_phase(phase, failure)

    # What is asked -----------------------------------------------------------------------------------------------------------------

    def _steer(self, desired: DesiredState) -> bool:
        run = self.run
        if run.desired is desired:
            return False
        if run.state in RUN_ENDED or run.desired is DesiredState.CANCELLED:
            raise FailedPrecondition(f"{run.name} is {self._standing()} and can't be made {desired} any more")
        before, run.desired = run.desired, desired
        self._emit("run.steered", run.name, before, desired)
        if desired is DesiredState.PAUSED and run.state is not RunState.PAUSED:
            self._step_run(RunState.PAUSED)
        elif desired is DesiredState.RUNNING and run.state is RunState.PAUSED:
            self._step_run(RunState.RUNNING)
        return True

    def _retry(self) -> bool:
        run = self.run
        if run.state in {RunState.PENDING, RunState.RUNNING, RunState.PAUSED}:
            return False
        if run.state is not RunState.FAILED:
            raise FailedPrecondition(f"{run.name} is {run.state}; only a failed run can be retried")
        blocked = [p.id for p in self.aggregate.phases.values() if p.state is PhaseState.ROLLBACK_BLOCKED]
        if blocked:
            raise FailedPrecondition(
                f"{run.name} can't be retried while the rollback of {', '.join(blocked)} is blocked"
            )
        run.attempt += 1
        run.desired = DesiredState.RUNNING  # one that failed while it was held is meant to go on
        run.failure = run.end_time = None
        self._step_run(RunState.RUNNING)
        return True

    def _standing(self) -> str:
        return "being cancelled" if self.run.state not in RUN_ENDED else str(self.run.state)

    # What follows ------------------------------------------------------------------------------------------------------------------

    def _advance(self) -> None:
        run = self.run
        if run.state is RunState.PENDING:
            self._step_run(RunState.PAUSED if run.desired is DesiredState.PAUSED else RunState.RUNNING)
        if run.state not in {RunState.RUNNING, RunState.PAUSED}:
            return
        for phase in self.aggregate.phases.values():
            if run.desired is DesiredState.CANCELLED:
                self._wind_down(phase)
            else:
                self._advance_phase(phase)
        for phase in self.aggregate.phases.values():
            self._clean_up(phase)
        self._end_if_over()

    def _advance_phase(self, phase: PhaseRun) -> None:
        if self._is_waiting(phase) and self._are_published(phase.dependencies):
            self._make_ready(phase)
        if phase.state is PhaseState.STAGING and all(lane.state is LaneState.DONE for lane in self._lanes(phase)):
            self._step_phase(phase, PhaseState.VERIFYING)
            for dataset in self._datasets(phase):
                self._add_task(TaskKind.VERIFY, phase, (dataset,), dataset)
        if phase.state is PhaseState.VERIFYING and self._are_done(phase, TaskKind.VERIFY):
            self._step_phase(phase, PhaseState.PUBLISHING)
            self._add_by_target(TaskKind.PUBLISH, phase)
        if phase.state is PhaseState.PUBLISHING and self._are_done(phase, TaskKind.PUBLISH):
            phase.end_time = self._now
            self._step_phase(phase, PhaseState.PUBLISHED)
            for waiting in self._dependents[phase.id]:
                self._advance_phase(self.aggregate.phases[waiting])

    def _is_waiting(self, phase: PhaseRun) -> bool:
        """Whether it is still to be run in this attempt of the run."""
        if phase.state is PhaseState.PENDING:
            return True
        again = {PhaseState.FAILED, PhaseState.SKIPPED, PhaseState.ROLLED_BACK}
        return phase.state in again and phase.attempt < self.run.attempt

    def _are_published(self, phases: Iterable[str]) -> bool:
        return all(self.aggregate.phases[p].state in {PhaseState.PUBLISHED, PhaseState.SEALED} for p in phases)

    def _make_ready(self, phase: PhaseRun) -> None:
        phase.attempt = self.run.attempt
        phase.failure = phase.end_time = None
        phase.start_time = self._now
        self._step_phase(phase, PhaseState.READY)
        for dataset in self._datasets(phase):
            record = self.aggregate.datasets[phase.id, dataset]
            record.verification, record.end_time, record.start_time, record.copy_seconds = b"", None, None, 0.0
            self._note(record)
            suffix = f".{phase.attempt}" if phase.attempt > 1 else ""
            lane = Lane(f"{phase.id}.{dataset}{suffix}", phase.id, dataset, phase.attempt, record.rows_expected)
            self.aggregate.lanes[lane.id] = lane
            self._note(lane)
            self._add_task(TaskKind.COPY, phase, (dataset,), f"{dataset}", lane.id)

    def _fail_phase(self, phase: PhaseRun, failure: Failure) -> None:
        is_published_in_part = phase.state is PhaseState.PUBLISHING
        phase.failure = phase.failure or failure
        phase.end_time = self._now
        after = PhaseState.ROLLING_BACK if is_published_in_part else PhaseState.FAILED
        self._step_phase(phase, after, failure)
        self._drop_pending(phase)
        for waiting in self._dependents[phase.id]:
            descendant = self.aggregate.phases[waiting]
            if self._is_waiting(descendant):
                self._skip(descendant, Failure("DEPENDENCY_FAILED", f"phase `{phase.id}`, which it needs, failed"))

    def _skip(self, phase: PhaseRun, failure: Failure) -> None:
        phase.attempt, phase.failure, phase.end_time = self.run.attempt, failure, self._now
        if (
            phase.state is PhaseState.SKIPPED
            or phase.state is PhaseState.FAILED
            or phase.state is PhaseState.ROLLED_BACK
        ):
            self._note(phase)
            return
        self._step_phase(phase, PhaseState.SKIPPED, failure)

    def _wind_down(self, phase: PhaseRun) -> None:
        """Towards a cancelled run: what is being published is finished, everything else ends."""
        if phase.state is PhaseState.PUBLISHING:
            self._advance_phase(phase)
        elif phase.state in PHASE_IN_HAND or self._is_waiting(phase):
            self._skip(phase, Failure("CANCELLED", "the run was cancelled"))
            self._drop_pending(phase)

    def _clean_up(self, phase: PhaseRun) -> None:
        """Drops the staging of a phase that ended unpublished, once no host works on it any more; ends a rollback that is done."""
        if phase.state not in {PhaseState.FAILED, PhaseState.SKIPPED, PhaseState.ROLLING_BACK}:
            return
        tasks = self._tasks(phase)
        if any(task.state is TaskState.LEASED and task.kind is not TaskKind.ROLLBACK for task in tasks):
            return
        self._drop_pending(phase)
        undoing = [task for task in tasks if task.kind is TaskKind.ROLLBACK]
        if not undoing:
            if any(task.kind is TaskKind.COPY and task.fence > 0 for task in tasks):
                self._add_by_target(TaskKind.ROLLBACK, phase)
        elif phase.state is PhaseState.ROLLING_BACK and all(task.state is TaskState.DONE for task in undoing):
            self._step_phase(phase, PhaseState.ROLLED_BACK, phase.failure)

    def _drop_pending(self, phase: PhaseRun) -> None:
        for task in self._tasks(phase):
            if task.state is TaskState.PENDING and task.kind is not TaskKind.ROLLBACK:
                self._step_task(task, TaskState.DROPPED)

    def _end_if_over(self) -> None:
        phases = self.aggregate.phases.values()
        if any(task.state in TASK_OPEN for task in self.aggregate.tasks.values()):
            return
        if any(self._is_waiting(phase) or phase.state not in PHASE_ENDED for phase in phases):
            return
        failed = [phase for phase in phases if phase.state not in {PhaseState.PUBLISHED, PhaseState.SEALED}]
        self.run.end_time = self._now
        if self.run.desired is DesiredState.CANCELLED and failed:
            self._step_run(RunState.CANCELLED)
        elif failed:
            cause = next((p for p in failed if p.failure and p.failure.reason != "DEPENDENCY_FAILED"), failed[0])
            self.run.failure = cause.failure
            self._step_run(RunState.FAILED, cause.failure)
        else:
            self._step_run(RunState.SUCCEEDED)


def _placed(task: Task, failure: Failure) -> Failure:
    """A host tells a field relative to the dataset; the run tells it relative to the plan."""
    if not failure.field or failure.field.startswith("phases."):
        return failure
    return replace(failure, field=f"phases.{task.phase}.datasets.{task.datasets[0]}.{failure.field}")
