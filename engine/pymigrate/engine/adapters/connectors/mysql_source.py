"""MySQL and MariaDB databases as sources: one snapshot, rows streamed in the order of a key or of their digests.

A connection gives one result at a time, and no other can share its snapshot. A reading takes the connection that has the snapshot; what
is asked beside it goes over another one, under a snapshot of its own.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from fnmatch import fnmatchcase

import pyarrow as pa
import pymysql

from pymigrate.engine.adapters.connectors import mysql_passing, mysql_wire
from pymigrate.engine.adapters.connectors.chunk_sizes import RowPace
from pymigrate.engine.adapters.connectors.mysql_catalog import MysqlCatalog
from pymigrate.engine.adapters.connectors.mysql_connection import (
    Connection,
    bound,
    connect,
    said,
    translated,
    version,
)
from pymigrate.engine.adapters.connectors.mysql_lines import obstacle
from pymigrate.engine.adapters.connectors.mysql_passing import MysqlLines
from pymigrate.engine.adapters.connectors.mysql_reading import advice, selected, to_array
from pymigrate.engine.adapters.connectors.mysql_relations import MysqlRelations, Order, Place, place_of, position, where
from pymigrate.engine.adapters.connectors.source_values import Unreadable, as_now, refused
from pymigrate.engine.adapters.connectors.target_statements import Table
from pymigrate.engine.domain.errors import FailedPrecondition, SourceChanged
from pymigrate.engine.domain.paths import CopyPath
from pymigrate.engine.domain.types import ColumnInfo
from pymigrate.engine.ports.arrow_types import arrow_schema
from pymigrate.engine.ports.connector import SystemSpec
from pymigrate.engine.ports.ranges import EVERYTHING, Position, SourceRange, ranges_between
from pymigrate.engine.ports.relations import RelationInfo, SourceRelation
from pymigrate.engine.ports.source import SourceChunk

# A reader that waits for its target must not be given up on.
SETTINGS = (
    "sql_mode = 'ANSI_QUOTES,NO_ENGINE_SUBSTITUTION'",
    "net_write_timeout = 3600",
    "sql_select_limit = DEFAULT",
    "sql_big_selects = 1",
)
DIGEST_DIGITS = 32
TRANSACTIONAL = frozenset({"innodb", "rocksdb", ""})
Row = list[bytes | None]


class MysqlSource:
    """A database. The first read takes the snapshot, which holds until the source is closed."""

    def __init__(self, system: SystemSpec) -> None:
        self._system = system
        self._free: list[Connection] = []
        self._opened: set[Connection] = set()
        self._database = system.options.get("database", "")
        with self._borrowed() as connection:
            self._version = version(connection)
        self._catalog = MysqlCatalog(self._query)
        self._relations = MysqlRelations(self._catalog, self._database)
        self._lines = MysqlLines(self._catalog, self._relations, self._query)

    def version(self) -> str:
        """Such as `MariaDB 10.11.19`."""
        return self._version

    def relations(self, glob: str, limit: int) -> Sequence[RelationInfo]:
        """Tables and views of the connection's database."""
        names = [name for name in self._catalog.names(self._database) if fnmatchcase(name, glob)]
        return [self._relations.sketch(SourceRelation(name)) for name in names[:limit]]

    def describe(self, relation: SourceRelation) -> RelationInfo:
        """Columns, primary key, and the number of rows and bytes as the server's statistics have them."""
        return self._relations.describe(relation)

    def state(self, relation: SourceRelation) -> str:
        """Empty for tables with snapshots, since MySQL does not tell whether they changed. Others (MyISAM, Aria) are read while they
        may be written to: there it is the server's checksum of all rows."""
        table = self._relations.find(relation.relation)
        engine = self._catalog.engine(table)
        if engine in TRANSACTIONAL:
            return ""
        [(_, checksum)] = self._query(f"CHECKSUM TABLE {table.sql}")
        return f"{engine}-{checksum}"

    def split(self, relation: SourceRelation, parts: int) -> Sequence[SourceRange]:
        """Into ranges of as many rows each, in one pass over the key; of what has none, into as many parts of all digests. Each range is
        read under a snapshot of its own."""
        table = self._relations.find(relation.relation)
        order = self._relations.order(table)
        if order.digest:
            return self._split_digests(table, order, parts)
        [(count,)] = self._query(f"SELECT count(*) FROM {table.sql}")
        rows = int(str(count))
        step = -(-rows // max(parts, 1))
        ends: list[Position] = []
        where = ""
        while step and step * (len(ends) + 1) < rows:
            [found] = self._rows(
                f"SELECT {', '.join(order.texts)} FROM {table.sql}{where} ORDER BY {order.sql} LIMIT 1 OFFSET {step - 1}"
            )
            place = Place(_texts(found), 1)
            ends.append(position(order, place))
            where = f" WHERE {order.above(place.texts)}"
        return ranges_between(ends)

    def chunks(
        self, relation: SourceRelation, columns: Sequence[ColumnInfo], after: Position | None
    ) -> Iterator[SourceChunk]:
        """In the order of the primary key or another unique one; without any, of the digests of the rows."""
        table = self._relations.find(relation.relation)
        order = self._relations.order(table)
        columns = self._native(relation, table, columns)
        span = SourceRange(after or relation.range.after, relation.range.until)
        names = ", ".join([*order.texts, *map(selected, columns)])
        statement = f"SELECT {names} FROM {table.sql}{where(order, span, relation)} ORDER BY {order.sql}"
        with self._refusing(relation), self._borrowed() as connection:
            rows = _unread(mysql_wire.packets(connection, statement), order, span, relation)
            yield from _chunks(rows, relation, columns, order, place_of(span.after, order, relation))

    def changed(self, relation: SourceRelation, columns: Sequence[ColumnInfo], condition: str) -> Iterator[SourceChunk]:
        """The rows that meet a condition in SQL, all where it is empty, in the order of `chunks`."""
        table = self._relations.find(relation.relation)
        order = self._relations.order(table)
        columns = self._native(relation, table, columns)
        names = ", ".join([*order.texts, *map(selected, columns)])
        filtered = f" WHERE {condition}" if condition else ""
        statement = f"SELECT {names} FROM {table.sql}{filtered} ORDER BY {order.sql}"
        with self._refusing(relation), self._borrowed() as connection:
            rows = _unread(mysql_wire.packets(connection, statement), order, EVERYTHING, relation)
            yield from _chunks(rows, relation, columns, order, None)

    def offers(self, relation: SourceRelation) -> Mapping[CopyPath, str]:
        """Lines of COPY's text format."""
        return self._lines.offers(relation)

    def passing_split(self, relation: SourceRelation, path: CopyPath, parts: int) -> Sequence[SourceRange]:
        """By the key."""
        del path
        return self.split(relation, parts)

    def passing_chunks(
        self, relation: SourceRelation, columns: Sequence[ColumnInfo], path: CopyPath, after: Position | None
    ) -> Iterator[SourceChunk]:
        """In the order of the key."""
        del path
        table = self._relations.find(relation.relation)
        order = self._relations.order(table)
        columns = self._native(relation, table, columns)
        if changed := next(filter(None, map(obstacle, columns)), ""):
            raise SourceChanged(
                f"{relation.relation} is not as it was when the run was started: {changed}; start another run",
                field="source.relation",
            )
        span = SourceRange(after or relation.range.after, relation.range.until)
        statement = self._lines.statement(relation, table, columns, order, span)
        with self._refusing(relation), self._borrowed() as connection:
            yield from mysql_passing.chunks(mysql_wire.packets(connection, statement), relation, order)

    def close(self) -> None:
        """Ends the snapshots and the connections."""
        self._free.clear()
        for connection in self._opened:
            # A connection that is lost already has nothing left to close.
            with suppress(pymysql.err.Error):
                connection.close()
        self._opened.clear()

    def _split_digests(self, table: Table, order: Order, parts: int) -> Sequence[SourceRange]:
        """Digests are spread evenly, so that nothing has to be read for it but whether there are rows enough."""
        [(count,)] = self._query(f"SELECT count(*) FROM (SELECT 1 FROM {table.sql} LIMIT {max(parts, 1)}) AS some")
        parts = int(str(count))
        ends = [f"{16**DIGEST_DIGITS * number // parts:0{DIGEST_DIGITS}x}" for number in range(1, parts)]
        return ranges_between([position(order, Place([end], 0)) for end in ends])

    def _native(self, relation: SourceRelation, table: Table, columns: Sequence[ColumnInfo]) -> list[ColumnInfo]:
        """The columns with the native types that they have now."""
        native = {column.name: column.native_type for column in self._catalog.columns(table)}
        return as_now(relation.relation, columns, native)

    def _query(self, statement: str, parameters: Sequence[object] = ()) -> list[tuple[object, ...]]:
        with translated(self._system), self._borrowed() as connection, connection.cursor() as cursor:
            cursor.execute(bound(connection, statement, parameters))
            return list(cursor.fetchall())

    def _rows(self, statement: str) -> list[Row]:
        with translated(self._system), self._borrowed() as connection:
            return [mysql_wire.values(row) for rows in mysql_wire.packets(connection, statement) for row in rows]

    @contextmanager
    def _borrowed(self) -> Iterator[Connection]:
        """A connection that nobody reads from, with a snapshot. Whoever does not read to the end of a result loses it."""
        with translated(self._system):
            connection = self._free.pop() if self._free else self._connect()
        try:
            yield connection
        except BaseException:
            self._opened.discard(connection)
            # A result that is not read to its end is of no use to anybody.
            connection.abandon()
            raise
        self._free.append(connection)

    def _connect(self) -> Connection:
        connection = connect(self._system, SETTINGS)
        self._opened.add(connection)
        connection.query("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        connection.query("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")
        return connection

    @contextmanager
    def _refusing(self, relation: SourceRelation) -> Iterator[None]:
        """What the server says of a statement that reads rows."""
        try:
            with translated(self._system):
                yield
        except pymysql.err.MySQLError as error:
            text = f"{relation.relation}: what is read can't be evaluated: {said(error)}"
            raise FailedPrecondition(text, field="source.relation") from error


def _unread(packets: Iterator[list[bytes]], order: Order, span: SourceRange, relation: SourceRelation) -> Iterator[Row]:
    """The rows, without those of the first digest that were read before."""
    after = place_of(span.after, order, relation)
    skipped = after.rows if after and order.digest else 0
    for packet in packets:
        for row in map(mysql_wire.values, packet):
            if skipped and after and _texts(row[:1]) == after.texts:
                skipped -= 1
                continue
            skipped = 0
            yield row


def _chunks(
    rows: Iterator[Row], relation: SourceRelation, columns: Sequence[ColumnInfo], order: Order, place: Place | None
) -> Iterator[SourceChunk]:
    pace, terms = RowPace(relation), len(order.texts)
    held: list[pa.RecordBatch] = []
    while group := [row for _, row in zip(range(pace.rows), rows, strict=False)]:
        held.append(_batch(group, relation, columns, order))
        place = _last(group, terms, place)
        if pace.fills(held[-1]):
            yield _chunk(held, order, place)
            held = []
    if held and place:
        yield _chunk(held, order, place)


def _last(rows: Sequence[Row], terms: int, before: Place | None) -> Place:
    """The place of the last row, with the number of rows that have been read of it."""
    texts, count = _texts(rows[-1][:terms]), 0
    for row in reversed(rows):
        if row[:terms] != rows[-1][:terms]:
            return Place(texts, count)
        count += 1
    return Place(texts, count + (before.rows if before and before.texts == texts else 0))


def _batch(
    rows: Sequence[Row], relation: SourceRelation, columns: Sequence[ColumnInfo], order: Order
) -> pa.RecordBatch:
    arrays, terms = [], len(order.texts)
    for column, values in zip(columns, list(zip(*rows, strict=True))[terms:], strict=True):
        try:
            arrays.append(to_array(column, values))
        except Unreadable as error:
            name = _shown(order, _texts(rows[error.row][:terms]))
            raise refused(relation.relation, column.name, name, f"{error}{advice(column)}") from error
    return pa.RecordBatch.from_arrays(arrays, schema=arrow_schema(columns))


def _texts(values: Sequence[bytes | None]) -> list[str]:
    """A place's texts; they are of keys or digests, which are never NULL."""
    return [(value or b"").decode() for value in values]


def _shown(order: Order, place: Sequence[str]) -> str:
    """A row by its key, or by its digest."""
    return ", ".join(f"{name}={text}" for name, text in zip(order.names, place, strict=True))


def _chunk(batches: Sequence[pa.RecordBatch], order: Order, place: Place) -> SourceChunk:
    rows, size = sum(batch.num_rows for batch in batches), sum(batch.nbytes for batch in batches)
    return SourceChunk(tuple(batches), rows, size, position(order, place))
