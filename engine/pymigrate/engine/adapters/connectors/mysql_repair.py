"""Exchanging rows of a staging on MySQL: the rows come into tables that are made and filled before the transaction of the exchange.

Another host may make them anew meanwhile, so that their rows are counted when they are used: only what was brought is exchanged.
"""

from collections.abc import Sequence
from dataclasses import replace

import pyarrow as pa

from pymigrate.engine.adapters.connectors.mysql_additions import BROUGHT_MARK, NOTED_MARK, MysqlAdditions
from pymigrate.engine.adapters.connectors.target_statements import REPAIR_MARK, Table, quote
from pymigrate.engine.domain.errors import FailedPrecondition
from pymigrate.engine.domain.paths import CopyPath
from pymigrate.engine.ports.staging import Checkpoint, Staging


class MysqlRepairs(MysqlAdditions):
    """What of a Target on MySQL exchanges rows."""

    def repair(
        self,
        staging: Staging,
        lane: str,
        fence: int,
        before: Checkpoint,
        after: Checkpoint,
        surplus: Sequence[pa.RecordBatch],
        missing: Sequence[pa.RecordBatch],
    ) -> None:
        """Rows out, rows in, and the lane's step, in one transaction."""
        self._again(lambda: self._stand(staging, lane, fence, before))
        self._drop_own(staging)
        table, noted = self._staging_table(staging), self._own_table(staging, NOTED_MARK)
        self._make_noted_table(noted)
        self._execute(f"CREATE TABLE {self._rows_table(staging).sql} LIKE {table.sql}")
        out = self._bring(staging, REPAIR_MARK, surplus)
        brought = self._bring(staging, BROUGHT_MARK, missing)

        def step() -> None:
            self._stand(staging, lane, fence, before)
            self._take_brought(staging, table, noted, out, _rows(surplus))
            columns = ", ".join(quote(column.name) for column in staging.columns)
            came = self._execute(f"INSERT INTO {table.sql} ({columns}) SELECT {columns} FROM {brought.sql}")
            if came != _rows(missing):
                raise FailedPrecondition(f"of {_rows(missing):,} rows to put into the staging {came:,} are left")
            self._advance(staging, lane, fence, before, after)

        self._again(step)
        self._drop_own(staging)

    def _bring(self, staging: Staging, mark: str, batches: Sequence[pa.RecordBatch]) -> Table:
        table, plain = self._own_table(staging, mark), replace(staging, path=CopyPath.ARROW)
        self._create(plain, table)
        self._again(lambda: self._insert(plain, table, batches, 0))
        return table

    def _take_brought(self, staging: Staging, table: Table, noted: Table, out: Table, rows: int) -> None:
        text = self._appended_text(table, "t")
        self._note_rows(out, noted, "")
        deleted = self._delete_noted(staging, table, noted, text)
        if deleted != rows:
            raise FailedPrecondition(
                f"of {rows:,} rows to take out of the staging {deleted:,} are there as they were read"
            )


def _rows(batches: Sequence[pa.RecordBatch]) -> int:
    return sum(batch.num_rows for batch in batches)
