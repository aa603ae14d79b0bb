"""Changes by key in SQL targets: rows go and come in the transaction that moves the checkpoint."""

from dataclasses import replace

from pymigrate.engine.adapters.connectors.target_sql import SqlTarget
from pymigrate.engine.adapters.connectors.target_statements import Table, quote
from pymigrate.engine.adapters.connectors.target_values import check_values
from pymigrate.engine.ports.capture import RowChanges
from pymigrate.engine.ports.staging import Checkpoint, Staging

GONE_MARK = "__pymigrate_gone_"
INDEX_MARK = "__pymigrate_changes_"


class ChangedTarget(SqlTarget):
    """What of a Target in SQL takes changes."""

    indexes_keys = True

    def index_key(self, staging: Staging) -> None:
        """An index of our own, which no declaration knows of."""
        if self.indexes_keys:
            name, table = quote(self._changes_index(staging).name), self._staging_table(staging).sql
            keys = ", ".join(map(quote, staging.key))
            self._again(lambda: self._execute(f"CREATE INDEX IF NOT EXISTS {name} ON {table} ({keys})"))

    def unindex_key(self, staging: Staging) -> None:
        """Drops it."""
        if self.indexes_keys:
            self._again(lambda: self._execute(f"DROP INDEX IF EXISTS {self._changes_index(staging).sql}"))

    def apply(
        self, staging: Staging, lane: str, fence: int, before: Checkpoint, after: Checkpoint, changes: RowChanges
    ) -> None:
        """What the keys name goes, then what there is now comes."""
        check_values(staging, [changes.rows], before.rows)
        table = self._staging_table(staging)

        def step() -> None:
            self._stand(staging, lane, fence, before)
            if changes.is_emptied:
                self._execute(f"DELETE FROM {table.sql}")
            elif changes.keys.num_rows:
                self._remove_keys(staging, table, changes)
            if changes.rows.num_rows:
                self._insert(staging, table, [changes.rows], before.rows)
            self._advance(staging, lane, fence, before, after)

        self._again(step)

    def _changes_index(self, staging: Staging) -> Table:
        return self._own_table(staging, INDEX_MARK)

    def _remove_keys(self, staging: Staging, table: Table, changes: RowChanges) -> None:
        by_name = {column.name: column for column in staging.columns}
        gone, keys = self._own_table(staging, GONE_MARK), ", ".join(map(quote, staging.key))
        named = replace(staging, columns=tuple(by_name[name] for name in staging.key))
        self._execute(f"CREATE TABLE {gone.sql} AS SELECT {keys} FROM {table.sql} WHERE 1 = 0")
        self._insert(named, gone, [changes.keys], 0)
        self._execute(f"DELETE FROM {table.sql} WHERE ({keys}) IN (SELECT {keys} FROM {gone.sql})")
        self._drop(gone)
