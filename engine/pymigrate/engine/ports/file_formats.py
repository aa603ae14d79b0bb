"""How a file is written, and what its name's ending says of that: what the side that reads it and the side that is given its bytes agree
on."""

from dataclasses import dataclass
from pathlib import PurePosixPath


@dataclass(frozen=True, slots=True)
class CsvFormat:
    """RFC 4180 text with a header line. Unquoted fields equal to one of `null_values` are NULL."""

    delimiter: str = ","
    null_values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class JsonLinesFormat:
    """One JSON object a line. JSON's null, an absent field and strings equal to one of `null_values` are NULL."""

    null_values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ParquetFormat:
    """Apache Parquet."""


FileFormat = CsvFormat | JsonLinesFormat | ParquetFormat

ENDINGS: dict[str, FileFormat] = {
    ".csv": CsvFormat(),
    ".tsv": CsvFormat(delimiter="\t"),
    ".jsonl": JsonLinesFormat(),
    ".ndjson": JsonLinesFormat(),
    ".parquet": ParquetFormat(),
}
PACKINGS = {".gz": "gzip", ".zst": "zstd"}


def packing_of(name: str) -> str | None:
    """How the file is compressed, by the ending of its name."""
    return PACKINGS.get(PurePosixPath(name).suffix.lower())


def format_of(name: str) -> FileFormat | None:
    """The format of the file, by the ending of its name before that of its compression."""
    path = PurePosixPath(name)
    ending = PurePosixPath(path.stem).suffix if packing_of(name) else path.suffix
    return ENDINGS.get(ending.lower())
