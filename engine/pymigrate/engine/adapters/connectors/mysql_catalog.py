"""What MySQL's information schema says of tables, by exact name: it compares names without regard to case itself."""

import re
from collections.abc import Callable, Sequence

from pymigrate.engine.adapters.connectors.mysql_declared import MysqlDeclared
from pymigrate.engine.adapters.connectors.mysql_types import column_type, native_type
from pymigrate.engine.adapters.connectors.target_statements import Table
from pymigrate.engine.domain.types import ColumnInfo

_KINDS = {"BASE TABLE": "table", "SYSTEM VERSIONED": "table", "VIEW": "view"}
NAME_LAST = 0xFFFF  # the last character of MySQL's names
_JSON = re.compile(r"""json_valid\((?:`((?:[^`]|``)+)`|"((?:[^"]|"")+)")\)""")


class MysqlCatalog:
    """`query` gives all rows of a statement with `?` for its parameters."""

    def __init__(self, query: Callable[[str, Sequence[object]], list[tuple[object, ...]]]) -> None:
        self._ask = query

    @property
    def declared(self) -> MysqlDeclared:
        """What tables declare beside their columns' types."""
        return MysqlDeclared(self._ask)

    def extras(self, table: Table) -> dict[str, str]:
        """What MySQL does with each column by itself; see `MysqlDeclared.extras`."""
        return self.declared.extras(table)

    def names(self, schema: str) -> list[str]:
        """Tables and views of a database, in order."""
        found = self._query(
            "SELECT TABLE_NAME, TABLE_TYPE FROM information_schema.TABLES WHERE TABLE_SCHEMA = ?", (schema,)
        )
        return sorted(str(name) for name, kind in found if kind in _KINDS)

    def kind(self, table: Table) -> str | None:
        """`table`, or what else it is; None where there is nothing of that name."""
        found = self._entry(table, "TABLE_TYPE")
        return None if found is None else _KINDS.get(str(found[0]), "relation of another kind")

    def comment(self, table: Table) -> str:
        """The table's comment, which a rename does not change; empty where there is no such table."""
        found = self._entry(table, "TABLE_COMMENT")
        return "" if found is None else str(found[0])

    def engine(self, table: Table) -> str:
        """The storage engine in lower case; empty for a view."""
        found = self._entry(table, "ENGINE")
        return "" if found is None or found[0] is None else str(found[0]).lower()

    def size(self, table: Table) -> tuple[int, int]:
        """Rows and bytes as the server's statistics have them, -1 where there are none."""
        found = self._entry(table, "TABLE_ROWS", "DATA_LENGTH")
        rows, size = found or (None, None)
        return (-1 if rows is None else int(str(rows))), (-1 if size is None else int(str(size)))

    def columns(self, table: Table) -> tuple[ColumnInfo, ...]:
        """Columns in order, each with the type that holds its values exactly."""
        found = self._query(
            "SELECT TABLE_NAME, COLUMN_NAME, COLUMN_TYPE, CHARACTER_SET_NAME, IS_NULLABLE FROM information_schema.COLUMNS "
            "WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ? ORDER BY ORDINAL_POSITION",
            (table.schema, table.name),
        )
        is_json = self._checked_as_json(table) if any(row[2] == "longtext" for row in found) else frozenset()
        columns = []
        for owner, name, declared, charset, nullable in found:
            if owner == table.name:
                native = "json" if name in is_json else native_type(str(declared), str(charset or ""))
                columns.append(ColumnInfo(str(name), column_type(native), nullable == "NO", native))
        return tuple(columns)

    def collations(self, table: Table) -> dict[str, str]:
        """The collations of its texts, by column."""
        found = self._query(
            "SELECT TABLE_NAME, COLUMN_NAME, COLLATION_NAME FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = ? "
            "AND TABLE_NAME = ? AND COLLATION_NAME IS NOT NULL",
            (table.schema, table.name),
        )
        return {str(name): str(collation) for owner, name, collation in found if owner == table.name}

    def unique(self, table: Table) -> list[tuple[str, ...]]:
        """Columns that an index holds unique and that are never NULL, the primary key first."""
        found = self._query(
            "SELECT TABLE_NAME, INDEX_NAME, COLUMN_NAME, NULLABLE, SUB_PART FROM information_schema.STATISTICS "
            "WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ? AND NON_UNIQUE = 0 ORDER BY INDEX_NAME, SEQ_IN_INDEX",
            (table.schema, table.name),
        )
        indexes: dict[str, list[str]] = {}
        unfit: set[str] = set()
        for owner, index, column, nullable, part in found:
            if owner == table.name:
                indexes.setdefault(str(index), []).append(str(column))
                if column is None or nullable == "YES" or part is not None:
                    unfit.add(str(index))
        names = sorted(set(indexes) - unfit, key=lambda name: (name != "PRIMARY", name))
        return [tuple(indexes[name]) for name in names]

    def leading(self, table: Table) -> frozenset[str]:
        """Columns that an index begins with."""
        found = self._query(
            "SELECT TABLE_NAME, COLUMN_NAME FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ? "
            "AND SEQ_IN_INDEX = 1 AND INDEX_TYPE = 'BTREE'",
            (table.schema, table.name),
        )
        return frozenset(str(column) for owner, column in found if owner == table.name)

    def primary_key(self, table: Table) -> tuple[str, ...]:
        """Its columns; none without one."""
        found = self._query(
            "SELECT TABLE_NAME, COLUMN_NAME FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ? "
            "AND INDEX_NAME = 'PRIMARY' ORDER BY SEQ_IN_INDEX",
            (table.schema, table.name),
        )
        return tuple(str(column) for owner, column in found if owner == table.name)

    def referring(self, table: Table) -> list[str]:
        """Tables whose foreign keys mean this very table, whatever it is called."""
        found = self._query(
            "SELECT DISTINCT TABLE_SCHEMA, TABLE_NAME, REFERENCED_TABLE_NAME FROM information_schema.KEY_COLUMN_USAGE "
            "WHERE REFERENCED_TABLE_SCHEMA = ? AND REFERENCED_TABLE_NAME = ?",
            (table.schema, table.name),
        )
        others = {(str(schema), str(name)) for schema, name, referred in found if referred == table.name}
        return sorted(f"{schema}.{name}" for schema, name in others - {(table.schema, table.name)})

    def _query(self, statement: str, names: Sequence[str]) -> list[tuple[object, ...]]:
        """Nothing for a name that MySQL can't have, which it would not even compare with others."""
        if any(ord(character) > NAME_LAST for name in names for character in name):
            return []
        return self._ask(statement, names)

    def _entry(self, table: Table, *fields: str) -> tuple[object, ...] | None:
        found = self._query(
            f"SELECT TABLE_NAME, {', '.join(fields)} FROM information_schema.TABLES WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ?",
            (table.schema, table.name),
        )
        return next((row[1:] for row in found if row[0] == table.name), None)

    def _checked_as_json(self, table: Table) -> frozenset[str]:
        """MariaDB's JSON is a text with a check."""
        [(exists,)] = self._query(
            "SELECT count(*) FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = 'information_schema' "
            "AND TABLE_NAME = 'CHECK_CONSTRAINTS' AND COLUMN_NAME = 'LEVEL'",
            (),
        )
        if not exists:
            return frozenset()
        found = self._query(
            "SELECT TABLE_NAME, CHECK_CLAUSE FROM information_schema.CHECK_CONSTRAINTS WHERE CONSTRAINT_SCHEMA = ? AND TABLE_NAME = ?",
            (table.schema, table.name),
        )
        checks = (_JSON.fullmatch(str(clause)) for owner, clause in found if owner == table.name)
        return frozenset(
            check[1].replace("``", "`") if check[1] else check[2].replace('""', '"') for check in checks if check
        )
