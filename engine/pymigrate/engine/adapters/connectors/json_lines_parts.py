"""JSON Lines files as parts: an object a line with every column, NULL as null. Decimals, dates, times and json are strings, and so are
NaN and the infinities, which JSON has no numbers for."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from pymigrate.engine.adapters.connectors.json_lines_source import JsonLinesReader
from pymigrate.engine.adapters.connectors.text_parts import (
    READ_BYTES,
    carried,
    check_texts,
    encoded,
    restored,
    stored,
    written,
)
from pymigrate.engine.domain.types import ColumnInfo
from pymigrate.engine.ports.file_formats import JsonLinesFormat
from pymigrate.engine.ports.ranges import EVERYTHING
from pymigrate.engine.ports.staging import Staging

ROWS_AT_ONCE = 8_192
_AS_THEY_ARE = frozenset({"bool", "int16", "int32", "int64", "uint64", "string", "json", "uuid"})


class JsonLinesParts:
    """See PartFormat. `packing` is `gzip`, `zstd` or none."""

    has_types = False

    def __init__(self, packing: str | None = None) -> None:
        self._packing = packing

    def check(self, staging: Staging, batches: Sequence[pa.RecordBatch], row: int) -> None:
        """Dates of other years than 1 to 9999, and NaN with other bits than usual are refused."""
        check_texts(staging, batches, row, has_nul=True)

    def write(self, path: Path, columns: Sequence[ColumnInfo], batches: Sequence[pa.RecordBatch]) -> None:
        """One line a row."""
        names = [column.name for column in columns]
        with written(path, self._packing) as file:
            for batch in batches:
                for start in range(0, batch.num_rows, ROWS_AT_ONCE):
                    piece = batch.slice(start, ROWS_AT_ONCE)
                    values = [_values(column, array) for column, array in zip(columns, piece.columns, strict=True)]
                    lines = (
                        orjson.dumps(dict(zip(names, row, strict=True)), option=orjson.OPT_APPEND_NEWLINE)
                        for row in zip(*values, strict=True)
                    )
                    file.write(b"".join(lines))

    def read(self, path: Path, columns: Sequence[ColumnInfo]) -> Iterator[pa.RecordBatch]:
        """As the source reads it: strictly."""
        reader = JsonLinesReader(stored(path), path.name, JsonLinesFormat(), {})
        return restored(reader.chunks(carried(columns), READ_BYTES, EVERYTHING), columns)

    def rows(self, path: Path) -> int:
        """By reading the file."""
        reader = JsonLinesReader(stored(path), path.name, JsonLinesFormat(), {})
        return sum(chunk.rows for chunk in reader.chunks((), READ_BYTES, EVERYTHING))

    def columns(self, path: Path) -> tuple[ColumnInfo, ...]:
        """As the file's values tell them."""
        return JsonLinesReader(stored(path), path.name, JsonLinesFormat(), {}).columns()


def _values(column: ColumnInfo, values: pa.Array) -> list[Any]:
    kind = column.type.kind
    if kind in _AS_THEY_ARE:
        return values.to_pylist()  # type: ignore[no-any-return]  # pyarrow has no types
    if kind == "bytes":
        return encoded(values).to_pylist()  # type: ignore[no-any-return]  # pyarrow has no types
    texts = pc.cast(values, pa.string()).to_pylist()
    if kind not in {"float32", "float64"}:
        return texts  # type: ignore[no-any-return]  # pyarrow has no types
    is_number = pc.is_finite(values).to_pylist()
    # A minus zero without a point would be read as the integer that has no sign.
    numbers = ("-0.0" if text == "-0" else text for text in texts)
    return [orjson.Fragment(text) if finite else text for text, finite in zip(numbers, is_number, strict=True)]
