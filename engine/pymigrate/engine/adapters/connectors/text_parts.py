"""What text parts have in common: which values their text gives back exactly, how they are packed, and how they are read again.

bytes are base64 (RFC 4648), json is text, and both are read back as such; everything else is what the sources read strictly.
"""

import base64
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pymigrate.engine.adapters.connectors.stored_files import StoredFile
from pymigrate.engine.adapters.connectors.target_values import BATCH_ROWS_MAX, refuse_where
from pymigrate.engine.domain.types import ColumnInfo, ColumnType
from pymigrate.engine.ports.arrow_types import arrow_schema
from pymigrate.engine.ports.source import SourceChunk
from pymigrate.engine.ports.staging import Staging

READ_BYTES = 4_000_000
DAY_FIRST, DAY_LAST = -719_162, 2_932_896  # 0001-01-01 and 9999-12-31: four digits of a year are what text has
DAY_MICROSECONDS = 86_400_000_000
_BITS = {"float32": (pa.int32(), np.float32), "float64": (pa.int64(), np.float64)}
_TEXT = ColumnType("string")


def check_texts(staging: Staging, batches: Sequence[pa.RecordBatch], row: int, *, has_nul: bool) -> None:
    """Raises DataRefused for values that their text would not give back."""
    for batch in batches:
        for column, values in zip(staging.columns, batch.columns, strict=True):
            if (found := _lost(column.type, values, has_nul=has_nul)) is not None:
                refuse_where(staging, column.name, row, *found)
        row += batch.num_rows


def _lost(column: ColumnType, values: pa.Array, *, has_nul: bool) -> tuple[pa.Array, str] | None:
    match column.kind:
        case "string" | "json" if not has_nul:
            return pc.match_substring(values, "\0"), "a CSV file can't hold the character NUL"
        case "date":
            return _outside(values.view(pa.int32()), DAY_FIRST, DAY_LAST), "a date outside the years 1 to 9999"
        case "timestamp" | "timestamptz":
            moments = values.view(pa.int64())
            first, last = DAY_FIRST * DAY_MICROSECONDS, (DAY_LAST + 1) * DAY_MICROSECONDS - 1
            return _outside(moments, first, last), "a time outside the years 1 to 9999"
        case "time":
            return _outside(values.view(pa.int64()), 0, DAY_MICROSECONDS - 1), "no time of a day"
        case "float32" | "float64" as kind:
            bits, number = _BITS[kind]
            usual = np.array([np.nan], number).view(bits.to_pandas_dtype())[0]
            is_other = pc.not_equal(values.view(bits), pa.scalar(usual.item(), bits))
            return pc.and_(pc.is_nan(values), is_other), "a NaN with bits of its own, which text does not tell"
    return None


def _outside(values: pa.Array, first: int, last: int) -> pa.Array:
    return pc.or_(pc.less(values, first), pc.greater(values, last))


def stored(path: Path) -> StoredFile:
    """A part as the readers of sources take it."""
    return StoredFile(path.name, path.stat().st_size, "", lambda: path.open("rb"), path)


def carried(columns: Sequence[ColumnInfo]) -> list[ColumnInfo]:
    """The columns with the types that their text is read as."""
    return [
        ColumnInfo(column.name, _TEXT if column.type.kind in {"bytes", "json"} else column.type) for column in columns
    ]


def restored(chunks: Iterator[SourceChunk], columns: Sequence[ColumnInfo]) -> Iterator[pa.RecordBatch]:
    """What was read as `carried(columns)`, as `arrow_schema(columns)`."""
    schema = arrow_schema(columns)
    for chunk in chunks:
        for batch in chunk.batches:
            arrays = [
                _decoded(values) if column.type.kind == "bytes" else values
                for column, values in zip(columns, batch.columns, strict=True)
            ]
            whole = pa.RecordBatch.from_arrays(arrays, schema=schema)
            for start in range(0, whole.num_rows, BATCH_ROWS_MAX):
                yield whole.slice(start, BATCH_ROWS_MAX)


def encoded(values: pa.Array) -> pa.Array:
    """Bytes as base64."""
    found = [None if value is None else base64.b64encode(value).decode() for value in values.to_pylist()]
    return pa.array(found, pa.string())


def _decoded(texts: pa.Array) -> pa.Array:
    found = [None if text is None else base64.b64decode(text, validate=True) for text in texts.to_pylist()]
    return pa.array(found, pa.binary())


@contextmanager
def written(path: Path, packing: str | None) -> Iterator[BinaryIO]:
    """A new file to write to, packed on the way, and on the disk at the end."""
    with path.open("wb") as file:
        if packing is None:
            yield file
        else:
            with pa.CompressedOutputStream(pa.PythonFile(file, "w"), packing) as stream:
                yield cast(BinaryIO, stream)
        if not file.closed:
            file.flush()
            os.fsync(file.fileno())
    if packing is not None:  # closing Arrow's stream closes the file below it
        with path.open("rb") as file:
            os.fsync(file.fileno())
