"""Parquet files: row groups in order, large ones in parts."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pymigrate.engine.adapters.connectors.chunk_sizes import growing
from pymigrate.engine.adapters.connectors.source_values import (
    Unreadable,
    check_there,
    first_failure,
    read_texts,
    refused,
)
from pymigrate.engine.adapters.connectors.stored_files import StoredFile
from pymigrate.engine.domain.errors import DataRefused, Problem, SourceMissing
from pymigrate.engine.domain.types import ColumnInfo, ColumnType, Kind
from pymigrate.engine.ports.arrow_types import arrow_schema, arrow_type
from pymigrate.engine.ports.ranges import Position, SourceRange
from pymigrate.engine.ports.source import SourceChunk

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
    (pa.null(), "string"),
    (pa.string(), "string"),
    (pa.large_string(), "string"),
    (pa.string_view(), "string"),
    (pa.binary(), "bytes"),
    (pa.large_binary(), "bytes"),
    (pa.binary_view(), "bytes"),
    (pa.date32(), "date"),
    (pa.uuid(), "uuid"),
    (pa.json_(), "json"),
)
_TEXTS = frozenset({pa.string(), pa.large_string(), pa.string_view()})
_INTEGERS = frozenset({"int16", "int32", "int64", "uint64"})
_EXACT: dict[str, frozenset[str]] = {
    **dict.fromkeys(_INTEGERS, _INTEGERS | {"decimal", "float64", "string"}),
    "float32": frozenset({"float64"}),
    "decimal": frozenset({"decimal", "string"}),
    "date": frozenset({"timestamp", "string"}),
    "bytes": frozenset({"string"}),
    "json": frozenset({"string"}),
    "uuid": frozenset({"string"}),
}


class ParquetReader:
    """A file with the types that it declares."""

    def __init__(self, file: StoredFile, relation: str) -> None:
        self._file = file
        self._relation = relation

    def columns(self) -> tuple[ColumnInfo, ...]:
        """Raises DataRefused for a column of a type that can't be carried."""
        schema = self._open().schema_arrow
        if doubled := [name for name, times in Counter(schema.names).items() if times > 1]:
            raise DataRefused(f"{self._relation}: the file has two columns `{doubled[0]}`", field="source.relation")
        return tuple(ColumnInfo(f.name, self._type(f), not f.nullable, str(f.type)) for f in schema)

    def rows(self) -> int:
        """As the file's footer says."""
        count: int = self._open().metadata.num_rows
        return count

    def split(self, parts: int) -> Sequence[Position]:
        """Between row groups, as evenly by rows as those allow."""
        file = self._open()
        rows = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
        ends, done = list[Position](), 0
        for group, count in enumerate(rows[:-1], 1):
            done += count
            if done * parts >= sum(rows) * (len(ends) + 1) and len(ends) < parts - 1:
                ends.append(Position(json.dumps({"group": group, "row": 0})))
        return ends

    def chunks(self, columns: Sequence[ColumnInfo], chunk_bytes: int, span: SourceRange) -> Iterator[SourceChunk]:
        """A position is the row group and the rows of it that were read."""
        place = json.loads(span.after) if span.after else {"group": 0, "row": 0}
        first, done = int(place["group"]), int(place["row"])
        file, schema = self._open(), arrow_schema(columns)
        last = int(json.loads(span.until)["group"]) if span.until else file.num_row_groups
        names, sizes = [column.name for column in columns], growing(chunk_bytes)
        size = next(sizes)
        check_there(self._relation, columns, file.schema_arrow.names)
        before = sum(file.metadata.row_group(group).num_rows for group in range(first))
        for group in range(first, last):
            total = file.metadata.row_group(group).num_rows
            seen, held = 0, list[pa.RecordBatch]()
            for part in self._parts(file, group, names, chunk_bytes, before):
                skip = max(0, min(part.num_rows, done - seen)) if group == first else 0
                seen += part.num_rows
                if skip == part.num_rows:
                    continue
                rest = part.slice(skip)
                held.append(self._cast(rest, columns, schema, before + seen - rest.num_rows))
                if sum(batch.nbytes for batch in held) >= size and seen < total:
                    yield _chunk(held, {"group": group, "row": seen})
                    held, size = [], next(sizes)
            before += total
            if held:
                yield _chunk(held, {"group": group + 1, "row": 0})
                size = next(sizes)

    def declared(self, name: str, kind: ColumnType) -> Problem | None:
        """What is wrong with declaring that type for a column: a conversion that may lose something is not made."""
        found = self._type(self._open().schema_arrow.field(name))
        if found == kind or found.kind == "string" or kind.kind in _EXACT.get(found.kind, ()):
            return None
        why = f"the column is {found} in the file, which {kind} does not hold exactly"
        return Problem(f"source.columns.{name}", why)

    def _parts(
        self, file: pq.ParquetFile, group: int, names: list[str], chunk_bytes: int, before: int
    ) -> Iterator[pa.RecordBatch]:
        """A row group's rows, `before` which others came, in pieces of at most about `chunk_bytes`."""
        metadata = file.metadata.row_group(group)
        row_bytes = max(1, metadata.total_byte_size // max(1, metadata.num_rows))
        rows = max(1, min(BATCH_ROWS, chunk_bytes // row_bytes))
        try:
            nanoseconds = self._nanoseconds(file, group, names, rows)
            for batch in file.iter_batches(rows, row_groups=[group], columns=names, use_threads=False):
                if nanoseconds:
                    self._check_nanoseconds(batch, next(nanoseconds), before)
                before += batch.num_rows
                pieces = min(batch.num_rows, -(-batch.nbytes // max(1, chunk_bytes))) or 1
                step = -(-batch.num_rows // pieces) or 1
                for start in range(0, batch.num_rows, step):
                    yield batch.slice(start, step)
        except (pa.ArrowInvalid, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            raise DataRefused(f"{self._relation}, row group {group}: the file is damaged: {error}") from error

    def _nanoseconds(
        self, file: pq.ParquetFile, group: int, names: Sequence[str], rows: int
    ) -> Iterator[pa.RecordBatch] | None:
        """The columns of Parquet's old INT96 times a second time: read as microseconds, what is finer is cut off."""
        columns = [file.schema.column(at) for at in range(len(file.schema))]
        old = [column.path for column in columns if column.physical_type == "INT96" and column.path in names]
        if not old:
            return None
        batches: Iterator[pa.RecordBatch] = pq.ParquetFile(self._content()).iter_batches(
            rows, row_groups=[group], columns=old, use_threads=False
        )
        return batches

    def _check_nanoseconds(self, micro: pa.RecordBatch, nano: pa.RecordBatch, before: int) -> None:
        """Nanoseconds since 1970 may be more than 64 bits hold, but their low bits, less those of the microseconds, are the rest."""
        for name, values in zip(nano.schema.names, nano.columns, strict=True):
            fine = values.view(pa.int64()).fill_null(0).to_numpy()
            coarse = micro.column(name).view(pa.int64()).fill_null(0).to_numpy()
            rest = fine - coarse * 1_000
            if (found := rest.nonzero()[0]).size:
                at = int(found[0])
                why = f"{micro.column(name)[at]} and {rest[at]} nanoseconds are finer than a microsecond"
                raise refused(self._relation, name, before + at + 1, why)

    def _open(self) -> pq.ParquetFile:
        try:
            return pq.ParquetFile(self._content(), coerce_int96_timestamp_unit="us")
        except pa.ArrowInvalid as error:
            raise SourceMissing(f"{self._relation} is not a Parquet file: {error}", field="source.relation") from error

    def _content(self) -> Path | BinaryIO:
        """What Arrow reads: a file of this host by itself."""
        return self._file.path or self._file.open()

    def _type(self, field: pa.Field) -> ColumnType:
        kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        if pa.types.is_decimal(kind) and not pa.types.is_decimal256(kind):
            return (
                ColumnType("decimal", kind.precision, kind.scale)
                if 0 <= kind.scale <= kind.precision
                else self._refuse(field)
            )
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

    def _cast(
        self, batch: pa.RecordBatch, columns: Sequence[ColumnInfo], schema: pa.Schema, row: int
    ) -> pa.RecordBatch:
        arrays = []
        for column in columns:
            values = batch.column(column.name)
            try:
                arrays.append(_converted(values, column.type))
            except Unreadable as error:
                raise refused(self._relation, column.name, row + error.row + 1, str(error)) from error
        return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _converted(values: pa.Array, column: ColumnType) -> pa.Array:
    """Raises Unreadable for the first value that the type does not hold."""
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if values.type == pa.uuid():
        return pa.array([None if value is None else str(value) for value in values.to_pylist()], pa.string())
    if values.type == pa.json_():
        values = values.storage
    if values.type in _TEXTS:
        return read_texts(_checked(pc.cast(values, pa.string())), column)
    if column.kind == "decimal" and pa.types.is_integer(values.type):
        # Arrow wants room for every integer before it looks at those that are there.
        return read_texts(pc.cast(values, pa.string()), column)
    kind = arrow_type(column)
    try:
        return pc.cast(values, kind)
    except (pa.ArrowInvalid, ValueError) as error:
        row = first_failure(values, lambda some: pc.cast(some, kind))
        raise Unreadable(row, _text(values[row]), column) from error


def _checked(texts: pa.Array) -> pa.Array:
    """The texts, which are UTF-8: a file may call any bytes text."""
    try:
        texts.validate(full=True)
    except pa.ArrowInvalid as error:
        row = first_failure(texts, lambda some: some.validate(full=True))
        raise Unreadable(row, str(texts[row].cast(pa.binary()).as_py()), ColumnType("string")) from error
    return texts


def _text(value: pa.Scalar) -> str:
    """A value as text; Python has no times that are finer than a microsecond, but Arrow writes them."""
    try:
        return str(pc.cast(value, pa.string()).as_py())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return str(value)


def _chunk(batches: Sequence[pa.RecordBatch], end: dict[str, int]) -> SourceChunk:
    rows, size = sum(batch.num_rows for batch in batches), sum(batch.nbytes for batch in batches)
    return SourceChunk(tuple(batches), rows, size, Position(json.dumps(end)))
