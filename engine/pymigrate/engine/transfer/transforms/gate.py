"""The last step of a dataset with a quarantine: rows that the target's types would refuse are refused here, one by one.

What a target refuses while it writes fails the dataset, since a chunk is written whole. So what is known of a value by itself is asked
before, in the same way on both sides of a crash and by verification: NULL where there may be none, uuids, json, and text that holds NUL.
"""

from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from pymigrate.engine.domain.types import ColumnInfo
from pymigrate.engine.ports.transform import Outcome, Refusal
from pymigrate.engine.transfer.transforms.computed import rows_where, without
from pymigrate.engine.transfer.transforms.sql import SqlEngine, quote

UUID = "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"
TEXTS = frozenset({"string", "json"})


class GateStep:
    """See the port. `required` are columns that must not be NULL beside those that say so; `refuses_nul`: no text holds NUL."""

    is_stateful = False

    def __init__(self, given: Sequence[ColumnInfo], required: Sequence[str], *, refuses_nul: bool) -> None:
        self.columns = tuple(given)
        self.origins = {column.name: column.name for column in given}
        self._required = frozenset(required) | {column.name for column in given if column.is_required}
        self._refuses_nul = refuses_nul
        self._json = {
            column.name: f"NOT json_valid({quote(column.name)})" for column in given if column.type.kind == "json"
        }
        self._engine = SqlEngine()

    def apply(self, batch: pa.RecordBatch) -> Outcome:
        """A row is refused for the first column that has a reason."""
        refusals: dict[int, Refusal] = {}
        for column, reason, mask in self._masks(batch):
            for row in rows_where(pc.fill_null(mask, False)):
                refusals.setdefault(row, Refusal(row, column, reason))
        if not refusals:
            return Outcome(batch)
        rows = without(batch.num_rows, list(refusals))
        return Outcome(batch.take(rows), rows, tuple(refusals[row] for row in sorted(refusals)))

    def close(self) -> None:
        """Gives up its DuckDB."""
        self._engine.close()

    def _masks(self, batch: pa.RecordBatch) -> Iterator[tuple[str, str, pa.Array]]:
        invalid = self._engine.run(batch, self._json) if self._json else None
        for column in self.columns:
            values, name, kind = batch.column(column.name), column.name, column.type.kind
            if name in self._required:
                yield name, "is NULL in a column that must not be", values.is_null()
            if kind == "uuid":
                yield name, "is no uuid in lower case with dashes", pc.invert(pc.match_substring_regex(values, UUID))
            if invalid is not None and kind == "json":
                yield name, "is no valid JSON", invalid.column(name)
            if self._refuses_nul and kind in TEXTS:
                yield name, "holds the character NUL, which the target can't keep", pc.match_substring(values, "\0")
