"""DuckDB files as sources: the file as it is while nobody writes to it, in the order of rowid, or of a key for a view.

A file that no target of this process has open is opened read only: then no other process can write to it either, so that everything
that is read is of one snapshot. Beside a target of the same file every reading has a snapshot of its own, and the state tells.
"""

import fnmatch
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import duckdb

from pymigrate.engine.adapters.connectors.chunk_sizes import dividing
from pymigrate.engine.adapters.connectors.duckdb_declared import DuckdbDeclared, is_amid_swap
from pymigrate.engine.adapters.connectors.duckdb_reading import is_known, reading
from pymigrate.engine.adapters.connectors.duckdb_scan import (
    ALIAS,
    CHUNK_PARTS,
    ROW,
    ROWID,
    ChunkReader,
    Term,
    position_of,
    select,
)
from pymigrate.engine.adapters.connectors.duckdb_types import column_type
from pymigrate.engine.adapters.connectors.source_values import as_now, declared_columns, missing
from pymigrate.engine.adapters.connectors.standard_defaults import text_literal
from pymigrate.engine.adapters.connectors.target_statements import (
    SCHEMA,
    Table,
    is_own,
    join_relation,
    quote,
    same_name,
    split_relation,
)
from pymigrate.engine.domain.errors import (
    DataRefused,
    FailedPrecondition,
    InvalidDefinition,
    Problem,
    PyMigrateError,
    SystemUnavailable,
)
from pymigrate.engine.domain.types import ColumnInfo
from pymigrate.engine.ports.ranges import Position, SourceRange, ranges_between
from pymigrate.engine.ports.relations import RelationInfo, SourceRelation
from pymigrate.engine.ports.source import SourceChunk

DEFAULT_SCHEMA = "main"
ROWS_AT_ONCE = 8_192
SAMPLE_ROWS = 256
HEADERS_OFFSET, HEADERS_BYTES = 4_096, 8_192  # two headers, of which every checkpoint of the file writes one


class DuckdbSource:
    """See the port. `cursor` is this object's own; `release` gives up the file."""

    def __init__(self, path: Path, cursor: duckdb.DuckDBPyConnection, release: Callable[[], None]) -> None:
        self._path = path
        self._cursor = cursor
        self._release: Callable[[], None] | None = release
        self._scans: set[duckdb.DuckDBPyConnection] = set()

    def version(self) -> str:
        """Such as `DuckDB 1.5.5`."""
        return f"DuckDB {duckdb.__version__}"

    def relations(self, glob: str, limit: int) -> Sequence[RelationInfo]:
        """Tables and views; the number of rows is DuckDB's estimate."""
        named = {name: (table, kind) for name, table, kind in self._relations() if fnmatch.fnmatchcase(name, glob)}
        return [self._listed(name, *named[name]) for name in sorted(named)[:limit]]

    def describe(self, relation: SourceRelation) -> RelationInfo:
        """Columns, primary key, and for a table the exact number of rows and the bytes that it takes in the file."""
        table, kind = self._find(relation.relation)
        columns = self._columns(table, relation.relation)
        if unknown := [column for column in columns if not is_known(column.native_type)]:
            raise InvalidDefinition(tuple(
                Problem(f"source.columns.{column.name}", f"`{relation.relation}` has `{column.name}` as {column.native_type}, which "
                        "is not read without a doubt: read the relation through a view that casts it")
                for column in unknown
            ))  # fmt: skip
        info = self._listed(relation.relation, table, kind)
        if kind == "view":
            return replace(info, columns=declared_columns(relation, columns))
        declared = DuckdbDeclared(self._query)
        found = declared_columns(relation, declared.columns(table, columns))
        return replace(info, columns=found, schema=declared.table(table, info.key))

    def state(self, relation: SourceRelation) -> str:
        """Size, time of change and headers of the file, and size and time of its write-ahead log."""
        del relation
        status = self._path.stat()
        with self._path.open("rb") as file:
            file.seek(HEADERS_OFFSET)
            headers = file.read(HEADERS_BYTES)
        log = self._path.with_name(f"{self._path.name}.wal")
        parts = [f"{status.st_size}-{status.st_mtime_ns}-{_counters(headers)}"]
        if log.exists() and log.stat().st_size:
            parts.append(f"{log.stat().st_size}-{log.stat().st_mtime_ns}")
        return "+".join(parts)

    def split(self, relation: SourceRelation, parts: int) -> Sequence[SourceRange]:
        """Into ranges of as many rows each; a view is not split."""
        table, kind = self._find(relation.relation)
        terms = self._order(table, kind, relation)
        if terms != [ROW]:
            return ranges_between(())
        [(rows,)] = self._query(f"SELECT count(*) FROM {table.sql}")
        step = -(-int(str(rows)) // max(parts, 1))
        ends: list[Position] = []
        while step and step * (len(ends) + 1) < int(str(rows)):
            offset = step * (len(ends) + 1) - 1
            [(rowid,)] = self._query(f"SELECT rowid FROM {table.sql} LIMIT 1 OFFSET {offset}")
            ends.append(position_of([rowid]))
        return ranges_between(ends)

    def chunks(
        self, relation: SourceRelation, columns: Sequence[ColumnInfo], after: Position | None
    ) -> Iterator[SourceChunk]:
        """In the order of rowid; of a view, or of a table with a column of that name, in the order of the dataset's key."""
        table, kind = self._find(relation.relation)
        terms = self._order(table, kind, relation)
        native = {column.name: column.native_type for column in self._columns(table, relation.relation)}
        columns = as_now(relation.relation, columns, native)
        readings = [reading(ALIAS, column) for column in columns]
        span = SourceRange(after or relation.range.after, relation.range.until)
        statement, values = select(table, terms, readings, span)
        with self._scan() as scan:
            rows = self._rows_at_once(scan, statement, values, relation)
            batches = scan.execute(statement, values).to_arrow_reader(rows)
            yield from ChunkReader(relation, readings, terms).of(batches)

    def close(self) -> None:
        """Closes the cursors, and the file with its last user."""
        if self._release is not None:
            release, self._release = self._release, None
            for scan in tuple(self._scans):
                scan.close()
            self._cursor.close()
            release()

    @contextmanager
    def _scan(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A cursor for one reading: the result of a cursor ends with its next statement."""
        with self._translated():
            scan = self._cursor.cursor()
            self._scans.add(scan)
            try:
                scan.execute("SET TimeZone = 'UTC'")
                yield scan
            finally:
                self._scans.discard(scan)
                with suppress(duckdb.Error):
                    scan.close()

    def _rows_at_once(
        self, scan: duckdb.DuckDBPyConnection, statement: str, values: Sequence[object], relation: SourceRelation
    ) -> int:
        """How many rows a batch may have, going by the first ones, so that wide rows take no more memory than a chunk."""
        first = scan.execute(f"{statement} LIMIT {SAMPLE_ROWS}", list(values)).to_arrow_table()
        width = max(1, int(first.nbytes) // max(1, int(first.num_rows)))
        return dividing(relation.chunk_rows, max(1, min(ROWS_AT_ONCE, relation.chunk_bytes // width // CHUNK_PARTS)))

    def _query(self, statement: str, parameters: Sequence[object] = ()) -> list[tuple[object, ...]]:
        with self._translated():
            try:
                return self._cursor.execute(statement, list(parameters)).fetchall()
            except duckdb.CatalogException as error:
                if is_amid_swap(error, statement):
                    raise SystemUnavailable(f"{self._path} is being written to: {error}") from error
                raise

    def _relations(self) -> list[tuple[str, Table, str]]:
        """Name, table and kind of everything that users made."""
        found = self._query(
            "SELECT schema_name, table_name, 'table' FROM duckdb_tables() WHERE database_name = current_database() AND NOT internal "
            "UNION ALL SELECT schema_name, view_name, 'view' FROM duckdb_views() WHERE database_name = current_database() "
            "AND NOT internal"
        )
        tables = [(Table(str(schema), str(name)), str(kind)) for schema, name, kind in found]
        return [
            (join_relation(table, DEFAULT_SCHEMA), table, kind)
            for table, kind in tables
            if table.schema != SCHEMA and not is_own(table.name)
        ]

    def _find(self, relation: str) -> tuple[Table, str]:
        asked, known = split_relation(relation, DEFAULT_SCHEMA), self._relations()
        for _, table, kind in known:
            if same_name(table.schema, asked.schema) and same_name(table.name, asked.name):
                return table, kind
        raise missing(relation, sorted(name for name, _, _ in known))

    def _listed(self, name: str, table: Table, kind: str) -> RelationInfo:
        try:
            columns = self._columns(table, name)
        except InvalidDefinition:  # a view of what is gone: it is there, but has nothing to show
            return RelationInfo(name, ())
        if kind == "view":
            return RelationInfo(name, tuple(columns), bytes=self._path.stat().st_size)
        [(rows,)] = self._query(f"SELECT count(*) FROM {table.sql}")
        return RelationInfo(
            name, tuple(columns), self._key(table), int(str(rows)), self._bytes(table), is_exact_rows=True
        )

    def _columns(self, table: Table, relation: str) -> list[ColumnInfo]:
        try:
            found = self._query(f'SELECT column_name, column_type, "null" FROM (DESCRIBE {table.sql})')
        except FailedPrecondition as error:
            problem = Problem("source.relation", f"`{relation}` can't be read: {error.message}")
            raise InvalidDefinition((problem,)) from error
        return [
            ColumnInfo(str(name), column_type(str(native)), is_nullable == "NO", str(native))
            for name, native, is_nullable in found
        ]

    def _key(self, table: Table) -> tuple[str, ...]:
        found = self._query(
            "SELECT constraint_column_names FROM duckdb_constraints() WHERE database_name = current_database() "
            "AND schema_name = ? AND table_name = ? AND constraint_type = 'PRIMARY KEY'",
            (table.schema, table.name),
        )
        return tuple(str(name) for names in found for name in names[0]) if found else ()  # type: ignore[attr-defined]  # a list

    def _bytes(self, table: Table) -> int:
        """What the table's blocks take; what is not written into blocks yet lies in the log, among the log's other changes."""
        [(size,)] = self._query(
            f"SELECT count(DISTINCT block_id) FILTER (block_id >= 0) * (SELECT block_size FROM pragma_database_size() LIMIT 1) "
            f"FROM pragma_storage_info({text_literal(table.sql)})"
        )
        return int(str(size)) or self._log_bytes()

    def _log_bytes(self) -> int:
        """The size of the write-ahead log; 0 where there is none."""
        try:
            return self._path.with_name(f"{self._path.name}.wal").stat().st_size
        except FileNotFoundError:
            return 0

    def _order(self, table: Table, kind: str, relation: SourceRelation) -> list[Term]:
        columns = {column.name: column for column in self._columns(table, relation.relation)}
        is_hidden = any(same_name(name, ROWID) for name in columns)
        if kind == "table" and not is_hidden:
            return [ROW]
        if not relation.key:
            what = "is a view" if kind == "view" else "has a column that hides its rowid"
            problem = f"`{relation.relation}` {what}: name columns that together are unique, to read it in order"
            raise InvalidDefinition((Problem("key", problem),))
        return [Term(name, f"{ALIAS}.{quote(name)}", columns[name].native_type) for name in relation.key]

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """DuckDB's errors as PyMigrate's."""
        try:
            yield
        except (duckdb.IOException, duckdb.OutOfMemoryException, duckdb.FatalException, duckdb.ConnectionException,
                duckdb.TransactionException) as error:  # fmt: skip
            raise SystemUnavailable(f"the DuckDB file {self._path} can't be read: {error}") from error
        except duckdb.Error as error:
            raise _unreadable(self._path, error) from error


def _counters(headers: bytes) -> str:
    """The checkpoint counters of both headers: 8 bytes after the checksum of each."""
    return f"{headers[8:16].hex()}{headers[HEADERS_OFFSET + 8 : HEADERS_OFFSET + 16].hex()}"


def _unreadable(path: Path, error: duckdb.Error) -> PyMigrateError:
    said = str(error).splitlines()[0]
    if isinstance(error, duckdb.DataError):
        return DataRefused(f"{path}: {said}")
    return FailedPrecondition(f"DuckDB can't evaluate what is read from {path}: {said}: mend the view or the table")
