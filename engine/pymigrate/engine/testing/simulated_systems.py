"""Sources and targets in virtual time: real transactions in memory, reached over a network that has its troubles.

Every call takes time and may be hit by the weather, before it takes effect or after. What happens to targets is written into a ledger,
which knows what must never happen.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

import pyarrow as pa

from pymigrate.engine.domain.errors import SystemUnavailable
from pymigrate.engine.domain.types import ColumnInfo
from pymigrate.engine.ports.connector import SystemSpec
from pymigrate.engine.ports.ranges import Position
from pymigrate.engine.ports.relations import RelationInfo, SourceRelation
from pymigrate.engine.ports.source import SourceChunk
from pymigrate.engine.ports.staging import Checkpoint, Staging
from pymigrate.engine.testing.connectors import ROW_BYTES, MemorySource
from pymigrate.engine.testing.fibers import Fibers
from pymigrate.engine.testing.memory import MemoryDatabase, MemoryLane
from pymigrate.engine.testing.memory_target import MemoryTarget
from pymigrate.engine.testing.weather import Trouble, Weather

LATENCY_SECONDS = (0.02, 0.6)
SLOW_HOST_SECONDS = (0.1, 2.0)
SLOW_SOURCE_SECONDS = (0.5, 9.0)
CHUNK_ROWS = 3
Result = TypeVar("Result")
LaneKey = tuple[str, str]
Rows = tuple[tuple[object, ...], ...]


@dataclass
class Ledger:
    """What targets saw. `broken` tells what must never happen, as it happens."""

    fences: dict[LaneKey, int] = field(default_factory=dict)
    writers: dict[tuple[LaneKey, int], str] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)
    trace: list[str] = field(default_factory=list)
    on_commit: Callable[[str, str], None] = lambda lane, writer: None

    def claimed(self, lane: LaneKey, fence: int, writer: str) -> None:
        """A host took a lane."""
        if fence <= self.fences.get(lane, 0):
            self.broken.append(f"{lane[1]} was claimed under fence {fence} after {self.fences[lane]}")
        self.fences[lane] = max(fence, self.fences.get(lane, 0))
        self.trace.append(f"claim {lane[1]} {fence} {writer}")

    def committed(self, lane: LaneKey, fence: int, writer: str, after: Checkpoint) -> None:
        """A host committed a chunk."""
        if fence != self.fences.get(lane):
            self.broken.append(
                f"{lane[1]}: {writer} committed under fence {fence}; it is held under {self.fences.get(lane)}"
            )
        if self.writers.setdefault((lane, fence), writer) != writer:
            self.broken.append(f"{lane[1]}: {writer} committed under fence {fence} of {self.writers[lane, fence]}")
        self.trace.append(f"commit {lane[1]} {fence} {writer} {after.chunks} {after.rows}")
        self.on_commit(lane[1], writer)

    def happened(self, what: str) -> None:
        """Anything else that belongs into the trace."""
        self.trace.append(what)


@dataclass
class SimulatedSystems:
    """All systems of a simulation. `versions` holds every content that a source relation ever had. `target` and `source` make what a
    host works with, so that a mutant can take their place."""

    fibers: Fibers
    weather: Weather
    rng: random.Random
    ledger: Ledger = field(default_factory=Ledger)
    databases: dict[str, MemoryDatabase] = field(default_factory=dict)
    versions: dict[tuple[str, str], list[Rows]] = field(default_factory=dict)
    target: "type[SimulatedTarget] | None" = None
    source: "type[SimulatedSource] | None" = None

    def database(self, name: str) -> MemoryDatabase:
        """The system of a connection."""
        return self.databases.setdefault(name, MemoryDatabase())

    def put(self, system: str, relation: str, columns: Sequence[ColumnInfo], rows: Rows) -> None:
        """Gives a source relation its content, as somebody else would."""
        self.database(system).put(relation, columns, rows)
        self.versions.setdefault((system, relation), []).append(rows)


class Route:
    """The way from one host to one system."""

    def __init__(self, systems: SimulatedSystems, host: str, system: str) -> None:
        self.systems = systems
        self.host = host
        self.system = system

    def travel(self) -> None:
        """Time passes on the way."""
        rng, weather = self.systems.rng, self.systems.weather
        seconds = rng.uniform(*LATENCY_SECONDS)
        if weather.strikes_at(Trouble.HOST_SLOW, self.host):
            seconds += rng.uniform(*SLOW_HOST_SECONDS)
        self.systems.fibers.pause(seconds)

    def read(self) -> None:
        """A call to a source."""
        self.travel()
        weather = self.systems.weather
        if weather.strikes_at(Trouble.SOURCE_SLOW, self.system):
            self.systems.fibers.pause(self.systems.rng.uniform(*SLOW_SOURCE_SECONDS))
        if weather.is_on(Trouble.SOURCE_GONE, self.system):
            raise SystemUnavailable(f"{self.system} does not answer")

    def write(self, step: str) -> None:
        """A call to a target reaches it, or does not."""
        self.travel()
        weather = self.systems.weather
        if weather.is_on(Trouble.TARGET_GONE, self.system) or weather.is_on(Trouble.TARGET_PARTITION, self.host):
            raise SystemUnavailable(f"{self.system} does not answer {self.host}")
        if step in {"prepare", "commit", "publish"} and weather.strikes_at(Trouble.DISK_FULL, self.system):
            raise SystemUnavailable(f"{self.system}: the disk is full")
        if step not in {"open", "read"} and weather.strikes_at(Trouble.LOCK_CONFLICT, self.system):
            raise SystemUnavailable(f"{self.system}: held by another transaction")

    def answer(self) -> None:
        """The answer comes back, or does not, though the call took effect."""
        self.travel()
        weather = self.systems.weather
        if weather.strikes_at(Trouble.COMMIT_UNKNOWN, self.system):
            raise SystemUnavailable(f"{self.system}: the connection was lost while it committed")
        if weather.is_on(Trouble.TARGET_PARTITION, self.host):
            raise SystemUnavailable(f"{self.system} does not answer {self.host}")


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
        self._end_commit(staging, lane, fence, before, after, batches)
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
        self._writing("publish", lambda: super(SimulatedTarget, self).publish(stagings))

    def rollback(self, stagings: Sequence[Staging]) -> None:
        """Takes the route."""
        self._writing("rollback", lambda: super(SimulatedTarget, self).rollback(stagings))

    def seal(self, stagings: Sequence[Staging]) -> None:
        """Takes the route."""
        self._writing("seal", lambda: super(SimulatedTarget, self).seal(stagings))

    def _end_commit(
        self,
        staging: Staging,
        lane: str,
        fence: int,
        before: Checkpoint,
        after: Checkpoint,
        batches: Sequence[pa.RecordBatch],
    ) -> None:
        """The transaction takes effect by what it saw when it began: who else wrote what it writes was asked just before."""
        found = self._database.lanes.get((staging.id, lane), MemoryLane())
        self._is_allowed = True
        try:
            super().commit(staging, lane, fence, before, after, batches)
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

    def open_source(self, system: SystemSpec) -> SimulatedSource:
        """A snapshot, once it answers."""
        route = Route(self._systems, self._host, system.name)
        route.read()
        return (self._systems.source or SimulatedSource)(self._systems.database(system.name), route)

    def open_target(self, system: SystemSpec) -> SimulatedTarget:
        """A handle, once it answers."""
        route = Route(self._systems, self._host, system.name)
        route.write("open")
        return (self._systems.target or SimulatedTarget)(self._systems.database(system.name), route)
