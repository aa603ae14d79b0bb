"""A lane over the fake connector: orders in memory, ten rows a chunk."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from pymigrate.engine.domain.rates import FREE, Rate
from pymigrate.engine.domain.types import ColumnInfo, ColumnType
from pymigrate.engine.ports.connector import SystemSpec
from pymigrate.engine.ports.relations import SourceRelation
from pymigrate.engine.ports.source import Source
from pymigrate.engine.ports.staging import Checkpoint, Staging, StagingId
from pymigrate.engine.ports.target import Target
from pymigrate.engine.testing.connectors import MemoryConnector
from pymigrate.engine.testing.memory import MemoryDatabase
from pymigrate.engine.transfer.attempt import copy_lane
from pymigrate.engine.transfer.lane_job import CopyOutcome, LaneJob
from pymigrate.engine.transfer.means import DEFAULT, Means
from pymigrate.engine.transfer.memory import MemoryBudget

COLUMNS = (ColumnInfo("id", ColumnType("int64")), ColumnInfo("name", ColumnType("string")))
CHUNK_ROWS = 10
LEGACY = SystemSpec("memory", "legacy", {"path": "legacy"})
WAREHOUSE = SystemSpec("memory", "warehouse", {"path": "warehouse"})
Row = tuple[int, str | None]


def orders(count: int, mark: str = "order") -> list[Row]:
    return [(at, None if at % 7 == 0 else f"{mark} {at}") for at in range(count)]


@dataclass
class Asked:
    """Signals that a test sets. `seconds` is a clock that waiting moves."""

    draining: bool = False
    lost: bool = False
    waits: list[float] = field(default_factory=list)
    allowed: Rate = FREE
    seconds: float = 0.0

    def is_draining(self) -> bool:
        return self.draining

    def is_lost(self) -> bool:
        return self.lost

    def wait(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.seconds += seconds

    def monotonic(self) -> float:
        return self.seconds

    def rate(self) -> Rate:
        return self.allowed


class Lane:
    """The lane, with a fence that grows with every attempt."""

    def __init__(self, rows: Sequence[Row], *, has_state: bool = True) -> None:
        self.connector = MemoryConnector()
        self.source.has_state = has_state
        self.source.put("orders", COLUMNS, rows)
        self.job = LaneJob(
            dataset="orders",
            relation=SourceRelation("orders", chunk_bytes=CHUNK_ROWS * 10),
            staging=Staging(StagingId("s1"), "orders", COLUMNS, key=("id",)),
            lane="lane",
            fence=0,
        )
        self.progress: list[Checkpoint] = []

    @property
    def source(self) -> MemoryDatabase:
        return self.connector.databases["legacy"]

    @property
    def target(self) -> MemoryDatabase:
        return self.connector.databases["warehouse"]

    def open_source(self) -> Source:
        return self.connector.open_source(LEGACY)

    def open_target(self) -> Target:
        return self.connector.open_target(WAREHOUSE)

    def freeze(self) -> None:
        """The run begins: it keeps the source's state."""
        self.job = replace(self.job, source_state=self.open_source().state(self.job.relation))

    def next(self) -> LaneJob:
        """The job under the next fence."""
        self.job = replace(self.job, fence=self.job.fence + 1)
        return self.job

    def attempt(
        self,
        asked: Asked | None = None,
        open_target: Callable[[], Target] | None = None,
        job: LaneJob | None = None,
        budget: MemoryBudget | None = None,
        means: Means = DEFAULT,
    ) -> CopyOutcome:
        """One attempt, under the next fence unless it is told a job."""
        return copy_lane(
            job or self.next(),
            self.open_source,
            open_target or self.open_target,
            asked or Asked(),
            self.progress.append,
            replace(means, budget=budget) if budget else means,
        )

    def staged(self) -> list[tuple[object, ...]]:
        """The staged rows in order."""
        rows = self.target.staged[self.job.staging.id].table().to_pylist()
        return sorted(((row["id"], row["name"]) for row in rows), key=str)

    def checkpoint(self) -> Checkpoint:
        """How far the target says that it got."""
        return self.target.lanes[self.job.staging.id, "lane"].checkpoint

    def is_exactly(self, rows: Sequence[Row]) -> bool:
        """Whether staging holds these rows, each once, and the checkpoint counts them."""
        return self.staged() == sorted(rows, key=str) and self.checkpoint().rows == len(rows)
