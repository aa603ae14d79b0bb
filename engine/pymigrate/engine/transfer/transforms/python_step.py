"""A Python function as a transform: it gets a batch and gives the declared columns for its rows, or refuses rows.

`function(batch, settings)` takes a `pyarrow.RecordBatch` and a dictionary of texts, and returns a record batch, a table or a mapping of
names to values with as many rows, alone or in a tuple with the refused rows (`{row: reason}`). Where it raises, the batch is halved until
the rows that it raises on are alone: those are refused. It must be deterministic, and look at each row by itself.
"""

from collections.abc import Iterator, Sequence

import pyarrow as pa

from pymigrate.engine.domain.errors import DataRefused, InvalidDefinition, Problem
from pymigrate.engine.domain.types import ColumnInfo
from pymigrate.engine.ports.arrow_types import arrow_schema
from pymigrate.engine.ports.transform import Outcome, Python, Refusal
from pymigrate.engine.transfer.transforms.computed import without
from pymigrate.engine.transfer.transforms.problems import doubled, raise_if_any
from pymigrate.engine.transfer.transforms.python_process import FunctionFailed, PythonProcess

FAILED_ROWS_MAX = 1_000


class PythonStep:
    """See the port. The process starts when the step is bound, and ends when it is closed."""

    is_stateful = False

    def __init__(self, given: Sequence[ColumnInfo], spec: Python) -> None:
        made = {name: ColumnInfo(name, type_) for name, type_ in spec.columns.items()}
        self.columns = (*(made.pop(column.name, column) for column in given), *made.values())
        self.origins = {column.name: column.name for column in given if column.name not in spec.columns}
        self._spec = spec
        self._schema = arrow_schema(self.columns)
        self._process = PythonProcess(spec)

    def apply(self, batch: pa.RecordBatch) -> Outcome:
        """Raises DataRefused for a function that hangs, crashes, or takes more than it may."""
        refusals: dict[int, Refusal] = {}
        parts: list[pa.RecordBatch] = []
        rows: list[int] = []
        waiting = [(0, batch)]
        while waiting:
            first, part = waiting.pop()
            try:
                made, refused = self._process.call(part)
            except FunctionFailed as error:
                if part.num_rows == 1:
                    if len(refusals) >= FAILED_ROWS_MAX:
                        raise DataRefused(
                            f"the Python transform {self._spec.function} raises on more than {FAILED_ROWS_MAX:,} rows of a batch, at last "
                            f"{error}: mend it",
                            field="transforms",
                        ) from error
                    refusals[first] = Refusal(first, "", f"{self._spec.function} raises {error}")
                    continue
                half = part.num_rows // 2
                waiting += [(first + half, part.slice(half)), (first, part.slice(0, half))]
                continue
            refusals |= {first + row: Refusal(first + row, "", reason) for row, reason in refused.items()}
            parts.append(self._joined(part, made, first, refusals, rows))
        result = pa.Table.from_batches(parts, self._schema).combine_chunks().to_batches() if parts else []
        return Outcome(
            result[0] if result else empty(self._schema),
            pa.array(rows, pa.int64()),
            tuple(refusals[row] for row in sorted(refusals)),
        )

    def close(self) -> None:
        """Ends the process."""
        self._process.close()

    def _joined(
        self, part: pa.RecordBatch, made: pa.RecordBatch, first: int, refusals: dict[int, Refusal], rows: list[int]
    ) -> pa.RecordBatch:
        """The part with the function's columns, without the refused rows; a value that its type does not hold is refused too."""
        arrays = []
        for field in self._schema:
            if field.name not in self._spec.columns:
                arrays.append(part.column(field.name))
                continue
            values, bad = exactly(made.column(field.name), field.type)
            for row in bad:
                said = f"{self._spec.function} gives a value that is no {self._spec.columns[field.name]}"
                refusals.setdefault(first + row, Refusal(first + row, field.name, said))
            arrays.append(values)
        kept = without(part.num_rows, [row - first for row in refusals if first <= row < first + part.num_rows])
        rows.extend(first + row for row in kept.to_pylist())
        return pa.RecordBatch.from_arrays(arrays, schema=self._schema).take(kept)


def exactly(values: pa.Array, goal: pa.DataType) -> tuple[pa.Array, list[int]]:
    """The values as another type, and the rows whose value that can't be; NULL stands in their place."""
    if values.type == goal:
        return values, []
    try:
        return values.cast(goal), []
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        pass  # some value is to blame: find it
    found: list[object] = []
    bad: list[int] = []
    for row, value in enumerate(values):
        try:
            found.append(value.cast(goal).as_py())
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            found.append(None)
            bad.append(row)
    return pa.array(found, goal), bad


def empty(schema: pa.Schema) -> pa.RecordBatch:
    """No rows."""
    return pa.RecordBatch.from_arrays([pa.array([], field.type) for field in schema], schema=schema)


def bind_python(spec: Python, given: Sequence[ColumnInfo]) -> PythonStep:
    """Raises InvalidDefinition for names that two columns would have, and for a function that can't be imported."""
    raise_if_any(_problems(spec, given))
    try:
        return PythonStep(given, spec)
    except FunctionFailed as error:
        raise InvalidDefinition(
            (Problem("python.function", f"`{spec.function}` can't be imported: {error}"),)
        ) from error


def _problems(spec: Python, given: Sequence[ColumnInfo]) -> Iterator[Problem]:
    known = {column.name for column in given}
    fresh = [ColumnInfo(name, type_) for name, type_ in spec.columns.items() if name not in known]
    yield from doubled("python.columns", [*given, *fresh])
