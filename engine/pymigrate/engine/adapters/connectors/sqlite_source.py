"""SQLite databases as sources: read only, under one snapshot, in the order of rowid or primary key."""

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import suppress
from fnmatch import fnmatchcase
from pathlib import Path

import pyarrow as pa

from pymigrate.engine.adapters.connectors.chunk_sizes import RowPace
from pymigrate.engine.adapters.connectors.source_values import as_now, declared_columns, missing
from pymigrate.engine.adapters.connectors.sqlite_declared import SqliteDeclared
from pymigrate.engine.adapters.connectors.sqlite_errors import translated, translation
from pymigrate.engine.adapters.connectors.sqlite_reading import check_unique, to_batch, undecodable
from pymigrate.engine.adapters.connectors.sqlite_scanning import SqliteScan, is_scanned
from pymigrate.engine.adapters.connectors.sqlite_statements import ALIAS, place_of, position_of, select, term
from pymigrate.engine.adapters.connectors.sqlite_types import column_type
from pymigrate.engine.adapters.connectors.target_statements import quote
from pymigrate.engine.domain.errors import (
    FailedPrecondition,
    InvalidDefinition,
    Problem,
    SourceMissing,
    SystemUnavailable,
)
from pymigrate.engine.domain.names import nearest
from pymigrate.engine.domain.types import ColumnInfo
from pymigrate.engine.ports.connector import SystemSpec
from pymigrate.engine.ports.ranges import Position, SourceRange, ranges_between
from pymigrate.engine.ports.relations import RelationInfo, SourceRelation
from pymigrate.engine.ports.source import SourceChunk

BUSY_SECONDS = 10.0
HIDDEN_OF_MODULE = 1  # a column that only a virtual table's module sees
COUNTER_OFFSET = 24
COUNTER_BYTES = 4
_TABLES = "SELECT name FROM sqlite_master WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name"
PAGES = "SELECT pgsize FROM dbstat('main', 1) WHERE name = ?"
_ROWIDS = ("rowid", "_rowid_", "oid")


class SqliteSource:
    """A database file. The first read takes the snapshot, which holds until the source is closed."""

    def __init__(self, system: SystemSpec, busy_seconds: float = BUSY_SECONDS) -> None:
        self._path = Path(system.options["path"])
        if not self._path.is_file():
            names = [entry.name for entry in self._path.parent.iterdir()] if self._path.parent.is_dir() else []
            raise SourceMissing(
                f"there is no SQLite file {self._path}{nearest(self._path.name, names)}", field="source.connection"
            )
        self._connection = sqlite3.connect(
            f"{self._path.absolute().as_uri()}?mode=ro", uri=True, timeout=busy_seconds, isolation_level=None,
            check_same_thread=False,
        )  # fmt: skip
        self._watch = sqlite3.connect(
            f"{self._path.absolute().as_uri()}?mode=ro", uri=True, timeout=busy_seconds, isolation_level=None,
            check_same_thread=False,
        )  # fmt: skip
        try:
            self._version = self._watch.execute("PRAGMA data_version").fetchone()[0]
            self._connection.execute("BEGIN")
            self._connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        except sqlite3.DatabaseError as error:
            self.close()
            raise translation(self._path, error) from error
        self._declared = SqliteDeclared(self._connection)
        self._has_log = self._connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"

    def version(self) -> str:
        """`SQLite` and the library's version."""
        return f"SQLite {sqlite3.sqlite_version}"

    def relations(self, glob: str, limit: int) -> Sequence[RelationInfo]:
        """Tables and views."""
        names = [name for name in self._names() if fnmatchcase(name, glob)]
        return [self._listed(name) for name in names[:limit]]

    def _listed(self, name: str) -> RelationInfo:
        try:
            return self.describe(SourceRelation(name))
        except (InvalidDefinition, FailedPrecondition):  # a view of what is gone: it is there, but has nothing to show
            return RelationInfo(name, ())

    def describe(self, relation: SourceRelation) -> RelationInfo:
        """Columns by their declarations, the primary key, the exact number of rows and the bytes of its pages."""
        table = self._table(relation.relation)
        try:
            rows = self._columns(table)
            count = self._connection.execute(f"SELECT count(*) FROM {quote(table)}").fetchone()[0]
        except sqlite3.DatabaseError as error:
            if "no such" not in str(error):
                raise translation(self._path, error) from error
            problem = Problem("source.relation", f"`{relation.relation}` can't be read: {error}")
            raise InvalidDefinition((problem,)) from error
        found = [ColumnInfo(name, column_type(kind), required, kind) for name, kind, required, _ in rows]
        key = tuple(name for name, _, _, place in sorted(rows, key=lambda row: row[3]) if place)
        columns = declared_columns(relation, self._declared.columns(table, found))
        schema, size = self._declared.table(table, key), self._bytes(table)
        return RelationInfo(relation.relation, columns, key, count, size, is_exact_rows=True, schema=schema)

    def _bytes(self, table: str) -> int:
        """What the table's own pages take; the whole file where that is not told: of a view, or by a SQLite built without dbstat."""
        whole, found = self._status().st_size, None
        with translated(self._path), suppress(sqlite3.OperationalError):  # no such table: dbstat
            found = self._connection.execute(PAGES, (table,)).fetchone()
        return whole if found is None else int(found[0])

    def state(self, relation: SourceRelation) -> str:
        """Size, time of change and change counter of the file, and of its write-ahead log."""
        del relation
        main = self._status()
        parts = [f"{main.st_size}-{main.st_mtime_ns}-{'' if self._has_log else self._counter()}"]
        log = self._path.with_name(f"{self._path.name}-wal")
        with suppress(FileNotFoundError), log.open("rb") as file:  # there is no log, or no more
            status = os.fstat(file.fileno())
            if status.st_size:
                file.seek(COUNTER_OFFSET)
                parts.append(f"{status.st_size}-{status.st_mtime_ns}-{file.read(COUNTER_BYTES).hex()}")
        return "+".join(parts)

    def _counter(self) -> str:
        """The file's own change counter, which no commit into a log alters. Closing the file drops the locks that the process has on it:
        with a log the last of others to close would then remove the log from under whoever reads."""
        with self._path.open("rb") as file:
            file.seek(COUNTER_OFFSET)
            return file.read(COUNTER_BYTES).hex()

    def chunks(
        self, relation: SourceRelation, columns: Sequence[ColumnInfo], after: Position | None
    ) -> Iterator[SourceChunk]:
        """In the order of rowid; of a table without one, of its primary key; of a view, of the dataset's key."""
        table = self._table(relation.relation)
        order, is_view = self._order(table, relation)
        declared = {name: kind for name, kind, _, _ in self._columns(table)}
        columns = as_now(relation.relation, columns, declared)
        span = SourceRange(after or relation.range.after, relation.range.until)
        if self._is_scanned(table, columns, order, span, is_view=is_view):
            for chunk in self._scanned(table, relation, columns, span):
                yield chunk
                span = SourceRange(chunk.end)
        statement, values = select(table, [column.name for column in columns], order, span)
        yield from self._selected(statement, values, relation, columns, len(order), is_view=is_view)

    def changed(
        self, relation: SourceRelation, columns: Sequence[ColumnInfo], column: str, low: object
    ) -> Iterator[SourceChunk]:
        """The rows that hold no less than a value in a column, in the order of `chunks`; all where it is None."""
        table = self._table(relation.relation)
        order, is_view = self._order(table, relation)
        declared = {name: kind for name, kind, _, _ in self._columns(table)}
        columns = as_now(relation.relation, columns, declared)
        names = ", ".join([*order, *(term(each.name) for each in columns)])
        filtered, values = (f" WHERE {term(column)} >= ?", [low]) if low is not None else ("", [])
        statement = f"SELECT {names} FROM {quote(table)} AS {ALIAS}{filtered} ORDER BY {', '.join(order)}"
        yield from self._selected(statement, values, relation, columns, len(order), is_view=is_view)

    def split(self, relation: SourceRelation, parts: int) -> Sequence[SourceRange]:
        """Into ranges of as many rows each, in one pass over the rowids or primary keys; a view is not split."""
        ends: list[Position] = []
        with translated(self._path):
            table = self._table(relation.relation)
            order, is_view = self._order(table, relation)
            rows = self._connection.execute(f"SELECT count(*) FROM {quote(table)}").fetchone()[0]
            step = -(-rows // max(parts, 1))
            while not is_view and step and step * (len(ends) + 1) < rows:
                statement, values = select(table, (), order, SourceRange(ends[-1] if ends else None))
                found = self._connection.execute(f"{statement} LIMIT 1 OFFSET {step - 1}", values).fetchone()
                ends.append(position_of(found))
        return ranges_between(ends)

    def _status(self) -> os.stat_result:
        """Raises SourceMissing for a file that was taken away: the snapshot is one of nothing that anybody can find."""
        try:
            return self._path.stat()
        except FileNotFoundError as error:
            raise SourceMissing(f"the SQLite file {self._path} is gone", field="source.connection") from error

    def close(self) -> None:
        """Ends the snapshot."""
        self._connection.close()
        self._watch.close()

    def _is_scanned(
        self, table: str, columns: Sequence[ColumnInfo], order: Sequence[str], span: SourceRange, *, is_view: bool
    ) -> bool:
        """Whether DuckDB's scanner is asked first. It reads whole tables: for one range of several it would read them once a range. It
        brings a SQLite of its own, which drops this one's locks as it closes: a file with a log, which others may write to while it is
        read, is not scanned."""
        if (
            self._has_log
            or is_view
            or span.until is not None
            or list(order) != [f"{ALIAS}.{_ROWIDS[0]}"]
            or not is_scanned(columns)
        ):
            return False
        found = self._connection.execute("SELECT sql FROM sqlite_master WHERE name = ? AND type = 'table'", (table,))
        return "VIRTUAL" not in found.fetchone()[0].upper().split()[:2]

    def _scanned(
        self, table: str, relation: SourceRelation, columns: Sequence[ColumnInfo], span: SourceRange
    ) -> Iterator[SourceChunk]:
        """As far as the scanner vouches for what it gives. Every row up to there has been handed out: they are counted."""
        after = int(str(place_of(span.after)[0])) if span.after else None
        scan = SqliteScan(self._path, self._connection, self._watch, self._version)
        held: list[pa.RecordBatch] = []
        size, rows, chunk_rows, last = 0, 0, 0, 0
        for batch, last in scan.batches(table, columns, after, relation):
            held.append(batch)
            size, rows, chunk_rows = size + batch.nbytes, rows + batch.num_rows, chunk_rows + batch.num_rows
            if size >= relation.chunk_bytes or 0 < relation.chunk_rows <= chunk_rows:
                yield _chunk(held, [last])
                held, size, chunk_rows = [], 0, 0
        if rows:
            first = "rowid > ? AND" if after is not None else ""
            values = [value for value in (after, last) if value is not None]
            counting = f"SELECT count(*) FROM {quote(table)} WHERE {first} rowid <= ?"
            counted = self._connection.execute(counting, values).fetchone()[0]
            if counted != rows:
                raise SystemUnavailable(
                    f"{relation.relation}: DuckDB's scanner gave {rows:,} rows of {counted:,}",
                    field="source.connection",
                )
        if held:
            yield _chunk(held, [last])

    def _selected(
        self,
        statement: str,
        values: Sequence[object],
        relation: SourceRelation,
        columns: Sequence[ColumnInfo],
        order: int,
        *,
        is_view: bool,
    ) -> Iterator[SourceChunk]:
        """What a statement gives, each row with `order` values of its place before those of the columns."""
        try:
            cursor = self._connection.execute(statement, values)
            yield from self._read(cursor, relation, columns, order, is_view=is_view)
        except sqlite3.DatabaseError as error:
            if "decode" in str(error):
                raise undecodable(self._connection, statement, values, relation.relation, columns, order) from error
            raise translation(self._path, error) from error

    def _read(
        self,
        cursor: sqlite3.Cursor,
        relation: SourceRelation,
        columns: Sequence[ColumnInfo],
        order: int,
        *,
        is_view: bool,
    ) -> Iterator[SourceChunk]:
        pace = RowPace(relation)
        batches: list[pa.RecordBatch] = []
        last: Sequence[object] = ()
        while rows := cursor.fetchmany(pace.rows):
            if is_view:
                check_unique(relation.relation, last, [row[:order] for row in rows])
            batches.append(to_batch(rows, order, relation.relation, columns))
            last = rows[-1][:order]
            if pace.fills(batches[-1]):
                yield _chunk(batches, last)
                batches = []
        if batches:
            yield _chunk(batches, last)

    def _names(self) -> list[str]:
        return [row[0] for row in self._connection.execute(_TABLES)]

    def _table(self, relation: str) -> str:
        names = self._names()
        name = relation.removeprefix("main.")
        if name not in names:
            raise missing(relation, names)
        return name

    def _columns(self, table: str) -> list[tuple[str, str, bool, int]]:
        """Name, declaration, whether NULL is forbidden, and the place in the primary key; generated columns too."""
        found = self._connection.execute(f"PRAGMA table_xinfo({quote(table)})").fetchall()
        return [
            (name, kind, bool(required), place)
            for _, name, kind, required, _, place, hidden in found
            if hidden != HIDDEN_OF_MODULE
        ]

    def _order(self, table: str, relation: SourceRelation) -> tuple[list[str], bool]:
        """SQL expressions that order the rows, each row once; and whether only the dataset says so, since it is a view."""
        kind = self._connection.execute("SELECT type FROM sqlite_master WHERE name = ?", (table,)).fetchone()[0]
        if kind == "view":
            if not relation.key:
                problem = f"`{relation.relation}` is a view: name columns that together are unique, to read it in order"
                raise InvalidDefinition((Problem("key", problem),))
            return [term(name) for name in relation.key], True
        columns = self._columns(table)
        free = [name for name in _ROWIDS if name not in {column[0].lower() for column in columns}]
        if free:
            try:
                self._connection.execute(f"SELECT {free[0]} FROM {quote(table)} LIMIT 0")
                return [f"{ALIAS}.{free[0]}"], False
            except sqlite3.OperationalError as error:
                if "no such column" not in str(error):
                    raise translation(self._path, error) from error
        # A table without rowid has its rows under its primary key.
        key = [term(name) for name, _, _, place in sorted(columns, key=lambda column: column[3]) if place]
        if key and not free:
            key = [] if self._is_ordered_by_rowid(table) else key
        if not key:
            problem = f"the columns of `{relation.relation}` hide its rowid: read it through a view"
            raise InvalidDefinition((Problem("source.relation", problem),))
        return key, False

    def _is_ordered_by_rowid(self, table: str) -> bool:
        """Whether the table has a rowid, so that its primary key may hold NULLs."""
        statement = "SELECT wr FROM pragma_table_list WHERE schema = 'main' AND name = ?"
        return not self._connection.execute(statement, (table,)).fetchone()[0]


def _chunk(batches: list[pa.RecordBatch], last: Sequence[object]) -> SourceChunk:
    rows, size = sum(batch.num_rows for batch in batches), sum(batch.nbytes for batch in batches)
    return SourceChunk(tuple(batches), rows, size, position_of(last))
