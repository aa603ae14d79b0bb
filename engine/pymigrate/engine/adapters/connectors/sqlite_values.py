"""Arrow values as SQLite stores them, and back, exactly: what SQLite would change is refused.

Decimals and unsigned integers travel as their digits, dates and times as ISO 8601 text in the years 1 to 9999.
"""

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from pymigrate.engine.adapters.connectors.source_values import Unreadable, read_texts
from pymigrate.engine.adapters.connectors.target_values import refuse_where, refused
from pymigrate.engine.domain.types import ColumnInfo
from pymigrate.engine.ports.arrow_types import arrow_schema, arrow_type
from pymigrate.engine.ports.staging import Staging

DAY_FIRST, DAY_LAST = -719_162, 2_932_896
DAY_MICROSECONDS = 86_400_000_000
AS_TEXT = frozenset({"uint64", "decimal", "date", "time", "timestamp", "timestamptz", "uuid"})


def to_rows(staging: Staging, batch: pa.RecordBatch, row: int) -> list[tuple[object, ...]]:
    """The batch's rows as parameters of a statement; `row` rows of the lane came before. Raises DataRefused."""
    columns = [
        _to_values(staging, column, values, row) for column, values in zip(staging.columns, batch.columns, strict=True)
    ]
    return list(zip(*columns, strict=True))


def _to_values(staging: Staging, column: ColumnInfo, values: pa.Array, row: int) -> list[object]:
    _check(staging, column, values, row)
    match column.type.kind:
        case "bool":
            values = values.cast(pa.int8())
        case "uint64" | "date" | "time" | "timestamp" | "timestamptz":
            values = values.cast(pa.string())
        case "decimal":
            return [None if value is None else format(value, "f") for value in values.to_pylist()]
    found: list[object] = values.to_pylist()
    return found


def _check(staging: Staging, column: ColumnInfo, values: pa.Array, row: int) -> None:
    match column.type.kind:
        case "float32" | "float64":
            refuse_where(staging, column.name, row, pc.is_nan(values), "SQLite keeps NaN as NULL")
            zeros = pc.and_(pc.equal(values, 0.0), pc.less(pc.divide(pa.scalar(1.0, values.type), values), 0.0))
            refuse_where(staging, column.name, row, zeros, "SQLite drops the sign of -0.0")
        case "date":
            _check_between(staging, column, values.view(pa.int32()), row, DAY_FIRST, DAY_LAST)
        case "time":
            _check_between(staging, column, values.view(pa.int64()), row, 0, DAY_MICROSECONDS - 1)
        case "timestamp" | "timestamptz":
            first, last = DAY_FIRST * DAY_MICROSECONDS, (DAY_LAST + 1) * DAY_MICROSECONDS - 1
            _check_between(staging, column, values.view(pa.int64()), row, first, last)


def _check_between(staging: Staging, column: ColumnInfo, values: pa.Array, row: int, first: int, last: int) -> None:
    outside = pc.or_(pc.less(values, first), pc.greater(values, last))
    refuse_where(
        staging, column.name, row, outside, f"no {column.type} that ISO 8601 text holds: the years are 1 to 9999"
    )


def from_rows(staging: Staging, rows: Sequence[tuple[object, ...]]) -> pa.RecordBatch:
    """Rows as they were committed. Raises DataRefused for one that somebody else wrote and that does not fit."""
    arrays = []
    for column, values in zip(staging.columns, zip(*rows, strict=True), strict=True):
        try:
            arrays.append(_from_values(column, values))
        except Unreadable as error:
            raise refused(staging, column.name, error.row + 1, str(error)) from error
        except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as error:
            raise refused(staging, column.name, 1, f"a value from here on is no {column.type}: {error}") from error
    return pa.RecordBatch.from_arrays(arrays, schema=arrow_schema(staging.columns))


def _from_values(column: ColumnInfo, values: Sequence[object]) -> pa.Array:
    if column.type.kind in AS_TEXT:
        return read_texts(pa.array(values, pa.string()), column.type)
    if column.type.kind == "bool":
        return pa.array(values, pa.int8()).cast(pa.bool_())
    if column.type.kind == "float32":
        return pa.array(values, pa.float64()).cast(pa.float32())
    return pa.array(values, arrow_type(column.type))
