"""Rows of one staging that have the same key: equal ones are one row, and for others the merge's policy decides or refuses.

Lanes run side by side and come to a staging in any order, so that none of its rows is the first or the last.
"""

from collections.abc import Iterator, Sequence

from pymigrate.engine.adapters.connectors.target_dialect import SqlDialect
from pymigrate.engine.adapters.connectors.target_statements import CONFLICTS_MARK, STAGING_MARK, Table, marked, quote
from pymigrate.engine.domain.errors import Problem
from pymigrate.engine.ports.staging import MergePolicy, Staging


class SqlVersions(SqlDialect):
    """What of a Target in SQL settles which row of a key is merged."""

    def _unsettled_keys(self, staging: Staging, table: Table) -> tuple[int, tuple[str, ...]]:
        """Keys of which the policy can't say one row, or that hold a NULL."""
        if not self._tells_rows(table):
            return self._inspection.duplicate_keys(table.sql, staging.key)
        keys = _keys(staging)
        nulls = " OR ".join(f"{quote(name)} IS NULL" for name in staging.key)
        unsettled = f"SELECT DISTINCT {keys} FROM {table.sql} WHERE {nulls}"
        if staging.merge is MergePolicy.LATEST:
            newest = f"rank() OVER (PARTITION BY {keys} ORDER BY {self._newest_first(staging, 'd')}) AS pymigrate_rank"
            ranked = f"SELECT {keys}, {newest} FROM ({self._versions(staging, table)}) d"
            unsettled += f" UNION ALL SELECT {keys} FROM ({ranked}) r WHERE pymigrate_rank = 1 GROUP BY {keys} HAVING count(*) > 1"
        elif staging.merge is not MergePolicy.QUARANTINE:
            unsettled += f" UNION ALL {self._contested(staging, table)}"
        return self._inspection.sample(unsettled, [quote(name) for name in staging.key])

    def _settle_versions(self, staging: Staging) -> int:
        """Leaves one row of each key in the staging, or none where they are set aside; every version of a key that had several is kept
        among the conflicts. How many keys had."""
        table = self._own_table(staging, STAGING_MARK)
        if not self._tells_rows(table) or not self._query(f"{self._doubled(staging, table)} LIMIT 1"):
            return 0
        [(contested,)] = self._query(f"SELECT count(*) FROM ({self._contested(staging, table)}) c")
        if contested:
            columns = ", ".join(f"s.{quote(column.name)}" for column in staging.columns)
            rows = self._rows_of(staging, table, self._contested(staging, table))
            self._keep_aside(staging, f"SELECT 'incoming' AS side, {columns} FROM {rows}")
            if staging.merge is MergePolicy.QUARANTINE:
                self._delete_keys(staging, table, "s", self._contested(staging, table))
        order = [self._newest_first(staging, "s")] if staging.merge is MergePolicy.LATEST else []
        self._leave_first(staging, table, order)
        return int(str(contested))

    def _rows_of(self, staging: Staging, table: Table, keys: str) -> str:
        """A FROM item `s` with its condition: the rows whose key is among those of a SELECT."""
        return f"{table.sql} s WHERE ({_keys(staging)}) IN ({keys})"

    def _leave_first(self, staging: Staging, table: Table, order: Sequence[str]) -> None:
        """Leaves the first row of each key."""
        names = self._row_names(table)
        rows, first = ", ".join(names), ", ".join([*order, *names])
        numbered = (
            f"SELECT {rows}, row_number() OVER (PARTITION BY {_keys(staging)} ORDER BY {first}) AS pymigrate_number "
            f"FROM {table.sql} s"
        )
        self._execute(
            f"DELETE FROM {table.sql} WHERE ({rows}) IN (SELECT {rows} FROM ({numbered}) n WHERE pymigrate_number > 1)"
        )

    def _keep_aside(self, staging: Staging, rows: str) -> None:
        """Puts rows (a SELECT with `side` first) among the staging's conflicts."""
        table = self._conflicts_table(staging)
        if self._find(table) is None:
            self._fill(table, rows)
        else:
            self._execute(f"INSERT INTO {table.sql} {rows}")

    def _order_problems(self, staging: Staging) -> Iterator[Problem]:
        """What is wrong with the column that tells which row is the later one."""
        if staging.merge is not MergePolicy.LATEST:
            return
        found = [column for column in staging.columns if column.name == staging.order_column]
        if not found:
            yield Problem("order_column", f"there is no column `{staging.order_column}`")
        elif found[0].name in staging.key:
            yield Problem(
                "order_column", f"`{found[0].name}` belongs to the key, in which rows to choose from are equal"
            )
        elif found[0].type.kind in self.unordered_kinds:
            yield Problem("order_column", f"`{found[0].name}` is {found[0].type}, which the target can't put in order")

    def _order_of(self, staging: Staging, alias: str) -> str:
        """The order column's value as it is put in order."""
        [column] = [column for column in staging.columns if column.name == staging.order_column]
        return self._ordered(column, f"{alias}.{quote(column.name)}")

    def _newest_first(self, staging: Staging, alias: str) -> str:
        value = self._order_of(staging, alias)
        return f"({value} IS NULL), {value} DESC"

    def _doubled(self, staging: Staging, table: Table) -> str:
        return f"SELECT {_keys(staging)} FROM {table.sql} GROUP BY {_keys(staging)} HAVING count(*) > 1"

    def _versions(self, staging: Staging, table: Table) -> str:
        """The distinct rows of keys that occur more than once."""
        columns = ", ".join(
            f"{self._compared(column, f's.{quote(column.name)}')} AS {quote(column.name)}" for column in staging.columns
        )
        return f"SELECT DISTINCT {columns} FROM {table.sql} s WHERE ({_keys(staging)}) IN ({self._doubled(staging, table)})"

    def _contested(self, staging: Staging, table: Table) -> str:
        """Keys of which there are several versions."""
        keys = _keys(staging)
        return f"SELECT {keys} FROM ({self._versions(staging, table)}) v GROUP BY {keys} HAVING count(*) > 1"

    def _conflicts_table(self, staging: Staging) -> Table:
        return self._own_table(staging, CONFLICTS_MARK)

    def _own_table(self, staging: Staging, mark: str) -> Table:
        table = self._locate(staging.relation)
        return Table(table.schema, marked(table.name, mark, staging.id, self.name_bytes_max))


def _keys(staging: Staging) -> str:
    return ", ".join(map(quote, staging.key))
