"""Values as drivers give and take them, as Arrow's, strictly."""

from collections.abc import Sequence
from decimal import Decimal

import pyarrow as pa
import pyarrow.compute as pc

from pymigrate.engine.adapters.connectors.source_values import Unreadable, read_texts, refused, shown
from pymigrate.engine.adapters.connectors.sqlite_values import DAY_FIRST, DAY_LAST, DAY_MICROSECONDS
from pymigrate.engine.adapters.connectors.target_values import refuse_where
from pymigrate.engine.domain.types import ColumnInfo, ColumnType
from pymigrate.engine.ports.arrow_types import arrow_type
from pymigrate.engine.ports.staging import Staging

_WRONG = (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError, ValueError, TypeError)
_NAN_BITS = {"float32": (pa.uint32(), 0x7FC00000), "float64": (pa.uint64(), 0x7FF8000000000000)}


def array_of(
    relation: str, column: ColumnInfo, natural: ColumnType, values: Sequence[object], places: Sequence[str]
) -> pa.Array:
    """Values that come as their natural type, as the column's. Raises DataRefused with the row's place."""
    try:
        if natural != column.type and natural.kind not in {"string", "json", "uuid"}:
            values = [None if value is None else _text(value) for value in values]
        if natural == column.type and natural.kind not in {"string", "json", "uuid"}:
            return _exact(column.type, values)
        texts = pa.array(values, pa.string())
    except _WRONG as error:
        at = _first_wrong(column.type if natural == column.type else natural, values)
        why = f"{shown(str(values[at]))} is no {column.type}: {error}"
        raise refused(relation, column.name, places[at], why) from error
    try:
        return read_texts(texts, column.type)
    except Unreadable as error:
        raise refused(relation, column.name, places[error.row], str(error)) from error


def _exact(column: ColumnType, values: Sequence[object]) -> pa.Array:
    match column.kind:
        case "bool":
            if any(value not in {None, 0, 1} for value in values):
                raise ValueError("neither true nor false")
            return pa.array([None if value is None else bool(value) for value in values], pa.bool_())
        case "uint64":
            return pa.array([int(value) if isinstance(value, Decimal) else value for value in values], pa.uint64())
        case "bytes":
            if any(isinstance(value, str) for value in values):
                raise ValueError("text in a column of bytes")
            return pa.array([None if value is None else bytes(value) for value in values], pa.binary())  # type: ignore[call-overload]  # what a driver gives for bytes
        case "int16" | "int32" | "int64":
            if any(type(value) not in {int, type(None)} for value in values):
                raise ValueError("not an integer")
    return pa.array(values, arrow_type(column))


def _first_wrong(column: ColumnType, values: Sequence[object]) -> int:
    for at, value in enumerate(values):
        try:
            _exact(column, [value])
        except _WRONG:
            return at
    return 0


def _text(value: object) -> str:
    if isinstance(value, bytes | memoryview):
        raise ValueError("bytes are no text")
    return str(value).lower() if isinstance(value, bool) else str(value)


def to_rows(staging: Staging, batch: pa.RecordBatch, row: int) -> list[dict[str, object]]:
    """A batch's rows as parameters by the number of their column. Raises DataRefused for what a driver would change."""
    for column, values in zip(staging.columns, batch.columns, strict=True):
        _check(staging, column, values, row)
    columns = [values.to_pylist() for values in batch.columns]
    return [{f"c{at}": value for at, value in enumerate(values)} for values in zip(*columns, strict=True)]


def _check(staging: Staging, column: ColumnInfo, values: pa.Array, row: int) -> None:
    kind = column.type.kind
    if kind in {"string", "json", "uuid"}:
        refuse_where(staging, column.name, row, pc.match_substring(values, "\0"), "text with the character NUL")
    elif kind in _NAN_BITS:
        bits, canonical = _NAN_BITS[kind]
        is_other = pc.and_(pc.is_nan(values), pc.not_equal(values.view(bits), pa.scalar(canonical, bits)))
        refuse_where(staging, column.name, row, is_other, "a NaN with bits of its own, which text does not keep")
    elif kind in {"date", "time", "timestamp", "timestamptz"}:
        numbers = values.view(pa.int32() if kind == "date" else pa.int64())
        first, last = DAY_FIRST, DAY_LAST
        if kind == "time":
            first, last = 0, DAY_MICROSECONDS - 1
        elif kind != "date":
            first, last = DAY_FIRST * DAY_MICROSECONDS, (DAY_LAST + 1) * DAY_MICROSECONDS - 1
        outside = pc.or_(pc.less(numbers, first), pc.greater(numbers, last))
        refuse_where(staging, column.name, row, outside, f"no {column.type} that drivers take: the years are 1 to 9999")
