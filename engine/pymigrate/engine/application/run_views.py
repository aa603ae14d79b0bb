"""Runs as the contract shows them: what is stored of each, and what the engine knows of it besides, such as why nobody works for it."""

from collections.abc import Callable, Mapping, Sequence

from pymigrate.engine.application.board import Board
from pymigrate.engine.application.projections import failure_message, run_message
from pymigrate.engine.domain.names import at_environment
from pymigrate.engine.domain.orchestration import RunCore
from pymigrate.engine.domain.run import Failure, RunAggregate
from pymigrate.engine.domain.schedule import Scheduler
from pymigrate.engine.ports.clock import Clock
from pymigrate.v1 import run_pb2

TROUBLES_MAX = 10
WAITED_FOR_MAX = 10


class RunViews:
    """How runs stand. Who follows is called back with the name of each run that is otherwise now, stored or not."""

    def __init__(self, board: Board, scheduler: Scheduler, clock: Clock) -> None:
        self._board = board
        self._scheduler = scheduler
        self._clock = clock
        self._troubles: Mapping[str, tuple[Failure, ...]] = {}
        self._held_up: Mapping[str, tuple[str, ...]] = {}
        self._observers: list[Callable[[str], None]] = []
        board.changes.follow(lambda change: None if change.is_look else self._tell(change.run))

    def follow(self, observer: Callable[[str], None]) -> None:
        """Calls the observer with every run that is otherwise from now on."""
        self._observers.append(observer)

    def note_troubles(self, troubles: Mapping[str, Sequence[Failure]]) -> None:
        """Why there are no worker hosts now, by affinity, such as `shared@prod`."""
        now = {affinity: tuple(found) for affinity, found in troubles.items() if found}
        before, self._troubles = self._troubles, now
        changed = {affinity for affinity in {*before, *now} if before.get(affinity) != now.get(affinity)}
        if changed:
            for core in self._board.active():
                if changed & _awaited(core):
                    self._tell(core.run.name)

    def note_held_up(self, held_up: Mapping[str, tuple[str, ...]]) -> None:
        """Which runs wait for which others that write what they replace. Who follows is called when a run begins to wait and when it need
        not any more: of a thousand that wait for one relation all would be told of each that ends."""
        before, self._held_up = self._held_up, held_up
        for run in sorted(before.keys() ^ held_up.keys()):
            self._tell(run)

    def message(self, aggregate: RunAggregate) -> run_pb2.Run:
        """A run as it stands."""
        message = run_message(aggregate, self._clock.now())
        core = self._board.core(aggregate.run.name)
        if core is not None and core.aggregate is aggregate:
            message.source_latency_factor = self._scheduler.latency_factor(core)
            message.waiting_for_runs.extend(self._held_up.get(core.run.name, ())[:WAITED_FOR_MAX])
            if self._troubles:
                told = [each for affinity in sorted(_awaited(core)) for each in self._troubles.get(affinity, ())]
                for each in told[:TROUBLES_MAX]:
                    message.host_troubles.add().MergeFrom(failure_message(each))
        return message

    async def get(self, name: str) -> run_pb2.Run:
        """A run as it stands. Raises NotFound."""
        return await self._board.view(name, self.message)

    async def several(self, names: Sequence[str]) -> list[run_pb2.Run]:
        """Those of several runs that there are, in their order, as they stand."""
        return await self._board.views(names, self.message)

    def _tell(self, run: str) -> None:
        for observer in self._observers:
            observer(run)


def _awaited(core: RunCore) -> set[str]:
    """The affinities of the hosts that its tasks wait for. Tasks of one queue have theirs in common."""
    tasks, run = core.aggregate.tasks, core.run.name
    return {at_environment(tasks[waiting[0][3]].affinity, run) for waiting in core.waiting.queues.values()}
