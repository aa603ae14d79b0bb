"""Column types as Iceberg holds them: what it lacks goes as a type that holds every value of it, and comes back as it was.

Iceberg has no 16-bit and no unsigned integers; JSON and UUIDs travel as text, as everywhere in PyMigrate.
"""

from collections.abc import Iterator, Sequence

import pyarrow as pa
from pyiceberg.types import (
    BinaryType,
    BooleanType,
    DateType,
    DecimalType,
    DoubleType,
    FixedType,
    FloatType,
    IcebergType,
    IntegerType,
    LongType,
    StringType,
    TimestampType,
    TimestamptzType,
    TimeType,
    UUIDType,
)

from pymigrate.engine.domain.types import ColumnInfo, ColumnType, Kind
from pymigrate.engine.ports.arrow_types import arrow_schema

_STORED: dict[Kind, ColumnType] = {
    "int16": ColumnType("int32"),
    "uint64": ColumnType("decimal", 20, 0),
    "json": ColumnType("string"),
    "uuid": ColumnType("string"),
}
_NATIVE: dict[Kind, str] = {
    "bool": "boolean",
    **dict.fromkeys(("int16", "int32"), "int"),
    "int64": "long",
    "float32": "float",
    "float64": "double",
    "bytes": "binary",
}
_KINDS: tuple[tuple[type[IcebergType], Kind], ...] = (
    (BooleanType, "bool"),
    (IntegerType, "int32"),
    (LongType, "int64"),
    (FloatType, "float32"),
    (DoubleType, "float64"),
    (StringType, "string"),
    (BinaryType, "bytes"),
    (FixedType, "bytes"),
    (DateType, "date"),
    (TimeType, "time"),
    (TimestampType, "timestamp"),
    (TimestamptzType, "timestamptz"),
    (UUIDType, "uuid"),
)


def native_type(column: ColumnType) -> str:
    """The Iceberg type that holds a column type."""
    return _NATIVE.get(column.kind, str(_STORED.get(column.kind, column)))


def stored_columns(columns: Sequence[ColumnInfo]) -> tuple[ColumnInfo, ...]:
    """The columns with the types that a table has for them."""
    return tuple(
        ColumnInfo(column.name, _STORED.get(column.type.kind, column.type), column.is_required) for column in columns
    )


def table_schema(columns: Sequence[ColumnInfo]) -> pa.Schema:
    """The schema of a new table."""
    stored = stored_columns(columns)
    fields = zip(arrow_schema(stored), stored, strict=True)
    return pa.schema([field.with_nullable(not column.is_required) for field, column in fields])


def to_stored(batches: Sequence[pa.RecordBatch], columns: Sequence[ColumnInfo]) -> list[pa.RecordBatch]:
    """Batches of the columns as a table takes them."""
    return list(_cast(iter(batches), arrow_schema(stored_columns(columns))))


def from_stored(batches: Iterator[pa.RecordBatch], columns: Sequence[ColumnInfo]) -> Iterator[pa.RecordBatch]:
    """The opposite of `to_stored`."""
    return _cast(batches, arrow_schema(columns))


def column_type(kind: IcebergType) -> ColumnType:
    """A table's type in PyMigrate's words; `json` for what has parts, and for what it has no word for `string`."""
    if isinstance(kind, DecimalType):
        return ColumnType("decimal", kind.precision, kind.scale)
    for known, word in _KINDS:
        if isinstance(kind, known):
            return ColumnType(word)
    return ColumnType("string" if kind.is_primitive else "json")


def _cast(batches: Iterator[pa.RecordBatch], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        arrays = [batch.column(field.name).cast(field.type) for field in schema]
        yield pa.RecordBatch.from_arrays(arrays, schema=schema)
