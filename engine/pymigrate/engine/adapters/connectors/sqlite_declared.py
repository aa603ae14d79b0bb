"""What a SQLite table declares, by its pragmas: defaults, the rowid's alias, indexes, unique constraints and foreign keys.

SQLite gives names to neither keys nor constraints; they get those that PostgreSQL would give them.
"""

import re
import sqlite3
from collections.abc import Sequence
from dataclasses import replace

from pymigrate.engine.adapters.connectors.standard_defaults import standard_default
from pymigrate.engine.adapters.connectors.target_statements import quote
from pymigrate.engine.domain.schema import ForeignKey, TableIndex, TableSchema
from pymigrate.engine.domain.types import ColumnInfo

SYSTEM = "sqlite"
GENERATED = (2, 3)  # of a virtual and of a stored generated column
NO_ACTION = "NO ACTION"
_AFTER_TABLE = re.compile(
    r"""\bON\s+(?:"(?:[^"]|"")*"|\[[^\]]*\]|`(?:[^`]|``)*`|[^\s("\[`]+)\s*(\(.*)$""", re.DOTALL | re.IGNORECASE
)
_CHECK = re.compile(r"\bCHECK\s*\(", re.IGNORECASE)


class SqliteDeclared:
    """Over a connection that has its snapshot."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def columns(self, table: str, columns: Sequence[ColumnInfo]) -> tuple[ColumnInfo, ...]:
        """The columns with defaults; the rowid's alias as identity."""
        rows = self._connection.execute(f"PRAGMA table_xinfo({quote(table)})").fetchall()
        keys = [name for _, name, _, _, _, place, _ in rows if place]
        found = {name: (default or "", kind, hidden) for _, name, kind, _, default, _, hidden in rows}
        completed = []
        for column in columns:
            default, kind, hidden = found[column.name]
            native = "" if hidden in GENERATED or default.upper() == "NULL" else default
            is_alias = keys == [column.name] and kind.upper() == "INTEGER" and not self._is_without_rowid(table)
            completed.append(
                replace(column, default=_standard(native, column), native_default=native, is_identity=is_alias)
            )
        return tuple(completed)

    def table(self, table: str, key: Sequence[str]) -> TableSchema:
        """Everything beside the columns."""
        indexes, notes = self._indexes(table)
        text = self._connection.execute("SELECT sql FROM sqlite_master WHERE name = ?", (table,)).fetchone()[0] or ""
        if _CHECK.search(text):
            notes.append("check constraints are not carried")
        triggers = "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = ? ORDER BY 1"
        notes += [f"the trigger `{name}` is not carried" for (name,) in self._connection.execute(triggers, (table,))]
        return TableSchema(
            SYSTEM,
            key=tuple(key),
            indexes=tuple(indexes),
            foreign_keys=tuple(self._foreign_keys(table)),
            notes=tuple(notes),
        )

    def unique(self, table: str) -> list[frozenset[str]]:
        """Columns that the table holds unique."""
        key = self._key(table)
        unique = [
            frozenset(index.columns) for index in self._indexes(table)[0] if index.is_unique and not index.definition
        ]
        return [frozenset(key), *unique] if key else unique

    def _indexes(self, table: str) -> tuple[list[TableIndex], list[str]]:
        found, notes = list[TableIndex](), list[str]()
        listed = self._connection.execute(f"PRAGMA index_list({quote(table)})").fetchall()
        for _, name, is_unique, origin, is_partial in sorted(listed, key=lambda row: str(row[1])):
            if origin == "pk":
                continue
            parts = [row for row in self._connection.execute(f"PRAGMA index_xinfo({quote(name)})") if row[5]]
            columns = tuple(row[2] for row in parts if row[2] is not None)
            is_plain = not is_partial and all(row[1] >= 0 and not row[3] and row[4] == "BINARY" for row in parts)
            if origin == "u":
                called = f"{table}_{'_'.join(columns)}_key"
                if is_plain:
                    found.append(TableIndex(called, columns, is_unique=True, is_constraint=True))
                else:
                    notes.append(
                        f"the unique constraint of ({', '.join(columns)}) is not carried: it compares by a collation"
                    )
                continue
            text = self._connection.execute("SELECT sql FROM sqlite_master WHERE name = ?", (name,)).fetchone()[0]
            definition = "" if is_plain else _definition(text)
            if is_plain or definition:
                found.append(TableIndex(name, columns, bool(is_unique), definition=definition))
            else:
                notes.append(f"the index `{name}` is not carried: its definition can't be read")
        return found, notes

    def _foreign_keys(self, table: str) -> list[ForeignKey]:
        rows: dict[int, list[Sequence[str]]] = {}
        for row in self._connection.execute(f"PRAGMA foreign_key_list({quote(table)})"):
            rows.setdefault(row[0], []).append(row)
        found = []
        for parts in rows.values():
            parts.sort(key=lambda row: row[1])
            relation, columns = parts[0][2], tuple(row[3] for row in parts)
            named = tuple(row[4] for row in parts)
            others = named if all(named) else self._key(relation)
            on_delete, on_update = ("" if action == NO_ACTION else action for action in (parts[0][6], parts[0][5]))
            found.append(
                ForeignKey(f"{table}_{'_'.join(columns)}_fkey", columns, relation, others, on_delete, on_update)
            )
        return sorted(found, key=lambda key: key.name)

    def _key(self, table: str) -> tuple[str, ...]:
        rows = self._connection.execute(f"PRAGMA table_info({quote(table)})").fetchall()
        return tuple(row[1] for row in sorted(rows, key=lambda row: row[5]) if row[5])

    def _is_without_rowid(self, table: str) -> bool:
        statement = "SELECT wr FROM pragma_table_list WHERE schema = 'main' AND name = ?"
        found = self._connection.execute(statement, (table,)).fetchone()
        return bool(found and found[0])


def _definition(text: str | None) -> str:
    found = _AFTER_TABLE.search(text or "")
    return found[1] if found else ""


def _standard(native: str, column: ColumnInfo) -> str:
    """SQLite's CURRENT_TIMESTAMP is a text without a zone, which is no moment elsewhere."""
    is_moment = native.upper().startswith("CURRENT_")
    return "" if is_moment else standard_default(native, column.type)
