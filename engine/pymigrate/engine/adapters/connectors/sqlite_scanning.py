"""SQLite tables through DuckDB's scanner, which makes no Python object of any value, in the order of rowid.

What it vouches for is handed out, and where it can't go on it ends: the strict reader then goes on after the last row. It vouches for
integers, reals and texts in columns that are declared so, since it refuses any other storage there; blobs it does not tell from texts, so
that SQLite is asked for their storage. Before a chunk is handed out SQLite is asked, too, whether anything was committed since the
source's snapshot was taken: without that, the scanner has read the same.
"""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import structlog

from pymigrate.engine.adapters.connectors.chunk_sizes import dividing
from pymigrate.engine.adapters.connectors.duckdb_extensions import load
from pymigrate.engine.adapters.connectors.source_values import Unreadable, read_texts
from pymigrate.engine.adapters.connectors.sqlite_types import column_type, is_text
from pymigrate.engine.adapters.connectors.standard_defaults import text_literal
from pymigrate.engine.adapters.connectors.target_statements import quote
from pymigrate.engine.domain.errors import FailedPrecondition
from pymigrate.engine.domain.types import ColumnInfo
from pymigrate.engine.ports.arrow_types import arrow_schema, arrow_type
from pymigrate.engine.ports.relations import SourceRelation

log = structlog.get_logger(__name__)
MEMORY_BYTES_MAX = 128 << 20
ROWS_AT_ONCE = 8_192
SAMPLE_ROWS = 256
PARTS = 4  # batches that a chunk is put together from at least, where rows allow it
ROWID_FIRST = -(2**63)
_SCANNED: Mapping[str, str] = {
    "int16": "BIGINT",
    "int32": "BIGINT",
    "int64": "BIGINT",
    "bool": "BIGINT",
    "float64": "DOUBLE",
    "bytes": "BLOB",
}


class Declined(Exception):
    """The scanner does not vouch for what comes next."""


class SqliteScan:
    """A scan of one table. `connection` holds the source's snapshot; `watch` sees commits of others, of which there were `version` when
    the snapshot was taken."""

    def __init__(self, path: Path, connection: sqlite3.Connection, watch: sqlite3.Connection, version: int) -> None:
        self._path = path
        self._connection = connection
        self._watch = watch
        self._version = version

    def batches(
        self, table: str, columns: Sequence[ColumnInfo], after: int | None, relation: SourceRelation
    ) -> Iterator[tuple[pa.RecordBatch, int]]:
        """Batches after a rowid, each with its last rowid. Ends early where the strict reader is to go on."""
        try:
            yield from self._scan(table, columns, ROWID_FIRST if after is None else after, after is None, relation)
        except (Declined, Unreadable, duckdb.Error, pa.ArrowInvalid, UnicodeDecodeError, FailedPrecondition) as error:
            log.info("sqlite.scan_left", table=table, reason=str(error).partition("\n")[0])

    def _scan(
        self, table: str, columns: Sequence[ColumnInfo], after: int, is_first_taken: bool, relation: SourceRelation
    ) -> Iterator[tuple[pa.RecordBatch, int]]:
        self._require_order(table, columns)
        with duckdb.connect(config={"threads": 1, "memory_limit": f"{MEMORY_BYTES_MAX}B"}) as scanner:
            load(scanner, "sqlite_scanner")
            scanner.execute(f"ATTACH {text_literal(str(self._path))} AS legacy (TYPE sqlite, READ_ONLY)")
            names = ", ".join([quote(column.name) for column in columns])
            statement = f"SELECT rowid, {names} FROM legacy.{quote(table)}"
            sample = scanner.execute(f"{statement} LIMIT {SAMPLE_ROWS}").to_arrow_table()
            _require_types(scanner, statement, columns)
            width = max(1, int(sample.nbytes) // max(1, int(sample.num_rows)))
            rows = max(1, min(ROWS_AT_ONCE, relation.chunk_bytes // width // PARTS))
            rows = dividing(relation.chunk_rows, rows)
            last = after
            for batch in scanner.execute(statement).to_arrow_reader(rows):
                rowids = batch.column(0).to_numpy()
                if not (rowids[1:] > rowids[:-1]).all():
                    raise Declined("rows came in another order than rowid's")
                first = int(rowids.searchsorted(after, side="left" if is_first_taken else "right"))
                if first == batch.num_rows:
                    continue
                if int(rowids[first]) <= last and not (is_first_taken and last == ROWID_FIRST):
                    raise Declined("rows came in another order than rowid's")
                batch = batch.slice(first)
                found = _converted(batch, columns)
                self._require_blobs(table, columns, int(rowids[first]), int(rowids[-1]))
                self._require_same()
                last = int(rowids[-1])
                yield found, last

    def _require_same(self) -> None:
        if self._watch.execute("PRAGMA data_version").fetchone()[0] != self._version:
            raise Declined("the file was written to since the snapshot was taken")

    def _require_order(self, table: str, columns: Sequence[ColumnInfo]) -> None:
        """SQLite may read an index that holds all columns, in its own order, in place of the table."""
        for index in self._connection.execute(f"PRAGMA index_list({quote(table)})").fetchall():
            held = {row[2] for row in self._connection.execute(f"PRAGMA index_xinfo({quote(index[1])})")}
            if all(column.name in held or column.native_type.upper() == "INTEGER" for column in columns):
                raise Declined(f"the index {index[1]} holds all that is read")

    def _require_blobs(self, table: str, columns: Sequence[ColumnInfo], first: int, last: int) -> None:
        doubtful = [f"typeof({quote(c.name)}) NOT IN ('blob', 'null')" for c in columns if c.type.kind == "bytes"]
        if doubtful:
            statement = (
                f"SELECT 1 FROM {quote(table)} WHERE rowid BETWEEN ? AND ? AND ({' OR '.join(doubtful)}) LIMIT 1"
            )
            if self._connection.execute(statement, (first, last)).fetchone():
                raise Declined("a column of blobs holds something else")


def is_scanned(columns: Sequence[ColumnInfo]) -> bool:
    """Whether the scanner can be asked for all of these columns, by their declarations."""
    return bool(columns) and all(_expected(column) for column in columns)


def _expected(column: ColumnInfo) -> str:
    """The type in which the scanner is to give a column; empty where it can't be asked for it."""
    if is_text(column.native_type):
        return "VARCHAR" if column.type.kind != "bytes" else ""
    kind = column_type(column.native_type).kind
    if column.type.kind == kind or (kind, column.type.kind) in {
        ("int64", "int32"),
        ("int64", "int16"),
        ("int64", "bool"),
    }:
        return _SCANNED.get(column.type.kind, "")
    return ""


def _require_types(scanner: duckdb.DuckDBPyConnection, statement: str, columns: Sequence[ColumnInfo]) -> None:
    given = [str(row[1]) for row in scanner.execute(f"DESCRIBE {statement}").fetchall()][1:]
    for column, kind in zip(columns, given, strict=True):
        if kind != _expected(column):
            raise Declined(f"{column.name} comes as {kind}")


def _converted(batch: pa.RecordBatch, columns: Sequence[ColumnInfo]) -> pa.RecordBatch:
    arrays = []
    for at, column in enumerate(columns):
        values = batch.column(at + 1)
        if _expected(column) == "VARCHAR":
            values.validate(full=True)
            arrays.append(read_texts(values, column.type))
        elif column.type.kind == "bool":
            if pc.any(pc.or_(pc.less(values, 0), pc.greater(values, 1))).as_py():
                raise Declined(f"{column.name} holds something other than 0 and 1")
            arrays.append(values.cast(pa.bool_()))
        else:
            arrays.append(values.cast(arrow_type(column.type)))
    return pa.RecordBatch.from_arrays(arrays, schema=arrow_schema(columns))
