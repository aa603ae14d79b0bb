"""What the contract suite of targets needs from each system: to open it, to act as somebody else in it, and some rows."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Protocol

import pyarrow as pa

from pymigrate.engine.domain.types import ColumnInfo, ColumnType
from pymigrate.engine.ports.arrow_types import arrow_schema
from pymigrate.engine.ports.connector import SystemSpec
from pymigrate.engine.ports.ranges import Position
from pymigrate.engine.ports.staging import Checkpoint, Staging, StagingId
from pymigrate.engine.ports.target import Target

ID = ColumnInfo("id", ColumnType("int64"), is_required=True)
NAME = ColumnInfo("name", ColumnType("string"))
COLUMNS = (ID, NAME)


class Harness(Protocol):
    """A system of the test's own. Relations that are made or changed from outside have the columns `id` and `name`."""

    system: SystemSpec

    def open(self) -> Target:
        """Another target on it, as another lane or host has."""
        ...

    def make(self, relation: str, rows: Sequence[tuple[int, str | None]]) -> None:
        """Somebody else's relation."""
        ...

    def append(self, relation: str, row: tuple[int, str | None]) -> None:
        """Somebody else writes a row."""
        ...

    def change(self, relation: str, id: int, name: str) -> None:
        """Somebody else changes a row."""
        ...

    def change_one(self, relation: str, id: int, name: str) -> None:
        """Somebody else changes one of several equal rows: the last one, where rows have an order."""
        ...

    def drop(self, relation: str) -> None:
        """Somebody else drops it."""
        ...

    def make_view(self, view: str, relation: str) -> None:
        """Somebody else's view, where the system has them."""
        ...

    def read(self, relation: str) -> list[tuple[int, str | None]]:
        """Its rows as somebody else sees them, by id; without PyMigrate's code."""
        ...

    def read_conflicts(self, relation: str, staging: Staging) -> list[tuple[str, int, str | None]]:
        """Side, id and name of what a merge kept aside, where the system has tables."""
        ...


NUMBERS = count(1)


def a_staging(relation: str = "orders", columns: Sequence[ColumnInfo] = COLUMNS, **options: object) -> Staging:
    """A new attempt for the relation."""
    staging = Staging(StagingId(f"r{next(NUMBERS)}_1"), relation, tuple(columns))
    return replace(staging, **options)  # type: ignore[arg-type]  # the fields of Staging


def a_batch(rows: Iterable[tuple[int, str | None]]) -> pa.RecordBatch:
    """Rows of `id` and `name`."""
    pairs = list(rows)
    return pa.record_batch([[at for at, _ in pairs], [name for _, name in pairs]], schema=arrow_schema(COLUMNS))


def rows_of(columns: Sequence[ColumnInfo], rows: Iterable[Sequence[object]]) -> pa.RecordBatch:
    """Rows of any columns."""
    values = list(zip(*rows, strict=True))
    schema = arrow_schema(columns)
    arrays = [pa.array(list(each), field.type) for each, field in zip(values, schema, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def numbered(first: int, last: int) -> list[tuple[int, str | None]]:
    """Rows with ids from first to last, both included."""
    return [(at, f"name {at}") for at in range(first, last + 1)]


def after(before: Checkpoint, rows: int) -> Checkpoint:
    """The next step."""
    chunks = before.chunks + 1
    return Checkpoint(
        chunks, before.rows + rows, before.bytes + 10 * rows, Position(f"after {chunks}"), f"sum:{chunks}", "state"
    )


@dataclass
class LaneWriter:
    """A lane under a fence, which commits one chunk after the other."""

    target: Target
    staging: Staging
    lane: str = "lane"
    fence: int = 1
    at: Checkpoint = field(default_factory=Checkpoint)

    def claim(self) -> "LaneWriter":
        """Take the lane, and go on from where it stands."""
        self.at = self.target.claim(self.staging, self.lane, self.fence)
        return self

    def commit(self, rows: Sequence[tuple[int, str | None]]) -> Checkpoint:
        """One chunk."""
        step = after(self.at, len(rows))
        self.target.commit(self.staging, self.lane, self.fence, self.at, step, [a_batch(rows)])
        self.at = step
        return step


def staged(target: Target, staging: Staging, rows: Sequence[tuple[int, str | None]]) -> Staging:
    """A staging that holds the rows."""
    target.prepare(staging)
    LaneWriter(target, staging).claim().commit(rows)
    return staging


def published(target: Target, staging: Staging, rows: Sequence[tuple[int, str | None]]) -> Staging:
    """A staging that holds the rows and is published."""
    target.publish([staged(target, staging, rows)])
    return staging


def pairs(batches: Iterator[pa.RecordBatch]) -> list[tuple[int, str | None]]:
    """The rows of `id` and `name`, by id."""
    return sorted((row["id"], row["name"]) for batch in batches for row in batch.to_pylist())
