"""A fake transform, as a package would bring one, and what every transform must hold to however its rows are cut into batches."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

import pyarrow as pa

from pymigrate.engine.domain.errors import InvalidDefinition, Problem
from pymigrate.engine.domain.types import ColumnInfo
from pymigrate.engine.ports.arrow_types import arrow_schema
from pymigrate.engine.ports.transform import Outcome, Refusal, Transform

Row = tuple[object, ...]


class MarkingKind:
    """A transform that puts `mark` before the texts of `column`, and refuses those that are equal to `refused`."""

    def bind(self, columns: Sequence[ColumnInfo], settings: Mapping[str, str]) -> "Marking":
        """Raises InvalidDefinition for a column that is not there."""
        if settings.get("column") not in [column.name for column in columns]:
            raise InvalidDefinition((Problem("column", f"there is no column `{settings.get('column')}`"),))
        return Marking(columns, settings["column"], settings.get("mark", ""), settings.get("refused", ""))


class Marking:
    """See the port."""

    is_stateful = False

    def __init__(self, columns: Sequence[ColumnInfo], column: str, mark: str, refused: str) -> None:
        self.columns = tuple(columns)
        self.origins = {each.name: each.name for each in columns if each.name != column}
        self.is_closed = False
        self._column = column
        self._mark = mark
        self._refused = refused

    def apply(self, batch: pa.RecordBatch) -> Outcome:
        """Text by text."""
        texts = batch.column(self._column).to_pylist()
        kept = [row for row, text in enumerate(texts) if not self._refused or text != self._refused]
        marked = pa.array([None if text is None else f"{self._mark}{text}" for text in texts], pa.string())
        arrays = [marked if name == self._column else batch.column(name) for name in batch.schema.names]
        refusals = tuple(
            Refusal(row, self._column, f"is `{self._refused}`") for row in range(batch.num_rows) if row not in kept
        )
        rows = pa.array(kept, pa.int64())
        return Outcome(pa.RecordBatch.from_arrays(arrays, schema=batch.schema).take(rows), rows, refusals)

    def close(self) -> None:
        """Notes it."""
        self.is_closed = True


def check_transform(bind: Callable[[], Transform], rows: pa.RecordBatch, cuts: Iterable[int]) -> None:
    """Fails where a transform that `bind` makes anew does not hold to its port: the same rows, cut before any of the row numbers `cuts`,
    must give the same rows from the same rows, and refuse the same ones for the same reasons."""
    whole, parts = bind(), bind()
    try:
        expected = _run(whole, [rows])
        edges = sorted({0, rows.num_rows, *(cut for cut in cuts if 0 < cut < rows.num_rows)})
        found = _run(parts, [rows.slice(start, end - start) for start, end in pairwise(edges)])
        if found != expected:
            raise AssertionError(f"cut at {edges}: {found} rather than {expected}")
        if not set(whole.origins) <= {column.name for column in whole.columns}:
            raise AssertionError(f"{whole.origins} says where columns come from that are not there")
    finally:
        for transform in (whole, parts):
            transform.close()
            transform.close()  # closing again is fine


def _run(transform: Transform, batches: Iterable[pa.RecordBatch]) -> tuple[list[tuple[int, Row]], list[Refusal]]:
    """Every row with the number of the row that it comes from, and the refusals, by numbers over all batches."""
    rows: list[tuple[int, Row]] = []
    refusals: list[Refusal] = []
    first = 0
    for batch in batches:
        outcome = transform.apply(batch)
        if outcome.batch.schema != arrow_schema(transform.columns):
            raise AssertionError(f"the batch is {outcome.batch.schema}, and the columns say {transform.columns}")
        origins = range(batch.num_rows) if outcome.rows is None else outcome.rows.to_pylist()
        values = zip(*(column.to_pylist() for column in outcome.batch.columns), strict=True)
        rows += [(first + origin, tuple(map(repr, row))) for origin, row in zip(origins, values, strict=True)]
        refusals += [replace(refusal, row=first + refusal.row) for refusal in outcome.refusals]
        first += batch.num_rows
    return rows, refusals
