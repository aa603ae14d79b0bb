"""What a DuckDB table declares, by its functions about itself: defaults, comments, unique constraints, indexes and foreign keys."""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

import duckdb

from pymigrate.engine.adapters.connectors.standard_defaults import standard_default
from pymigrate.engine.adapters.connectors.target_statements import Table
from pymigrate.engine.domain.schema import ForeignKey, TableIndex, TableSchema
from pymigrate.engine.domain.types import ColumnInfo

SYSTEM = "duckdb"
_MARK = re.compile(r"(^|\n)PyMigrate \w+$")
_CAST = re.compile(r"CAST\(('(?:[^']|'')*') AS [\w() ,]+\)")
_HERE = "database_name = current_database() AND schema_name = ? AND table_name = ?"
INDEXES = "duckdb_indexes()"
Query = Callable[[str, Sequence[object]], list[tuple[object, ...]]]


def is_amid_swap(error: duckdb.Error, statement: str) -> bool:
    """Whether somebody else's open transaction is what indexes can't be told for: DuckDB 1.5 looks up the table of every index by the name
    that it has last, also where that rename is not committed, or not yet there for who asks."""
    return isinstance(error, duckdb.CatalogException) and INDEXES in statement


class DuckdbDeclared:
    """`query` gives all rows of a statement with `?` for its parameters."""

    def __init__(self, query: Query) -> None:
        self._query = query

    def columns(self, table: Table, columns: Sequence[ColumnInfo]) -> tuple[ColumnInfo, ...]:
        """The columns with defaults and comments."""
        rows = self._query(
            f"SELECT column_name, column_default, comment FROM duckdb_columns() WHERE {_HERE}",
            (table.schema, table.name),
        )
        found = {str(name): (str(default or ""), str(comment or "")) for name, default, comment in rows}
        return tuple(
            replace(
                column,
                default=standard_default(_plain(found[column.name][0]), column.type),
                native_default="" if found[column.name][0].upper() == "NULL" else found[column.name][0],
                comment=found[column.name][1],
            )
            for column in columns
        )

    def table(self, table: Table, key: Sequence[str]) -> TableSchema:
        """Everything beside the columns. The end of a comment by which PyMigrate knows its own tables is none of it."""
        place = (table.schema, table.name)
        rows = self._query(f"SELECT coalesce(comment, '') FROM duckdb_tables() WHERE {_HERE}", place)
        comment = _MARK.sub("", str(rows[0][0])) if rows else ""
        indexes, keys, notes = list[TableIndex](), list[ForeignKey](), list[str]()
        for kind, columns, other, others in self._query(
            "SELECT constraint_type, constraint_column_names, referenced_table, referenced_column_names "
            f"FROM duckdb_constraints() WHERE {_HERE} ORDER BY constraint_index",
            place,
        ):
            names = tuple(map(str, columns)) if isinstance(columns, list) else ()
            if kind == "UNIQUE":
                indexes.append(
                    TableIndex(f"{table.name}_{'_'.join(names)}_key", names, is_unique=True, is_constraint=True)
                )
            elif kind == "FOREIGN KEY" and other:
                referred = tuple(map(str, others)) if isinstance(others, list) else ()
                relation = str(other) if table.schema == "main" else f"{table.schema}.{other}"
                keys.append(ForeignKey(f"{table.name}_{'_'.join(names)}_fkey", names, relation, referred))
            elif kind == "CHECK":
                notes.append("a check constraint is not carried")
        known = {name.lower(): name for name in self._names(table)}
        for name, is_unique, text in self._query(
            f"SELECT index_name, is_unique, expressions::VARCHAR FROM {INDEXES} WHERE {_HERE} ORDER BY 1", place
        ):
            parts = [part.strip().strip("'\"") for part in str(text).strip("[]").split(",")]
            if all(part.lower() in known for part in parts):
                indexes.append(TableIndex(str(name), tuple(known[part.lower()] for part in parts), bool(is_unique)))
            else:
                notes.append(f"the index `{name}` is not carried: it is more than columns in order")
        return TableSchema(
            SYSTEM, comment, tuple(key), indexes=tuple(indexes), foreign_keys=tuple(keys), notes=tuple(notes)
        )

    def unique(self, table: Table) -> list[frozenset[str]]:
        """Columns that the table holds unique."""
        rows = self._query(
            f"SELECT constraint_column_names FROM duckdb_constraints() WHERE {_HERE} AND constraint_type = 'PRIMARY KEY'",
            (table.schema, table.name),
        )
        keys = [frozenset(map(str, names)) for (names,) in rows if isinstance(names, list)]
        return [*keys, *(frozenset(index.columns) for index in self.table(table, ()).indexes if index.is_unique)]

    def _names(self, table: Table) -> list[str]:
        rows = self._query(f"SELECT column_name FROM duckdb_columns() WHERE {_HERE}", (table.schema, table.name))
        return [str(name) for (name,) in rows]


def _plain(default: str) -> str:
    found = _CAST.fullmatch(default)
    return found[1] if found else default
