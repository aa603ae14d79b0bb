"""MySQL's part in declaring what a table has beside its rows: the key and indexes, on the staging. Each statement commits by itself; one
that was executed before is found to be so.

Defaults and comments are not carried, and foreign keys are checked: MySQL's go with the table that is renamed.
"""

from collections.abc import Iterator, Sequence

import pymysql

from pymigrate.engine.adapters.connectors.mysql_catalog import MysqlCatalog
from pymigrate.engine.adapters.connectors.mysql_connection import said
from pymigrate.engine.adapters.connectors.mysql_limits import fitting
from pymigrate.engine.adapters.connectors.mysql_publication import MysqlPublications
from pymigrate.engine.adapters.connectors.mysql_values import staged_type
from pymigrate.engine.adapters.connectors.target_statements import Table, quote
from pymigrate.engine.adapters.connectors.target_steps import Naming, Step
from pymigrate.engine.domain.errors import VerificationFailed
from pymigrate.engine.domain.schema import ForeignKey, SchemaPart, TableIndex
from pymigrate.engine.domain.types import ColumnInfo
from pymigrate.engine.ports.staging import Staging

DONE = frozenset({1061, 1068})  # there is such an index, or a primary key, already
DUPLICATE = 1062
_RESERVED = frozenset({"PRIMARY", "GEN_CLUST_INDEX"})
_LONG = frozenset({"string", "bytes", "json"})


class MysqlDeclaring(MysqlPublications):
    """What of a Target on MySQL declares."""

    undeclarable = "MySQL's foreign keys go with a table that is renamed"
    _catalog: MysqlCatalog
    _collation: str

    def _column_type(self, staging: Staging, column: ColumnInfo) -> str:
        return staged_type(staging, column)

    def _default(self, staging: Staging, column: ColumnInfo) -> str:
        return ""

    def _key_step(self, staging: Staging, table: Table, name: Naming) -> Iterator[Step]:
        columns = ", ".join(map(quote, staging.key))
        yield Step(f"ALTER TABLE {table.sql} ADD PRIMARY KEY ({columns})", "the key", is_required=True)

    def _late_steps(self, staging: Staging, table: Table, name: Naming) -> Iterator[Step]:
        return iter(())

    def _index_step(self, staging: Staging, table: Table, index: TableIndex, name: str) -> Step | None:
        if index.definition or self._is_long(staging, index.columns):
            return None
        columns = ", ".join(map(quote, index.columns))
        unique = "UNIQUE " if index.is_unique else ""
        statement = f"CREATE {unique}INDEX {quote(name)} ON {table.sql} ({columns})"
        return Step(statement, f"the index `{index.name}`", is_strict=index.is_unique)

    def _is_long(self, staging: Staging, columns: Sequence[str]) -> bool:
        """MySQL indexes texts and bytes only where their length is limited."""
        long = (column.name for column in staging.columns if column.type.kind in _LONG)
        return bool(set(columns) & (set(long) - set(staging.key)))

    def _comment_steps(self, staging: Staging, table: Table) -> Iterator[Step]:
        return iter(())

    def _foreign_key_step(self, staging: Staging, table: Table, key: ForeignKey, target: Table) -> Step | None:
        return None

    def _schema_statements(self, table: Table) -> Iterator[str]:
        if not self._query("SELECT 1 FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = ?", (table.schema,)):
            yield f"CREATE DATABASE IF NOT EXISTS {quote(table.schema)}"

    def _create_statement(self, staging: Staging, table: Table) -> str:
        return (
            f"{super()._create_statement(staging, table)} ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE {self._collation} "
            f"COMMENT = 'PyMigrate {staging.id}'"
        )

    def _omissions(self, staging: Staging) -> Iterator[str]:
        yield from super()._omissions(staging)
        has_comments = staging.schema.comment or any(column.comment for column in staging.columns)
        if has_comments and staging.schema.has(SchemaPart.COMMENTS):
            yield "comments are not carried: the table's own says which attempt it is of"

    def _try(self, step: Step) -> str:
        try:
            self._execute(step.sql)
        except pymysql.err.MySQLError as error:
            code = error.args[0] if error.args else 0
            if code in DONE:
                return ""
            if step.is_strict and code == DUPLICATE:
                raise VerificationFailed(f"{step.what} does not hold: {said(error)}") from error
            return said(error)
        return ""

    def _unreserved(self, name: str) -> str:
        fit = fitting(name) or "index"
        return f"index_{fit}" if fit.upper() in _RESERVED else fit

    def _taken_names(self, schema: str) -> set[str]:
        """None: names of indexes are a table's own."""
        return set()

    def _described(self, table: Table) -> tuple[ColumnInfo, ...]:
        return self._catalog.declared.columns(table, self._catalog.columns(table))

    def _unique_columns(self, table: Table) -> list[frozenset[str]]:
        """Those that are never NULL."""
        return [frozenset(names) for names in self._catalog.unique(table)]

    def _has_declarations(self) -> bool:
        return self._find(self._own("declaration")) is not None
