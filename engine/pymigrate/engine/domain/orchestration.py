"""The decision core: a run, something that happened, and the time give the run's next state and the work to hand out.

Deterministic and free of I/O: identifiers are derived, randomness (for the jitter of a retry) and time are passed in. The engine
drives it with real hosts; a rehearsal drives the same core with modelled ones.
"""

import random
from dataclasses import replace
from datetime import datetime, timedelta
from typing import assert_never

from pymigrate.engine.domain.advancing import Advancing
from pymigrate.engine.domain.errors import FailedPrecondition, NotFound
from pymigrate.engine.domain.happenings import (
    Approved,
    Asked,
    Begun,
    CoreEvent,
    Drained,
    Failed,
    Leased,
    Lost,
    PlanSucceeded,
    Progressed,
    Renewed,
    Reported,
    Retried,
    RollbackAsked,
    SealAsked,
    Steered,
    Succeeded,
)
from pymigrate.engine.domain.names import nearest
from pymigrate.engine.domain.run import Failure, PhaseRun, RunAggregate, Task
from pymigrate.engine.domain.run_ledger import ENGINE
from pymigrate.engine.domain.run_states import (
    AFTERWARDS,
    PHASE_CUTTING_OVER,
    PHASE_IN_HAND,
    RUN_ENDED,
    DesiredState,
    LaneState,
    PhaseState,
    Point,
    RunState,
    TaskKind,
    TaskState,
)

RETRIES_MAX = 20
RETRIES_INTERNAL_MAX = 3
LOSSES_WITHOUT_DELAY = 2
OUTAGE_SECONDS_MAX = 86_400.0
OUTAGE_REASON = "SYSTEM_UNAVAILABLE"
LOSSES_REASON = "HOST_LOST"
REFUSED_REASON = "DATA_REFUSED"
CONFLICT_REASON = "MERGE_CONFLICT"
BACKOFF_FIRST_SECONDS = 0.5
BACKOFF_MAX_SECONDS = 60.0
BACKOFF_DOUBLINGS_MAX = 10
RETRIABLE_REASONS = frozenset({"INTERNAL", "FENCE_LOST"})
CATCH_UP_SECONDS = 2.0
TO_DRAIN = {
    TaskKind.CAPTURE: PhaseState.READY,
    TaskKind.COPY: PhaseState.STAGING,
    TaskKind.CATCH_UP: PhaseState.STAGING,
}


class RunCore(Advancing):
    """One run's decisions. `apply` changes the aggregate; what `take` hands over must be stored, in one transaction, before
    anything is told to anybody."""

    def __init__(self, aggregate: RunAggregate, rng: random.Random) -> None:
        super().__init__(aggregate)
        self._rng = rng

    @property
    def is_active(self) -> bool:
        """Whether it has not ended, or something is still to be done for it."""
        return self.run.state not in RUN_ENDED or self.has_open_tasks

    def apply(self, event: CoreEvent, now: datetime) -> bool:
        """Takes in one event. False: it came from a host that no longer has the task, or changed nothing. Raises FailedPrecondition
        and NotFound for what can't be asked, with nothing changed."""
        self._now = now
        if type(event) is Progressed:  # by far the most frequent, and nothing follows from it
            return self._report(event)
        self._actor = event.actor if isinstance(event, Asked) else ENGINE
        accepted = self._take_in(event)
        if accepted and type(event) is not Renewed:
            self._advance()
        return accepted

    def claimable(self, now: datetime) -> list[Task]:
        """The tasks that may be leased now: undoing first, then by priority and the critical path."""
        return [
            task
            for task in self.pending()
            if (task.not_before is None or task.not_before <= now) and not self._is_held(task)
        ]

    def candidates(self, now: datetime) -> list[Task]:
        """Of the tasks that may be leased now the first of each queue, in the same order."""
        return [task for task in self.heads(now) if not self._is_held(task)]

    def _is_held(self, task: Task) -> bool:
        """A run that was cancelled while it was paused winds down, and a phase that has blocked writes to its sources goes on."""
        is_paused = self.run.desired is DesiredState.PAUSED
        return is_paused and task.kind not in AFTERWARDS and not self.is_cutting_over(task)

    def is_cutting_over(self, task: Task) -> bool:
        """Whether nobody can write to the task's sources until it is done."""
        phase = self.aggregate.phases[task.phase]
        return phase.is_online and phase.state in PHASE_CUTTING_OVER

    def to_drain(self) -> list[str]:
        """Leased copies that should stop at their next checkpoint, and what goes before and after them: the run is held or ended, or
        their phase failed."""
        is_held = self.run.desired is not DesiredState.RUNNING
        return [
            task.id
            for task in self._leased.values()
            if task.kind in TO_DRAIN and (is_held or self.aggregate.phases[task.phase].state is not TO_DRAIN[task.kind])
        ]

    def next_wake(self, since: datetime) -> datetime | None:
        """When the next task may be leased that is still held back at `since`."""
        return min((t.not_before for t in self.pending() if t.not_before and t.not_before > since), default=None)

    # What happened -----------------------------------------------------------------------------------------------------------------

    def _take_in(self, event: CoreEvent) -> bool:
        match event:
            case Begun():
                self._touch(*self.aggregate.phases)
                return True
            case Leased(task=task_id, host=host, until=until):
                wanted = self.aggregate.tasks.get(task_id)  # it was seen in a change that was then not stored, perhaps
                return wanted is not None and self._lease(wanted, host, until)
            case Lost(task=task_id):
                task = self.aggregate.tasks.get(task_id)
                return task is not None and task.state is TaskState.LEASED and self._lose(task)
            case PlanSucceeded(plan=plan):
                return self._wait_no_longer(plan)
            case Renewed() | Progressed() | Succeeded() | Failed() | Drained():
                return self._report(event)
            case Steered() | Retried() | Approved() | RollbackAsked() | SealAsked():
                return self._do(event)
            case _:
                assert_never(event)

    def _do(self, event: Asked) -> bool:
        match event:
            case Steered(desired=desired):
                return self._steer(desired)
            case Retried():
                return self._retry(event)
            case Approved(phase=phase, gate=gate):
                return self._approve(phase, gate)
            case RollbackAsked(phase=phase):
                return self._roll_back(phase)
            case SealAsked(phases=phases):
                return self._seal(phases)
            case _:
                assert_never(event)

    def _report(self, event: Reported) -> bool:
        task = self.aggregate.tasks.get(event.task)
        if task is None or task.state is not TaskState.LEASED or task.fence != event.fence:
            return False
        match event:
            case Progressed():
                self._progress(task, event)
            case Renewed(until=until):
                task.lease_expires = until
            case Succeeded():
                self._succeed(task, event)
            case Failed(failure=failure):
                self._fail(task, _placed(task, failure))
            case Drained():
                self._step_task(task, TaskState.PENDING)
                self._touch(task.phase)
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
        if phase.is_online and task.kind in {TaskKind.CAPTURE, TaskKind.CATCH_UP, TaskKind.VERIFY}:
            changing = self.aggregate.datasets[task.phase, task.datasets[0]]
            changing.fence += 1
            task.fence = changing.fence
            self._note(changing)
            return True
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
        if task.kind is TaskKind.CATCH_UP:
            dataset = self.aggregate.datasets[task.phase, task.datasets[0]]
            if event.changes > dataset.changes:
                task.retries, task.failing_since = 0, None
            dataset.lag_seconds, dataset.changes = event.lag_seconds, max(dataset.changes, event.changes)
            self._note(dataset)
        if not task.lane:  # a verification that drained has got nowhere
            return
        lane = self.aggregate.lanes[task.lane]
        if event.chunks > lane.chunks:
            task.retries, task.failing_since = 0, None
            lane.failure = None
        lane.chunks, lane.rows, lane.bytes = event.chunks, event.rows, event.bytes
        lane.quarantined_rows = event.quarantined_rows
        self._note(lane)

    def _succeed(self, task: Task, event: Succeeded) -> None:
        if task.kind is TaskKind.CATCH_UP:
            self._caught_up(task)
            return
        self._step_task(task, TaskState.DONE)
        match task.kind:
            case TaskKind.COPY:
                lane = self.aggregate.lanes[task.lane]
                self._step_lane(lane, LaneState.DONE)
                if lane.quarantined_rows:
                    said = Failure(REFUSED_REASON, f"{lane.quarantined_rows:,} rows were refused and are in quarantine")
                    subject = f"{self._subject('phases', task.phase)}/datasets/{lane.dataset}"
                    self._emit("dataset.quarantined", subject, TaskState.LEASED, TaskState.DONE, said)
                lane.end_time = self._now
                lane.failure = None
            case TaskKind.VERIFY:
                dataset = self.aggregate.datasets[task.phase, task.datasets[0]]
                dataset.verification = event.verification
                dataset.end_time = self._now
                self._note(dataset)
                if event.warning is not None:
                    subject = f"{self._subject('phases', task.phase)}/datasets/{task.datasets[0]}"
                    self._emit("dataset.repaired", subject, TaskState.LEASED, TaskState.DONE, event.warning)
            case TaskKind.PREPARE:
                task.is_prepared = event.is_prepared
            case TaskKind.PUBLISH:
                for name, rows in event.conflicts.items():
                    dataset = self.aggregate.datasets[task.phase, name]
                    dataset.conflicts = rows
                    self._note(dataset)
                for name, notes in event.schema_notes.items():
                    dataset = self.aggregate.datasets[task.phase, name]
                    dataset.schema_notes = tuple(dict.fromkeys((*dataset.schema_notes, *notes)))
                    self._note(dataset)
            case TaskKind.STEP | TaskKind.UNDO:
                self._emit(f"step.{task.kind}", self._step_subject(task), TaskState.LEASED, TaskState.DONE)
            case TaskKind.CAPTURE | TaskKind.ROLLBACK | TaskKind.SEAL:
                pass
            case _:
                assert_never(task.kind)

    def _caught_up(self, task: Task) -> None:
        """It is done again and again until writes are blocked: the source goes on changing."""
        dataset = self.aggregate.datasets[task.phase, task.datasets[0]]
        dataset.lag_seconds = max(dataset.lag_seconds, 0.0)
        self._note(dataset)
        self._step_task(task, TaskState.PENDING)
        task.retries, task.failing_since, task.failure = 0, None, None
        task.not_before = self._now + timedelta(seconds=CATCH_UP_SECONDS)
        self._touch(task.phase)

    def _step_subject(self, task: Task) -> str:
        return f"{self._subject('phases', task.phase)}/steps/{task.detail}"

    def _lose(self, task: Task) -> bool:
        """At once with another host at first; one that keeps losing its hosts waits as one that keeps failing does."""
        failure = Failure(LOSSES_REASON, f"worker host {task.host} was lost", is_temporary=True)
        losses = task.retries - LOSSES_WITHOUT_DELAY
        self._try_again(task, failure, self._backoff_seconds(losses) if losses >= 0 else 0.0)
        return True

    def _fail(self, task: Task, failure: Failure) -> None:
        is_retriable = failure.is_temporary or failure.reason in RETRIABLE_REASONS
        if is_retriable:
            self._try_again(task, failure, self._backoff_seconds(task.retries))
        else:
            self._give_up(task, failure)

    def _backoff_seconds(self, retries: int) -> float:
        longest: float = BACKOFF_FIRST_SECONDS * 2 ** min(retries, BACKOFF_DOUBLINGS_MAX)
        return min(BACKOFF_MAX_SECONDS, longest) * self._rng.uniform(0.5, 1.0)

    def _try_again(self, task: Task, failure: Failure, delay_seconds: float) -> None:
        if self._is_hopeless(task, failure):
            self._give_up(task, failure)
            return
        task.retries += 1
        task.failing_since = task.failing_since or self._now
        self._step_task(task, TaskState.PENDING)
        self._touch(task.phase)
        task.failure = failure
        task.not_before = self._now + timedelta(seconds=delay_seconds) if delay_seconds else None
        if task.kind is TaskKind.COPY:
            lane = self.aggregate.lanes[task.lane]
            lane.failure, lane.retries = failure, lane.retries + 1
            self._step_lane(lane, LaneState.STALLED, failure)

    def _is_hopeless(self, task: Task, failure: Failure) -> bool:
        """A system that is away comes back; it is waited for so long. Everything else is tried so often."""
        if failure.reason == OUTAGE_REASON:
            since = task.failing_since or self._now
            return (self._now - since).total_seconds() > OUTAGE_SECONDS_MAX
        return task.retries >= (RETRIES_INTERNAL_MAX if failure.reason == "INTERNAL" else RETRIES_MAX)

    def _give_up(self, task: Task, failure: Failure) -> None:
        self._step_task(task, TaskState.FAILED)
        task.failure = failure
        phase = self.aggregate.phases[task.phase]
        if task.kind is TaskKind.SEAL:
            self._emit("seal.failed", self._subject("phases", phase.id), phase.state, phase.state, failure)
            return
        if task.kind in AFTERWARDS:
            if phase.state is PhaseState.ROLLING_BACK:
                self._block(phase, failure)
            else:
                self._tell_left(phase, failure)
            return
        if task.datasets and task.kind is not TaskKind.PUBLISH:
            self._quarantine(task, failure)
        if task.kind is TaskKind.COPY:
            lane = self.aggregate.lanes[task.lane]
            lane.failure, lane.end_time = failure, self._now
            after = LaneState.CONFLICT if failure.reason == CONFLICT_REASON else LaneState.FAILED
            self._step_lane(lane, after, failure)
        if phase.state in PHASE_IN_HAND:
            self._fail_phase(phase, failure)

    def _quarantine(self, task: Task, failure: Failure) -> None:
        """What no try would mend keeps its dataset out of the target, and says which chunk it befell."""
        chunk = self.aggregate.lanes[task.lane].chunks + 1 if task.lane else 0
        told = replace(failure, message=f"chunk {chunk} of lane {task.lane}: {failure.message}") if chunk else failure
        for name in task.datasets:
            dataset = self.aggregate.datasets[task.phase, name]
            if dataset.quarantine is None:
                dataset.quarantine = told
                self._note(dataset)
                subject = f"{self._subject('phases', task.phase)}/datasets/{name}"
                self._emit("dataset.quarantined", subject, "", "quarantined", told)

    # What is asked -----------------------------------------------------------------------------------------------------------------

    def _steer(self, desired: DesiredState) -> bool:
        run = self.run
        if run.desired is desired:
            return False
        if run.state in RUN_ENDED or run.desired is DesiredState.CANCELLED:
            raise FailedPrecondition(f"{run.name} is {self._standing()} and can't be made {desired} any more")
        if run.state is RunState.ROLLING_BACK:
            raise FailedPrecondition(f"{run.name} is being rolled back and can't be made {desired} any more")
        before, run.desired = run.desired, desired
        self._touch(*self.aggregate.phases)
        self._emit("run.steered", run.name, before, desired)
        if desired is DesiredState.PAUSED and run.state is not RunState.PAUSED:
            self._step_run(RunState.PAUSED)
        elif desired is DesiredState.RUNNING and run.state is RunState.PAUSED:
            self._step_run(RunState.RUNNING)
        return True

    def _retry(self, event: Retried) -> bool:
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
        for place, ranges in event.ranges.items():
            dataset = self.aggregate.datasets[place]
            dataset.ranges, dataset.rows_expected = ranges, event.rows[place]
            self._note(dataset)
        run.attempt += 1
        run.desired = DesiredState.RUNNING  # one that failed while it was held is meant to go on
        run.failure = run.end_time = run.seal_time = None
        self._touch(*self.aggregate.phases)
        self._step_run(RunState.RUNNING)
        return True

    def _approve(self, name: str, gate: str) -> bool:
        phase = self.aggregate.phases.get(name)
        if phase is None:
            known = self.aggregate.phases
            raise NotFound(f"there is no phase `{name}` in {self.run.name}{nearest(name, known)}", field="phase")
        if gate not in phase.gates:
            raise NotFound(f"there is no gate `{gate}` in phase `{name}`{nearest(gate, phase.gates)}", field="gate")
        if gate in phase.approvals:
            return False
        if phase.gates[gate] == Point.BEFORE_PUBLICATION and not self._is_approvable(phase):
            when = "has caught up" if phase.is_online else "is verified"
            raise FailedPrecondition(f"phase `{name}` is {phase.state}: gate `{gate}` is approved when it {when}")
        phase.approvals = {**phase.approvals, gate: self._actor}
        self._note(phase)
        self._touch(name)
        self._emit("gate.approved", f"{self._subject('phases', name)}/gates/{gate}", "pending", "approved")
        return True

    def _is_approvable(self, phase: PhaseRun) -> bool:
        """Whether all of what is to be published can be looked at: what catches up is approved before writes are blocked."""
        if phase.is_online:
            return phase.state is PhaseState.STAGING and phase.is_caught_up
        return phase.state is PhaseState.VERIFYING

    def _wait_no_longer(self, plan: str) -> bool:
        if plan not in self.run.waiting_for:
            return False
        self.run.waiting_for = tuple(name for name in self.run.waiting_for if name != plan)
        self._emit("plan.succeeded", self.run.name, plan, "succeeded")
        self._touch(*self.aggregate.phases)
        return True

    def _standing(self) -> str:
        return "being cancelled" if self.run.state not in RUN_ENDED else str(self.run.state)


def _placed(task: Task, failure: Failure) -> Failure:
    """A host tells a field relative to the dataset; the run tells it relative to the plan."""
    if not failure.field or not task.datasets or failure.field.startswith("phases."):
        return failure
    return replace(failure, field=f"phases.{task.phase}.datasets.{task.datasets[0]}.{failure.field}")
