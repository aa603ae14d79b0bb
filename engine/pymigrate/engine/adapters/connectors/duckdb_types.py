"""Column types between DuckDB's words and PyMigrate's."""

import re
from collections.abc import Mapping

from pymigrate.engine.domain.types import ColumnType, Kind

_NATIVE: Mapping[Kind, str] = {
    "bool": "BOOLEAN",
    "int16": "SMALLINT",
    "int32": "INTEGER",
    "int64": "BIGINT",
    "uint64": "UBIGINT",
    "float32": "FLOAT",
    "float64": "DOUBLE",
    "string": "VARCHAR",
    "bytes": "BLOB",
    "date": "DATE",
    "time": "TIME",
    "timestamp": "TIMESTAMP",
    "timestamptz": "TIMESTAMP WITH TIME ZONE",
    "json": "JSON",
    "uuid": "UUID",
}
_WIDER: Mapping[str, ColumnType] = {
    "TINYINT": ColumnType("int16"),
    "UTINYINT": ColumnType("int16"),
    "USMALLINT": ColumnType("int32"),
    "UINTEGER": ColumnType("int64"),
    "TIMESTAMP_S": ColumnType("timestamp"),
    "TIMESTAMP_MS": ColumnType("timestamp"),
}
_DECIMAL = re.compile(r"DECIMAL\((\d+),(\d+)\)")


def native_type(column: ColumnType) -> str:
    """The DuckDB type that holds a column type exactly."""
    return f"DECIMAL({column.precision},{column.scale})" if column.kind == "decimal" else _NATIVE[column.kind]


def column_type(native: str) -> ColumnType:
    """The column type that holds a DuckDB type exactly; `string` where none does, as its text."""
    if found := _DECIMAL.fullmatch(native):
        return ColumnType("decimal", int(found[1]), int(found[2]))
    for kind, name in _NATIVE.items():
        if name == native:
            return ColumnType(kind)
    return _WIDER.get(native, ColumnType("string"))
