"""A source of which only so much is read: a sample for so long, or the rows that a sample had.

It ends as if there were no more, so that whoever copies it ends as he would have at the end.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Protocol

import pyarrow as pa

from pymigrate.engine.ports.source import Source, SourceChunk
from pymigrate.engine.transfer.relayed_source import RelayedSource


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


class BoundedSource(RelayedSource):
    """The source as if it ended where its bound does."""

    def __init__(self, source: Source, bound: Bound) -> None:
        super().__init__(source)
        self._bound = bound

    def relayed(self, chunks: Iterator[SourceChunk]) -> Iterator[SourceChunk]:
        """Within the bound."""
        return self._bound.taken(chunks)
