"""PostgreSQL databases as sources: one snapshot, in the order of a key, through a cursor that stays on the server."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase

import psycopg
import pyarrow as pa
from psycopg import errors

from pymigrate.engine.adapters.connectors.postgres_connection import connect
from pymigrate.engine.adapters.connectors.postgres_passing import PostgresPages
from pymigrate.engine.adapters.connectors.postgres_reading import keep_raw, selected, to_array
from pymigrate.engine.adapters.connectors.postgres_relations import ALIAS, Order, PostgresRelations
from pymigrate.engine.adapters.connectors.source_values import RowPace, Unreadable, refused
from pymigrate.engine.domain.errors import DataRefused, FailedPrecondition, SourceChanged, SystemUnavailable
from pymigrate.engine.domain.paths import CopyPath
from pymigrate.engine.domain.types import ColumnInfo
from pymigrate.engine.ports.connector import (
    Position,
    RelationInfo,
    RowsDigest,
    SourceChunk,
    SourceRange,
    SourceRelation,
    SystemSpec,
    arrow_schema,
    ranges_between,
)

CURSOR = "pymigrate_rows"
SPLIT_ROWS_MAX = 1_000_000
_SNAPSHOT = re.compile(r"[0-9A-F]+(-[0-9A-F]+)*")
# Texts that can be cast back to what they came from, whatever the role's settings are; and rows that a policy hides are an error.
SETTINGS = {
    "client_encoding": "UTF8",
    "datestyle": "ISO, YMD",
    "intervalstyle": "postgres",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "row_security": "off",
}


class PostgresSource:
    """A database. The first read takes the snapshot, which holds until the source is closed."""

    def __init__(self, system: SystemSpec) -> None:
        self._system = system
        self._cursors = 0
        with self._translated():
            self._connection = connect(system)
            settings = ", ".join("set_config(%s, %s, false)" for _ in SETTINGS)
            self._connection.execute(
                f"SELECT {settings}".encode(), [text for pair in SETTINGS.items() for text in pair]
            )
            self._connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        self._relations = PostgresRelations(self._query)
        self._pages = PostgresPages(self._connection, self._relations, self._query)

    def adopt(self, snapshot: str) -> bool:
        """Imports it, while the session that exported it is there."""
        if not _SNAPSHOT.fullmatch(snapshot):
            raise ValueError(f"{snapshot!r} is no snapshot's name")
        with self._translated():
            try:
                self._connection.execute(f"SET TRANSACTION SNAPSHOT '{snapshot}'".encode())
            except (errors.InvalidParameterValue, errors.UndefinedObject):
                self._connection.execute("ROLLBACK")
                self._connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
                return False
        return True

    def version(self) -> str:
        """Such as `PostgreSQL 15.14`."""
        number = self._connection.info.server_version
        return f"PostgreSQL {number // 10000}.{number % 10000}"

    def relations(self, glob: str, limit: int) -> Sequence[RelationInfo]:
        """Tables and views outside PostgreSQL's own schemas."""
        names = [name for name in self._relations.names() if fnmatchcase(name, glob)]
        return [self._relations.sketch(SourceRelation(name)) for name in names[:limit]]

    def describe(self, relation: SourceRelation) -> RelationInfo:
        """Columns, primary key, and the number of rows and bytes as the server's statistics have them."""
        return self._relations.describe(relation)

    def state(self, relation: SourceRelation) -> str:
        """Empty: PostgreSQL does not tell whether a relation changed."""
        del relation
        return ""

    def chunks(
        self, relation: SourceRelation, columns: Sequence[ColumnInfo], after: Position | None
    ) -> Iterator[SourceChunk]:
        """In the order of the primary key; without one, of the dataset's key where a unique index holds it; else of the place on disk."""
        table = self._relations.find(relation.relation)
        order = self._relations.order(relation, table)
        native = {column.name: column.native_type for column in self._relations.columns(table)}
        columns = [ColumnInfo(c.name, c.type, c.is_required, native.get(c.name, "")) for c in columns]
        span = SourceRange(after or relation.range.after, relation.range.until)
        statement, values = _select(table.sql, columns, order, span, relation)
        self._cursors += 1
        with (
            self._translated(),
            psycopg.ServerCursor(self._connection, f"{CURSOR}_{self._cursors}", scrollable=False) as cursor,
        ):
            keep_raw(cursor)
            cursor.execute(statement.encode(), values or None, binary=True)
            yield from self._read(cursor, relation, columns, order)

    def split(self, relation: SourceRelation, parts: int) -> Sequence[SourceRange]:
        """By quantiles of the order's terms: of all rows of a small table, of a sample of a large one. What has no order that the
        database itself holds unique, such as a view, is not split. Each range is read under a snapshot of its own."""
        table = self._relations.find(relation.relation)
        order = self._relations.order(relation, table)
        estimate = self._relations.sketch(relation).rows
        if parts <= 1 or not order.is_trusted:
            return ranges_between(())
        sample = ""
        if estimate > SPLIT_ROWS_MAX:
            sample = f" TABLESAMPLE SYSTEM ({100 * SPLIT_ROWS_MAX / estimate:.6f})"
        terms = ", ".join(term.sql for term in order.terms)
        shares = ", ".join(f"(total * {number}) / {parts}" for number in range(1, parts))
        found = self._query(
            f"WITH keys AS (SELECT {', '.join(f'{term.sql}::text AS k{at}' for at, term in enumerate(order.terms))}, "
            f"row_number() OVER (ORDER BY {terms}) AS nth, count(*) OVER () AS total FROM {table.sql} AS {ALIAS}{sample}) "
            f"SELECT {', '.join(f'k{at}' for at in range(len(order.terms)))} FROM keys WHERE nth IN ({shares}) ORDER BY nth"
        )
        return ranges_between([_position(order, key) for key in found])

    def offers(self, relation: SourceRelation) -> Mapping[CopyPath, str]:
        """Rows in COPY's binary format."""
        return self._pages.offers(relation)

    def passing_split(self, relation: SourceRelation, path: CopyPath, parts: int) -> Sequence[SourceRange]:
        """By pages."""
        del path
        return self._pages.split(relation, parts)

    def passing_chunks(
        self, relation: SourceRelation, columns: Sequence[ColumnInfo], path: CopyPath, after: Position | None
    ) -> Iterator[SourceChunk]:
        """In the order of the pages."""
        del path
        with self._translated():
            yield from self._pages.chunks(relation, columns, after)

    def digest(self, relation: SourceRelation, columns: Sequence[ColumnInfo], share: int) -> RowsDigest:
        """By the server, under the snapshot."""
        return self._pages.digest(relation, columns, share)

    def close(self) -> None:
        """Ends the snapshot and the connection."""
        self._connection.close()

    def _read(
        self,
        cursor: psycopg.ServerCursor[tuple[object, ...]],
        relation: SourceRelation,
        columns: Sequence[ColumnInfo],
        order: Order,
    ) -> Iterator[SourceChunk]:
        pace = RowPace(relation.chunk_bytes)
        held: list[pa.RecordBatch] = []
        last: list[object] = []
        while rows := self._fetch(cursor, pace.rows, relation.relation):
            if not order.is_trusted:
                _check_unique(relation.relation, order, last, rows)
            held.append(_batch(rows, relation.relation, columns, order))
            last = list(rows[-1][: len(order.terms)])
            if pace.fills(held[-1]):
                yield _chunk(held, order, last)
                held = []
        if held:
            yield _chunk(held, order, last)

    def _fetch(
        self, cursor: psycopg.ServerCursor[tuple[object, ...]], rows: int, relation: str
    ) -> list[tuple[object, ...]]:
        try:
            return cursor.fetchmany(rows)
        except (psycopg.DataError, UnicodeDecodeError) as error:
            raise DataRefused(f"{relation}: {error}") from error

    def _query(self, statement: str, parameters: Sequence[object] = ()) -> list[tuple[object, ...]]:
        with self._translated():
            return self._connection.execute(statement.replace("?", "%s").encode(), parameters or None).fetchall()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """PostgreSQL's errors as PyMigrate's."""
        options = self._system.options
        where = (
            f"PostgreSQL at {options.get('host', 'the local socket')}:{options.get('port', '5432')}, "
            f"database `{options.get('database', '')}`"
        )
        try:
            yield
        except errors.InsufficientPrivilege as error:
            raise FailedPrecondition(
                f"{where}: {_said(error)}: grant the connection's user the right to read it, all of it"
            ) from error
        except (psycopg.OperationalError, psycopg.InterfaceError) as error:
            said = _said(error)
            if self._system.password is not None:
                said = said.replace(self._system.password.reveal(), "***")
            raise SystemUnavailable(f"{where} does not answer as it should: {said}; {_advice(said)}") from error
        except psycopg.DataError as error:
            raise DataRefused(f"{where}: {_said(error)}") from error
        except psycopg.Error as error:
            raise FailedPrecondition(f"{where}: what is read can't be evaluated: {_said(error)}") from error


def _said(error: psycopg.Error) -> str:
    return " ".join((error.diag.message_primary or str(error)).split())


def _advice(said: str) -> str:
    if "authentication" in said or "password" in said or "role" in said:
        return "check the connection's user and secret, and the server's pg_hba.conf"
    if "does not exist" in said:
        return "check the connection's database"
    return "check that it runs, that host and port are right, and that it lets this machine in"


def _place(after: Position | None, order: Order, relation: SourceRelation) -> list[str]:
    if after is None:
        return []
    place = json.loads(after)
    if place["by"] != order.names:
        raise SourceChanged(
            f"{relation.relation} was read by {', '.join(place['by'])} and has another order by now: begin it anew"
        )
    values: list[str] = place["at"]
    return values


def _select(
    table: str, columns: Sequence[ColumnInfo], order: Order, span: SourceRange, relation: SourceRelation
) -> tuple[str, list[str]]:
    terms = ", ".join(term.sql for term in order.terms)
    names = ", ".join([*(f"{term.sql}::text" for term in order.terms), *map(selected, columns)])
    places = [(">", _place(span.after, order, relation)), ("<=", _place(span.until, order, relation))]
    where, values = "", [value for _, place in places for value in place]
    if values:
        # The texts in between are names and not for the driver to read.
        names, table, terms = (text.replace("%", "%%") for text in (names, table, terms))
        casts = ", ".join(f"%s::{term.native}" for term in order.terms)
        where = " WHERE " + " AND ".join(f"({terms}) {comparison} ({casts})" for comparison, place in places if place)
    return f"SELECT {names} FROM {table} AS {ALIAS}{where} ORDER BY {terms}", values


def _check_unique(relation: str, order: Order, last: Sequence[object], rows: Sequence[tuple[object, ...]]) -> None:
    """Raises DataRefused where a key that nothing in the database holds unique is not: what is read after it would be lost."""
    before = tuple(last)
    for row in rows:
        key = row[: len(order.terms)]
        if key == before or None in key:
            raise DataRefused(f"{relation}, row {_shown(order, key)}: the key is NULL or occurs twice", field="key")
        before = key


def _shown(order: Order, key: Sequence[object]) -> str:
    return ", ".join(f"{name}={value}" for name, value in zip(order.names, key, strict=True))


def _batch(
    rows: Sequence[tuple[object, ...]], relation: str, columns: Sequence[ColumnInfo], order: Order
) -> pa.RecordBatch:
    arrays = []
    terms = len(order.terms)
    for column, values in zip(columns, list(zip(*rows, strict=True))[terms:], strict=True):
        try:
            arrays.append(to_array(column, values))
        except Unreadable as error:
            raise refused(relation, column.name, _shown(order, rows[error.row][:terms]), str(error)) from error
    return pa.RecordBatch.from_arrays(arrays, schema=arrow_schema(columns))


def _chunk(batches: Sequence[pa.RecordBatch], order: Order, last: Sequence[object]) -> SourceChunk:
    rows, size = sum(batch.num_rows for batch in batches), sum(batch.nbytes for batch in batches)
    return SourceChunk(tuple(batches), rows, size, _position(order, last))


def _position(order: Order, key: Sequence[object]) -> Position:
    return Position(json.dumps({"by": order.names, "at": list(key)}))
