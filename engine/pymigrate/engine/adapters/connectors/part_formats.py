"""Files with a relation's rows, in any format that a folder of parts may have, known by the endings of their names."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import pyarrow as pa

from pymigrate.engine.adapters.connectors.csv_parts import CsvParts
from pymigrate.engine.adapters.connectors.json_lines_parts import JsonLinesParts
from pymigrate.engine.adapters.connectors.parquet_parts import ParquetParts
from pymigrate.engine.adapters.connectors.parts_store import FileFacts
from pymigrate.engine.domain.types import ColumnInfo
from pymigrate.engine.ports.relations import UNKNOWN, RelationInfo
from pymigrate.engine.ports.staging import Staging

ENDING_DEFAULT = "parquet"


class PartFormat(Protocol):
    """How the rows of a part are written and read back, exactly."""

    has_types: bool
    """Whether a file tells the types of its columns."""

    def check(self, staging: Staging, batches: Sequence[pa.RecordBatch], row: int) -> None:
        """Raises DataRefused for a value that would not come back as it is; `row` rows of the lane came before."""
        ...

    def write(self, path: Path, columns: Sequence[ColumnInfo], batches: Sequence[pa.RecordBatch]) -> None:
        """Writes a file and waits until it is on the disk."""
        ...

    def read(self, path: Path, columns: Sequence[ColumnInfo]) -> Iterator[pa.RecordBatch]:
        """The rows, as `arrow_schema(columns)`."""
        ...

    def rows(self, path: Path) -> int:
        """How many rows the file holds."""
        ...

    def columns(self, path: Path) -> tuple[ColumnInfo, ...]:
        """The columns as the file tells them."""
        ...


FORMATS: dict[str, PartFormat] = {
    ENDING_DEFAULT: ParquetParts(),
    "csv": CsvParts(),
    "csv.gz": CsvParts("gzip"),
    "csv.zst": CsvParts("zstd"),
    "jsonl": JsonLinesParts(),
    "jsonl.gz": JsonLinesParts("gzip"),
    "jsonl.zst": JsonLinesParts("zstd"),
}


def ending_of(path: Path) -> str | None:
    """The ending of a part's name, where it is one of a format."""
    return next((ending for ending in FORMATS if path.name.endswith(f".{ending}")), None)


def format_of_part(path: Path) -> PartFormat:
    """The format of a part."""
    return FORMATS[ending_of(path) or ENDING_DEFAULT]


def parts_of(folder: Path) -> list[Path]:
    """The folder's parts, by name; none where there is no folder."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if ending_of(path) and not path.name.startswith("."))


def facts(files: Sequence[Path]) -> tuple[FileFacts, ...]:
    """Name, bytes and time of change (nanoseconds) of each file."""
    return tuple((path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files)


def rows_of(files: Sequence[Path]) -> int:
    """The number of rows in the files."""
    return sum(format_of_part(path).rows(path) for path in files)


def read_parts(files: Sequence[Path], columns: Sequence[ColumnInfo]) -> Iterator[pa.RecordBatch]:
    """The rows of all files, file after file, as `arrow_schema(columns)`."""
    for path in files:
        yield from format_of_part(path).read(path, columns)


def describe(relation: str, files: Sequence[Path]) -> RelationInfo:
    """The relation as its first file tells it, its exact rows and its bytes."""
    if not files:
        return RelationInfo(relation, (), rows=0, bytes=UNKNOWN, is_exact_rows=True)
    columns = format_of_part(files[0]).columns(files[0])
    size = sum(path.stat().st_size for path in files)
    return RelationInfo(relation, columns, rows=rows_of(files), bytes=size, is_exact_rows=True)
