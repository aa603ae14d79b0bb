"""A source of which only so much is read: a sample for so long, or the rows that a sample had.

It ends as if there were no more, so that whoever copies it ends as he would have at the end.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

import pyarrow as pa

from pymigrate.engine.domain.errors import FailedPrecondition
from pymigrate.engine.domain.paths import CopyPath
from pymigrate.engine.domain.types import ColumnInfo
from pymigrate.engine.ports.ranges import Position, SourceRange
from pymigrate.engine.ports.relations import RelationInfo, SourceRelation
from pymigrate.engine.ports.source import PassingSource, Source, SourceChunk


class Bound(Protocol):
    """Takes of a source's chunks what may be read."""

    def taken(self, chunks: Iterator[SourceChunk]) -> Iterator[SourceChunk]:
        """The chunks, or the first of them."""
        ...


class SampleBound:
    """Chunks until so many seconds have passed since the first was asked for, or so many bytes have come (0: any number); always one.

    Refused rows are counted and taken off. `source_seconds` are what each chunk took to come, `is_whole` tells whether there was no more.
    Written by the source's thread, read when it has ended."""

    def __init__(self, seconds_max: float, bytes_max: int, monotonic: Callable[[], float]) -> None:
        self._seconds_max = seconds_max
        self._bytes_max = bytes_max
        self._monotonic = monotonic
        self.source_seconds: list[float] = []
        self.refused_rows = 0
        self.is_whole = False

    def taken(self, chunks: Iterator[SourceChunk]) -> Iterator[SourceChunk]:
        """See Bound."""
        begun, size = self._monotonic(), 0
        now = begun
        while not self.source_seconds or not (
            now - begun >= self._seconds_max or (self._bytes_max and size >= self._bytes_max)
        ):
            asked = self._monotonic()
            chunk = next(chunks, None)
            if chunk is None:
                self.is_whole = True
                return
            self.source_seconds.append(self._monotonic() - asked)
            self.refused_rows += len(chunk.refused)
            size += chunk.bytes
            yield replace(chunk, refused=())
            now = self._monotonic()


class RowsBound:
    """The first so many rows."""

    def __init__(self, rows: int) -> None:
        self._rows = rows

    def taken(self, chunks: Iterator[SourceChunk]) -> Iterator[SourceChunk]:
        """See Bound; the last chunk is cut."""
        left = self._rows
        while left > 0 and (chunk := next(chunks, None)) is not None:
            if chunk.rows > left:
                table = pa.Table.from_batches(chunk.batches).slice(0, left)
                chunk = replace(chunk, batches=tuple(table.to_batches()), rows=left)
            left -= chunk.rows
            yield chunk


class BoundedSource:
    """See the port. What some sources have on top it has not, but for bytes that pass."""

    def __init__(self, source: Source, bound: Bound) -> None:
        self._source = source
        self._bound = bound

    def version(self) -> str:
        """The source's."""
        return self._source.version()

    def relations(self, glob: str, limit: int) -> Sequence[RelationInfo]:
        """The source's."""
        return self._source.relations(glob, limit)

    def describe(self, relation: SourceRelation) -> RelationInfo:
        """The source's, as if there were no bound."""
        return self._source.describe(relation)

    def state(self, relation: SourceRelation) -> str:
        """The source's."""
        return self._source.state(relation)

    def split(self, relation: SourceRelation, parts: int) -> Sequence[SourceRange]:
        """The source's."""
        return self._source.split(relation, parts)

    def chunks(
        self, relation: SourceRelation, columns: Sequence[ColumnInfo], after: Position | None
    ) -> Iterator[SourceChunk]:
        """The source's, within the bound."""
        return self._bound.taken(self._source.chunks(relation, columns, after))

    def offers(self, relation: SourceRelation) -> Mapping[CopyPath, str]:
        """The source's, where it passes bytes."""
        return self._source.offers(relation) if isinstance(self._source, PassingSource) else {}

    def passing_split(self, relation: SourceRelation, path: CopyPath, parts: int) -> Sequence[SourceRange]:
        """The source's."""
        return self._passing().passing_split(relation, path, parts)

    def passing_chunks(
        self, relation: SourceRelation, columns: Sequence[ColumnInfo], path: CopyPath, after: Position | None
    ) -> Iterator[SourceChunk]:
        """The source's, within the bound."""
        return self._bound.taken(self._passing().passing_chunks(relation, columns, path, after))

    def close(self) -> None:
        """The source's."""
        self._source.close()

    def _passing(self) -> PassingSource:
        if not isinstance(self._source, PassingSource):
            raise FailedPrecondition(f"{self._source.version()} passes no bytes: start another run")
        return self._source
