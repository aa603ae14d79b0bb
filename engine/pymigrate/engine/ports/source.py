"""What the data plane needs from a system to read: a relation in order, the same whenever its content is the same.

All calls block; they are made on a worker host's threads, one object a thread. What some sources have on top is a protocol of its own."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import pyarrow as pa

from pymigrate.engine.domain.paths import CopyPath
from pymigrate.engine.domain.types import ColumnInfo
from pymigrate.engine.ports.ranges import Position, SourceRange
from pymigrate.engine.ports.relations import RelationInfo, RowsDigest, SourceRelation

Piece = bytes


@dataclass(frozen=True, slots=True)
class RefusedRow:
    """A row that does not go on. `row` is its number in the lane's range of the source, from 1; `content` is the row as JSON text,
    without what is to be masked; `column` is empty where no single one is to blame."""

    row: int
    column: str
    reason: str
    content: str


@dataclass(frozen=True, slots=True)
class SourceChunk:
    """A piece of a relation, read in order. `end` is the position after its last row; `bytes` are bytes of source data. `pieces` are
    the same rows as a path's own bytes, where it passes any; a path that decodes nothing has no batches, and whoever reads it for a
    copy adds the `digest` of its pieces. `refused` are rows that the dataset's transforms refused; a chunk of which nothing else is left
    has no batches either."""

    batches: tuple[pa.RecordBatch, ...]
    rows: int
    bytes: int
    end: Position
    pieces: tuple[Piece, ...] = ()
    digest: int = 0
    refused: tuple[RefusedRow, ...] = ()


class Source(Protocol):
    """A system opened for reading, under one snapshot where it can give one."""

    def version(self) -> str:
        """Name and version of the system, such as `SQLite 3.40.1`."""
        ...

    def relations(self, glob: str, limit: int) -> Sequence[RelationInfo]:
        """At most `limit` relations whose name matches `glob` (`*` for all), ordered by name."""
        ...

    def describe(self, relation: SourceRelation) -> RelationInfo:
        """The relation with the types that `chunks` will yield. Raises SourceMissing with the nearest existing name, and
        InvalidDefinition with the field (`source.columns.x`, `key`) when a declared column or key does not exist."""
        ...

    def state(self, relation: SourceRelation) -> str:
        """A token that changes whenever the relation's content may have; empty where the system can't give one."""
        ...

    def split(self, relation: SourceRelation, parts: int) -> Sequence[SourceRange]:
        """At most `parts` ranges of about the same size that together hold every row once, in order; a single one, of everything,
        where the relation can't be split without a doubt. Raises what `describe` raises."""
        ...

    def chunks(
        self, relation: SourceRelation, columns: Sequence[ColumnInfo], after: Position | None
    ) -> Iterator[SourceChunk]:
        """Everything of the relation's range after `after` (None: from the range's start), in an order that is the same whenever the
        content is the same. Batches have exactly `columns`, in order, as `arrow_schema(columns)`. An empty relation yields nothing.
        Raises DataRefused naming relation, column and row for a value that does not fit its column's type; never rounds or cuts."""
        ...

    def close(self) -> None:
        """Gives up the snapshot and everything that is open. May be called again."""
        ...


@runtime_checkable
class PassingSource(Protocol):
    """What a Source may have on top: rows as bytes that some targets take as they are."""

    def offers(self, relation: SourceRelation) -> Mapping[CopyPath, str]:
        """The paths beside `arrow` that it knows, each with an empty text, or with why it can't be taken for this relation."""
        ...

    def passing_split(self, relation: SourceRelation, path: CopyPath, parts: int) -> Sequence[SourceRange]:
        """As `Source.split`, in positions of the path's own."""
        ...

    def passing_chunks(
        self, relation: SourceRelation, columns: Sequence[ColumnInfo], path: CopyPath, after: Position | None
    ) -> Iterator[SourceChunk]:
        """As `Source.chunks`, with pieces. Chunks end at the same places whenever the relation is stored the same."""
        ...


@runtime_checkable
class Rereading(Protocol):
    """What a Source has on top whose chunks hold fewer rows than were read for them."""

    def reread(
        self, relation: SourceRelation, columns: Sequence[ColumnInfo], until: Position
    ) -> tuple[Iterator[SourceChunk], Iterator[SourceChunk]]:
        """The chunks of as many of the source's rows as had been read at a position, from the start of the range, and then those that
        follow; read in this order. The first end at `until` itself only where the rows are what they were."""
        ...


@runtime_checkable
class Continuing(Protocol):
    """What a Source may have on top: another session on the same system can go on with exactly what this one reads, from any position of
    it."""

    def is_sessionless(self) -> bool:
        """Whether each call is one of its own anyway, and there is no snapshot."""
        ...

    def hand_over(self, heir: Source) -> bool:
        """Lets `heir`, opened as this one and not read from yet, read what this one reads, also when this one is closed. False where it
        can't."""
        ...


@runtime_checkable
class Digesting(Protocol):
    """What sources and targets may have that hash their own rows, exactly to the bit and alike."""

    def digest(self, relation: SourceRelation, columns: Sequence[ColumnInfo], share: int) -> RowsDigest:
        """Of all rows of a source's relation, or of those of every `share`th value of its key."""
        ...
