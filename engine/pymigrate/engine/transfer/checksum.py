"""Digests of rows in any order: what passes through is compared with what both sides hold.

A row's hash is DuckDB's over all its columns, after a constant (DuckDB's hash of 0 is 0, and a row of zeros would not be seen), and
hashed once more so that no bit of one cell can cancel another's; a digest is the sum of the rows' hashes modulo 2^64. A sum and not
an XOR: a doubled row would cancel itself there. Values are equal here when their bits are: -0.0 is not 0.0, a NaN is itself, NULL is
not empty, and a column's place counts.

The function may change with DuckDB's version, so a digest carries its function's name, and only equal functions are compared.

Rows that pass as bytes are not looked at: there the digest is the sum of XXH3 over the bytes of each chunk. It is there for accidents, as
every digest here is, and not for somebody who means to deceive.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import duckdb
import pyarrow as pa
import xxhash

from pymigrate.engine.ports.source import SourceChunk

FUNCTION = f"duckdb-hash-{duckdb.__version__}"
PASSING_FUNCTION = "xxh3-chunks"
FUNCTIONS = (FUNCTION, PASSING_FUNCTION)
MODULUS = 2**64
GROUP_BYTES_MAX = 8_000_000
_ALIASES: dict[pa.DataType, pa.DataType] = {
    pa.float32(): pa.int32(),
    pa.float64(): pa.int64(),
    pa.date32(): pa.int32(),
    pa.time64("us"): pa.int64(),
    pa.string(): pa.binary(),
}


class OtherFunction(ValueError):
    """A digest was made by another function than this process has; it can be neither continued nor compared."""


class Checksum:
    """A running digest of rows. Keeps a private DuckDB of one thread; close it."""

    def __init__(self, start: str = "", hasher: "RowHasher | None" = None) -> None:
        """Goes on from a digest's text; empty is the digest of no rows. The hasher is closed with it. Raises OtherFunction."""
        self._value = _value(start)
        self._hasher = hasher or RowHasher()

    def add(self, batches: Iterable[pa.RecordBatch]) -> None:
        """Takes in rows."""
        self._value = (self._value + self._hasher.total(batches)) % MODULUS

    def take(self, chunk: SourceChunk) -> None:
        """Takes in a chunk's rows."""
        self.add(chunk.batches)

    def text(self) -> str:
        """The digest so far, as `<function>:<16 hex digits>`."""
        return _text(self._value)

    def close(self) -> None:
        """Gives up its DuckDB. May be called again."""
        self._hasher.close()


class PassingChecksum:
    """A running digest of chunks by their bytes: it depends on where they end."""

    def __init__(self, start: str = "") -> None:
        """Goes on from a digest's text. Raises OtherFunction."""
        self._value = _value(start, PASSING_FUNCTION)

    def take(self, chunk: SourceChunk) -> None:
        """Takes in a chunk by the digest of its bytes."""
        self._value = (self._value + chunk.digest) % MODULUS

    def text(self) -> str:
        """The digest so far, as `<function>:<16 hex digits>`."""
        return _text(self._value, PASSING_FUNCTION)

    def close(self) -> None:
        """Holds nothing."""


def digested(chunk: SourceChunk) -> SourceChunk:
    """The chunk with the digest of its pieces."""
    digest = xxhash.xxh3_64()
    for piece in chunk.pieces:
        digest.update(piece)
    return replace(chunk, digest=digest.intdigest())


class RowHasher:
    """Hashes rows on a private DuckDB of one thread; close it."""

    def __init__(self) -> None:
        self._connection = duckdb.connect(":memory:", config={"threads": 1})

    def total(self, batches: Iterable[pa.RecordBatch]) -> int:
        """The sum of the rows' hashes modulo 2^64."""
        rows = [canonical(batch) for batch in batches if batch.num_rows]
        if not rows:
            return 0
        found = self._query(
            rows, "SELECT (sum(hash(hash(1, {columns}))) % 18446744073709551616)::UBIGINT AS found FROM canonical"
        )
        return int(found[0])

    def each(self, batches: Iterable[pa.RecordBatch]) -> Any:
        """Every row's hash, as a numpy array of uint64 in the rows' order, which DuckDB keeps."""
        rows = [canonical(batch) for batch in batches if batch.num_rows]
        if not rows:
            return pa.array([], pa.uint64()).to_numpy(zero_copy_only=False)
        return self._query(rows, "SELECT hash(hash(1, {columns})) AS found FROM canonical")

    def pairs(self, batches: Sequence[pa.RecordBatch], key: Sequence[int]) -> tuple[Any, Any]:
        """For every row, in order, the hash of its columns at these places, and its own; without places its own twice."""
        hashes = self.each(batches)
        if not key:
            return hashes, hashes
        keys = [batch.select([batch.schema.names[at] for at in key]) for batch in batches]
        return self.each(keys), hashes

    def close(self) -> None:
        """Gives up its DuckDB. May be called again."""
        self._connection.close()

    def _query(self, rows: list[pa.RecordBatch], statement: str) -> Any:
        columns = ", ".join(rows[0].schema.names)
        self._connection.register("canonical", pa.Table.from_batches(rows))
        try:
            return self._connection.execute(statement.format(columns=columns)).fetchnumpy()["found"]
        finally:
            self._connection.unregister("canonical")


def canonical(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch with columns `c0`, `c1`, ... of types for which DuckDB's equality is equality of bits. Nothing is copied."""
    if not batch.num_columns:
        raise ValueError("rows without columns can't be told apart")
    columns = [_canonical_column(column) for column in batch.columns]
    return pa.RecordBatch.from_arrays(columns, names=[f"c{at}" for at in range(len(columns))])


def grouped(batches: Iterable[pa.RecordBatch], bytes_max: int = GROUP_BYTES_MAX) -> Iterator[list[pa.RecordBatch]]:
    """The batches in groups of about `bytes_max`: hashing has a cost for each call."""
    group: list[pa.RecordBatch] = []
    size = 0
    for batch in batches:
        group.append(batch)
        size += batch.nbytes
        if size >= bytes_max:
            yield group
            group, size = [], 0
    if group:
        yield group


def combine(texts: Sequence[str]) -> str:
    """The digest of the rows of several digests together; an empty text counts as no rows. Raises OtherFunction."""
    function = next((name for text in texts for name in FUNCTIONS if text.startswith(f"{name}:")), FUNCTION)
    return _text(sum(_value(text, function) for text in texts) % MODULUS, function)


def sum_of(hashes: Any) -> str:
    """The digest of rows whose hashes a RowHasher gave."""
    return text_of(int(hashes.sum(dtype="uint64")))


def text_of(total: int) -> str:
    """The digest of rows whose hashes have this sum."""
    return _text(total % MODULUS)


def is_continuable(text: str) -> bool:
    """Whether a digest was made by this process's function."""
    return not text or text.partition(":")[0] in FUNCTIONS


def _canonical_column(column: pa.Array) -> pa.Array:
    if pa.types.is_timestamp(column.type):
        return column.view(pa.int64())
    alias = _ALIASES.get(column.type)
    return column if alias is None else column.view(alias)


def _value(text: str, expected: str = FUNCTION) -> int:
    if not text:
        return 0
    function, _, digits = text.partition(":")
    if function != expected:
        raise OtherFunction(f"{text} was made by {function}, and this worker host has {expected}")
    return int(digits, 16)


def _text(value: int, function: str = FUNCTION) -> str:
    return f"{function}:{value:016x}"
