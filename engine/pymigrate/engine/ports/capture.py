"""What catching up needs beside reading and writing: a source that keeps what changes, and a target that takes changes by key.

A change names its row by the key. Changes are applied in the order in which the source committed them, and applying them again from an
earlier position gives the same: a row is put in whole, or taken out.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import pyarrow as pa

from pymigrate.engine.domain.errors import Problem
from pymigrate.engine.domain.types import ColumnInfo
from pymigrate.engine.ports.arrow_types import arrow_schema
from pymigrate.engine.ports.connector import SystemSpec
from pymigrate.engine.ports.ranges import Position
from pymigrate.engine.ports.relations import SourceRelation
from pymigrate.engine.ports.staging import Checkpoint, Staging


@dataclass(frozen=True, slots=True)
class RowChanges:
    """What several changes come to. With `is_emptied` every row went first; then the rows of `keys` are no longer what they were, and
    `rows` are what there is in their place, a batch of `arrow_schema(columns)`. No key occurs twice."""

    keys: pa.RecordBatch
    rows: pa.RecordBatch
    is_emptied: bool = False


@dataclass(frozen=True, slots=True)
class Changed:
    """A stretch of what the source keeps: what it comes to, of how many changes, up to where, and how many seconds ago that was
    committed. `end` is the position before, where the stretch ends within a transaction, or a round of a column."""

    changes: RowChanges
    count: int
    end: Position
    lag_seconds: float


@dataclass(frozen=True, slots=True)
class Start:
    """Where keeping begins, and the name of a snapshot of exactly that moment, empty where there is none any more."""

    position: Position
    snapshot: str = ""


@dataclass(frozen=True, slots=True)
class GrowingColumn:
    """A column that every insert and update sets higher, and how far back to read again; 0: as far as its type suggests."""

    name: str
    overlap: int = 0


def no_changes(columns: Sequence[ColumnInfo], key: Sequence[str]) -> RowChanges:
    """Of rows of these columns."""
    by_name = {column.name: column for column in columns}
    keys = arrow_schema([by_name[name] for name in key])
    rows = arrow_schema(columns)
    return RowChanges(pa.RecordBatch.from_pylist([], schema=keys), pa.RecordBatch.from_pylist([], schema=rows))


class Capture(Protocol):
    """A source that keeps what changes in a relation, under a name. Everything is idempotent and safe to call again after a crash at any
    instruction. Calls that wait call `heed`, which raises to end the wait."""

    def problems(self, relation: SourceRelation, key: Sequence[str]) -> Sequence[Problem]:
        """Everything that keeps the relation's changes from being kept, with advice; fields are relative to the dataset."""
        ...

    def start(self, relation: SourceRelation, name: str, heed: Callable[[], None]) -> Start:
        """Keeps what is committed from now on, or has been kept since it was first asked to. Raises FailedPrecondition."""
        ...

    def present(self) -> Position:
        """Where the source is: everything that it has acknowledged lies before it."""
        ...

    def changes(
        self,
        relation: SourceRelation,
        columns: Sequence[ColumnInfo],
        key: Sequence[str],
        name: str,
        after: Position,
        until: Position,
    ) -> Iterator[Changed]:
        """What was committed after one position and up to another, in the order of the commits; the last stretch ends there. Raises
        SourceChanged where it is no longer kept from that position on, and DataRefused for a value that its column does not hold."""
        ...

    def confirm(self, name: str, position: Position) -> None:
        """What lies before the position is not asked for again."""
        ...

    def rows(self, relation: SourceRelation) -> int:
        """The exact number of the relation's rows."""
        ...

    def block(self, relation: SourceRelation, name: str) -> None:
        """Refuses writes to the relation from now on, for everybody and until `open`; when it returns, every transaction that had
        written is over. Raises SystemUnavailable while one of them goes on."""
        ...

    def open(self, relation: SourceRelation, name: str) -> None:
        """Lets writes in again; nothing blocked is fine."""
        ...

    def stop(self, name: str) -> None:
        """Keeps nothing any more and leaves nothing behind but what `block` did; nothing kept is fine."""
        ...

    def close(self) -> None:
        """Gives up everything that is open. May be called again."""
        ...


@runtime_checkable
class CapturingConnector(Protocol):
    """What a Connector may have on top."""

    def open_capture(self, system: SystemSpec, column: GrowingColumn | None = None) -> Capture:
        """Opens a source for its changes, as its log or a column tells them. Raises SystemUnavailable, and FailedPrecondition where it
        has no log to read."""
        ...


@runtime_checkable
class ChangingTarget(Protocol):
    """What a Target may have on top: staging whose rows are changed by key."""

    def index_key(self, staging: Staging) -> None:
        """Makes rows quick to find by the staging's key, where the system needs that; done already is fine."""
        ...

    def unindex_key(self, staging: Staging) -> None:
        """Takes that back before the staging is declared and published; nothing to take back is fine."""
        ...

    def apply(
        self, staging: Staging, lane: str, fence: int, before: Checkpoint, after: Checkpoint, changes: RowChanges
    ) -> None:
        """Changes and the step from `before` to `after` in one transaction. Raises FenceLost, with nothing written, unless the lane
        stands at `before.chunks` under `fence`."""
        ...


@runtime_checkable
class SnapshotSource(Protocol):
    """What a Source may have on top: it reads under a snapshot that another session holds."""

    def adopt(self, snapshot: str) -> bool:
        """Reads under it from now on; False where it is gone, and its own is as good. Comes before anything is read."""
        ...
