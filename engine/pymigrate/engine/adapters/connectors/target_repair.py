"""Exchanging rows of a staging in SQL targets, for a verification that found other rows there than were written.

The rows come by way of a table of their own, so that they are compared by the system itself, as it stores them.
"""

from collections.abc import Sequence
from dataclasses import replace

import pyarrow as pa

from pymigrate.engine.adapters.connectors.target_publication import SqlPublications
from pymigrate.engine.adapters.connectors.target_statements import REPAIR_MARK, Table, quote
from pymigrate.engine.domain.errors import FailedPrecondition
from pymigrate.engine.domain.paths import CopyPath
from pymigrate.engine.ports.staging import Staging

NOTED_MARK = "__pymigrate_noted_"


class SqlRepairs(SqlPublications):
    """What of a Target in SQL exchanges rows."""

    def _exchange(self, staging: Staging, surplus: Sequence[pa.RecordBatch], missing: Sequence[pa.RecordBatch]) -> None:
        """In the transaction that is open."""
        table = self._staging_table(staging)
        if not self._tells_rows(table):
            raise FailedPrecondition(
                "nothing tells one staged row from another here, so that none is repaired by itself"
            )
        if surplus:
            self._take_surplus(staging, table, self._brought(staging, surplus))
        if missing:
            brought = self._brought(staging, missing)
            columns = ", ".join(quote(column.name) for column in staging.columns)
            self._execute(f"INSERT INTO {table.sql} ({columns}) SELECT {self._as_staged(staging)} FROM {brought.sql}")
            self._drop(brought)

    def _take_surplus(self, staging: Staging, table: Table, brought: Table) -> None:
        names = [column.name for column in staging.columns]
        noted, text = self._own_table(staging, NOTED_MARK), self._row_text(names, "t")
        self._drop(noted)
        self._execute(
            f"CREATE TABLE {noted.sql} AS SELECT content, count(*) AS appended FROM (SELECT {text} AS content "
            f"FROM (SELECT {self._as_staged(staging)} FROM {brought.sql}) t) q GROUP BY content"
        )
        rows = self._count(brought)
        deleted = self._delete_noted(staging, table, noted, text)
        if deleted != rows:
            raise FailedPrecondition(
                f"of {rows:,} rows to take out of the staging {deleted:,} are there as they were read"
            )
        for each in (brought, noted):
            self._drop(each)

    def _brought(self, staging: Staging, batches: Sequence[pa.RecordBatch]) -> Table:
        """A table of these rows, in PyMigrate's own types."""
        table, plain = self._own_table(staging, REPAIR_MARK), replace(staging, path=CopyPath.ARROW)
        self._drop(table)
        self._create(plain, table)
        self._insert(plain, table, batches, 0)
        return table

    def _as_staged(self, staging: Staging) -> str:
        return ", ".join(f"{self._staged_value(staging, column)} AS {quote(column.name)}" for column in staging.columns)
