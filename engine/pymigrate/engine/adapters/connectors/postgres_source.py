"""PostgreSQL databases as sources: one snapshot, in the order of a key, through a cursor that stays on the server."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase

import psycopg
import pyarrow as pa
import structlog
from psycopg import errors

from pymigrate.engine.adapters.connectors.chunk_sizes import RowPace
from pymigrate.engine.adapters.connectors.postgres_connection import SETTINGS, connect
from pymigrate.engine.adapters.connectors.postgres_copying import (
    SCANNED_ROWS_MIN,
    PostgresCopying,
    chunk_of,
    refusing,
)
from pymigrate.engine.adapters.connectors.postgres_passing import PostgresPages
from pymigrate.engine.adapters.connectors.postgres_reading import keep_raw, selected, to_array
from pymigrate.engine.adapters.connectors.postgres_relations import ALIAS, Order, PostgresRelations
from pymigrate.engine.adapters.connectors.postgres_spans import conditions, ordered, position_of, shown
from pymigrate.engine.adapters.connectors.source_values import Unreadable, as_now, refused
from pymigrate.engine.domain.errors import DataRefused, FailedPrecondition, SystemUnavailable
from pymigrate.engine.domain.paths import CopyPath
from pymigrate.engine.domain.types import ColumnInfo
from pymigrate.engine.ports.arrow_types import arrow_schema
from pymigrate.engine.ports.connector import SystemSpec
from pymigrate.engine.ports.ranges import Position, SourceRange, ranges_between
from pymigrate.engine.ports.relations import RelationInfo, RowsDigest, SourceRelation
from pymigrate.engine.ports.source import Source, SourceChunk

log = structlog.get_logger(__name__)
CURSOR = "pymigrate_rows"
SPLIT_ROWS_MAX = 1_000_000
_SNAPSHOT = re.compile(r"[0-9A-F]+(-[0-9A-F]+)*")
COPIED_ROWS_MAX = 262_144
NEARLY_FULL = 0.9
TID_RANGES_FROM = 140_000


class PostgresSource:
    """A database. The first read takes the snapshot, which holds until the source is closed."""

    def __init__(self, system: SystemSpec, scanned_rows_min: int = SCANNED_ROWS_MIN) -> None:
        """`scanned_rows_min`: how many rows must be asked for at once, for the scanner to be asked for them."""
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
        self._copying = PostgresCopying(system, self._connection, self._relations, scanned_rows_min)

    def is_sessionless(self) -> bool:
        """There is the snapshot."""
        return False

    def hand_over(self, heir: Source) -> bool:
        """Exports the snapshot to the other session, which holds it by itself from then on."""
        if not isinstance(heir, PostgresSource) or not heir.exports():
            return False
        with self._translated():
            [(snapshot,)] = self._connection.execute(b"SELECT pg_export_snapshot()").fetchall()
        return heir.adopt(str(snapshot))

    def exports(self) -> bool:
        """Whether the server exports snapshots. Asked of a session that has read nothing: what fails ends a snapshot."""
        with self._translated():
            try:
                self._connection.execute(b"SELECT pg_export_snapshot()")
            except psycopg.Error as error:
                if self._connection.closed:
                    raise
                log.info("postgres.no_export", reason=_said(error))
                return False
            finally:
                if not self._connection.closed:
                    self._connection.execute("ROLLBACK")
                    self._connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        return True

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
        steps = self._copying.steps(table, order, relation, span)
        if steps is not None:
            with self._translated():
                yield from self._copying.chunks(relation, table.sql, columns, order, span, steps)
            return
        selection = [*(f"{term.sql}::text" for term in order.terms), *map(selected, columns)]
        statement = ordered(table.sql, selection, order, conditions(order, span, relation))
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
        return ranges_between([position_of(order, key) for key in found])

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
        self._copying.close()
        self._connection.close()

    @property
    def is_scanning(self) -> bool:
        """Whether nothing was declined by the scanner so far."""
        return self._copying.is_scanning

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
                yield chunk_of(held, order, last)
                held = []
        if held:
            yield chunk_of(held, order, last)

    def _fetch(
        self, cursor: psycopg.ServerCursor[tuple[object, ...]], rows: int, relation: str
    ) -> list[tuple[object, ...]]:
        with refusing(relation):
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


def _said(error: psycopg.Error) -> str:
    return " ".join((error.diag.message_primary or str(error)).split())


def _advice(said: str) -> str:
    if "does not exist" in said:
        return "check the connection's database"
    return "check that it runs, that host and port are right, and that it lets this machine in"


def _check_unique(relation: str, order: Order, last: Sequence[object], rows: Sequence[tuple[object, ...]]) -> None:
    """Raises DataRefused where a key that nothing in the database holds unique is not: what is read after it would be lost."""
    before = tuple(last)
    for row in rows:
        key = row[: len(order.terms)]
        if key == before or None in key:
            raise DataRefused(f"{relation}, row {shown(order, key)}: the key is NULL or occurs twice", field="key")
        before = key


def _batch(
    rows: Sequence[tuple[object, ...]], relation: str, columns: Sequence[ColumnInfo], order: Order
) -> pa.RecordBatch:
    arrays = []
    terms = len(order.terms)
    for column, values in zip(columns, list(zip(*rows, strict=True))[terms:], strict=True):
        try:
            arrays.append(to_array(column, values))
        except Unreadable as error:
            raise refused(relation, column.name, shown(order, rows[error.row][:terms]), str(error)) from error
    return pa.RecordBatch.from_arrays(arrays, schema=arrow_schema(columns))
