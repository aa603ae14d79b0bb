"""Decision cores with one thing wrong: what starts, what is tried again, what is undone and in which order."""

from datetime import datetime

from pymigrate.engine.domain.orchestration import RunCore
from pymigrate.engine.domain.run import Failure, PhaseRun, Task
from pymigrate.engine.domain.run_states import Point, TaskKind


class CoreOfOneFence(RunCore):
    """A lane that is handed out again has the fence that it had."""

    def _lease(self, task: Task, host: str, until: datetime) -> bool:
        lane = self.aggregate.lanes.get(task.lane)
        if lane is not None and lane.fence:
            lane.fence -= 1
        return super()._lease(task, host, until)


class CoreWithoutDependencies(RunCore):
    """A phase starts whenever it may."""

    def _may_start(self, phase: PhaseRun) -> bool:
        return self._is_approved(phase, Point.BEFORE_START)


class CoreWithoutGates(RunCore):
    """Nobody is asked."""

    def _is_approved(self, phase: PhaseRun, point: Point) -> bool:
        del phase, point
        return True


class CoreWithoutVerification(RunCore):
    """What is copied is good enough."""

    def _are_done(self, phase: PhaseRun, kind: TaskKind) -> bool:
        return kind is TaskKind.VERIFY or super()._are_done(phase, kind)


class CoreWithoutRetries(RunCore):
    """Whatever fails has failed for good."""

    def _fail(self, task: Task, failure: Failure) -> None:
        self._give_up(task, failure)


class CoreThatTriesForEver(RunCore):
    """Nothing fails for good."""

    def _is_hopeless(self, task: Task, failure: Failure, *, is_wait: bool) -> bool:
        del task, failure, is_wait
        return False

    def _fail(self, task: Task, failure: Failure) -> None:
        self._try_again(task, failure, 1.0)


class CoreWithoutDrain(RunCore):
    """A run that is held goes on with what it has begun."""

    def to_drain(self) -> list[str]:
        return []


class CoreWithoutCleaning(RunCore):
    """What failed leaves its staging behind."""

    def _clean_up(self, phase: PhaseRun) -> None:
        if phase.state == "rolling_back":
            super()._clean_up(phase)


class CoreThatUndoesNoData(RunCore):
    """A rollback of the words alone."""

    def _undo_data(self, phase: PhaseRun) -> bool:
        del phase
        return True


class CoreThatUndoesNoSteps(RunCore):
    """What was done outside databases stays done."""

    def _undo_steps(self, phase: PhaseRun, point: Point) -> bool:
        del phase, point
        return True


class CoreThatUndoesInAnyOrder(RunCore):
    """A phase is undone while others still need it."""

    def _is_clear(self, phase: PhaseRun) -> bool:
        del phase
        return True


class CoreThatLosesTasks(RunCore):
    """What a lost host had is nobody's."""

    def _lose(self, task: Task) -> bool:
        del task
        return True
