"""Sources and targets in virtual time: real transactions in memory, reached over a network that has its troubles.

Every call takes time and may be hit by the weather, before it takes effect or after. What happens to targets is written into a ledger,
which knows what must never happen.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import pyarrow as pa

from pymigrate.engine.domain.errors import SystemUnavailable
from pymigrate.engine.domain.types import ColumnInfo
from pymigrate.engine.ports.capture import Capture, GrowingColumn, RowChanges
from pymigrate.engine.ports.connector import SystemSpec
from pymigrate.engine.ports.ranges import Position
from pymigrate.engine.ports.relations import RelationInfo, SourceRelation
from pymigrate.engine.ports.source import Source, SourceChunk
from pymigrate.engine.ports.staging import Checkpoint, Staging
from pymigrate.engine.ports.target import Target
from pymigrate.engine.testing.connectors import ROW_BYTES, MemorySource
from pymigrate.engine.testing.memory import MemoryDatabase, MemoryLane
from pymigrate.engine.testing.memory_target import MemoryTarget
from pymigrate.engine.testing.simulated_capture import SimulatedCapture
from pymigrate.engine.testing.simulated_route import Result, Route, SimulatedSystems

CHUNK_ROWS = 3


class SimulatedSource(MemorySource):
    """A source at the end of a route."""

    def __init__(self, database: MemoryDatabase, route: Route) -> None:
        super().__init__(database)
        self.route = route

    def describe(self, relation: SourceRelation) -> RelationInfo:
        """Takes the route."""
        self.route.read()
        return super().describe(relation)

    def state(self, relation: SourceRelation) -> str:
        """Takes the route."""
        self.route.read()
        return super().state(relation)

    def chunks(
        self, relation: SourceRelation, columns: Sequence[ColumnInfo], after: Position | None
    ) -> Iterator[SourceChunk]:
        """Takes the route for each chunk; chunks are small, so that even little data has many."""
        for chunk in super().chunks(replace(relation, chunk_bytes=CHUNK_ROWS * ROW_BYTES), columns, after):
            self.route.read()
            yield chunk


class SimulatedTarget(MemoryTarget):
    """A target at the end of a route, for one task of one host. A commit is a transaction with a snapshot: what it is allowed by is
    what it saw when it began, and two that wrote the same column meanwhile conflict. `written` are the columns of its checkpoint."""

    written = frozenset({"chunks", "fence"})

    def __init__(self, database: MemoryDatabase, route: Route) -> None:
        super().__init__(database)
        self.route = route
        self.ledger = route.systems.ledger
        self._is_allowed = False
        self.writer = f"{route.host}#{route.systems.fibers.number}"

    def rows(self, relation: str) -> int | None:
        """Takes the route."""
        return self._reading(lambda: super(SimulatedTarget, self).rows(relation))

    def check(self, staging: Staging) -> None:
        """Takes the route."""
        self._reading(lambda: super(SimulatedTarget, self).check(staging))

    def prepare(self, staging: Staging) -> None:
        """Takes the route."""
        self._writing("prepare", lambda: super(SimulatedTarget, self).prepare(staging))

    def claim(self, staging: Staging, lane: str, fence: int) -> Checkpoint:
        """Takes the route, and is noted."""

        def take() -> Checkpoint:
            found = super(SimulatedTarget, self).claim(staging, lane, fence)
            self.ledger.claimed((staging.id, lane), fence, self.writer)
            return found

        return self._writing("claim", take)

    def checkpoint(self, staging: Staging, lane: str) -> tuple[Checkpoint, int]:
        """Takes the route."""
        return self._reading(lambda: super(SimulatedTarget, self).checkpoint(staging, lane))

    def commit(
        self,
        staging: Staging,
        lane: str,
        fence: int,
        before: Checkpoint,
        after: Checkpoint,
        batches: Sequence[pa.RecordBatch],
    ) -> None:
        """Begins, writes the rows, and ends; each takes time."""
        write = super().commit
        self._commit(staging, lane, fence, before, after, lambda: write(staging, lane, fence, before, after, batches))

    def apply(
        self, staging: Staging, lane: str, fence: int, before: Checkpoint, after: Checkpoint, changes: RowChanges
    ) -> None:
        """The same with changes."""
        write = super().apply
        self._commit(staging, lane, fence, before, after, lambda: write(staging, lane, fence, before, after, changes))

    def _commit(
        self,
        staging: Staging,
        lane: str,
        fence: int,
        before: Checkpoint,
        after: Checkpoint,
        write: Callable[[], None],
    ) -> None:
        self.route.write("commit")
        seen = self._database.lanes.get((staging.id, lane), MemoryLane())
        self._stand(staging, lane, fence, before)
        self.route.travel()
        now = self._database.lanes.get((staging.id, lane), MemoryLane())
        changed = {"chunks"} if now.checkpoint != seen.checkpoint else set()
        if now.fence != seen.fence:
            changed.add("fence")
        if changed & self.written:
            raise SystemUnavailable(f"{staging.relation}: another transaction wrote the checkpoint meanwhile")
        self._end_commit(staging, lane, after, write)
        self.ledger.committed((staging.id, lane), fence, self.writer, after)
        self.route.answer()

    def reset(self, staging: Staging, lane: str, fence: int) -> None:
        """Takes the route."""
        self._writing("reset", lambda: super(SimulatedTarget, self).reset(staging, lane, fence))

    def read_staging(self, staging: Staging) -> Iterator[pa.RecordBatch]:
        """Takes the route."""
        return self._reading(lambda: super(SimulatedTarget, self).read_staging(staging))

    def count_staging(self, staging: Staging) -> int:
        """Takes the route."""
        return self._reading(lambda: super(SimulatedTarget, self).count_staging(staging))

    def publish(self, stagings: Sequence[Staging]) -> None:
        """Takes the route."""

        def swap() -> None:
            for staging in stagings:
                if staging.id in self._database.staged:
                    rows = self._database.staged[staging.id].table().to_pylist()
                    self.route.systems.check_cutover(staging, tuple(tuple(row.values()) for row in rows))
            super(SimulatedTarget, self).publish(stagings)

        self._writing("publish", swap)

    def rollback(self, stagings: Sequence[Staging]) -> None:
        """Takes the route."""
        self._writing("rollback", lambda: super(SimulatedTarget, self).rollback(stagings))

    def seal(self, stagings: Sequence[Staging]) -> None:
        """Takes the route."""
        self._writing("seal", lambda: super(SimulatedTarget, self).seal(stagings))

    def _end_commit(self, staging: Staging, lane: str, after: Checkpoint, write: Callable[[], None]) -> None:
        """The transaction takes effect by what it saw when it began: who else wrote what it writes was asked just before."""
        found = self._database.lanes.get((staging.id, lane), MemoryLane())
        self._is_allowed = True
        try:
            write()
        finally:
            self._is_allowed = False
        if "fence" not in self.written:
            self._database.lanes[staging.id, lane] = MemoryLane(after, found.fence)

    def _stand(self, staging: Staging, lane: str, fence: int, before: Checkpoint) -> None:
        if not self._is_allowed or staging.id not in self._database.staged:
            super()._stand(staging, lane, fence, before)

    def _reading(self, effect: Callable[[], Result]) -> Result:
        self.route.write("read")
        return effect()

    def _writing(self, step: str, effect: Callable[[], Result]) -> Result:
        self.route.write(step)
        done = effect()
        self.ledger.happened(f"{step} {self.route.system} {self.writer}")
        self.route.answer()
        return done


class SimulatedConnector:
    """What one host opens systems with, whatever their kind."""

    kind = "simulated"

    def __init__(self, systems: SimulatedSystems, host: str) -> None:
        self._systems = systems
        self._host = host

    def open_source(self, system: SystemSpec) -> Source:
        """A snapshot, once it answers."""
        route = Route(self._systems, self._host, system.name)
        route.read()
        return (self._systems.source or SimulatedSource)(self._systems.database(system.name), route)

    def open_capture(self, system: SystemSpec, column: GrowingColumn | None = None) -> Capture:
        """A handle, once it answers."""
        route = Route(self._systems, self._host, system.name)
        route.read()
        return (self._systems.capture or SimulatedCapture)(self._systems.database(system.name), route, column)

    def open_target(self, system: SystemSpec) -> Target:
        """A handle, once it answers."""
        route = Route(self._systems, self._host, system.name)
        route.write("open")
        return (self._systems.target or SimulatedTarget)(self._systems.database(system.name), route)
