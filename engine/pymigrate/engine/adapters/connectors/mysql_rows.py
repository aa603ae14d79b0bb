"""Rows in MySQL's words: how two tables' rows are compared, changed by each other, and taken out where nothing names them.

MySQL has no name of its own for a row: rows are told by a digest of all their columns, and equal rows are one row, n times. To take some of
them out, all are deleted, and the rest is put back. Texts are compared by their bytes, whatever the collations of their columns.
"""

from collections.abc import Mapping, Sequence

from pymigrate.engine.adapters.connectors.mysql_catalog import MysqlCatalog
from pymigrate.engine.adapters.connectors.mysql_declared import is_generated
from pymigrate.engine.adapters.connectors.mysql_relations import row_digest
from pymigrate.engine.adapters.connectors.mysql_types import parse
from pymigrate.engine.adapters.connectors.target_sql import SqlTarget
from pymigrate.engine.adapters.connectors.target_statements import Table, quote
from pymigrate.engine.domain.errors import CannotUndo
from pymigrate.engine.domain.types import ColumnInfo
from pymigrate.engine.ports.staging import Staging

ROWS_MARK = "__pymigrate_rows_"
DIGEST_TYPE = "CHAR(32) CHARACTER SET ascii COLLATE ascii_bin"
TEXTS = frozenset({"string", "json", "uuid"})


class MysqlRows(SqlTarget):
    """What of a Target on MySQL knows of rows."""

    _catalog: MysqlCatalog
    _collation: str

    def _is_other(self, one: str, two: str) -> str:
        return f"NOT ({one} <=> {two})"

    def _compared(self, column: ColumnInfo, reference: str) -> str:
        return _bytes_of(reference) if column.type.kind in TEXTS else reference

    def _ordered(self, column: ColumnInfo, reference: str) -> str:
        return self._compared(column, reference)

    def _same_key(self, staging: Staging, one: str, other: str) -> str:
        """A text of the relation itself is found by its index, in that one's collation, and is the same only where its bytes are."""
        if one != "t":
            return super()._same_key(staging, one, other)
        kinds = {column.name: column.type.kind for column in staging.columns}
        table = self._locate(staging.relation)
        collations, native = self._catalog.collations(table), self._catalog.columns(table)
        charsets = {column.name: parse(column.native_type).charset for column in native}
        conditions = []
        for name in staging.key:
            this, that = f"{one}.{quote(name)}", f"{other}.{quote(name)}"
            if kinds[name] not in TEXTS:
                conditions.append(f"{this} = {that}")
                continue
            if collation := collations.get(name):
                conditions.append(f"{this} = CONVERT({that} USING {charsets[name]}) COLLATE {collation}")
            conditions.append(f"{_bytes_of(this)} = {_bytes_of(that)}")
        return " AND ".join(conditions)

    def _fill(self, table: Table, rows: str) -> None:
        """The table was made before the transaction, which its making would commit."""
        self._execute(f"INSERT INTO {table.sql} {rows}")

    def _clear(self, table: Table) -> None:
        self._execute(f"DELETE FROM {table.sql}")

    def _update(self, table: Table, alias: str, values: Mapping[str, str], other: str, condition: str) -> None:
        """Columns that MySQL would set to the present moment by itself stay what they are: no way back would know what they were."""
        stamps = [quote(name) for name, extra in self._catalog.extras(table).items() if "on update" in extra.lower()]
        kept = {name: f"{alias}.{name}" for name in stamps if name not in values}
        changes = ", ".join(f"{alias}.{name} = {value}" for name, value in {**values, **kept}.items())
        self._execute(f"UPDATE {table.sql} AS {alias} JOIN {other} ON {condition} SET {changes}")

    def _delete_keys(self, staging: Staging, table: Table, alias: str, rows: str) -> None:
        """By way of a table that MySQL makes of the rows first: it deletes from none that it reads."""
        same = self._same_key(staging, alias, "k")
        self._execute(
            f"DELETE {alias} FROM {table.sql} AS {alias} JOIN (SELECT DISTINCT * FROM ({rows}) AS q) AS k ON {same}"
        )

    def _tells_rows(self, table: Table | None) -> bool:
        del table
        return True

    def _appended_text(self, table: Table, alias: str) -> str:
        """Nothing of the same name may stand beside the table."""
        del alias
        return f"CONVERT({row_digest(self._catalog.columns(table))} USING ascii) COLLATE ascii_bin"

    def _versions(self, staging: Staging, table: Table) -> str:
        """Counted in one pass: MariaDB asks a subquery anew for each row where keys are long texts. Keys stay as they are for an index."""
        counted = (
            f"SELECT {_listed([column.name for column in staging.columns])}, count(*) OVER (PARTITION BY {_listed(staging.key)}) "
            f"AS pymigrate_count FROM {table.sql}"
        )
        columns = ", ".join(
            f"s.{quote(column.name)}"
            if column.name in staging.key
            else f"{self._compared(column, f's.{quote(column.name)}')} AS {quote(column.name)}"
            for column in staging.columns
        )
        return f"SELECT DISTINCT {columns} FROM ({counted}) s WHERE pymigrate_count > 1"

    def _rows_of(self, staging: Staging, table: Table, keys: str) -> str:
        return f"{table.sql} s JOIN (SELECT DISTINCT * FROM ({keys}) AS q) AS k ON {self._same_key(staging, 's', 'k')}"

    def _leave_first(self, staging: Staging, table: Table, order: Sequence[str]) -> None:
        rows, columns = self._rows_table(staging), _listed([column.name for column in staging.columns])
        keys, first = _listed(staging.key), f"ORDER BY {', '.join(order)}" if order else ""
        self._clear(rows)
        numbered = (
            f"SELECT {columns}, row_number() OVER (PARTITION BY {keys} {first}) AS pymigrate_number, "
            f"count(*) OVER (PARTITION BY {keys}) AS pymigrate_count FROM {table.sql} s"
        )
        self._execute(
            f"INSERT INTO {rows.sql} ({columns}) SELECT {columns} FROM ({numbered}) n WHERE pymigrate_number = 1 AND pymigrate_count > 1"
        )
        self._delete_keys(staging, table, "s", f"SELECT {keys} FROM {rows.sql}")
        self._execute(f"INSERT INTO {table.sql} ({columns}) SELECT {columns} FROM {rows.sql}")

    def _delete_noted(self, staging: Staging, target: Table, noted: Table, text: str) -> int:
        rows, columns = self._rows_table(staging), _listed(self._written(target))
        among = f"{text} IN (SELECT content FROM {noted.sql})"
        self._clear(rows)
        left = self._execute(
            f"INSERT INTO {rows.sql} ({columns}) SELECT {columns} FROM (SELECT {columns}, {text} AS pymigrate_content, "
            f"row_number() OVER (PARTITION BY {text}) AS pymigrate_number FROM {target.sql} t WHERE {among}) d "
            f"JOIN {noted.sql} pymigrate_noted ON pymigrate_noted.content = d.pymigrate_content "
            "WHERE d.pymigrate_number > pymigrate_noted.appended"
        )
        if left and (referring := self._catalog.referring(target)):
            raise CannotUndo(
                f"{staging.relation} held rows before that are equal to appended ones, and {', '.join(referring)} may refer to them: "
                "take the appended ones out by hand"
            )
        deleted = self._execute(f"DELETE FROM {target.sql} WHERE {among}")
        if left:
            self._execute(f"INSERT INTO {target.sql} ({columns}) SELECT {columns} FROM {rows.sql}")
        return deleted - left

    def _rows_table(self, staging: Staging) -> Table:
        """Rows that are put aside for the length of a transaction."""
        return self._own_table(staging, ROWS_MARK)

    def _written(self, table: Table) -> list[str]:
        """The columns that MySQL does not compute by itself."""
        extras = self._catalog.extras(table)
        return [name for name, extra in extras.items() if not is_generated(extra)]


def _bytes_of(reference: str) -> str:
    return f"CAST(CONVERT({reference} USING utf8mb4) AS BINARY)"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(quote, names))
