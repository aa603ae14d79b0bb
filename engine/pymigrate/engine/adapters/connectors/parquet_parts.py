"""Parquet files as parts: written to last, read back exactly, counted by their footers."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pymigrate.engine.adapters.connectors.target_values import BATCH_ROWS_MAX
from pymigrate.engine.domain.types import ColumnInfo, ColumnType, parse_type
from pymigrate.engine.ports.arrow_types import arrow_schema, arrow_type
from pymigrate.engine.ports.staging import Staging

TYPE = b"pymigrate.type"
ROW_GROUP_ROWS = 131_072
SAMPLE_ROWS = 4_096
REPEATED = 4  # times that a value occurs at least, on average


class ParquetParts:
    """See PartFormat. The column's type is kept with each field: json and uuid are strings."""

    has_types = True

    def check(self, staging: Staging, batches: Sequence[pa.RecordBatch], row: int) -> None:
        """Parquet holds every value of Arrow."""

    def write(self, path: Path, columns: Sequence[ColumnInfo], batches: Sequence[pa.RecordBatch]) -> None:
        """Row groups of ROW_GROUP_ROWS, packed with zstd; a dictionary for columns whose values repeat, since it costs more than it saves
        for others."""
        fields = [
            pa.field(column.name, arrow_type(column.type), not column.is_required, {TYPE: str(column.type)})
            for column in columns
        ]
        schema = pa.schema(fields)
        with path.open("wb") as file:
            repeating = [name for at, name in enumerate(schema.names) if batches and _repeats(batches[0].column(at))]
            with pq.ParquetWriter(
                file, schema, version="2.6", compression="zstd", use_dictionary=repeating or False
            ) as writer:
                table = pa.Table.from_batches(
                    [pa.RecordBatch.from_arrays(batch.columns, schema=schema) for batch in batches], schema
                )
                writer.write_table(table, row_group_size=ROW_GROUP_ROWS)
            file.flush()
            os.fsync(file.fileno())

    def read(self, path: Path, columns: Sequence[ColumnInfo]) -> Iterator[pa.RecordBatch]:
        """In pieces of at most BATCH_ROWS_MAX rows."""
        schema = arrow_schema(columns)
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(BATCH_ROWS_MAX, columns=schema.names, use_threads=False):
                yield pa.RecordBatch.from_arrays([_as(batch.column(f.name), f.type) for f in schema], schema=schema)

    def rows(self, path: Path) -> int:
        """By the footer."""
        count: int = pq.read_metadata(path).num_rows
        return count

    def columns(self, path: Path) -> tuple[ColumnInfo, ...]:
        """By the file's schema."""
        return tuple(
            ColumnInfo(field.name, _column_type(field), not field.nullable, str(field.type))
            for field in pq.read_schema(path)
        )


def _repeats(values: pa.Array) -> bool:
    """Whether values repeat, by the first of them."""
    some = values.slice(0, SAMPLE_ROWS)
    return not pa.types.is_boolean(some.type) and len(pc.unique(some)) * REPEATED <= len(some)


def _as(values: pa.Array, kind: pa.DataType) -> pa.Array:
    """The values of a file that somebody else may have written, with a type that Arrow carries alike."""
    return values if values.type == kind else values.cast(kind)


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
