"""The way forward: when a phase may start, and what follows when its lanes, its verification and its publication are done."""

from datetime import timedelta

from pymigrate.engine.domain.run import Failure, Lane, PhaseRun
from pymigrate.engine.domain.run_states import (
    PHASE_DONE,
    PHASE_ENDED,
    PHASE_IN_HAND,
    PHASE_NOT_STARTED_AGAIN,
    TASK_OPEN,
    DesiredState,
    PhaseState,
    Point,
    RunState,
    TaskKind,
    TaskState,
)
from pymigrate.engine.domain.undoing import Undoing

FOLLOWED = frozenset({"DEPENDENCY_FAILED", "DEPENDENT_BLOCKED"})
NOT_STARTED = PHASE_NOT_STARTED_AGAIN | {PhaseState.PENDING}
UNDER_WAY = frozenset({RunState.RUNNING, RunState.PAUSED})


class Advancing(Undoing):
    """A run's way forward."""

    def _advance(self) -> None:
        """What follows from everything that was touched, until nothing more follows."""
        if self.run.state is RunState.PENDING:
            self._step_run(RunState.PAUSED if self.run.desired is DesiredState.PAUSED else RunState.RUNNING)
        touched, phases = self._touched, self.aggregate.phases
        while True:
            while touched:
                name = next(iter(touched))
                del touched[name]
                self._follow(phases[name])
            if not self.has_open_tasks:
                self._end_if_over()
            if not touched:
                return

    def _follow(self, phase: PhaseRun) -> None:
        if self.run.state in UNDER_WAY:
            if self.run.desired is DesiredState.CANCELLED:
                self._wind_down(phase)
            else:
                self._advance_phase(phase)
                # What follows from its own steps has been looked at: the stages come in their order.
                self._touched.pop(phase.id, None)
        self._clean_up(phase)

    def _wind_down(self, phase: PhaseRun) -> None:
        """Towards a cancelled run: what is being published is finished, everything else ends."""
        if phase.state is PhaseState.PUBLISHING:
            self._advance_phase(phase)
        elif phase.state in PHASE_IN_HAND or self._is_waiting(phase):
            self._skip(phase, Failure("CANCELLED", "the run was cancelled"))
            self._drop_pending(phase)
            self._tell_final_step(phase)

    def _advance_phase(self, phase: PhaseRun) -> None:
        if phase.state in NOT_STARTED and self._is_waiting(phase) and self._may_start(phase):
            self._make_ready(phase)
        if (
            phase.state is PhaseState.READY
            and not self._lanes(phase)
            and self._are_steps_done(phase, Point.BEFORE_START)
            and self._is_captured(phase)
        ):
            self._open_lanes(phase)
        if (
            phase.state is PhaseState.STAGING
            and not self._uncopied[phase.id, phase.attempt]
            and self._is_caught_up(phase)
        ):
            self._step_phase(phase, PhaseState.VERIFYING)
            for dataset in self._datasets_of[phase.id]:
                self._add_task(TaskKind.VERIFY, phase, (dataset,), dataset)
        if (
            phase.state is PhaseState.VERIFYING
            and self._are_done(phase, TaskKind.VERIFY)
            and self._is_approved(phase, Point.BEFORE_PUBLICATION)
        ):
            self._step_phase(phase, PhaseState.PUBLISHING)
        if (
            phase.state is PhaseState.PUBLISHING
            and self._is_data_published(phase)
            and self._are_steps_done(phase, Point.AFTER_PUBLICATION)
        ):
            phase.end_time = self._now
            self._step_phase(phase, PhaseState.PUBLISHED)

    def _is_captured(self, phase: PhaseRun) -> bool:
        """Whether the sources of an online phase keep what changes from now on: that comes before anything of them is read."""
        if phase.is_online and not self._has(phase, TaskKind.CAPTURE):
            for dataset in self._datasets_of[phase.id]:
                record = self.aggregate.datasets[phase.id, dataset]
                record.lag_seconds, record.changes = -1.0, 0
                self._note(record)
                self._add_task(TaskKind.CAPTURE, phase, (dataset,), dataset)
        return not phase.is_online or self._are_done(phase, TaskKind.CAPTURE)

    def _is_caught_up(self, phase: PhaseRun) -> bool:
        """Whether writes to the sources of an online phase may be blocked now. Until then every dataset catches up again and again, also
        while a gate holds it."""
        if not phase.is_online:
            return True
        datasets = [self.aggregate.datasets[phase.id, dataset] for dataset in self._datasets_of[phase.id]]
        if not self._has(phase, TaskKind.CATCH_UP):
            for record in datasets:
                self._add_task(TaskKind.CATCH_UP, phase, (record.id,), record.id)
        tasks = self._tasks(phase, TaskKind.CATCH_UP)
        is_first = any(task.not_before is None and task.state is TaskState.PENDING for task in tasks)
        if is_first or any(not 0.0 <= record.lag_seconds <= record.lag_seconds_max for record in datasets):
            return False
        if not phase.is_caught_up:
            phase.is_caught_up = True
            self._note(phase)
            self._emit("staging.caught_up", self._subject("phases", phase.id), phase.state, phase.state)
        if not self._is_approved(phase, Point.BEFORE_PUBLICATION):
            return False
        for task in tasks:
            if task.state is TaskState.PENDING and task.failure is None:
                self._step_task(task, TaskState.DROPPED)
        return not any(task.state in TASK_OPEN for task in tasks)

    def _may_start(self, phase: PhaseRun) -> bool:
        is_free = self._ready.is_free(phase.id) and not self.run.waiting_for
        return is_free and self._is_approved(phase, Point.BEFORE_START)

    def _is_approved(self, phase: PhaseRun, point: Point) -> bool:
        """Whether the gates of a point are open. Asked last, once nothing else holds the phase up: those that are shut wait from then on,
        which is told once in an attempt, whichever engine asks how often."""
        if not phase.gates:
            return True
        shut = [name for name, where in sorted(phase.gates.items()) if where == point and name not in phase.approvals]
        for name in shut:
            if name not in phase.told_gates:
                phase.told_gates = (*phase.told_gates, name)
                self._note(phase)
                self._emit("gate.waiting", f"{self._subject('phases', phase.id)}/gates/{name}", "pending", "waiting")
        return not shut

    def _make_ready(self, phase: PhaseRun) -> None:
        phase.attempt = self.run.attempt
        phase.failure = phase.end_time = None
        phase.is_caught_up = False
        phase.start_time = self._now
        # What is published is other data than what was looked at before, and is approved anew.
        if phase.approvals:
            later = {name for name, where in phase.gates.items() if where == Point.BEFORE_PUBLICATION}
            phase.approvals = {name: who for name, who in phase.approvals.items() if name not in later}
        self._step_phase(phase, PhaseState.READY)

    def _open_lanes(self, phase: PhaseRun) -> None:
        suffix = f".{phase.attempt}" if phase.attempt > 1 else ""
        for dataset in self._datasets_of[phase.id]:
            record = self.aggregate.datasets[phase.id, dataset]
            record.verification, record.end_time, record.start_time = b"", None, None
            record.copy_seconds = record.verify_seconds = record.publish_seconds = 0.0
            record.quarantine, record.conflicts = None, 0
            self._note(record)
            parts = len(record.ranges)
            for part in range(1, parts + 1) if parts > 1 else (0,):
                name = f"{dataset}.p{part}" if part else dataset
                rows = record.rows_expected // parts if part and record.rows_expected > 0 else record.rows_expected
                lane = Lane(f"{phase.id}.{name}{suffix}", phase.id, dataset, phase.attempt, rows, part=part)
                self._add_lane(lane)
                self._add_task(TaskKind.COPY, phase, (dataset,), name, lane.id)

    def _are_steps_done(self, phase: PhaseRun, point: Point) -> bool:
        """Does what is to be done outside databases, one after the other in the order of the names. True: all of it is done."""
        if not phase.steps:
            return True
        known = {task.detail: task for task in self._tasks(phase, TaskKind.STEP)}
        for name in sorted(phase.steps):
            if phase.steps[name] != point:
                continue
            if name not in known:
                self._add_task(TaskKind.STEP, phase, (), name, detail=name)
                return False
            if known[name].state is not TaskState.DONE:
                return False
        return True

    def _is_data_published(self, phase: PhaseRun) -> bool:
        """Publishes what is to be published next. Of several targets each is prepared first; then those publish that could not be
        prepared, and at last those that were, which nothing of the data can make fail any more."""
        targets = self._targets(phase)
        if len(targets) == 1:
            if not self._has(phase, TaskKind.PUBLISH):
                self._publish_in(phase, list(targets), set())
            return self._are_done(phase, TaskKind.PUBLISH)
        if not self._has(phase, TaskKind.PREPARE):
            self._add_by_target(TaskKind.PREPARE, phase)
        if not self._are_done(phase, TaskKind.PREPARE):
            return False
        prepared = {task.target for task in self._tasks(phase, TaskKind.PREPARE) if task.is_prepared}
        if not self._has(phase, TaskKind.PUBLISH):
            self._publish_in(
                phase, [target for target in targets if target not in prepared] or sorted(prepared), prepared
            )
        if not self._are_done(phase, TaskKind.PUBLISH):
            return False
        published = {task.target for task in self._tasks(phase, TaskKind.PUBLISH)}
        left = [target for target in targets if target not in published]
        self._publish_in(phase, left, prepared)
        return not left

    def _publish_in(self, phase: PhaseRun, targets: list[str], prepared: set[str]) -> None:
        datasets = self._targets(phase)
        for target in targets:
            self._add_for_target(TaskKind.PUBLISH, phase, target, datasets[target], is_prepared=target in prepared)

    # The end -------------------------------------------------------------------------------------------------------------------------

    def _end_if_over(self) -> None:
        if self.run.state is RunState.ROLLING_BACK:
            self._end_rollback()
        elif self.run.state in UNDER_WAY:
            self._end_run()

    def _end_rollback(self) -> None:
        phases = self.aggregate.phases.values()
        if any(phase.state is PhaseState.ROLLING_BACK for phase in phases):
            return
        blocked = [phase for phase in phases if phase.state is PhaseState.ROLLBACK_BLOCKED]
        self.run.end_time = self._now
        if blocked:
            self.run.failure = _cause(blocked)
            self._step_run(RunState.ROLLBACK_BLOCKED, self.run.failure)
        else:
            self._step_run(RunState.ROLLED_BACK)

    def _end_run(self) -> None:
        phases = self.aggregate.phases.values()
        if any(self._is_waiting(phase) or phase.state not in PHASE_ENDED for phase in phases):
            return
        failed = [phase for phase in phases if phase.state not in PHASE_DONE]
        self.run.end_time = self._now
        if self.run.desired is DesiredState.CANCELLED and failed:
            self._step_run(RunState.CANCELLED)
        elif failed:
            self.run.failure = _cause(failed)
            self._step_run(RunState.FAILED, self.run.failure)
        else:
            self._step_run(RunState.SUCCEEDED)
        if self.run.is_rollback_asked:
            self.run.is_rollback_asked = False
            self._roll_back("")
        else:
            self._set_seal_time()

    def _set_seal_time(self) -> None:
        is_any_published = any(phase.state is PhaseState.PUBLISHED for phase in self.aggregate.phases.values())
        if is_any_published and self.run.rollback_window_seconds >= 0:
            self.run.seal_time = self._now + timedelta(seconds=self.run.rollback_window_seconds)
            self._note(self.run)


def _cause(phases: list[PhaseRun]) -> Failure | None:
    """The failure that others followed from."""
    failures = [phase.failure for phase in phases if phase.failure]
    return next((failure for failure in failures if failure.reason not in FOLLOWED), failures[0] if failures else None)
