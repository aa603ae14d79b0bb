"""PostgreSQL databases as sources: one snapshot, in the order of a key, through a cursor that stays on the server."""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from typing import Any

import psycopg
import pyarrow as pa
import structlog
from psycopg import errors, sql

from pymigrate.engine.adapters.connectors.postgres_connection import connect
from pymigrate.engine.adapters.connectors.postgres_passing import PostgresPages
from pymigrate.engine.adapters.connectors.postgres_reading import keep_raw, selected, to_array
from pymigrate.engine.adapters.connectors.postgres_relations import ALIAS, Order, PostgresRelations
from pymigrate.engine.adapters.connectors.postgres_rows import Field, array_of, blocks, copied, copy_rows, fields
from pymigrate.engine.adapters.connectors.postgres_scanning import Declined, PostgresScan
from pymigrate.engine.adapters.connectors.source_values import RowPace, Unreadable, as_now, refused
from pymigrate.engine.adapters.connectors.target_statements import Table
from pymigrate.engine.domain.errors import DataRefused, FailedPrecondition, SourceChanged, SystemUnavailable
from pymigrate.engine.domain.paths import CopyPath
from pymigrate.engine.domain.types import ColumnInfo
from pymigrate.engine.ports.arrow_types import arrow_schema
from pymigrate.engine.ports.connector import SystemSpec
from pymigrate.engine.ports.ranges import Position, SourceRange, ranges_between
from pymigrate.engine.ports.relations import RelationInfo, RowsDigest, SourceRelation
from pymigrate.engine.ports.source import SourceChunk

log = structlog.get_logger(__name__)
CURSOR = "pymigrate_rows"
SPLIT_ROWS_MAX = 1_000_000
_SNAPSHOT = re.compile(r"[0-9A-F]+(-[0-9A-F]+)*")
COPIED_ROWS_MAX = 262_144
NEARLY_FULL = 0.9
TID_RANGES_FROM = 140_000
# Texts that can be cast back to what they came from, whatever the role's settings are; and rows that a policy hides are an error.
SETTINGS = {
    "client_encoding": "UTF8",
    "datestyle": "ISO, YMD",
    "intervalstyle": "postgres",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "row_security": "off",
    # The snapshot is kept by a session that has nothing to do while another reads under it.
    "idle_in_transaction_session_timeout": "0",
}
SCANNED_ROWS_MIN = 8_192  # a session and a scanner are not worth their while for fewer


class PostgresSource:
    """A database. The first read takes the snapshot, which holds until the source is closed."""

    def __init__(self, system: SystemSpec, scanned_rows_min: int = SCANNED_ROWS_MIN) -> None:
        """`scanned_rows_min`: how many rows must be asked for at once, for the scanner to be asked for them."""
        self._system = system
        self._scanned_rows_min = scanned_rows_min
        self._scan: PostgresScan | None = None
        self.is_scanning = True
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
        columns = as_now(relation.relation, columns, native)
        span = SourceRange(after or relation.range.after, relation.range.until)
        steps = self._steps(table, order, relation, span)
        if steps is not None:
            with self._translated():
                yield from self._copied(relation, table.sql, columns, order, span, steps)
            return
        selection = [*(f"{term.sql}::text" for term in order.terms), *map(selected, columns)]
        statement = _ordered(table.sql, selection, order, _conditions(order, span, relation))
        self._cursors += 1
        with (
            self._translated(),
            psycopg.ServerCursor(self._connection, f"{CURSOR}_{self._cursors}", scrollable=False) as cursor,
        ):
            keep_raw(cursor)
            cursor.execute(statement.encode(), binary=True)
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
        self._leave_scan()
        self._connection.close()

    def _read(
        self,
        cursor: psycopg.ServerCursor[tuple[object, ...]],
        relation: SourceRelation,
        columns: Sequence[ColumnInfo],
        order: Order,
    ) -> Iterator[SourceChunk]:
        pace = RowPace(relation)
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

    def _steps(self, table: Table, order: Order, relation: SourceRelation, span: SourceRange) -> Sequence[str] | None:
        """Conditions that divide the range so that each part can be had in order at once, however many rows are asked for: none where an
        index has the order, pages where it is that of the disk. None where the server would sort the whole again for every part."""
        if not order.is_trusted:
            return None
        if order.names != ["ctid"]:
            return [""] if "tableoid" not in order.names else None
        if self._connection.info.server_version < TID_RANGES_FROM:
            return None
        [(size, block)] = self._query(
            "SELECT pg_relation_size(?::oid), current_setting('block_size')", (self._relations.identifier(table),)
        )
        step = max(1, relation.chunk_bytes // int(str(block)))
        place = _place(span.after, order, relation)
        first = int(place[0][1:].partition(",")[0]) if place else 0
        pages = range(first, int(str(size)) // int(str(block)) + 1, step)
        column = order.terms[0].sql
        return [f"{column} >= '({page},0)' AND {column} < '({page + step},0)'" for page in pages]

    def _copied(
        self,
        relation: SourceRelation,
        table: str,
        columns: Sequence[ColumnInfo],
        order: Order,
        span: SourceRange,
        steps: Sequence[str],
    ) -> Iterator[SourceChunk]:
        """By COPY, as many rows at a time as fit a chunk, in the binary form."""
        pace = RowPace(relation, COPIED_ROWS_MAX, NEARLY_FULL)
        held: list[pa.RecordBatch] = []
        last: list[object] = []
        for step in steps:
            is_more = True
            while is_more:
                rows = pace.rows
                conditions = _conditions(order, span, relation, step)

                def select(selection: Sequence[str], conditions: str = conditions, rows: int = rows) -> str:
                    return f"{_ordered(table, selection, order, conditions)} LIMIT {rows}"

                batches, place = self._scanned(select, columns, order, rows) or self._decoded(
                    select, relation.relation, columns, order
                )
                is_more = sum(batch.num_rows for batch in batches) == rows
                if batches:
                    held += batches
                    last = place
                    span = SourceRange(_position(order, last), span.until)
                    if pace.fills(*batches):
                        yield _chunk(held, order, last)
                        held = []
        if held:
            yield _chunk(held, order, last)

    def _scanned(
        self, select: Callable[[Sequence[str]], str], columns: Sequence[ColumnInfo], order: Order, rows: int
    ) -> tuple[list[pa.RecordBatch], list[object]] | None:
        """What the scanner gives; None once it has declined anything, and where rows are too few to ask it."""
        if not self.is_scanning or rows < self._scanned_rows_min:
            return None
        try:
            if self._scan is None:
                self._scan = PostgresScan(self._system, self._connection, SETTINGS)
            return self._scan.rows(select, columns, order)
        except Declined as error:
            log.info("postgres.scan_left", reason=str(error))
            self._leave_scan()
            return None

    def _leave_scan(self) -> None:
        self.is_scanning = False
        if self._scan is not None:
            self._scan.close()
            self._scan = None

    def _decoded(
        self, select: Callable[[Sequence[str]], str], relation: str, columns: Sequence[ColumnInfo], order: Order
    ) -> tuple[list[pa.RecordBatch], list[object]]:
        """The same from the source's own session, with the row named that is wrong."""
        query = select([*(f"{term.sql}::text" for term in order.terms), *map(copied, columns)])
        with _refusing(relation):
            data, lengths = copy_rows(self._connection, f"COPY ({query}) TO STDOUT (FORMAT binary)")
            return _decoded(data, lengths, relation, columns, order)

    def _fetch(
        self, cursor: psycopg.ServerCursor[tuple[object, ...]], rows: int, relation: str
    ) -> list[tuple[object, ...]]:
        with _refusing(relation):
            return cursor.fetchmany(rows)

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


@contextmanager
def _refusing(relation: str) -> Iterator[None]:
    """What the server or the driver says of a value, as the refusal of the relation."""
    try:
        yield
    except (psycopg.DataError, UnicodeDecodeError) as error:
        raise DataRefused(f"{relation}: {error}") from error


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


def _conditions(order: Order, span: SourceRange, relation: SourceRelation, step: str = "") -> str:
    """The range as a condition that holds its values as literals: COPY takes no parameters."""
    terms = ", ".join(term.sql for term in order.terms)
    found = [step] if step else []
    for comparison, position in ((">", span.after), ("<=", span.until)):
        if place := _place(position, order, relation):
            values = ", ".join(
                f"{_literal(text)}::{term.native}" for text, term in zip(place, order.terms, strict=True)
            )
            found.append(f"({terms}) {comparison} ({values})")
    return f" WHERE {' AND '.join(found)}" if found else ""


def _ordered(table: str, selection: Sequence[str], order: Order, conditions: str) -> str:
    terms = ", ".join(term.sql for term in order.terms)
    return f"SELECT {', '.join(selection)} FROM {table} AS {ALIAS}{conditions} ORDER BY {terms}"


def _literal(text: str) -> str:
    return sql.Literal(text).as_string(None)


def _decoded(
    data: bytes, lengths: Any, relation: str, columns: Sequence[ColumnInfo], order: Order
) -> tuple[list[pa.RecordBatch], list[object]]:
    """Batches, and the place of the last row."""
    batches, last = [], list[object]()
    for block, some in blocks(data, lengths):
        found = fields(block, some, len(order.terms) + len(columns))
        batches.append(_columns(found, relation, columns, order))
        last = _place_in(found, order, len(some) - 1)
    return batches, last


def _columns(found: Sequence[Field], relation: str, columns: Sequence[ColumnInfo], order: Order) -> pa.RecordBatch:
    arrays = []
    for column, field in zip(columns, found[len(order.terms) :], strict=True):
        try:
            arrays.append(array_of(column, field))
        except Unreadable as error:
            place = _shown(order, _place_in(found, order, error.row))
            raise refused(relation, column.name, place, str(error)) from error
    return pa.RecordBatch.from_arrays(arrays, schema=arrow_schema(columns))


def _place_in(found: Sequence[Field], order: Order, row: int) -> list[object]:
    return [term.text_at(row) for term in found[: len(order.terms)]]


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
