"""A folder of files as a source: finds the file, never outside the folder, and hands it to the reader of its format."""

from collections.abc import Iterator, Sequence
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
    SourceRelation,
    SystemSpec,
)

FILES_MAX = 100_000
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

    def chunks(self, columns: Sequence[ColumnInfo], chunk_bytes: int, after: Position | None) -> Iterator[SourceChunk]:
        """Its rows after a position."""
        ...


class FilesSource:
    """A folder by `root`."""

    def __init__(self, system: SystemSpec) -> None:
        self._root = Path(system.options["root"])
        if not self._root.is_dir():
            raise SourceMissing(f"there is no folder {self._root}", field="source.connection")

    def version(self) -> str:
        """The folder."""
        return f"files in {self._root}"

    def relations(self, glob: str, limit: int) -> Sequence[RelationInfo]:
        """The files whose ending tells their format."""
        names = [name for name in self._names() if fnmatchcase(name, glob) and Path(name).suffix.lower() in ENDINGS]
        return [self._listed(name) for name in names[:limit]]

    def _listed(self, name: str) -> RelationInfo:
        try:
            return self.describe(SourceRelation(name))
        except (DataRefused, SourceMissing):  # a file that can't be read: it is there, but has nothing to show
            return RelationInfo(name, (), bytes=(self._root / name).stat().st_size)

    def describe(self, relation: SourceRelation) -> RelationInfo:
        """Columns as the file and the dataset tell them."""
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
        _, reader = self._open(relation)
        try:
            yield from reader.chunks(columns, relation.chunk_bytes, after)
        except OSError as error:
            raise SystemUnavailable(f"{relation.relation} can't be read: {error}") from error

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
        path = (self._root / name).resolve()
        if not path.is_relative_to(self._root.resolve()):
            raise InvalidDefinition((Problem("source.relation", f"`{name}` leads out of the connection's folder"),))
        if not path.is_file():
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

                return path, JsonLinesReader(path, relation.relation, form)
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
