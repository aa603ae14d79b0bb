"""Parquet files: row groups in order, large ones in parts."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pymigrate.engine.domain.errors import DataRefused, SourceMissing
from pymigrate.engine.domain.types import ColumnInfo, ColumnType, Kind
from pymigrate.engine.ports.connector import Position, SourceChunk, arrow_schema

BATCH_ROWS = 65_536
_KINDS: tuple[tuple[pa.DataType, Kind], ...] = (
    (pa.bool_(), "bool"),
    (pa.int8(), "int16"),
    (pa.uint8(), "int16"),
    (pa.int16(), "int16"),
    (pa.uint16(), "int32"),
    (pa.int32(), "int32"),
    (pa.uint32(), "int64"),
    (pa.int64(), "int64"),
    (pa.uint64(), "uint64"),
    (pa.float16(), "float32"),
    (pa.float32(), "float32"),
    (pa.float64(), "float64"),
    (pa.string(), "string"),
    (pa.large_string(), "string"),
    (pa.binary(), "bytes"),
    (pa.large_binary(), "bytes"),
    (pa.date32(), "date"),
)


class ParquetReader:
    """A file with the types that it declares."""

    def __init__(self, path: Path, relation: str) -> None:
        self._path = path
        self._relation = relation

    def columns(self) -> tuple[ColumnInfo, ...]:
        """Raises DataRefused for a column of a type that can't be carried."""
        schema = self._open().schema_arrow
        return tuple(ColumnInfo(f.name, self._type(f), not f.nullable, str(f.type)) for f in schema)

    def rows(self) -> int:
        """As the file's footer says."""
        count: int = self._open().metadata.num_rows
        return count

    def chunks(self, columns: Sequence[ColumnInfo], chunk_bytes: int, after: Position | None) -> Iterator[SourceChunk]:
        """A position is the row group and the rows of it that were read."""
        place = json.loads(after) if after else {"group": 0, "row": 0}
        first, done = int(place["group"]), int(place["row"])
        file, schema = self._open(), arrow_schema(columns)
        names = [column.name for column in columns]
        for group in range(first, file.num_row_groups):
            metadata = file.metadata.row_group(group)
            row_bytes = max(1, metadata.total_byte_size // max(1, metadata.num_rows))
            seen, held = 0, list[pa.RecordBatch]()
            for batch in file.iter_batches(BATCH_ROWS, row_groups=[group], columns=names, use_threads=False):
                skip = max(0, min(batch.num_rows, done - seen)) if group == first else 0
                seen += batch.num_rows
                if skip == batch.num_rows:
                    continue
                held.append(self._cast(batch.slice(skip), schema))
                rows = sum(part.num_rows for part in held)
                if rows * row_bytes >= chunk_bytes and seen < metadata.num_rows:
                    yield _chunk(held, rows * row_bytes, {"group": group, "row": seen})
                    held = []
            if held:
                rows = sum(part.num_rows for part in held)
                yield _chunk(held, rows * row_bytes, {"group": group + 1, "row": 0})

    def _open(self) -> pq.ParquetFile:
        try:
            return pq.ParquetFile(self._path)
        except pa.ArrowInvalid as error:
            raise SourceMissing(f"{self._relation} is not a Parquet file: {error}", field="source.relation") from error

    def _type(self, field: pa.Field) -> ColumnType:
        kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        if pa.types.is_decimal128(kind):
            return ColumnType("decimal", kind.precision, kind.scale) if kind.scale >= 0 else self._refuse(field)
        if pa.types.is_timestamp(kind):
            return ColumnType("timestamptz" if kind.tz else "timestamp")
        if pa.types.is_time(kind):
            return ColumnType("time")
        for known, name in _KINDS:
            if kind.equals(known):
                return ColumnType(name)
        return self._refuse(field)

    def _refuse(self, field: pa.Field) -> ColumnType:
        raise DataRefused(
            f"{self._relation}, column `{field.name}`: Parquet's {field.type} can't be carried: leave it out with a view, or write it flat",
            field=f"source.columns.{field.name}",
        )

    def _cast(self, batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
        arrays = []
        for field in schema:
            values = batch.column(field.name)
            if pa.types.is_dictionary(values.type):
                values = values.dictionary_decode()
            try:
                arrays.append(pc.cast(values, field.type))
            except pa.ArrowInvalid as error:
                raise DataRefused(
                    f"{self._relation}, column `{field.name}`: {error}", field=f"source.columns.{field.name}"
                ) from error
        return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _chunk(batches: Sequence[pa.RecordBatch], size: int, end: dict[str, int]) -> SourceChunk:
    return SourceChunk(tuple(batches), sum(b.num_rows for b in batches), size, Position(json.dumps(end)))
