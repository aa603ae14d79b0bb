"""CSV files as parts: RFC 4180 with a header line. Every text is quoted, and an empty field without quotes is NULL."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.csv

from pymigrate.engine.adapters.connectors.csv_source import CsvReader
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
from pymigrate.engine.ports.arrow_types import arrow_schema
from pymigrate.engine.ports.file_formats import CsvFormat
from pymigrate.engine.ports.ranges import EVERYTHING
from pymigrate.engine.ports.staging import Staging

FORM = CsvFormat(null_values=("",))


class CsvParts:
    """See PartFormat. `packing` is `gzip`, `zstd` or none."""

    has_types = False

    def __init__(self, packing: str | None = None) -> None:
        self._packing = packing

    def check(self, staging: Staging, batches: Sequence[pa.RecordBatch], row: int) -> None:
        """NUL, dates of other years than 1 to 9999, and NaN with other bits than usual are refused."""
        check_texts(staging, batches, row, has_nul=False)

    def write(self, path: Path, columns: Sequence[ColumnInfo], batches: Sequence[pa.RecordBatch]) -> None:
        """One header, and a record a row."""
        schema = arrow_schema(carried(columns))
        options = pyarrow.csv.WriteOptions(quoting_style="needed")
        with written(path, self._packing) as file, pyarrow.csv.CSVWriter(file, schema, write_options=options) as writer:
            for batch in batches:
                arrays = [
                    encoded(values) if column.type.kind == "bytes" else values
                    for column, values in zip(columns, batch.columns, strict=True)
                ]
                writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=schema))

    def read(self, path: Path, columns: Sequence[ColumnInfo]) -> Iterator[pa.RecordBatch]:
        """As the source reads it: strictly."""
        reader = CsvReader(stored(path), path.name, FORM)
        return restored(reader.chunks(carried(columns), READ_BYTES, EVERYTHING), columns)

    def rows(self, path: Path) -> int:
        """By reading the file."""
        reader = CsvReader(stored(path), path.name, FORM)
        return sum(chunk.rows for chunk in reader.chunks(reader.columns()[:1], READ_BYTES, EVERYTHING))

    def columns(self, path: Path) -> tuple[ColumnInfo, ...]:
        """The header's names, all text."""
        return CsvReader(stored(path), path.name, FORM).columns()
