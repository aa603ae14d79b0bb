"""What goes wrong only with sources that are written to meanwhile: their captures, and who reads and ends them."""

from collections.abc import Iterator, Sequence
from typing import Any

from pymigrate.engine.domain.orchestration import RunCore
from pymigrate.engine.domain.run import PhaseRun
from pymigrate.engine.domain.types import ColumnInfo
from pymigrate.engine.entrypoints.worker.task_work import TaskWork
from pymigrate.engine.entrypoints.worker.tasks import TaskRunner
from pymigrate.engine.ports.capture import Changed
from pymigrate.engine.ports.ranges import Position
from pymigrate.engine.ports.relations import SourceRelation
from pymigrate.engine.testing.simulated_capture import SimulatedCapture


class CoreThatReadsBeforeItKeeps(RunCore):
    """Lanes begin while keeping what changes is still being begun."""

    def _is_captured(self, phase: PhaseRun) -> bool:
        super()._is_captured(phase)
        return True


class CaptureThatLetsIn(SimulatedCapture):
    """Writes go on."""

    def block(self, relation: SourceRelation, name: str) -> None:
        super().block(relation, name)
        super().open(relation, name)


class CaptureThatForgets(SimulatedCapture):
    """What was told once is not told again, whatever became of it."""

    def changes(
        self,
        relation: SourceRelation,
        columns: Sequence[ColumnInfo],
        key: Sequence[str],
        name: str,
        after: Position,
        until: Position,
    ) -> Iterator[Changed]:
        for changed in super().changes(relation, columns, key, name, after, until):
            self.confirm(name, changed.end)
            yield changed


class CaptureThatReadsFirst(SimulatedCapture):
    """Where the source is was read before writes to it were blocked."""

    def present(self) -> Position:
        return self._before

    def block(self, relation: SourceRelation, name: str) -> None:
        self._before = super().present()
        super().block(relation, name)

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._before = super().present()


class CaptureThatStays(SimulatedCapture):
    """Slots are never dropped."""

    def stop(self, name: str) -> None:
        del name


class RunnerThatLetsNobodyIn(TaskRunner):
    """What is undone leaves its source blocked."""

    def work_of(self, *arguments: Any) -> TaskWork:
        work = super().work_of(*arguments)
        following = work._following
        following.end_undone = following.end_published  # type: ignore[method-assign]  # that is the mutation
        return work
