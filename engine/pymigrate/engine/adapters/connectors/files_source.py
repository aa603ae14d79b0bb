"""A folder of files as a source: finds the file, never outside the folder, and hands it to the reader of its format."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from itertools import islice
from pathlib import Path
from typing import Protocol

from pymigrate.engine.adapters.connectors.source_values import declared_columns, missing
from pymigrate.engine.domain.errors import DataRefused, InvalidDefinition, Problem, SourceMissing, SystemUnavailable
from pymigrate.engine.domain.types import ColumnInfo, ColumnType
from pymigrate.engine.ports.connector import (
    CsvFormat,
    FileFormat,
    JsonLinesFormat,
    ParquetFormat,
    Position,
    RelationInfo,
    SourceChunk,
    SourceRange,
    SourceRelation,
    SystemSpec,
    ranges_between,
)

FILES_MAX = 100_000
LISTED_JSON_BYTES_MAX = 256 * 1024 * 1024  # of a listing: every line must be read to tell its columns
ENDINGS: dict[str, FileFormat] = {
    ".csv": CsvFormat(),
    ".tsv": CsvFormat(delimiter="\t"),
    ".jsonl": JsonLinesFormat(),
    ".ndjson": JsonLinesFormat(),
    ".parquet": ParquetFormat(),
}


class Reader(Protocol):
    """A file of one format."""

    def columns(self) -> tuple[ColumnInfo, ...]:
        """Its columns in order."""
        ...

    def declared(self, name: str, kind: ColumnType) -> Problem | None:
        """What is wrong with declaring that type for the column."""
        ...

    def rows(self) -> int:
        """Its rows, or UNKNOWN."""
        ...

    def split(self, parts: int) -> Sequence[Position]:
        """Positions that divide it into at most so many parts."""
        ...

    def chunks(self, columns: Sequence[ColumnInfo], chunk_bytes: int, span: SourceRange) -> Iterator[SourceChunk]:
        """Its rows of a range."""
        ...


class FilesSource:
    """A folder by `root`."""

    def __init__(self, system: SystemSpec, listed_json_bytes_max: int = LISTED_JSON_BYTES_MAX) -> None:
        self._listed_json_bytes_max = listed_json_bytes_max
        self._root = Path(system.options["root"])
        if not self._root.is_dir():
            raise SourceMissing(f"there is no folder {self._root}", field="source.connection")

    def version(self) -> str:
        """The folder."""
        return f"files in {self._root}"

    def relations(self, glob: str, limit: int) -> Sequence[RelationInfo]:
        """The files whose ending tells their format."""
        names = [name for name in self._names() if fnmatchcase(name, glob) and Path(name).suffix.lower() in ENDINGS]
        found, left = list[RelationInfo](), self._listed_json_bytes_max
        for name in names[:limit]:
            size = (self._root / name).stat().st_size
            is_json = ENDINGS[Path(name).suffix.lower()] == JsonLinesFormat()
            left -= size if is_json else 0
            found.append(self._listed(name, size) if left >= 0 or not is_json else RelationInfo(name, (), bytes=size))
        return found

    def _listed(self, name: str, size: int) -> RelationInfo:
        try:
            return self.describe(SourceRelation(name))
        except (
            DataRefused,
            SourceMissing,
            SystemUnavailable,
        ):  # it is there, but can't be read and has nothing to show
            return RelationInfo(name, (), bytes=size)

    def describe(self, relation: SourceRelation) -> RelationInfo:
        """Columns as the file and the dataset tell them."""
        with _translated(relation.relation):
            return self._describe(relation)

    def _describe(self, relation: SourceRelation) -> RelationInfo:
        path, reader = self._open(relation)
        columns = declared_columns(relation, reader.columns())
        if problems := [p for name, kind in relation.columns.items() if (p := reader.declared(name, kind))]:
            raise InvalidDefinition(tuple(problems))
        rows = reader.rows()
        return RelationInfo(relation.relation, columns, (), rows, path.stat().st_size, is_exact_rows=rows >= 0)

    def state(self, relation: SourceRelation) -> str:
        """Size, time of change and place of the file."""
        status = self._path(relation).stat()
        return f"{status.st_size}-{status.st_mtime_ns}-{status.st_ino}"

    def chunks(
        self, relation: SourceRelation, columns: Sequence[ColumnInfo], after: Position | None
    ) -> Iterator[SourceChunk]:
        """In the order of the file."""
        with _translated(relation.relation):
            _, reader = self._open(relation)
            span = SourceRange(after or relation.range.after, relation.range.until)
            yield from reader.chunks(columns, relation.chunk_bytes, span)

    def split(self, relation: SourceRelation, parts: int) -> Sequence[SourceRange]:
        """Between records of CSV and JSON Lines, between row groups of Parquet."""
        with _translated(relation.relation):
            _, reader = self._open(relation)
            return ranges_between(reader.split(parts) if parts > 1 else ())

    def close(self) -> None:
        """Nothing stays open between calls."""

    def _names(self) -> list[str]:
        """Files in the folder, but for those that a link leads to outside of it."""
        root = self._root.resolve()
        found = [path for path in islice(self._root.rglob("*"), FILES_MAX) if path.is_file()]
        inside = [path for path in found if ".pymigrate" not in path.parts and path.resolve().is_relative_to(root)]
        return sorted(str(path.relative_to(self._root)) for path in inside)

    def _path(self, relation: SourceRelation) -> Path:
        name = relation.relation
        if "\0" in name:
            raise missing(name, self._names())
        try:
            path = (self._root / name).resolve()
            is_file = path.is_file()
        except (OSError, RuntimeError) as error:  # a name that is too long, or links that go round
            raise missing(name, self._names()) from error
        if not path.is_relative_to(self._root.resolve()):
            raise InvalidDefinition((Problem("source.relation", f"`{name}` leads out of the connection's folder"),))
        if not is_file:
            raise missing(name, self._names())
        return path

    def _open(self, relation: SourceRelation) -> tuple[Path, Reader]:
        path = self._path(relation)
        form = relation.format or ENDINGS.get(path.suffix.lower())
        match form:
            case CsvFormat():
                from pymigrate.engine.adapters.connectors.csv_source import CsvReader

                return path, CsvReader(path, relation.relation, form)
            case JsonLinesFormat():
                from pymigrate.engine.adapters.connectors.json_lines_source import JsonLinesReader

                return path, JsonLinesReader(path, relation.relation, form, relation.columns)
            case ParquetFormat():
                from pymigrate.engine.adapters.connectors.parquet_source import ParquetReader

                return path, ParquetReader(path, relation.relation)
            case _:
                endings = ", ".join(ENDINGS)
                raise InvalidDefinition(
                    (
                        Problem(
                            "source.relation",
                            f"`{relation.relation}` does not end in {endings}: set csv, json_lines or parquet",
                        ),
                    )
                )


@contextmanager
def _translated(relation: str) -> Iterator[None]:
    """The file system's errors as PyMigrate's."""
    try:
        yield
    except OSError as error:
        raise SystemUnavailable(f"{relation} can't be read: {error}") from error
