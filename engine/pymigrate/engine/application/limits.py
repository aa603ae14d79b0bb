"""How many lanes may run at once: in all, in an environment, of a plan, and on a connection."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from pymigrate.engine.application.board import Board
from pymigrate.engine.application.kinds import ENVIRONMENTS
from pymigrate.engine.domain.names import environment_of
from pymigrate.engine.domain.orchestration import RunCore
from pymigrate.engine.domain.run import DatasetRun, Task, TaskKind, TaskState
from pymigrate.engine.ports.store import Store, Unit
from pymigrate.v1 import environment_pb2, run_pb2

Pool = tuple[str, str]


@dataclass(slots=True)
class Room:
    """What runs at one moment, counted once, so that any number of waiting lanes is judged without counting again."""

    lanes_max: int
    environments: Mapping[str, int]
    revisions: Mapping[str, run_pb2.PlanRevision]
    running: int = 0
    taken: Counter[Pool] = field(default_factory=Counter)

    def add(self, core: RunCore, dataset: DatasetRun) -> None:
        """Counts a lane that runs."""
        self.running += 1
        environment = environment_of(core.run.name)
        self.taken.update([("run", core.run.name), ("environment", environment)])
        self.taken.update((environment, connection) for connection in _connections(dataset))

    def admits(self, core: RunCore, task: Task) -> bool:
        """Whether a lane more fits into every pool that it draws from. Work that is not a copy always does."""
        if task.kind is not TaskKind.COPY:
            return True
        run, environment = core.run.name, environment_of(core.run.name)
        if run not in self.revisions or self.running >= self.lanes_max:
            return False
        if self._is_full(core.run.lanes_max, ("run", run)):
            return False
        if self._is_full(self.environments.get(environment, 0), ("environment", environment)):
            return False
        known = self.revisions[run].connections
        wanted = core.aggregate.datasets[task.phase, task.datasets[0]]
        return not any(
            self._is_full(known[connection].lanes_max, (environment, connection))
            for connection in _connections(wanted)
            if connection in known
        )

    def _is_full(self, limit: int, pool: Pool) -> bool:
        return 0 < limit <= self.taken[pool]


class LaneLimits:
    """Grants lanes from the pools. A limit of 0 is none, but for the engine's own `lanes_max`."""

    def __init__(self, store: Store, board: Board, lanes_max: int) -> None:
        self._store = store
        self._board = board
        self._lanes_max = lanes_max

    async def room(self) -> Room:
        """The room that there is now."""
        names = [core.run.name for core in self._board.active()]
        revisions = {name: await self._board.revision(name) for name in names}
        environments = await self._environments({environment_of(name) for name in names})
        room = Room(self._lanes_max, environments, revisions)
        for core in self._board.active():
            for task in core.aggregate.tasks.values():
                if task.kind is TaskKind.COPY and task.state is TaskState.LEASED:
                    room.add(core, core.aggregate.datasets[task.phase, task.datasets[0]])
        return room

    async def _environments(self, names: set[str]) -> dict[str, int]:
        """The limits of the environments, by name."""

        def look(unit: Unit) -> dict[str, int]:
            limits: dict[str, int] = {}
            for name in sorted(names):
                if found := unit.resources.get(name):
                    message: environment_pb2.Environment = ENVIRONMENTS.read(found)
                    limits[name] = message.lanes_max
            return limits

        return await self._store.read(look) if names else {}


def _connections(dataset: DatasetRun) -> set[str]:
    return {dataset.source_connection, dataset.target_connection}
