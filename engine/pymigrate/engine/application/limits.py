"""How many lanes may run at once: in all, in an environment, of a plan, and on a connection."""

from pymigrate.engine.application.board import Board
from pymigrate.engine.application.kinds import ENVIRONMENTS
from pymigrate.engine.domain.names import environment_of
from pymigrate.engine.domain.orchestration import RunCore
from pymigrate.engine.domain.run import DatasetRun, Task, TaskKind, TaskState
from pymigrate.engine.ports.store import Store
from pymigrate.v1 import environment_pb2, run_pb2


class LaneLimits:
    """Grants lanes from the pools. A limit of 0 is none, but for the engine's own `lanes_max`."""

    def __init__(self, store: Store, board: Board, lanes_max: int) -> None:
        self._store = store
        self._board = board
        self._lanes_max = lanes_max

    async def admits(self, core: RunCore, task: Task) -> bool:
        """Whether a lane more fits into every pool that it draws from. Work that is not a copy always does."""
        if task.kind is not TaskKind.COPY:
            return True
        running = [(other, lane) for other in self._board.active() for lane in _running(other)]
        same_run = [lane for other, lane in running if other is core]
        environment = environment_of(core.run.name)
        in_environment = [lane for other, lane in running if environment_of(other.run.name) == environment]
        if len(running) >= self._lanes_max or _is_full(core.run.lanes_max, len(same_run)):
            return False
        if _is_full(await self._environment_lanes_max(environment), len(in_environment)):
            return False
        revision = await self._board.revision(core.run.name)
        wanted = core.aggregate.datasets[task.phase, task.datasets[0]]
        return all(
            not _is_full(
                _lanes_max(revision, connection), sum(connection in _connections(dataset) for dataset in in_environment)
            )
            for connection in _connections(wanted)
        )

    async def _environment_lanes_max(self, environment: str) -> int:
        found = await self._store.read(lambda unit: unit.resources.get(environment))
        if found is None:
            return 0
        message: environment_pb2.Environment = ENVIRONMENTS.read(found)
        return message.lanes_max


def _running(core: RunCore) -> list[DatasetRun]:
    return [
        core.aggregate.datasets[task.phase, task.datasets[0]]
        for task in core.aggregate.tasks.values()
        if task.kind is TaskKind.COPY and task.state is TaskState.LEASED
    ]


def _connections(dataset: DatasetRun) -> set[str]:
    return {dataset.source_connection, dataset.target_connection}


def _lanes_max(revision: run_pb2.PlanRevision, connection: str) -> int:
    return revision.connections[connection].lanes_max if connection in revision.connections else 0


def _is_full(limit: int, taken: int) -> bool:
    return limit > 0 and taken >= limit
