"""The way from a host to a system in virtual time: how long it takes, what breaks on it, and what happened at its end."""

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from pymigrate.engine.domain.errors import SystemUnavailable
from pymigrate.engine.domain.types import ColumnInfo
from pymigrate.engine.ports.capture import Capture, GrowingColumn
from pymigrate.engine.ports.source import Source
from pymigrate.engine.ports.staging import Checkpoint, Staging
from pymigrate.engine.ports.target import Target
from pymigrate.engine.testing.fibers import Fibers
from pymigrate.engine.testing.memory import MemoryDatabase
from pymigrate.engine.testing.weather import Trouble, Weather

LATENCY_SECONDS = (0.02, 0.6)
SLOW_HOST_SECONDS = (0.1, 2.0)
SLOW_SOURCE_SECONDS = (0.5, 9.0)
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
    """All systems of a simulation. `versions` holds every content that a source relation ever had, and `cutovers`, by the name of a
    capture, what it held when writes to it were blocked. `target`, `source` and `capture` make what a host works with, so that a mutant can
    take their place."""

    fibers: Fibers
    weather: Weather
    rng: random.Random
    ledger: Ledger = field(default_factory=Ledger)
    databases: dict[str, MemoryDatabase] = field(default_factory=dict)
    versions: dict[tuple[str, str], list[Rows]] = field(default_factory=dict)
    cutovers: dict[str, tuple[str, str, Rows]] = field(default_factory=dict)
    target: "Callable[[MemoryDatabase, Route], Target] | None" = None
    source: "Callable[[MemoryDatabase, Route], Source] | None" = None
    capture: "Callable[[MemoryDatabase, Route, GrowingColumn | None], Capture] | None" = None

    def database(self, name: str) -> MemoryDatabase:
        """The system of a connection."""
        return self.databases.setdefault(name, MemoryDatabase())

    def put(
        self, system: str, relation: str, columns: Sequence[ColumnInfo], rows: Rows, key: tuple[str, ...] = ()
    ) -> None:
        """Gives a source relation its content, as somebody else would."""
        self.database(system).put(relation, columns, rows, key)
        self.versions.setdefault((system, relation), []).append(rows)

    def check_cutover(self, staging: Staging, rows: Rows) -> None:
        """What is about to be published of a source that is written to: it must be kept as it is, and be what is staged."""
        for name, (system, relation, _) in self.cutovers.items():
            if name.endswith(f"_{staging.id}"):
                database = self.database(system)
                if name not in database.blocks.get(relation, ()):
                    self.ledger.broken.append(f"{name} is published while its source may be written to")
                if Counter(database.read(relation)) != Counter(rows):
                    self.ledger.broken.append(f"{name} is published with other rows than its source has")


class Route:
    """The way from one host's process, `<host>.<pid>`, to one system. The weather hits whatever process has the host's name."""

    def __init__(self, systems: SimulatedSystems, host: str, system: str) -> None:
        self.systems = systems
        self.host = host
        self.system = system
        self._place = host.partition(".")[0]

    def travel(self) -> None:
        """Time passes on the way."""
        rng, weather = self.systems.rng, self.systems.weather
        seconds = rng.uniform(*LATENCY_SECONDS)
        if weather.strikes_at(Trouble.HOST_SLOW, self._place):
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
        if weather.is_on(Trouble.TARGET_GONE, self.system) or weather.is_on(Trouble.TARGET_PARTITION, self._place):
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
        if weather.is_on(Trouble.TARGET_PARTITION, self._place):
            raise SystemUnavailable(f"{self.system} does not answer {self.host}")
