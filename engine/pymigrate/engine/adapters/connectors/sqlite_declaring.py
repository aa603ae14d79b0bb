"""SQLite's part in declaring what a table has beside its rows: keys as unique indexes, and foreign keys in the table's own statement.

A primary key would have to be there before the rows, and to be kept in order with each of them.
"""

import sqlite3
from abc import abstractmethod
from collections.abc import Iterator

from pymigrate.engine.adapters.connectors.sqlite_declared import SYSTEM, SqliteDeclared
from pymigrate.engine.adapters.connectors.sqlite_types import native_type
from pymigrate.engine.adapters.connectors.sqlite_values import AS_TEXT
from pymigrate.engine.adapters.connectors.standard_defaults import NOW, RANDOM_UUID, text_literal
from pymigrate.engine.adapters.connectors.target_sql import SqlTarget
from pymigrate.engine.adapters.connectors.target_statements import Table, quote
from pymigrate.engine.adapters.connectors.target_steps import Naming, Step
from pymigrate.engine.domain.errors import VerificationFailed
from pymigrate.engine.domain.schema import ForeignKey, SchemaPart, TableIndex
from pymigrate.engine.domain.types import ColumnInfo
from pymigrate.engine.ports.staging import Staging

RESERVED = "sqlite_"  # how names begin that SQLite keeps for itself
_SAVEPOINT = "pymigrate_step"
_NOW = "(strftime('%Y-%m-%d %H:%M:%f', 'now') || '000Z')"  # as PyMigrate writes a moment into text


class SqliteDeclaring(SqlTarget):
    """What of a Target on SQLite declares."""

    has_references_in_table = True
    _connection: sqlite3.Connection

    @abstractmethod
    def _describe(self, name: str) -> tuple[ColumnInfo, ...]:
        """A table's columns."""

    def _column_type(self, staging: Staging, column: ColumnInfo) -> str:
        return native_type(column.type)

    def _is_native(self, staging: Staging) -> bool:
        return staging.schema.system == SYSTEM

    def _default(self, staging: Staging, column: ColumnInfo) -> str:
        """A number that is kept as its digits is given in quotes: SQLite would write 0.00 as 0.0."""
        if column.default == NOW:
            return _NOW
        if column.default == RANDOM_UUID:
            return ""
        if column.default and column.type.kind in AS_TEXT and not column.default.startswith("'"):
            return text_literal(column.default)
        is_as_it_was = self._is_native(staging) and native_type(column.type) == column.native_type.upper()
        return column.default or (column.native_default if is_as_it_was else "")

    def _key_step(self, staging: Staging, table: Table, name: Naming) -> Iterator[Step]:
        columns = ", ".join(map(quote, staging.key))
        index = quote(name(self._key_name(staging)))
        yield Step(f"CREATE UNIQUE INDEX {index} ON {table.sql} ({columns})", "the key", is_required=True)

    def _late_steps(self, staging: Staging, table: Table, name: Naming) -> Iterator[Step]:
        return iter(())

    def _index_step(self, staging: Staging, table: Table, index: TableIndex, name: str) -> Step | None:
        if (index.definition and not self._is_native(staging)) or not (index.columns or index.definition):
            return None
        columns = ", ".join(map(quote, index.columns))
        unique = "UNIQUE " if index.is_unique else ""
        statement = f"CREATE {unique}INDEX {quote(name)} ON {table.sql} {index.definition or f'({columns})'}"
        return Step(statement, f"the index `{index.name}`", is_strict=index.is_unique and not index.definition)

    def _comment_steps(self, staging: Staging, table: Table) -> Iterator[Step]:
        return iter(())

    def _foreign_key_step(self, staging: Staging, table: Table, key: ForeignKey, target: Table) -> Step | None:
        return None

    def _table_parts(self, staging: Staging) -> Iterator[str]:
        """Foreign keys, which mean their table by its name: it may come later, and be replaced."""
        for key in self._foreign_keys(staging):
            columns, others = (", ".join(map(quote, names)) for names in (key.columns, key.relation_columns))
            deleted = f" ON DELETE {key.on_delete}" if key.on_delete else ""
            updated = f" ON UPDATE {key.on_update}" if key.on_update else ""
            target = self._locate(key.target_relation).sql
            yield f"CONSTRAINT {quote(key.name)} FOREIGN KEY ({columns}) REFERENCES {target} ({others}){deleted}{updated}"

    def _omissions(self, staging: Staging) -> Iterator[str]:
        yield from super()._omissions(staging)
        is_commented = staging.schema.comment or any(column.comment for column in staging.columns)
        if is_commented and staging.schema.has(SchemaPart.COMMENTS):
            yield "comments are not carried: SQLite has none"
        for column in staging.columns if self._is_native(staging) and staging.schema.has(SchemaPart.DEFAULTS) else ():
            if column.native_default and not self._default(staging, column):
                yield f"the default {column.native_default} of column `{column.name}` is not carried: it may mean another thing here"

    def _try(self, step: Step) -> str:
        self._execute(f"SAVEPOINT {_SAVEPOINT}")
        try:
            self._connection.execute(step.sql)
        except sqlite3.DatabaseError as error:
            self._execute(f"ROLLBACK TO {_SAVEPOINT}")
            if step.is_strict and isinstance(error, sqlite3.IntegrityError):
                raise VerificationFailed(f"{step.what} is unique in the source, and not here: {error}") from error
            return str(error)
        finally:
            self._execute(f"RELEASE {_SAVEPOINT}")
        return ""

    def _unreserved(self, name: str) -> str:
        return f"index_{name}" if name.lower().startswith(RESERVED) else name

    def _taken_names(self, schema: str) -> set[str]:
        return {str(name).lower() for (name,) in self._query("SELECT name FROM sqlite_master")}

    def _described(self, table: Table) -> tuple[ColumnInfo, ...]:
        return SqliteDeclared(self._connection).columns(table.name, self._describe(table.name))

    def _unique_columns(self, table: Table) -> list[frozenset[str]]:
        return SqliteDeclared(self._connection).unique(table.name)

    def _has_declarations(self) -> bool:
        return self._find(Table("", self.statements.declaration)) is not None
