"""A DuckDB file as a target: one cursor of the handle that the process shares.

Staging tables have no index, since DuckDB renames no table that has one, and lie in their target's schema, since it moves none.
"""

import fnmatch
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

import duckdb
import pyarrow as pa

from pymigrate.engine.adapters.connectors.duckdb_declared import is_amid_swap
from pymigrate.engine.adapters.connectors.duckdb_declaring import DuckdbDeclaring
from pymigrate.engine.adapters.connectors.duckdb_types import column_type
from pymigrate.engine.adapters.connectors.standard_defaults import text_literal
from pymigrate.engine.adapters.connectors.target_changes import ChangedTarget
from pymigrate.engine.adapters.connectors.target_dialect import Conflict, Found
from pymigrate.engine.adapters.connectors.target_inspection import Inspection
from pymigrate.engine.adapters.connectors.target_statements import (
    SCHEMA,
    Statements,
    Table,
    is_own,
    join_relation,
    quote,
    same_name,
    split_relation,
)
from pymigrate.engine.adapters.connectors.target_values import BATCH_ROWS_MAX, refused
from pymigrate.engine.domain.errors import CannotUndo, DataRefused, InvalidDefinition, Problem, SystemUnavailable
from pymigrate.engine.domain.types import ColumnInfo
from pymigrate.engine.ports.arrow_types import arrow_schema
from pymigrate.engine.ports.relations import RelationInfo
from pymigrate.engine.ports.staging import Staging, StagingId

DEFAULT_SCHEMA = "main"
WAIT_SECONDS_MAX = 0.2
GROUP_ROWS = 122_880
GROUP_BYTES_MAX = 64_000_000
_BATCHES = "pymigrate_batches"
_MARK = re.compile(r"PyMigrate \w+$")
_SYSTEM_SCHEMAS = ("information_schema", "pg_catalog")


class DuckdbTarget(ChangedTarget, DuckdbDeclaring):
    """See the port. `cursor` is this object's own; `ended` is shared by all of a file's users; `release` gives up the file."""

    indexes_keys = False  # DuckDB renames no table that has an index, and scans fast
    statements = Statements(f"{SCHEMA}.checkpoint", f"{SCHEMA}.publication")
    names_rows = True
    group_rows = GROUP_ROWS
    group_bytes_max = GROUP_BYTES_MAX

    def __init__(
        self, cursor: duckdb.DuckDBPyConnection, ended: threading.Condition, release: Callable[[], None]
    ) -> None:
        self._cursor = cursor
        self._ended = ended
        self._release: Callable[[], None] | None = release
        self._is_ready = False
        self._scans: set[pa.RecordBatchReader] = set()

    def version(self) -> str:
        """Such as `DuckDB 1.5.5`."""
        return f"DuckDB {duckdb.__version__}"

    def relations(self, glob: str, limit: int) -> Sequence[RelationInfo]:
        """Tables and views; the number of rows is DuckDB's estimate."""
        found = self._query(
            "SELECT schema_name, table_name, estimated_size FROM duckdb_tables() WHERE database_name = current_database() "
            "UNION ALL SELECT schema_name, view_name, -1 FROM duckdb_views() WHERE database_name = current_database() "
            "AND NOT internal"
        )
        named = sorted(
            (
                join_relation(Table(str(schema), str(name)), DEFAULT_SCHEMA),
                Table(str(schema), str(name)),
                int(str(rows)),
            )
            for schema, name, rows in found
            if schema != SCHEMA and not is_own(str(name))
        )
        matching = [entry for entry in named if fnmatch.fnmatchcase(entry[0], glob)]
        return [RelationInfo(name, self._describe(table), rows=rows) for name, table, rows in matching[:limit]]

    def close(self) -> None:
        """Closes the cursor, and the file with its last user."""
        if self._release is not None:
            release, self._release = self._release, None
            # A reading that nobody ended would hold the file.
            for scan in self._scans:
                scan.close()
            self._cursor.close()
            release()

    @property
    def _inspection(self) -> Inspection:
        return Inspection(self._query, lambda expression: f"CAST({expression} AS VARCHAR)")

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with _translated():
            self._cursor.begin()
            try:
                yield
                self._cursor.commit()
            except BaseException:
                # After some errors the transaction is gone already.
                with suppress(duckdb.Error):
                    self._cursor.rollback()
                raise
            finally:
                with self._ended:
                    self._ended.notify_all()

    @contextmanager
    def _snapshot(self) -> Iterator[None]:
        """A transaction that writes nothing: another may publish, or take back what it has, between any two statements."""
        with _translated():
            self._cursor.begin()
            try:
                yield
            finally:
                with suppress(duckdb.Error):
                    self._cursor.rollback()

    def _wait(self) -> None:
        with self._ended:
            self._ended.wait(WAIT_SECONDS_MAX)

    def _execute(self, statement: str, parameters: Sequence[object] = ()) -> int:
        rows = self._query(statement, parameters)
        return int(str(rows[0][0])) if rows else 0

    def _query(self, statement: str, parameters: Sequence[object] = ()) -> list[tuple[object, ...]]:
        with _translated():
            try:
                return self._cursor.execute(statement, list(parameters)).fetchall()
            except duckdb.CatalogException as error:
                if is_amid_swap(error, statement):
                    raise Conflict(f"DuckDB: {error}") from error
                raise

    def _locate(self, relation: str) -> Table:
        return split_relation(relation, DEFAULT_SCHEMA)

    def _find(self, table: Table) -> Found | None:
        # As a literal: for each statement with parameters DuckDB looks for a pandas to import, which takes longer than the statement.
        sought = text_literal(table.name)
        found = self._query(
            "SELECT schema_name, table_name, 'table' FROM duckdb_tables() WHERE database_name = current_database() "
            f"AND lower(table_name) = lower({sought}) UNION ALL SELECT schema_name, view_name, 'view' FROM duckdb_views() "
            f"WHERE database_name = current_database() AND lower(view_name) = lower({sought})"
        )
        for schema, name, kind in found:
            if same_name(str(schema), table.schema) and same_name(str(name), table.name):
                return Found(Table(str(schema), str(name)), str(kind))
        return None

    def _type_problems(self, staging: Staging) -> Iterator[Problem]:
        if self._locate(staging.relation).schema.lower() in _SYSTEM_SCHEMAS:
            yield Problem("target.relation", f"`{staging.relation}` is in a schema of DuckDB's own")

    def _has_own_relations(self) -> bool:
        self._is_ready = self._is_ready or self._find(Table(SCHEMA, "publication")) is not None
        return self._is_ready

    def _create(self, staging: Staging, table: Table) -> None:
        for schema in (SCHEMA, table.schema):
            self._execute(f"CREATE SCHEMA IF NOT EXISTS {quote(schema)}")
        for statement in self.statements.create:
            self._execute(statement)
        if self._find(table) is None:
            self._execute(self._create_statement(staging, table))
            for step in self._comment_steps(staging, table):
                self._execute(step.sql)

    def _insert(self, staging: Staging, table: Table, batches: Sequence[pa.RecordBatch], row: int) -> None:
        reader = pa.RecordBatchReader.from_batches(arrow_schema(staging.columns), batches)
        self._cursor.register(_BATCHES, reader)
        try:
            self._cursor.execute(f"INSERT INTO {table.sql} SELECT * FROM {_BATCHES}")
        except (duckdb.ConversionException, duckdb.InvalidInputException) as error:
            raise self._refusal(staging, batches, row, error) from error
        finally:
            with suppress(duckdb.Error):
                self._cursor.unregister(_BATCHES)

    def _refusal(
        self, staging: Staging, batches: Sequence[pa.RecordBatch], row: int, error: duckdb.Error
    ) -> DataRefused:
        """Json is the one type that DuckDB checks on its way in: find the value."""
        with duckdb.connect() as aside:
            for column in staging.columns:
                values = pa.chunked_array([batch.column(column.name) for batch in batches])
                if column.type.kind == "json":
                    for at, value in enumerate(values):
                        if not aside.execute("SELECT coalesce(json_valid(?), true)", [value.as_py()]).fetchall()[0][0]:
                            return refused(staging, column.name, row + at + 1, "no valid JSON")
        return DataRefused(f"{staging.relation}: {str(error).splitlines()[0]}")

    def _scan(self, staging: Staging, table: Table) -> Iterator[pa.RecordBatch]:
        schema = arrow_schema(staging.columns)
        columns = ", ".join(map(_read_back, staging.columns))
        with _translated(), self._cursor.cursor() as cursor:
            reader = cursor.execute(f"SELECT {columns} FROM {table.sql}").to_arrow_reader(BATCH_ROWS_MAX)
            self._scans.add(reader)
            try:
                for batch in reader:
                    arrays = [values.cast(field.type) for values, field in zip(batch.columns, schema, strict=True)]
                    yield pa.RecordBatch.from_arrays(arrays, schema=schema)
            finally:
                self._scans.discard(reader)

    def _rename(self, table: Table, name: str) -> None:
        try:
            self._execute(f"ALTER TABLE {table.sql} RENAME TO {quote(name)}")
        except duckdb.DependencyException as error:
            problem = Problem("target.relation", _unmovable(table))
            raise InvalidDefinition((problem,)) from error

    def _drop(self, table: Table) -> None:
        try:
            super()._drop(table)
        except duckdb.DependencyException as error:
            raise CannotUndo(f"{table.name} is referred to by another table: {error}") from error

    def _lock_for_merge(self, table: Table) -> None:
        """Nothing: a writer that is under way meets a conflict."""

    def _row_names(self, table: Table) -> tuple[str, ...]:
        """Rows of an open transaction have greater ones than all that are committed; commits and checkpoints may give others."""
        del table
        return ("rowid",)

    def _is_constraint(self, error: BaseException) -> bool:
        return isinstance(error, duckdb.ConstraintException | duckdb.ConversionException | duckdb.BinderException)

    def _identity(self, staging: StagingId, table: Table) -> str:
        """The end of the comment that every staging table gets when it is made."""
        found = self._query(
            "SELECT comment FROM duckdb_tables() WHERE database_name = current_database() AND lower(schema_name) = lower(?) "
            "AND lower(table_name) = lower(?)",
            (table.schema, table.name),
        )
        marked = _MARK.search(str(found[0][0] or "")) if found else None
        return marked[0] if marked else ""

    def _fingerprint(self, table: Table) -> str:
        """The sum of DuckDB's hash of every row; another version of DuckDB may hash otherwise, and compares nothing."""
        columns = ", ".join(quote(name) for name in self._columns(table))
        [(total,)] = self._query(f"SELECT coalesce(sum(hash({columns})), 0) FROM {table.sql}")
        return f"{duckdb.__version__}:{total}"

    def _columns(self, table: Table) -> list[str]:
        return [column.name for column in self._describe(table)]

    def _describe(self, table: Table) -> tuple[ColumnInfo, ...]:
        found = self._query(
            "SELECT column_name, data_type, is_nullable FROM duckdb_columns() WHERE database_name = current_database() "
            "AND schema_name = ? AND table_name = ? ORDER BY column_index",
            (table.schema, table.name),
        )
        return tuple(
            ColumnInfo(str(name), column_type(str(native)), not is_nullable, str(native))
            for name, native, is_nullable in found
        )


def _unmovable(table: Table) -> str:
    return f"`{table.name}` is referred to by another table, and DuckDB renames no such table: drop that first"


def _read_back(column: ColumnInfo) -> str:
    name = quote(column.name)
    return f"CAST({name} AS VARCHAR) AS {name}" if column.type.kind in ("json", "uuid") else name


@contextmanager
def _translated() -> Iterator[None]:
    """DuckDB's errors as PyMigrate's; those that a caller tells apart are let through."""
    try:
        yield
    except (duckdb.TransactionException, duckdb.ConstraintException) as error:
        # The only unique keys here are those of PyMigrate's relations, which two may insert at once.
        raise Conflict(f"DuckDB: {error}") from error
    except (
        duckdb.IOException,
        duckdb.OutOfMemoryException,
        duckdb.FatalException,
        duckdb.ConnectionException,
    ) as error:
        raise SystemUnavailable(f"DuckDB: {error}") from error
