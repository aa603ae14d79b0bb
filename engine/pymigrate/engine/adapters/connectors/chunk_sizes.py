"""How large the chunks of a source are: by bytes, by rows where a target keeps rows in groups, and small at first."""

import itertools
import math
from collections.abc import Iterator

import pyarrow as pa

from pymigrate.engine.ports.relations import SourceRelation

ROWS_FIRST = 16
ROWS_GROWTH = 8
ROWS_MAX = 4_096
FIRST_PART = 8
GROWING_BYTES_MIN = 4_000_000


def growing(chunk_bytes: int) -> Iterator[int]:
    """What chunk after chunk may hold: little at first, so that it can be written while the next one is read, and twice as much each time
    until it is `chunk_bytes`. Small chunks are all alike."""
    size = chunk_bytes if chunk_bytes < GROWING_BYTES_MIN else chunk_bytes // FIRST_PART
    while True:
        yield size
        size = min(chunk_bytes, 2 * size)


def dividing(chunk_rows: int, rows: int) -> int:
    """At most so many rows a batch, so that whole batches fill a chunk of `chunk_rows`; 0: one of any size."""
    return math.gcd(chunk_rows, 1 << (rows.bit_length() - 1)) if chunk_rows else rows


class RowPace:
    """How many rows to ask for next, so that a chunk comes to about what `growing` says and never holds much more, however wide rows are.

    Where asking costs much, as many rows as may be are asked for at once, and a chunk is full that is nearly so. Where the relation says
    how many rows a chunk holds, it is full with them, too.
    """

    def __init__(self, relation: SourceRelation, rows_max: int = ROWS_MAX, share: float = 1.0) -> None:
        self.rows = ROWS_FIRST
        self._rows_max = rows_max
        self._sizes = itertools.repeat(relation.chunk_bytes) if relation.chunk_rows else growing(relation.chunk_bytes)
        self._chunk_bytes = next(self._sizes)
        self._chunk_rows = relation.chunk_rows
        self._share = share
        self._bytes = 0
        self._held_rows = 0

    def fills(self, *batches: pa.RecordBatch) -> bool:
        """Counts batches to the chunk. True when the chunk is full, and the next one begins."""
        size, rows = sum(batch.nbytes for batch in batches), sum(batch.num_rows for batch in batches)
        self._bytes += size
        self._held_rows += rows
        is_full = self._bytes >= int(self._chunk_bytes * self._share) or 0 < self._chunk_rows <= self._held_rows
        if is_full:
            self._bytes = self._held_rows = 0
            self._chunk_bytes = next(self._sizes)
        row_bytes = max(1, size // rows)
        fitting = (self._chunk_bytes - self._bytes) // row_bytes
        if self._chunk_rows:
            fitting = min(fitting, self._chunk_rows - self._held_rows)
        self.rows = max(1, min(self._rows_max, self.rows * ROWS_GROWTH, fitting))
        return is_full
