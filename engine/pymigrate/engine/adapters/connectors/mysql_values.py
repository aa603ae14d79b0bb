"""Arrow values as MySQL stores them, exactly: the types of a target's columns, and rows as the literals of an INSERT.

What MySQL would change is refused: NaN, infinities and the sign of -0.0, and moments outside the years 1 to 9999.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pymigrate.engine.adapters.connectors.target_values import refuse_where
from pymigrate.engine.domain.types import ColumnInfo, ColumnType, Kind
from pymigrate.engine.ports.staging import Staging

KEY_BYTES_MAX = 3_072
CHARACTER_BYTES = 4
DAY_FIRST, DAY_LAST = -719_162, 2_932_896
DAY_MICROSECONDS = 86_400_000_000
_NATIVE: Mapping[Kind, str] = {
    "bool": "tinyint(1)",
    "int16": "smallint",
    "int32": "int",
    "int64": "bigint",
    "uint64": "bigint unsigned",
    "float32": "float",
    "float64": "double",
    "string": "longtext",
    "bytes": "longblob",
    "date": "date",
    "time": "time(6)",
    "timestamp": "datetime(6)",
    # MySQL's own TIMESTAMP ends in 2038: the moment in UTC does not.
    "timestamptz": "datetime(6)",
    # MySQL's own JSON drops doubled names, spaces and zeros.
    "json": "longtext",
    "uuid": "char(36) CHARACTER SET ascii COLLATE ascii_bin",
}
_READ: Mapping[Kind, str] = {
    "string": "longtext charset utf8mb4",
    "timestamptz": "timestamp(6)",
    "json": "json",
    "uuid": "uuid",
}
_IN_KEYS = frozenset({"string", "bytes"})
_ESCAPED = {"\\": "\\\\", "'": "\\'", "\0": "\\0"}


def native_type(column: ColumnType) -> str:
    """The MySQL type that holds a column type exactly."""
    return f"decimal({column.precision},{column.scale})" if column.kind == "decimal" else _NATIVE[column.kind]


def staged_type(staging: Staging, column: ColumnInfo) -> str:
    """The same, of a length that a key can have where the column is part of one: longer values are refused."""
    if column.name not in staging.key or column.type.kind not in _IN_KEYS:
        return native_type(column.type)
    sharing = sum(c.name in staging.key and c.type.kind in _IN_KEYS for c in staging.columns)
    others = 2 * CHARACTER_BYTES**2 * (len(staging.key) - sharing) + 36 * len(staging.key)
    bytes_max = (KEY_BYTES_MAX - others) // sharing
    return f"varbinary({bytes_max})" if column.type.kind == "bytes" else f"varchar({bytes_max // CHARACTER_BYTES})"


def read_back(column: ColumnInfo) -> ColumnInfo:
    """The column with the native type whose reading gives back what was written."""
    native = _READ.get(column.type.kind, native_type(column.type))
    return ColumnInfo(column.name, column.type, column.is_required, native)


def to_rows(staging: Staging, batch: pa.RecordBatch, row: int) -> pa.Array:
    """The batch's rows as what stands in the brackets of VALUES; `row` rows of the lane came before. Raises DataRefused."""
    columns = [
        _literals(staging, column, values, row) for column, values in zip(staging.columns, batch.columns, strict=True)
    ]
    return pc.binary_join_element_wise(*columns, ",") if len(columns) > 1 else columns[0]


def in_pieces(rows: pa.Array, bytes_max: int) -> Iterator[tuple[int, pa.Array]]:
    """Slices of the rows of about `bytes_max`, each with the number of rows before it; a longer row alone."""
    ends = np.cumsum(pc.binary_length(rows).to_numpy(zero_copy_only=False).astype(np.int64) + 3)
    start = 0
    while start < len(rows):
        used = int(ends[start - 1]) if start else 0
        end = max(start + 1, int(np.searchsorted(ends, used + bytes_max, side="right")))
        yield start, rows.slice(start, end - start)
        start = end


def joined(rows: pa.Array) -> bytes:
    """Rows as VALUES has them."""
    texts: Sequence[str] = rows.to_pylist()
    return f"({'),('.join(texts)})".encode()


def _literals(staging: Staging, column: ColumnInfo, values: pa.Array, row: int) -> pa.Array:
    _check(staging, column, values, row)
    match column.type.kind:
        case "bool":
            texts = values.cast(pa.int8()).cast(pa.string())
        case "int16" | "int32" | "int64" | "uint64":
            texts = values.cast(pa.string())
        case "float32" | "float64":
            texts = _quoted(values.cast(pa.float64()).cast(pa.string()))
        case "bytes":
            texts = pa.array(
                [None if value is None else f"x'{value.hex()}'" for value in values.to_pylist()], pa.string()
            )
        case "string" | "json" | "uuid":
            texts = values
            for found, escaped in _ESCAPED.items():
                texts = pc.replace_substring(texts, found, escaped)
            texts = _quoted(texts)
        case "timestamptz":
            texts = _quoted(values.view(pa.int64()).view(pa.timestamp("us")).cast(pa.string()))
        case _:
            texts = _quoted(values.cast(pa.string()))
    return texts.fill_null("NULL")


def _quoted(texts: pa.Array) -> pa.Array:
    return pc.binary_join_element_wise("'", texts, "'", "")


def _check(staging: Staging, column: ColumnInfo, values: pa.Array, row: int) -> None:
    match column.type.kind:
        case "float32" | "float64":
            refuse_where(staging, column.name, row, pc.invert(pc.is_finite(values)), "MySQL has no NaN and no infinity")
            zeros = pc.and_(pc.equal(values, 0.0), pc.less(pc.divide(pa.scalar(1.0, values.type), values), 0.0))
            refuse_where(staging, column.name, row, zeros, "MySQL drops the sign of -0.0")
        case "date":
            _check_between(staging, column, values.view(pa.int32()), row, DAY_FIRST, DAY_LAST)
        case "time":
            _check_between(staging, column, values.view(pa.int64()), row, 0, DAY_MICROSECONDS - 1)
        case "timestamp" | "timestamptz":
            first, last = DAY_FIRST * DAY_MICROSECONDS, (DAY_LAST + 1) * DAY_MICROSECONDS - 1
            _check_between(staging, column, values.view(pa.int64()), row, first, last)


def _check_between(staging: Staging, column: ColumnInfo, values: pa.Array, row: int, first: int, last: int) -> None:
    outside = pc.or_(pc.less(values, first), pc.greater(values, last))
    refuse_where(staging, column.name, row, outside, f"no {column.type} that MySQL holds: the years are 1 to 9999")
