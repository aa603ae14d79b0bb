"""Rows that are refused: the relation that they go to, and how many of them are borne."""

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from pymigrate.engine.domain.errors import DataRefused
from pymigrate.engine.domain.types import ColumnInfo, ColumnType
from pymigrate.engine.ports.arrow_types import arrow_schema
from pymigrate.engine.ports.source import RefusedRow
from pymigrate.engine.ports.staging import Staging, StagingId
from pymigrate.engine.transfer.transforms.refusals import said

SUFFIX = "_quarantine"
STRING, INT64 = ColumnType("string"), ColumnType("int64")
COLUMNS = (
    ColumnInfo("dataset", STRING, is_required=True),
    ColumnInfo("lane", STRING, is_required=True),
    ColumnInfo("chunk", INT64, is_required=True),
    ColumnInfo("row_number", INT64, is_required=True),
    ColumnInfo("column_name", STRING),
    ColumnInfo("reason", STRING, is_required=True),
    ColumnInfo("content", ColumnType("json"), is_required=True),
)


@dataclass(frozen=True, slots=True)
class Quarantine:
    """Where refused rows go, and the budget: at most `rows_max` rows (0: no such limit), and at most `share_max` of the rows read."""

    staging: Staging
    rows_max: int = 0
    share_max: float = 0.0

    def check_rows(self, dataset: str, refused: int, newest: Sequence[RefusedRow]) -> None:
        """Raises DataRefused once a lane alone has refused too many. The share is known when all is read."""
        if self.rows_max and refused > self.rows_max:
            raise self._exceeded(
                dataset, f"{refused:,} rows are refused, and {self.rows_max:,} are the most", said(newest)
            )

    def check(self, dataset: str, refused: int, read: int) -> None:
        """Raises DataRefused when all lanes together have refused too many."""
        first = f"look into {self.staging.relation} of the staging"
        if self.rows_max and refused > self.rows_max:
            raise self._exceeded(dataset, f"{refused:,} rows are refused, and {self.rows_max:,} are the most", first)
        if self.share_max and refused > self.share_max * read:
            share = f"{refused:,} of {read:,} rows are refused, and a share of {self.share_max:g} is the most"
            raise self._exceeded(dataset, share, first)

    def _exceeded(self, dataset: str, why: str, first: str) -> DataRefused:
        return DataRefused(
            f"dataset {dataset}: its quarantine's budget is exceeded: {why}; {first}. Nothing is published: mend the rows or the "
            "transforms, or allow for more",
            field="quarantine",
        )


def beside(staging: Staging, relation: str) -> Staging:
    """The staging of a dataset's quarantine. What an earlier run refused is replaced."""
    return Staging(StagingId(f"{staging.id}q"), relation or f"{staging.relation}{SUFFIX}", COLUMNS, is_replace=True)


def quarantined(dataset: str, lane: str, chunk: int, rows: Sequence[RefusedRow]) -> list[pa.RecordBatch]:
    """Refused rows of a chunk as the relation has them."""
    if not rows:
        return []
    values = [(dataset, lane, chunk, row.row, row.column or None, row.reason, row.content) for row in rows]
    schema = arrow_schema(COLUMNS)
    arrays = [pa.array([row[at] for row in values], field.type) for at, field in enumerate(schema)]
    return [pa.RecordBatch.from_arrays(arrays, schema=schema)]
