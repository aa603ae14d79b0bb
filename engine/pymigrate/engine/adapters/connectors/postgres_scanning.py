"""PostgreSQL's rows through DuckDB's scanner, under the snapshot of the source's own session, without a Python object a row.

Everything is selected so that the scanner gives the value itself: numbers, texts, bytes and times of the types that it reads as they
are, and PostgreSQL's text of all others. What it does not vouch for is asked of the server beside the rows (a NaN, which it turns into
0.0) or seen in what came (moments that no calendar here holds): there, and wherever else it can't go on, it declines, and the strict
reader goes on.
"""

import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

import duckdb
import psycopg
import pyarrow as pa
import pyarrow.compute as pc
import structlog

from pymigrate.engine.adapters.connectors.duckdb_extensions import load
from pymigrate.engine.adapters.connectors.postgres_connection import conninfo
from pymigrate.engine.adapters.connectors.postgres_reading import (
    DAY_MICROSECONDS,
    EPOCH_DAYS,
    FIRST_DAY,
    is_read,
    to_array,
)
from pymigrate.engine.adapters.connectors.postgres_relations import Order
from pymigrate.engine.adapters.connectors.source_values import Unreadable
from pymigrate.engine.adapters.connectors.standard_defaults import text_literal
from pymigrate.engine.adapters.connectors.target_statements import quote
from pymigrate.engine.domain.errors import FailedPrecondition
from pymigrate.engine.domain.types import ColumnInfo
from pymigrate.engine.ports.arrow_types import arrow_schema, arrow_type
from pymigrate.engine.ports.connector import SystemSpec

log = structlog.get_logger(__name__)
MEMORY_BYTES_MAX = 128 << 20
BATCH_ROWS = 8_192
EXPORT = "SELECT pg_export_snapshot() AS name, txid_current_snapshot()::text AS state"
DAY_MIN = FIRST_DAY + EPOCH_DAYS
_TEXTS_OF_KEYS = ("smallint", "integer", "bigint", "text", "character varying")
_END = {"date": 2**31 - 1, "time": DAY_MICROSECONDS, "timestamp": 2**63 - 1, "timestamptz": 2**63 - 1}
_FIRST = {"date": DAY_MIN, "time": 0} | dict.fromkeys(("timestamp", "timestamptz"), DAY_MIN * DAY_MICROSECONDS)


class Declined(Exception):
    """The scanner does not vouch for these rows."""


class PostgresScan:
    """A second session on the server, under the snapshot of `connection`. Raises Declined where it can't be had; close it."""

    def __init__(self, system: SystemSpec, connection: psycopg.Connection, settings: Mapping[str, str]) -> None:
        self._scanner = duckdb.connect(config={"threads": 1, "memory_limit": f"{MEMORY_BYTES_MAX}B"})
        self._end = weakref.finalize(self, _end, self._scanner)
        try:
            load(self._scanner, "postgres_scanner")
            self._join(system, connection, settings)
        except (duckdb.Error, FailedPrecondition, psycopg.Error) as error:
            self._end()
            # DuckDB's text has the password with the other parameters of the connection.
            raise Declined(type(error).__name__) from None

    def rows(
        self, select: Callable[[Sequence[str]], str], columns: Sequence[ColumnInfo], order: Order
    ) -> tuple[list[pa.RecordBatch], list[object]]:
        """The rows of a statement that `select` makes of what is to be selected, and the texts of the last row's order, none without rows.
        Raises Declined, with nothing taken."""
        keys = [term.sql + ("" if term.native in _TEXTS_OF_KEYS else "::text") for term in order.terms]
        doubtful = [f"{quote(c.name)} = 'NaN'" for c in columns if c.type.kind == "decimal" and is_scanned(c)]
        odd = [f"({' OR '.join(doubtful)})"] if doubtful else []
        # Names of its own: the scanner does not tell names by their case.
        selection = [*keys, *odd, *map(_scanned, columns)]
        statement = select([f"{expression} AS pymigrate_{at}" for at, expression in enumerate(selection)])
        batches = []
        last: list[object] = []
        skipped = len(keys) + len(odd)
        try:
            for batch in self._scanner.execute(_query(statement)).to_arrow_reader(BATCH_ROWS):
                if odd and pc.any(batch.column(len(keys))).as_py():
                    raise Declined("a number is NaN")
                batches.append(_converted(batch.columns[skipped:], columns))
                last = [str(values[-1].as_py()) for values in batch.columns[: len(keys)]]
        except (duckdb.Error, OSError, Unreadable, UnicodeDecodeError, pa.ArrowInvalid) as error:
            raise Declined(str(error).partition("\n")[0]) from error
        return batches, last

    def close(self) -> None:
        """Gives up the session. May be called again."""
        self._end()

    def _join(self, system: SystemSpec, connection: psycopg.Connection, settings: Mapping[str, str]) -> None:
        options = " ".join(f"-c {name}={_escaped(value)}" for name, value in settings.items())
        address = text_literal(conninfo(system, options))
        self._scanner.execute(f"ATTACH {address} AS legacy (TYPE postgres, READ_ONLY)")
        # Whether the server exports snapshots is tried here first: what fails in the source's own session ends its snapshot.
        self._scanner.execute("BEGIN")
        self._scanner.execute(_query(EXPORT)).fetchall()
        self._scanner.execute("ROLLBACK")
        [(snapshot, state)] = connection.execute(EXPORT).fetchall()
        importing = f"SET TRANSACTION SNAPSHOT {text_literal(snapshot)}"
        self._scanner.execute("BEGIN")
        self._scanner.execute(f"CALL postgres_execute('legacy', {text_literal(importing)})")
        found = self._scanner.execute(_query("SELECT txid_current_snapshot()::text AS state")).fetchall()
        if found != [(state,)]:
            raise FailedPrecondition("the scanner's session reads another snapshot")


def is_scanned(column: ColumnInfo) -> bool:
    """Whether the scanner reads a column's own values; what it does not comes as text."""
    if column.type.kind == "decimal":
        return column.native_type == f"numeric({column.type.precision},{column.type.scale})"
    return column.native_type == "uuid" if column.type.kind == "uuid" else is_read(column)


def _end(scanner: duckdb.DuckDBPyConnection) -> None:
    """Rolls back before it closes: a close that can't, since the server is gone, ends the process (DuckDB 1.5.5 throws in a destructor)."""
    with suppress(duckdb.Error):  # the server is gone, or no transaction was begun
        scanner.execute("ROLLBACK")
    scanner.close()


def _scanned(column: ColumnInfo) -> str:
    name = quote(column.name)
    if column.native_type.startswith(("character(", "bpchar")) and is_scanned(column):
        return f"CASE WHEN {name} IS NOT NULL THEN concat({name}) END"  # a cast, as the scanner itself, drops blanks at the end
    return name if is_scanned(column) else f"{name}::text"


def _converted(arrays: Sequence[pa.Array], columns: Sequence[ColumnInfo]) -> pa.RecordBatch:
    found = [_column(values, column) for values, column in zip(arrays, columns, strict=True)]
    return pa.RecordBatch.from_arrays(found, schema=arrow_schema(columns))


def _column(values: pa.Array, column: ColumnInfo) -> pa.Array:
    if not is_scanned(column):
        _require(values.type == pa.string(), column)
        return to_array(column, values)
    expected = arrow_type(column.type)
    if column.type.kind not in _END:
        _require(values.type == expected, column)
        return values
    _require(pa.types.is_temporal(values.type) and values.type.bit_width == expected.bit_width, column)
    numbers = values.view(pa.int32() if column.type.kind == "date" else pa.int64())
    ends = pc.min_max(numbers).as_py()
    if ends["min"] is not None and not (
        _FIRST[column.type.kind] <= ends["min"] and ends["max"] < _END[column.type.kind]
    ):
        raise Declined(f"{column.name} holds a moment that no calendar here has")
    return numbers.view(expected)


def _require(is_expected: bool, column: ColumnInfo) -> None:
    if not is_expected:
        raise Declined(f"{column.name} comes as another type than {column.type}")


def _query(statement: str) -> str:
    return f"SELECT * FROM postgres_query('legacy', {text_literal(statement)})"


def _escaped(value: str) -> str:
    """A value within libpq's `options`, where blanks separate."""
    return value.replace("\\", "\\\\").replace(" ", "\\ ")
