"""What a target of any dialect declares: NOT NULL, a unique index for the key, and plain indexes. All else is told as a note."""

from abc import abstractmethod
from collections.abc import Iterator

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Dialect
from sqlalchemy.exc import DBAPIError

from pymigrate.engine.adapters.connectors.alchemy_types import stored_type
from pymigrate.engine.adapters.connectors.sqlite_declaring import RESERVED
from pymigrate.engine.adapters.connectors.target_sql import SqlTarget
from pymigrate.engine.adapters.connectors.target_statements import Table, quote
from pymigrate.engine.adapters.connectors.target_steps import Naming, Step
from pymigrate.engine.domain.errors import VerificationFailed
from pymigrate.engine.domain.schema import ForeignKey, TableIndex
from pymigrate.engine.domain.types import ColumnInfo
from pymigrate.engine.ports.staging import Staging

SAVEPOINT = "pymigrate_step"
MARK = "pymigrate_"


class AlchemyDeclaring(SqlTarget):
    """A part of AlchemyTarget."""

    _dialect: Dialect
    undeclarable = "not every dialect adds a foreign key to a table"

    @abstractmethod
    def _connection(self) -> Connection:
        """The connection, with the transaction that is open."""

    def _column_type(self, staging: Staging, column: ColumnInfo) -> str:
        del staging
        return stored_type(column, self._dialect).compile(self._dialect)

    def _default(self, staging: Staging, column: ColumnInfo) -> str:
        del staging, column
        return ""

    def _table_parts(self, staging: Staging) -> Iterator[str]:
        yield f"CONSTRAINT {quote(f'{MARK}{staging.id}')} CHECK (1 = 1)"

    def _key_step(self, staging: Staging, table: Table, name: Naming) -> Iterator[Step]:
        columns = ", ".join(quote(column) for column in staging.key)
        sql = f"CREATE UNIQUE INDEX {quote(name(self._key_name(staging)))} ON {table.sql} ({columns})"
        yield Step(sql, "the key", is_required=True, is_strict=True)

    def _late_steps(self, staging: Staging, table: Table, name: Naming) -> Iterator[Step]:
        del staging, table, name
        return iter(())

    def _index_step(self, staging: Staging, table: Table, index: TableIndex, name: str) -> Step | None:
        del staging
        if index.definition:
            return None
        columns = ", ".join(quote(column) for column in index.columns)
        unique = "UNIQUE " if index.is_unique else ""
        return Step(f"CREATE {unique}INDEX {quote(name)} ON {table.sql} ({columns})", f"the index `{index.name}`")

    def _comment_steps(self, staging: Staging, table: Table) -> Iterator[Step]:
        del staging, table
        return iter(())

    def _foreign_key_step(self, staging: Staging, table: Table, key: ForeignKey, target: Table) -> Step | None:
        del staging, table, key, target
        return None

    def _try(self, step: Step) -> str:
        connection = self._connection()
        connection.exec_driver_sql(f"SAVEPOINT {SAVEPOINT}")
        try:
            connection.exec_driver_sql(step.sql, execution_options={"no_parameters": True})
        except DBAPIError as error:
            connection.exec_driver_sql(f"ROLLBACK TO SAVEPOINT {SAVEPOINT}")
            text = " ".join(str(error.orig).split())
            if step.is_strict and isinstance(error, sa.exc.IntegrityError):
                raise VerificationFailed(f"{step.what} does not hold: {text}") from error
            return text
        connection.exec_driver_sql(f"RELEASE SAVEPOINT {SAVEPOINT}")
        return ""

    def _unreserved(self, name: str) -> str:
        is_reserved = self._dialect.name == "sqlite" and name.lower().startswith(RESERVED)
        return f"index_{name}" if is_reserved else name

    def _taken_names(self, schema: str) -> set[str]:
        del schema
        inspector = sa.inspect(self._connection())
        tables = inspector.get_table_names()
        names = {*tables, *(str(index["name"]) for table in tables for index in inspector.get_indexes(table))}
        return {name.lower() if self.folds_case else name for name in names}

    def _unique_columns(self, table: Table) -> list[frozenset[str]]:
        inspector = sa.inspect(self._connection())
        found = [inspector.get_pk_constraint(table.name)["constrained_columns"]]
        found += [constraint["column_names"] for constraint in inspector.get_unique_constraints(table.name)]
        for index in inspector.get_indexes(table.name):
            if index["unique"]:
                found.append([name for name in index["column_names"] if name is not None])
        return [frozenset(columns) for columns in found if columns]
