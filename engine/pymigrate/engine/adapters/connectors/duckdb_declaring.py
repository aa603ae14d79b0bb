"""DuckDB's part in declaring what a table has beside its rows: unique indexes made in the publication's transaction, and comments.

DuckDB renames no table that has an index or a declared key, and adds no foreign key to one. So keys are unique indexes, which a later
replacement drops and its way back makes again; foreign keys are checked. An index lies in memory: a very large table gets none.
"""

from abc import abstractmethod
from collections.abc import Iterator, Sequence

import duckdb

from pymigrate.engine.adapters.connectors.duckdb_declared import INDEXES, DuckdbDeclared
from pymigrate.engine.adapters.connectors.duckdb_types import native_type
from pymigrate.engine.adapters.connectors.standard_defaults import text_literal
from pymigrate.engine.adapters.connectors.target_declarations import Kind
from pymigrate.engine.adapters.connectors.target_dialect import Found
from pymigrate.engine.adapters.connectors.target_sql import SqlTarget
from pymigrate.engine.adapters.connectors.target_statements import SCHEMA, Table, quote
from pymigrate.engine.adapters.connectors.target_steps import Naming, Step
from pymigrate.engine.domain.errors import VerificationFailed
from pymigrate.engine.domain.schema import ForeignKey, SchemaPart, TableIndex
from pymigrate.engine.domain.types import ColumnInfo
from pymigrate.engine.ports.staging import Staging, StagingId

INDEX_ROWS_MAX = 20_000_000
_UNINDEXED = frozenset({"json"})


class DuckdbDeclaring(SqlTarget):
    """What of a Target on DuckDB declares."""

    is_indexed_in_place = True
    undeclarable = "DuckDB adds no foreign key to a table, and renames none that has one"
    _cursor: duckdb.DuckDBPyConnection

    @abstractmethod
    def _describe(self, table: Table) -> tuple[ColumnInfo, ...]:
        """A table's columns."""

    def _column_type(self, staging: Staging, column: ColumnInfo) -> str:
        return native_type(column.type)

    def _default(self, staging: Staging, column: ColumnInfo) -> str:
        return column.default

    def _key_step(self, staging: Staging, table: Table, name: Naming) -> Iterator[Step]:
        if self._unindexed(staging, staging.key):
            return
        columns = ", ".join(map(quote, staging.key))
        index = quote(name(self._key_name(staging)))
        yield Step(f"CREATE UNIQUE INDEX {index} ON {table.sql} ({columns})", "the key", is_required=True)

    def _late_steps(self, staging: Staging, table: Table, name: Naming) -> Iterator[Step]:
        return iter(())

    def _index_step(self, staging: Staging, table: Table, index: TableIndex, name: str) -> Step | None:
        if index.definition or self._unindexed(staging, index.columns):
            return None
        columns = ", ".join(map(quote, index.columns))
        unique = "UNIQUE " if index.is_unique else ""
        statement = f"CREATE {unique}INDEX {quote(name)} ON {table.sql} ({columns})"
        return Step(statement, f"the index `{index.name}`", is_strict=index.is_unique)

    def _unindexed(self, staging: Staging, columns: Sequence[str]) -> list[str]:
        return [column.name for column in staging.columns if column.name in columns and column.type.kind in _UNINDEXED]

    def _comment_steps(self, staging: Staging, table: Table) -> Iterator[Step]:
        """The end of the table's comment tells it from every other: it is there without any comment, too."""
        is_wanted = staging.schema.has(SchemaPart.COMMENTS)
        comment = (
            f"{staging.schema.comment}\n{mark(staging.id)}"
            if staging.schema.comment and is_wanted
            else mark(staging.id)
        )
        yield Step(f"COMMENT ON TABLE {table.sql} IS {text_literal(comment)}", "the comment")
        for column in staging.columns:
            if column.comment and is_wanted:
                place = f"{table.sql}.{quote(column.name)}"
                yield Step(f"COMMENT ON COLUMN {place} IS {text_literal(column.comment)}", "the comment")

    def _foreign_key_step(self, staging: Staging, table: Table, key: ForeignKey, target: Table) -> Step | None:
        return None

    def _schema_statements(self, table: Table) -> Iterator[str]:
        found = self._query(
            f"SELECT 1 FROM duckdb_schemas() WHERE lower(schema_name) = lower({text_literal(table.schema)})"
        )
        if not found:
            yield f"CREATE SCHEMA {quote(table.schema)}"

    def _omissions(self, staging: Staging) -> Iterator[str]:
        yield from super()._omissions(staging)
        if staging.key and staging.schema.has(SchemaPart.KEY):
            if self._unindexed(staging, staging.key):
                yield "the key is checked and not declared: DuckDB indexes no json"
            else:
                yield "the key is declared as a unique index: DuckDB renames no table with a primary key"

    def _declare(self, staging: Staging, table: Table) -> None:
        if (rows := self._count(table)) > INDEX_ROWS_MAX:
            note = f"key and indexes are not declared: they would lie in memory, and there are {rows:,} rows; the key was checked"
            self._remember(staging, Kind.NOTE, [note])
            return
        super()._declare(staging, table)

    def _try(self, step: Step) -> str:
        """There are no savepoints: what fails here fails the publication."""
        try:
            self._cursor.execute(step.sql)
        except duckdb.ConstraintException as error:
            raise VerificationFailed(f"{step.what} does not hold: {str(error).splitlines()[0]}") from error
        return ""

    def _taken_names(self, schema: str) -> set[str]:
        statement = (
            f"SELECT index_name FROM {INDEXES} WHERE database_name = current_database() "
            f"AND lower(schema_name) = lower({text_literal(schema)})"
        )
        return {str(name).lower() for (name,) in self._query(statement)}

    def _names_of(self, existing: Found | None) -> set[str]:
        return set() if existing is None else {name.lower() for name, _ in self._indexes_of(existing.table)}

    def _indexes_of(self, table: Table) -> list[tuple[str, str]]:
        found = self._query(
            f"SELECT index_name, sql FROM {INDEXES} WHERE database_name = current_database() AND schema_name = ? "
            "AND table_name = ? AND sql IS NOT NULL ORDER BY 1",
            (table.schema, table.name),
        )
        return [(str(name), str(statement)) for name, statement in found]

    def _before_swaps(self, swaps: Sequence[tuple[Staging, Found]]) -> None:
        """Readers keep their snapshot, and a writer that is under way meets a conflict; indexes would keep the tables from moving."""
        for staging, existing in swaps:
            for name, statement in self._indexes_of(existing.table):
                self._execute(f"DROP INDEX {Table(existing.table.schema, name).sql}")
                self._remember(staging, Kind.AFTER, [statement])

    def _replaced_notes(self, existing: Found) -> Iterator[str]:
        for name, _ in self._indexes_of(existing.table):
            yield f"the index `{name}` of the table that is replaced is dropped, and made again by a rollback"

    def _described(self, table: Table) -> tuple[ColumnInfo, ...]:
        return DuckdbDeclared(self._query).columns(table, self._describe(table))

    def _unique_columns(self, table: Table) -> list[frozenset[str]]:
        return DuckdbDeclared(self._query).unique(table)

    def _has_declarations(self) -> bool:
        return self._find(Table(SCHEMA, "declaration")) is not None


def mark(staging: StagingId) -> str:
    """What every staging table's comment ends with."""
    return f"PyMigrate {staging}"
