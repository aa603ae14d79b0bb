"""Arrow values as PostgreSQL takes and gives them by COPY, exactly: binary on the way in, CSV on the way out.

On the way out dates are days since 1970, and floats, times and bytes the hexadecimal digits of what PostgreSQL stores, so that nothing
depends on how text is written and read.
"""

import io
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pgpq
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as csv

from pymigrate.engine.adapters.connectors.target_statements import quote
from pymigrate.engine.adapters.connectors.target_values import refuse_where
from pymigrate.engine.domain.types import ColumnInfo, ColumnType, Kind
from pymigrate.engine.ports.arrow_types import arrow_schema, arrow_type
from pymigrate.engine.ports.staging import Staging

ROWS_AT_ONCE = 8_192
# PostgreSQL's calendar begins at 4714-11-24 BC, and its dates end with the year 5874897.
DATE_FIRST, DATE_LAST = -2_440_588, 2_145_042_905
MOMENT_FIRST = -210_866_803_200_000_000
DAY_MICROSECONDS = 86_400_000_000
YEAR_2000 = 946_684_800_000_000
_NATIVE: Mapping[Kind, str] = {
    "bool": "boolean",
    "int16": "smallint",
    "int32": "integer",
    "int64": "bigint",
    "uint64": "numeric(20,0)",
    "float32": "real",
    "float64": "double precision",
    "string": "text",
    "bytes": "bytea",
    "date": "date",
    "time": "time without time zone",
    "timestamp": "timestamp without time zone",
    "timestamptz": "timestamp with time zone",
    "json": "json",
    "uuid": "uuid",
}
_UNSIGNED = pa.decimal128(20, 0)
_EXPRESSIONS = {
    "bool": "{0}::integer",
    "float32": "encode(float4send({0}), 'hex')",
    "float64": "encode(float8send({0}), 'hex')",
    "bytes": "encode({0}, 'hex')",
    "date": "{0} - DATE '1970-01-01'",
    "time": "encode(time_send({0}), 'hex')",
    "timestamp": "encode(timestamp_send({0}), 'hex')",
    "timestamptz": "encode(timestamptz_send({0}), 'hex')",
    "json": "{0}::text",
}
_CARRIERS = {
    "bool": pa.int8(),
    "float32": pa.string(),
    "float64": pa.string(),
    "bytes": pa.string(),
    "date": pa.int32(),
    "time": pa.string(),
    "timestamp": pa.string(),
    "timestamptz": pa.string(),
}


def native_type(column: ColumnType) -> str:
    """The PostgreSQL type that holds a column type exactly."""
    return f"numeric({column.precision},{column.scale})" if column.kind == "decimal" else _NATIVE[column.kind]


def check_values(staging: Staging, batches: Sequence[pa.RecordBatch], row: int) -> None:
    """Raises DataRefused for values that no PostgreSQL type holds; `row` rows of the lane came before."""
    for batch in batches:
        for column, values in zip(staging.columns, batch.columns, strict=True):
            match column.type.kind:
                case "string" | "json":
                    mask, why = pc.match_substring(values, "\0"), "PostgreSQL's text can't hold the character NUL"
                case "date":
                    days = values.view(pa.int32())
                    mask = pc.or_(pc.less(days, DATE_FIRST), pc.greater(days, DATE_LAST))
                    why = "a date outside PostgreSQL's calendar"
                case "time":
                    moments = values.view(pa.int64())
                    mask = pc.or_(pc.less(moments, 0), pc.greater(moments, DAY_MICROSECONDS))
                    why = "no time of a day"
                case "timestamp" | "timestamptz":
                    mask = pc.less(values.view(pa.int64()), MOMENT_FIRST)
                    why = "a time outside PostgreSQL's calendar"
                case _:
                    continue
            refuse_where(staging, column.name, row, mask, why)
        row += batch.num_rows


def to_copy(staging: Staging, batches: Sequence[pa.RecordBatch]) -> Iterator[bytes]:
    """The batches as COPY's binary format, piece by piece."""
    schema = pa.schema([pa.field(column.name, _wire_type(column)) for column in staging.columns])
    encoder = pgpq.ArrowToPostgresBinaryEncoder(schema)
    yield encoder.write_header()
    for batch in batches:
        for start in range(0, batch.num_rows, ROWS_AT_ONCE):
            piece = batch.slice(start, ROWS_AT_ONCE)
            columns = [_to_wire(column, values) for column, values in zip(staging.columns, piece.columns, strict=True)]
            yield encoder.write_batch(pa.RecordBatch.from_arrays(columns, schema=schema))
    yield encoder.finish()


def _wire_type(column: ColumnInfo) -> pa.DataType:
    match column.type.kind:
        case "uint64":
            return _UNSIGNED
        case "uuid":
            return pa.binary()
    return arrow_type(column.type)


def _to_wire(column: ColumnInfo, values: pa.Array) -> pa.Array:
    match column.type.kind:
        case "uint64":
            return values.cast(_UNSIGNED)
        case "uuid":
            # The binary form of a uuid is its 16 bytes, which travel as any bytes do.
            return _from_digits(pc.replace_substring(values, "-", ""))
    return values


def select_list(columns: Sequence[ColumnInfo]) -> str:
    """What to select for `from_csv`. A constant comes first: a lone NULL would be an empty line."""
    expressions = [_EXPRESSIONS.get(column.type.kind, "{0}").format(quote(column.name)) for column in columns]
    return ", ".join(["0", *expressions])


def from_csv(text: bytes, columns: Sequence[ColumnInfo]) -> pa.RecordBatch:
    """Rows of `COPY (SELECT <select_list> …) TO STDOUT (FORMAT csv)` as `arrow_schema(columns)`."""
    names = [str(at) for at in range(len(columns) + 1)]
    carriers = {str(at + 1): _CARRIERS.get(c.type.kind, arrow_type(c.type)) for at, c in enumerate(columns)}
    table = csv.read_csv(
        io.BytesIO(text),
        csv.ReadOptions(use_threads=False, column_names=names, block_size=len(text) + 1),
        csv.ParseOptions(newlines_in_values=True),
        csv.ConvertOptions(
            column_types=carriers,
            include_columns=names[1:],
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        ),
    ).combine_chunks()
    arrays = [_from_carrier(column, _array(values)) for column, values in zip(columns, table.columns, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=arrow_schema(columns))


def _array(values: pa.ChunkedArray) -> pa.Array:
    return values.chunk(0) if values.num_chunks == 1 else pa.concat_arrays(values.chunks)


def _from_carrier(column: ColumnInfo, values: pa.Array) -> pa.Array:
    match column.type.kind:
        case "bool":
            return values.cast(pa.bool_())
        case "float32":
            return _numbers(values, "u4").view(pa.float32())
        case "float64":
            return _numbers(values, "u8").view(pa.float64())
        case "time":
            return _numbers(values, "i8").view(arrow_type(column.type))
        case "timestamp" | "timestamptz":
            # Checked: an infinite time, which somebody else may have written, has no place in Arrow.
            return pc.add_checked(_numbers(values, "i8"), YEAR_2000).view(arrow_type(column.type))
        case "bytes":
            return _from_digits(values)
        case "date":
            return values.view(arrow_type(column.type))
    return values


def _from_digits(values: pa.Array) -> pa.Array:
    """Bytes from their hexadecimal digits, all at once: two digits are a byte wherever a value begins."""
    whole = pa.concat_arrays([values])
    _, offsets, digits = whole.buffers()
    ends = np.frombuffer(offsets, np.int32, len(whole) + 1, whole.offset * 4)
    data = bytes.fromhex(str(digits, "ascii")[ends[0] : ends[-1]]) if digits else b""
    mask = np.packbits(whole.is_valid().to_numpy(zero_copy_only=False), bitorder="little")
    return pa.Array.from_buffers(
        pa.binary(), len(whole), [pa.py_buffer(mask), pa.py_buffer((ends - ends[0]) // 2), pa.py_buffer(data)]
    )


def _numbers(values: pa.Array, native: str) -> pa.Array:
    """Numbers from the hexadecimal digits of their big-endian bytes."""
    width = np.dtype(native).itemsize
    digits = _from_digits(values.fill_null("00" * width)).buffers()[2]
    numbers = np.frombuffer(digits, dtype=f">{native}", count=len(values)).astype(native)
    return pa.array(numbers, mask=values.is_null().to_numpy(zero_copy_only=False))
