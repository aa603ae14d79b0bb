"""Parquet files with a relation's rows: written to last, read back exactly, counted by their footers."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pymigrate.engine.adapters.connectors.parquet_store import FileFacts
from pymigrate.engine.adapters.connectors.target_values import BATCH_ROWS_MAX
from pymigrate.engine.domain.types import ColumnInfo, ColumnType, parse_type
from pymigrate.engine.ports.connector import UNKNOWN, RelationInfo, arrow_schema, arrow_type

TYPE = b"pymigrate.type"
ROW_GROUP_ROWS = 131_072


def parts_of(folder: Path) -> list[Path]:
    """The folder's Parquet files, by name; none where there is no folder."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.suffix == ".parquet" and not path.name.startswith("."))


def facts(files: Sequence[Path]) -> tuple[FileFacts, ...]:
    """Name, bytes and time of change (nanoseconds) of each file."""
    return tuple((path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files)


def rows_of(files: Sequence[Path]) -> int:
    """The number of rows in the files."""
    return sum(pq.read_metadata(path).num_rows for path in files)


def write_part(path: Path, columns: Sequence[ColumnInfo], batches: Sequence[pa.RecordBatch]) -> None:
    """Writes a file and waits until it is on the disk. The column's type is kept with each field: json and uuid are strings."""
    fields = [
        pa.field(column.name, arrow_type(column.type), not column.is_required, {TYPE: str(column.type)})
        for column in columns
    ]
    schema = pa.schema(fields)
    with path.open("wb") as file:
        with pq.ParquetWriter(file, schema, version="2.6", compression="zstd") as writer:
            table = pa.Table.from_batches(
                [pa.RecordBatch.from_arrays(batch.columns, schema=schema) for batch in batches], schema
            )
            writer.write_table(table, row_group_size=ROW_GROUP_ROWS)
        file.flush()
        os.fsync(file.fileno())


def read_parts(files: Sequence[Path], columns: Sequence[ColumnInfo]) -> Iterator[pa.RecordBatch]:
    """The rows of all files, file after file, as `arrow_schema(columns)`."""
    schema = arrow_schema(columns)
    for path in files:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(BATCH_ROWS_MAX, columns=schema.names, use_threads=False):
                yield pa.RecordBatch.from_arrays([batch.column(name) for name in schema.names], schema=schema)


def describe(relation: str, files: Sequence[Path]) -> RelationInfo:
    """The relation by the first file's schema, its exact rows and its bytes."""
    if not files:
        return RelationInfo(relation, (), rows=0, bytes=UNKNOWN, is_exact_rows=True)
    schema = pq.read_schema(files[0])
    columns = tuple(
        ColumnInfo(field.name, _column_type(field), not field.nullable, str(field.type)) for field in schema
    )
    size = sum(path.stat().st_size for path in files)
    return RelationInfo(relation, columns, rows=rows_of(files), bytes=size, is_exact_rows=True)


def _column_type(field: pa.Field) -> ColumnType:
    """What PyMigrate wrote with the field; of other files the kind that Arrow carries alike, else `string`."""
    if field.metadata and TYPE in field.metadata:
        return parse_type(field.metadata[TYPE].decode())
    if pa.types.is_decimal(field.type) and field.type.precision <= 38 and field.type.scale >= 0:
        return ColumnType("decimal", field.type.precision, field.type.scale)
    for kind in (
        "bool",
        "int16",
        "int32",
        "int64",
        "uint64",
        "float32",
        "float64",
        "bytes",
        "date",
        "time",
        "timestamp",
    ):
        if arrow_type(parse_type(kind)) == field.type:
            return parse_type(kind)
    return ColumnType("timestamptz" if pa.types.is_timestamp(field.type) and field.type.tz else "string")
