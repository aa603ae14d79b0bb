"""A scan of a DuckDB relation: what orders it, the statement that reads it on from a position, and chunks of what it gives."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa

from pymigrate.engine.adapters.connectors.chunk_sizes import dividing
from pymigrate.engine.adapters.connectors.duckdb_reading import Reading, arrays_of
from pymigrate.engine.adapters.connectors.source_values import Unreadable, refused
from pymigrate.engine.adapters.connectors.target_statements import Table
from pymigrate.engine.domain.errors import DataRefused, FailedPrecondition
from pymigrate.engine.ports.arrow_types import arrow_schema
from pymigrate.engine.ports.ranges import Position, SourceRange
from pymigrate.engine.ports.relations import SourceRelation
from pymigrate.engine.ports.source import SourceChunk

ALIAS = "source"
ROWID = "rowid"
CHUNK_PARTS = 4  # batches that a chunk is put together from at least, where rows allow it


@dataclass(frozen=True, slots=True)
class Term:
    """What rows are ordered by: its name, its expression, and the type that its text is cast back to."""

    name: str
    sql: str
    native: str


ROW = Term(ROWID, f"{ALIAS}.{ROWID}", "BIGINT")


class ChunkReader:
    """Batches of a scan, checked, and put together to chunks of about the size that the relation asks for."""

    def __init__(self, relation: SourceRelation, readings: Sequence[Reading], terms: Sequence[Term]) -> None:
        self._relation = relation
        self._readings = readings
        self._terms = terms
        self._last: tuple[object, ...] = ()

    def of(self, scan: Iterator[pa.RecordBatch]) -> Iterator[SourceChunk]:
        """Chunks of the batches that the statement of `select` gives."""
        held: list[pa.RecordBatch] = []
        size, held_rows = 0, 0
        for batch in scan:
            width = max(1, batch.nbytes // max(1, batch.num_rows))
            rows = dividing(self._relation.chunk_rows, max(1, self._relation.chunk_bytes // width // CHUNK_PARTS))
            for first in range(0, batch.num_rows, rows):
                piece = batch.slice(first, rows)
                self._check_order(piece)
                held.append(self._read(piece))
                size, held_rows = size + held[-1].nbytes, held_rows + piece.num_rows
                if size >= self._relation.chunk_bytes or 0 < self._relation.chunk_rows <= held_rows:
                    yield self._chunk(held, size)
                    held, size, held_rows = [], 0, 0
        if held:
            yield self._chunk(held, size)

    def _chunk(self, held: Sequence[pa.RecordBatch], size: int) -> SourceChunk:
        return SourceChunk(tuple(held), sum(batch.num_rows for batch in held), size, position_of(self._last))

    def _check_order(self, batch: pa.RecordBatch) -> None:
        """Raises DataRefused where a key is NULL or occurs twice: what is read on after it would be lost."""
        keys = batch.select(range(len(self._terms)))
        if self._terms == [ROW]:
            rowids = keys.column(0).to_numpy()
            before = self._last[0] if self._last else -1
            if not (rowids[0] > before and (rowids[1:] > rowids[:-1]).all()):
                raise FailedPrecondition(
                    f"{self._relation.relation}: DuckDB gave its rows in another order than rowid's"
                )
            self._last = (int(rowids[-1]),)
            return
        before_key = self._last
        for key in zip(*(column.to_pylist() for column in keys.columns), strict=True):
            if key == before_key or None in key:
                raise DataRefused(
                    f"{self._relation.relation}, row {self._shown(key)}: the key is NULL or occurs twice", field="key"
                )
            before_key = key
        self._last = before_key

    def _read(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        arrays = []
        for each, values, is_exact in arrays_of(self._readings, batch, len(self._terms)):
            try:
                arrays.append(each.array(values, is_exact))
            except Unreadable as error:
                key = [column[error.row].as_py() for column in batch.columns[: len(self._terms)]]
                raise refused(self._relation.relation, each.column.name, self._shown(key), str(error)) from error
        return pa.RecordBatch.from_arrays(arrays, schema=arrow_schema([each.column for each in self._readings]))

    def _shown(self, key: Sequence[object]) -> str:
        return ", ".join(f"{term.name}={value}" for term, value in zip(self._terms, key, strict=True))


def select(
    table: Table, terms: Sequence[Term], readings: Sequence[Reading], span: SourceRange
) -> tuple[str, list[object]]:
    """The order's terms, the columns and their checks, in order."""
    is_rowid = terms == [ROW]
    names = [term.sql if is_rowid else f"CAST({term.sql} AS VARCHAR)" for term in terms]
    names += [each.expression for each in readings] + [each.check for each in readings if each.check]
    conditions, values = list[str](), list[object]()
    order = ", ".join(term.sql for term in terms)
    for comparison, position in ((">", span.after), ("<=", span.until)):
        if position:
            casts = ", ".join(f"CAST(? AS {term.native})" for term in terms)
            conditions.append(f"({order}) {comparison} ({casts})")
            values.extend(json.loads(position))
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    by = "" if is_rowid else f" ORDER BY {order}"
    numbered = ", ".join(f"{name} AS c{at}" for at, name in enumerate(names))
    return f"SELECT {numbered} FROM {table.sql} AS {ALIAS}{where}{by}", values


def position_of(key: Sequence[object]) -> Position:
    """The position after the row with this key."""
    return Position(json.dumps(list(key)))
