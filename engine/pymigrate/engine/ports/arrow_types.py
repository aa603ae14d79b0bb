"""The Arrow types that carry column types: record batches are what sources, transforms and targets pass to each other."""

from collections.abc import Mapping, Sequence

import pyarrow as pa

from pymigrate.engine.domain.types import ColumnInfo, ColumnType

_ARROW: Mapping[str, pa.DataType] = {
    "bool": pa.bool_(),
    "int16": pa.int16(),
    "int32": pa.int32(),
    "int64": pa.int64(),
    "uint64": pa.uint64(),
    "float32": pa.float32(),
    "float64": pa.float64(),
    "string": pa.string(),
    "bytes": pa.binary(),
    "date": pa.date32(),
    "time": pa.time64("us"),
    "timestamp": pa.timestamp("us"),
    "timestamptz": pa.timestamp("us", tz="UTC"),
    "json": pa.string(),
    "uuid": pa.string(),
}


def arrow_type(column: ColumnType) -> pa.DataType:
    """The Arrow type that carries a column type; json and uuid travel as text, uuid in lower case with dashes."""
    if column.kind == "decimal":
        return pa.decimal128(column.precision, column.scale)
    return _ARROW[column.kind]


def arrow_schema(columns: Sequence[ColumnInfo]) -> pa.Schema:
    """The schema of batches with these columns; all fields are nullable in Arrow, NOT NULL is checked where it is declared."""
    return pa.schema([pa.field(column.name, arrow_type(column.type)) for column in columns])
