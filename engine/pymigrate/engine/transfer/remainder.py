"""What is left of a lane's source once its committed part has been read again, from the same reading."""

from collections.abc import Iterator

import pyarrow as pa

from pymigrate.engine.ports.source import SourceChunk
from pymigrate.engine.ports.staging import Checkpoint
from pymigrate.engine.transfer.checksum import Checksum, PassingChecksum
from pymigrate.engine.transfer.lane_job import LaneJob
from pymigrate.engine.transfer.reading import SourceReader
from pymigrate.engine.transfer.transforms.place import Place, place_of


def remainder_of(job: LaneJob, reader: SourceReader, committed: Checkpoint) -> "Remainder | RereadRemainder":
    """What is read of the source from its start, of which the committed part comes first."""
    again = reader.reread(job.relation, job.staging.columns, committed.position)
    if again is not None:
        return RereadRemainder(*again)
    return Remainder(reader.chunks(job.relation, job.staging.columns, None, job.staging.path))


class Remainder:
    """Chunks of a source, of which the first rows are read again rather than handed out.

    What follows is taken from the same reading, not from a position that was written down under another snapshot: a table that was
    rewritten in between may hold the same rows in the same order at other places.
    """

    def __init__(self, chunks: Iterator[SourceChunk]) -> None:
        self._chunks = chunks
        self._cut: SourceChunk | None = None

    def read(self, committed: Checkpoint, checksum: Checksum | PassingChecksum) -> int:
        """Reads as many rows as are committed into the digest and returns how many there were; fewer, too, where what passes as bytes no
        longer ends where it did."""
        left = rows = committed.rows
        while left > 0 and (chunk := next(self._chunks, None)) is not None:
            if chunk.rows > left and not chunk.batches:
                return rows - left
            if chunk.rows > left:
                head, tail = _cut(chunk.batches, left)
                checksum.take(SourceChunk(tuple(head), left, chunk.bytes * left // chunk.rows, chunk.end))
                kept = chunk.rows - left
                self._cut = SourceChunk(tuple(tail), kept, chunk.bytes * kept // chunk.rows, chunk.end)
                return rows
            checksum.take(chunk)
            left -= chunk.rows
        return rows - left

    def __iter__(self) -> "Remainder":
        return self

    def __next__(self) -> SourceChunk:
        if self._cut is not None:
            chunk, self._cut = self._cut, None
            return chunk
        return next(self._chunks)


class RereadRemainder:
    """The same for a source that leaves rows out or refuses them: it counts by its own rows, not by those that were committed."""

    def __init__(self, first: Iterator[SourceChunk], rest: Iterator[SourceChunk]) -> None:
        self._first = first
        self._rest = rest

    def read(self, committed: Checkpoint, checksum: Checksum | PassingChecksum) -> int:
        """Reads what was read before; -1 where it is as long, and refuses other rows than it did."""
        rows, place = 0, Place()
        for chunk in self._first:
            checksum.take(chunk)
            rows, place = rows + chunk.rows, place_of(chunk.end)
        return rows if place.is_like(place_of(committed.position)) else -1

    def __iter__(self) -> Iterator[SourceChunk]:
        return self._rest

    def __next__(self) -> SourceChunk:
        return next(self._rest)


def _cut(batches: tuple[pa.RecordBatch, ...], rows: int) -> tuple[list[pa.RecordBatch], list[pa.RecordBatch]]:
    head: list[pa.RecordBatch] = []
    tail: list[pa.RecordBatch] = []
    for batch in batches:
        taken = min(rows, batch.num_rows)
        rows -= taken
        if taken:
            head.append(batch.slice(0, taken))
        if taken < batch.num_rows:
            tail.append(batch.slice(taken))
    return head, tail
