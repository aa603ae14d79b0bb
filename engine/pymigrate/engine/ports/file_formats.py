"""How a file is written, by the ending of its name: what the side that reads it and the side that is given its bytes agree on."""

from pathlib import PurePosixPath

from pymigrate.engine.ports.connector import CsvFormat, FileFormat, JsonLinesFormat, ParquetFormat

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
