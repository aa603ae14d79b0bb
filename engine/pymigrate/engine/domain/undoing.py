"""The way back: what follows from a failure, from a cancellation, and from somebody's wish to undo or to seal what was published.

A phase is undone only when everything that needs it is; within a phase the last thing done is the first undone. What can't be undone
is blocked before anything of it is touched.
"""

from pymigrate.engine.domain.errors import FailedPrecondition, NotFound
from pymigrate.engine.domain.gates import is_to_start
from pymigrate.engine.domain.names import nearest
from pymigrate.engine.domain.run import Failure, PhaseRun, Task
from pymigrate.engine.domain.run_ledger import IN_THE_WAY, RunLedger
from pymigrate.engine.domain.run_states import (
    AFTERWARDS,
    PHASE_DONE,
    PHASE_IN_HAND,
    PHASE_NOT_STARTED_AGAIN,
    RUN_ENDED,
    TASK_OPEN,
    UNDOING,
    DesiredState,
    PhaseState,
    Point,
    RunState,
    TaskKind,
    TaskState,
)

TO_CLEAN_UP = frozenset({PhaseState.FAILED, PhaseState.SKIPPED, PhaseState.ROLLING_BACK})


class Undoing(RunLedger):
    """A run's way back."""

    # What follows from a failure -----------------------------------------------------------------------------------------------------

    def _fail_phase(self, phase: PhaseRun, failure: Failure) -> None:
        is_published_in_part = phase.state is PhaseState.PUBLISHING
        phase.failure = phase.failure or failure
        phase.end_time = self._now
        after = PhaseState.ROLLING_BACK if is_published_in_part else PhaseState.FAILED
        self._step_phase(phase, after, failure)
        self._drop_pending(phase)
        self._tell_final_step(phase)
        cause = Failure("DEPENDENCY_FAILED", f"phase `{phase.id}`, which it needs, failed")
        for waiting in self._precedence.descendants(phase.id):
            descendant = self.aggregate.phases[waiting]
            if self._is_waiting(descendant):
                self._skip(descendant, cause)

    def _skip(self, phase: PhaseRun, failure: Failure) -> None:
        phase.attempt, phase.failure, phase.end_time = self.run.attempt, failure, self._now
        if phase.state in PHASE_NOT_STARTED_AGAIN:
            self._note(phase)
            self._touch(phase.id)
            return
        self._step_phase(phase, PhaseState.SKIPPED, failure)

    def _is_waiting(self, phase: PhaseRun) -> bool:
        """Whether it is still to be run in this attempt of the run."""
        return is_to_start(self.run, phase)

    def _drop_pending(self, phase: PhaseRun) -> None:
        for task in self._tasks(phase):
            if task.state is TaskState.PENDING and task.kind not in AFTERWARDS:
                self._step_task(task, TaskState.DROPPED)

    # What is asked -------------------------------------------------------------------------------------------------------------------

    def _roll_back(self, name: str) -> bool:
        """Undoes a phase with its descendants, or everything where the name is empty. False: there is nothing to undo."""
        run = self.run
        if not name and run.state not in RUN_ENDED and run.state is not RunState.ROLLING_BACK:
            if run.is_rollback_asked:
                return False
            run.is_rollback_asked = True
            if run.desired is not DesiredState.CANCELLED:
                before, run.desired = run.desired, DesiredState.CANCELLED
                self._emit("run.steered", run.name, before, run.desired)
            self._touch(*self.aggregate.phases)
            self._note(run)
            return True
        chosen = self._chosen(name)
        begun = [phase for phase in reversed(chosen) if self._begin_undoing(phase)]
        if not begun:
            return False
        run.seal_time = None
        if run.state in RUN_ENDED:
            run.end_time = run.failure = None
            self._step_run(RunState.ROLLING_BACK)
        return True

    def _chosen(self, name: str) -> list[PhaseRun]:
        """The phases to undo, each after those that it needs. Raises NotFound, and FailedPrecondition where one is sealed."""
        phases = self.aggregate.phases
        if name and name not in phases:
            raise NotFound(f"there is no phase `{name}` in {self.run.name}{nearest(name, phases)}", field="phase")
        if name:
            chosen = [phases[name], *(phases[other] for other in self._precedence.descendants(name))]
        else:
            kept = self._needed_by_sealed()
            chosen = [phases[other] for other in self._precedence.order if other not in kept]
        for phase in chosen:
            if self._has_begun_sealing(phase):
                raise FailedPrecondition(
                    f"phase `{phase.id}` is sealed or being sealed: what it replaced is dropped, and it can't be undone"
                )
        return chosen

    def _needed_by_sealed(self) -> set[str]:
        kept: set[str] = set()
        for name in reversed(self._precedence.order):
            phase = self.aggregate.phases[name]
            if name in kept or self._has_begun_sealing(phase):
                kept.update((name, *phase.dependencies))
        return kept

    def _begin_undoing(self, phase: PhaseRun) -> bool:
        is_left = phase.state in {PhaseState.FAILED, PhaseState.SKIPPED} and any(
            task.state is TaskState.FAILED for kind in UNDOING for task in self._tasks(phase, kind)
        )
        asked = Failure("ROLLED_BACK", f"it was rolled back at the wish of {self._actor}")
        if is_left or phase.state in PHASE_IN_HAND | {PhaseState.PUBLISHED, PhaseState.ROLLBACK_BLOCKED}:
            phase.failure, phase.end_time = asked, self._now
            self._step_phase(phase, PhaseState.ROLLING_BACK, asked)
            self._drop_pending(phase)
            return True
        if self.run.state not in RUN_ENDED and self._is_waiting(phase):
            self._skip(phase, asked)
            return True
        return False

    def _seal(self, names: tuple[str, ...]) -> bool:
        """Drops the way back of published phases. False: all of them are sealed or being sealed."""
        phases = self.aggregate.phases
        for name in names:
            if name not in phases:
                raise NotFound(f"there is no phase `{name}` in {self.run.name}{nearest(name, phases)}", field="phases")
            if phases[name].state not in PHASE_DONE:
                raise FailedPrecondition(f"phase `{name}` is {phases[name].state}: only a published one can be sealed")
        chosen = [phases[name] for name in names] or list(phases.values())
        due = [p for p in chosen if p.state is PhaseState.PUBLISHED and not self._is_sealing(p)]
        for phase in due:
            self._add_by_target(TaskKind.SEAL, phase)
        if not names and self.run.seal_time is not None:
            self.run.seal_time = None
            self._note(self.run)
        if due:
            self._emit("seal.asked", self.run.name, self.run.state, self.run.state)
        return bool(due)

    def _has_begun_sealing(self, phase: PhaseRun) -> bool:
        """Whether its way back is dropped or being dropped, be it in one target of several: the others are not undone without that one."""
        begun = TASK_OPEN | {TaskState.DONE}
        tasks = self._tasks(phase, TaskKind.SEAL)
        return phase.state is PhaseState.SEALED or any(task.state in begun for task in tasks)

    def _is_sealing(self, phase: PhaseRun) -> bool:
        return any(task.state in TASK_OPEN for task in self._tasks(phase, TaskKind.SEAL))

    # What is undone ------------------------------------------------------------------------------------------------------------------

    def _clean_up(self, phase: PhaseRun) -> None:
        """Drops the staging of a phase that ended unpublished, once no host works on it any more; goes on with a rollback."""
        if phase.state is PhaseState.PUBLISHED:
            self._end_sealing(phase)
        if phase.state not in TO_CLEAN_UP:
            return
        self._drop_pending(phase)  # at once: what drains now is not to be handed out again while others still work
        if any(task.state is TaskState.LEASED and task.kind not in AFTERWARDS for task in self._tasks(phase)):
            return
        is_rolling_back = phase.state is PhaseState.ROLLING_BACK
        if is_rolling_back and not self._is_clear(phase):
            return
        if is_rolling_back and (final := self._final_step(phase)) is not None:
            if self._lets_go(phase):
                self._block(phase, final)
            return
        if not self._undo_steps(phase, Point.AFTER_PUBLICATION) or not self._undo_data(phase):
            return
        if self._undo_steps(phase, Point.BEFORE_START) and is_rolling_back:
            self._step_phase(phase, PhaseState.ROLLED_BACK, phase.failure)

    def _lets_go(self, phase: PhaseRun) -> bool:
        """Whether the sources of a phase that is blocked no longer keep what changes: one that is published has ended that itself."""
        is_published = any(task.fence > 0 for task in self._tasks(phase, TaskKind.PUBLISH))
        return not phase.is_online or is_published or self._undo_data(phase)

    def _is_clear(self, phase: PhaseRun) -> bool:
        """Whether nothing that needs it is in the way any more; where one is blocked, so is the phase."""
        dependents = [self.aggregate.phases[name] for name in self._precedence.dependents(phase.id)]
        blocked = next((each for each in dependents if each.state is PhaseState.ROLLBACK_BLOCKED), None)
        if blocked is not None:
            self._block(phase, Failure("DEPENDENT_BLOCKED", f"phase `{blocked.id}`, which needs it, can't be undone"))
            return False
        return not any(each.state in IN_THE_WAY for each in dependents)

    def _block(self, phase: PhaseRun, failure: Failure) -> None:
        """Nothing of it is touched."""
        phase.failure = failure
        self._step_phase(phase, PhaseState.ROLLBACK_BLOCKED, failure)

    def _tell_left(self, phase: PhaseRun, failure: Failure) -> None:
        self._emit("staging.left", self._subject("phases", phase.id), phase.state, phase.state, failure)

    def _tell_final_step(self, phase: PhaseRun) -> None:
        """A phase that ends unpublished takes back what it can; what it can't is told."""
        final = self._final_step(phase)
        if final is not None and phase.state is not PhaseState.ROLLING_BACK:
            self._tell_left(phase, final)

    def _final_step(self, phase: PhaseRun) -> Failure | None:
        name = next((name for name in self._begun_steps(phase) if name in phase.final_steps), None)
        return None if name is None else Failure("STEP_IS_FINAL", f"step `{name}` was done, and nothing undoes it")

    def _begun_steps(self, phase: PhaseRun) -> list[str]:
        return sorted({task.detail for task in self._tasks(phase, TaskKind.STEP) if task.fence > 0})

    def _undo_steps(self, phase: PhaseRun, point: Point) -> bool:
        """Undoes what was done outside databases, the last first, one after the other. True: nothing is left to undo."""
        for name in reversed(self._begun_steps(phase)):
            is_due = phase.steps.get(name) == point and name not in phase.final_steps
            if is_due and not self._is_undone(phase, TaskKind.UNDO, name):
                if not self._is_under_way(phase, TaskKind.UNDO, name):
                    self._add_task(TaskKind.UNDO, phase, (), name, detail=name)
                return False
        return True

    def _undo_data(self, phase: PhaseRun) -> bool:
        """Drops what is staged and takes back what is published, in every target. True: nothing is left to undo."""
        begun = (*self._tasks(phase, TaskKind.CAPTURE), *self._tasks(phase, TaskKind.COPY))
        if not any(task.fence > 0 for task in begun):
            return True
        is_over = True
        for target, datasets in self._targets(phase).items():
            if self._is_undone(phase, TaskKind.ROLLBACK, target):
                continue
            is_over = False
            if not self._is_under_way(phase, TaskKind.ROLLBACK, target):
                is_prepared = self._has(phase, TaskKind.PREPARE)
                self._add_for_target(TaskKind.ROLLBACK, phase, target, datasets, is_prepared=is_prepared)
        return is_over

    def _is_undone(self, phase: PhaseRun, kind: TaskKind, part: str) -> bool:
        """Whether it is done. What is left of a phase that only failed is given up when its first try fails for good."""
        ended = {TaskState.DONE} if phase.state is PhaseState.ROLLING_BACK else {TaskState.DONE, TaskState.FAILED}
        return any(task.state in ended for task in self._of_part(phase, kind, part))

    def _is_under_way(self, phase: PhaseRun, kind: TaskKind, part: str) -> bool:
        return any(task.state in TASK_OPEN for task in self._of_part(phase, kind, part))

    def _of_part(self, phase: PhaseRun, kind: TaskKind, part: str) -> list[Task]:
        return [task for task in self._tasks(phase, kind) if (task.detail or task.target) == part]

    def _end_sealing(self, phase: PhaseRun) -> None:
        if self._has(phase, TaskKind.SEAL) and all(
            any(task.state is TaskState.DONE for task in self._of_part(phase, TaskKind.SEAL, target))
            for target in self._targets(phase)
        ):
            self._step_phase(phase, PhaseState.SEALED)
