"""The decision core: a run, something that happened, and the time give the run's next state and the work to hand out.

Deterministic and free of I/O: identifiers are derived, randomness (for the jitter of a retry) and time are passed in. The engine
drives it with real hosts; a rehearsal drives the same core with modelled ones.
"""

import random
from collections.abc import Iterator
from datetime import datetime
from typing import assert_never

from pymigrate.engine.domain.errors import FailedPrecondition, NotFound
from pymigrate.engine.domain.gates import is_approvable
from pymigrate.engine.domain.happenings import (
    Approved,
    Asked,
    Begun,
    CoreEvent,
    Drained,
    Failed,
    GivenUp,
    Leased,
    Lost,
    PlanSucceeded,
    Progressed,
    Renewed,
    Retried,
    RollbackAsked,
    Scaled,
    SealAsked,
    Steered,
    Succeeded,
)
from pymigrate.engine.domain.held_data import HOLDING
from pymigrate.engine.domain.names import nearest
from pymigrate.engine.domain.reporting import Reporting
from pymigrate.engine.domain.run import PhaseRun, Task
from pymigrate.engine.domain.run_keys import given_up_key, is_given_up
from pymigrate.engine.domain.run_ledger import ENGINE
from pymigrate.engine.domain.run_states import (
    AFTERWARDS,
    PHASE_CUTTING_OVER,
    RUN_ENDED,
    DesiredState,
    PhaseState,
    Point,
    RunState,
    TaskKind,
    TaskState,
)

TO_DRAIN = {
    TaskKind.CAPTURE: PhaseState.READY,
    TaskKind.COPY: PhaseState.STAGING,
    TaskKind.CATCH_UP: PhaseState.STAGING,
}


class RunCore(Reporting):
    """One run's decisions. `apply` changes the aggregate; what `take` hands over must be stored, in one transaction, before
    anything is told to anybody."""

    @property
    def is_active(self) -> bool:
        """Whether it has not ended, or something is still to be done for it."""
        return self.run.state not in RUN_ENDED or self.has_open_tasks

    def twin(self, rng: random.Random) -> "RunCore":
        """Another core over a copy of the run as it is, which hands nothing over: to find out what would happen."""
        return RunCore(self.aggregate.copied(), rng, self.layout, is_quiet=True)

    def apply(self, event: CoreEvent, now: datetime) -> bool:
        """Takes in one event. False: it came from a host that no longer has the task, or changed nothing. Raises FailedPrecondition
        and NotFound for what can't be asked, with nothing changed."""
        self._now = now
        if type(event) is Progressed:  # by far the most frequent, and nothing follows from it
            return self._report(event)
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

    def candidates(self, now: datetime, *, lanes: bool = True) -> Iterator[Task]:
        """Of the tasks that may be leased now the first of each queue, in the same order. Without `lanes` copies are left out."""
        heads = self.heads(now, lanes=lanes)
        if self.run.desired is not DesiredState.PAUSED:
            return heads
        return (task for task in heads if not self._is_held(task))

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
        held_back = self._held_back.values()
        return min((t.not_before for t in held_back if t.not_before and t.not_before > since), default=None)

    # What happened -----------------------------------------------------------------------------------------------------------------

    def _take_in(self, event: CoreEvent) -> bool:
        self._actor = ENGINE
        match event:
            case Succeeded():
                return self._report(event)
            case Leased(task=task_id, host=host, until=until):
                wanted = self.aggregate.tasks.get(task_id)  # it was seen in a change that was then not stored, perhaps
                return wanted is not None and self._lease(wanted, host, until)
            case Begun():
                self._touch(*self.aggregate.phases)
                return True
            case Lost(task=task_id):
                task = self.aggregate.tasks.get(task_id)
                return task is not None and task.state is TaskState.LEASED and self._lose(task)
            case PlanSucceeded(plan=plan):
                return self._wait_no_longer(plan)
            case Renewed() | Progressed() | Failed() | Drained():
                return self._report(event)
            case Steered() | Scaled() | Retried() | Approved() | RollbackAsked() | SealAsked() | GivenUp():
                return self._do(event)
            case _:
                assert_never(event)

    def _do(self, event: Asked) -> bool:
        self._actor = event.actor
        match event:
            case Steered(desired=desired):
                return self._steer(desired)
            case Scaled(lanes_max=lanes_max):
                return self._scale(lanes_max)
            case Retried():
                return self._retry(event)
            case Approved(phase=phase, gate=gate):
                return self._approve(phase, gate)
            case RollbackAsked(phase=phase):
                return self._roll_back(phase)
            case SealAsked(phases=phases):
                return self._seal(phases)
            case GivenUp():
                return self._give_key_up()
            case _:
                assert_never(event)

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

    def _scale(self, lanes_max: int) -> bool:
        run = self.run
        if run.lanes_max == lanes_max:
            return False
        if run.state in RUN_ENDED or run.state is RunState.ROLLING_BACK or run.desired is DesiredState.CANCELLED:
            raise FailedPrecondition(f"{run.name} is {self._standing()}: lanes are limited while a run is under way")
        before, run.lanes_max = run.lanes_max, lanes_max
        self._emit("run.scaled", run.name, str(before), str(lanes_max))
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
        for phase in self.aggregate.phases.values():
            if phase.told_gates:
                phase.told_gates = ()
                self._note(phase)
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
        if phase.gates[gate] == Point.BEFORE_PUBLICATION and not self.is_approvable(phase):
            when = "has caught up" if phase.is_online else "is verified"
            raise FailedPrecondition(f"phase `{name}` is {phase.state}: gate `{gate}` is approved when it {when}")
        phase.approvals = {**phase.approvals, gate: self._actor}
        self._note(phase)
        self._touch(name)
        before = "waiting" if gate in phase.told_gates else "pending"
        self._emit("gate.approved", f"{self._subject('phases', name)}/gates/{gate}", before, "approved")
        return True

    def _give_key_up(self) -> bool:
        if is_given_up(self.run):
            return False
        holding = [phase.id for phase in self.aggregate.phases.values() if phase.state in HOLDING]
        if self.run.state not in RUN_ENDED or holding:
            raise FailedPrecondition(f"{self.run.name} is {self._standing()}: it is given up when all of it is undone")
        self.run.key = given_up_key(self.run.name)
        self._note(self.run)
        return True

    def is_approvable(self, phase: PhaseRun) -> bool:
        """Whether all of what is to be published can be looked at: what catches up is approved before writes are blocked."""
        return is_approvable(phase)

    def _wait_no_longer(self, plan: str) -> bool:
        if plan not in self.run.waiting_for:
            return False
        self.run.waiting_for = tuple(name for name in self.run.waiting_for if name != plan)
        self._emit("plan.succeeded", self.run.name, plan, "succeeded")
        self._touch(*self.aggregate.phases)
        return True

    def _standing(self) -> str:
        if self.run.state is RunState.ROLLING_BACK:
            return "being rolled back"
        return "being cancelled" if self.run.state not in RUN_ENDED else str(self.run.state)
