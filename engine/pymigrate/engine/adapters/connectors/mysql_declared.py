"""What a MySQL table declares, by its information schema: defaults, auto-increment, comments, indexes and foreign keys.

MySQL tells a literal default without its quotes, MariaDB with them; MySQL marks those that are expressions.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from pymigrate.engine.adapters.connectors.standard_defaults import standard_default, text_literal
from pymigrate.engine.adapters.connectors.target_statements import Table
from pymigrate.engine.domain.schema import ForeignKey, TableIndex, TableSchema
from pymigrate.engine.domain.types import ColumnInfo

SYSTEM = "mysql"
PRIMARY = "PRIMARY"
EXPRESSION = "DEFAULT_GENERATED"
_SILENT = frozenset({"RESTRICT", "NO ACTION"})  # what MySQL does where nothing is said
Query = Callable[[str, Sequence[object]], list[tuple[object, ...]]]


class MysqlDeclared:
    """`query` gives all rows of a statement with `?` for its parameters. Names are compared here, with regard to their case."""

    def __init__(self, query: Query) -> None:
        self._query = query

    def columns(self, table: Table, columns: Sequence[ColumnInfo]) -> tuple[ColumnInfo, ...]:
        """The columns with defaults, auto-increment and comments."""
        [(version,)] = self._query("SELECT version()", ())
        is_mariadb = "mariadb" in str(version).lower()
        found = {str(row[0]): row[1:] for row in self._columns(table)}
        completed = []
        for column in columns:
            default, extra, comment = found[column.name]
            native = _native(default, str(extra), is_mariadb=is_mariadb)
            completed.append(
                replace(
                    column,
                    default=standard_default(native, column.type),
                    native_default=native,
                    is_identity="auto_increment" in str(extra).lower(),
                    comment=str(comment or ""),
                )
            )
        return tuple(completed)

    def extras(self, table: Table) -> dict[str, str]:
        """What MySQL does with each column by itself, in its words, such as `auto_increment`."""
        return {str(name): str(extra or "") for name, _, extra, _ in self._columns(table)}

    def table(self, table: Table, key: Sequence[str], comment: str) -> TableSchema:
        """Everything beside the columns."""
        indexes, notes = self._indexes(table)
        triggers = self._query(
            "SELECT EVENT_OBJECT_TABLE, TRIGGER_NAME FROM information_schema.TRIGGERS WHERE EVENT_OBJECT_SCHEMA = ? "
            "AND EVENT_OBJECT_TABLE = ? ORDER BY 2",
            (table.schema, table.name),
        )
        notes += [f"the trigger `{name}` is not carried" for owner, name in triggers if owner == table.name]
        notes += [
            f"the column `{name}` is generated in the source: the target's holds its values"
            for name, _, extra, _ in self._columns(table)
            if is_generated(str(extra))
        ]
        return TableSchema(
            SYSTEM,
            comment,
            tuple(key),
            indexes=tuple(indexes),
            foreign_keys=tuple(self._foreign_keys(table)),
            notes=tuple(notes),
        )

    def _columns(self, table: Table) -> list[tuple[object, ...]]:
        found = self._query(
            "SELECT TABLE_NAME, COLUMN_NAME, COLUMN_DEFAULT, EXTRA, COLUMN_COMMENT FROM information_schema.COLUMNS "
            "WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ? ORDER BY ORDINAL_POSITION",
            (table.schema, table.name),
        )
        return [row[1:] for row in found if row[0] == table.name]

    def _indexes(self, table: Table) -> tuple[list[TableIndex], list[str]]:
        found = self._query(
            "SELECT TABLE_NAME, INDEX_NAME, NON_UNIQUE, COLUMN_NAME, SUB_PART, INDEX_TYPE, COLLATION FROM information_schema.STATISTICS "
            "WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ? ORDER BY INDEX_NAME, SEQ_IN_INDEX",
            (table.schema, table.name),
        )
        parts: dict[str, list[Sequence[object]]] = {}
        for owner, name, *part in found:
            if owner == table.name and name != PRIMARY:
                parts.setdefault(str(name), []).append(part)
        indexes, notes = list[TableIndex](), list[str]()
        for name, of_index in parts.items():
            is_plain = all(
                column is not None and cut is None and kind == "BTREE" and order == "A"
                for _, column, cut, kind, order in of_index
            )
            if is_plain:
                is_unique = not int(str(of_index[0][0]))
                indexes.append(TableIndex(name, tuple(str(part[1]) for part in of_index), is_unique, is_unique))
            else:
                notes.append(f"the index `{name}` is not carried: it is more than columns in order")
        return indexes, notes

    def _foreign_keys(self, table: Table) -> list[ForeignKey]:
        found = self._query(
            "SELECT k.TABLE_NAME, k.CONSTRAINT_NAME, k.COLUMN_NAME, k.REFERENCED_TABLE_SCHEMA, k.REFERENCED_TABLE_NAME, "
            "k.REFERENCED_COLUMN_NAME, r.DELETE_RULE, r.UPDATE_RULE FROM information_schema.KEY_COLUMN_USAGE AS k "
            "JOIN information_schema.REFERENTIAL_CONSTRAINTS AS r ON r.CONSTRAINT_SCHEMA = k.CONSTRAINT_SCHEMA "
            "AND r.CONSTRAINT_NAME = k.CONSTRAINT_NAME AND r.TABLE_NAME = k.TABLE_NAME WHERE k.TABLE_SCHEMA = ? AND k.TABLE_NAME = ? "
            "AND k.REFERENCED_TABLE_NAME IS NOT NULL ORDER BY k.CONSTRAINT_NAME, k.ORDINAL_POSITION",
            (table.schema, table.name),
        )
        parts: dict[str, list[Sequence[str]]] = {}
        for owner, name, *part in found:
            if owner == table.name:
                parts.setdefault(str(name), []).append([str(value) for value in part])
        keys = []
        for name, of_key in parts.items():
            _, schema, relation, _, on_delete, on_update = of_key[0]
            keys.append(
                ForeignKey(
                    name,
                    tuple(part[0] for part in of_key),
                    relation if schema == table.schema else f"{schema}.{relation}",
                    tuple(part[3] for part in of_key),
                    "" if on_delete in _SILENT else on_delete,
                    "" if on_update in _SILENT else on_update,
                )
            )
        return keys


def _native(default: object, extra: str, *, is_mariadb: bool) -> str:
    if default is None or is_generated(extra) or (is_mariadb and str(default) == "NULL"):
        return ""
    if is_mariadb or EXPRESSION in extra or str(default).lower().startswith("current_timestamp"):
        return str(default)
    return text_literal(str(default))


def is_generated(extra: str) -> bool:
    """Whether MySQL computes the column; expressions as defaults are marked alike."""
    return extra.upper().endswith("GENERATED") and EXPRESSION not in extra
