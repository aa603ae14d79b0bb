"""Files below a root as a source: one file, or all that a glob matches, each handed to the reader of its format."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase

from pymigrate.engine.adapters.connectors.csv_passing import relation_obstacle
from pymigrate.engine.adapters.connectors.csv_source import CsvReader
from pymigrate.engine.adapters.connectors.file_reader import Reader, passing
from pymigrate.engine.adapters.connectors.files_glob import GlobReader, is_glob, matching
from pymigrate.engine.adapters.connectors.json_lines_source import JsonLinesReader
from pymigrate.engine.adapters.connectors.parquet_source import ParquetReader
from pymigrate.engine.adapters.connectors.source_values import declared_columns
from pymigrate.engine.adapters.connectors.stored_files import (
    Folder,
    LocalFolder,
    StoredFile,
    local_root,
    unreadable,
)
from pymigrate.engine.domain.errors import DataRefused, InvalidDefinition, Problem, SourceMissing, SystemUnavailable
from pymigrate.engine.domain.paths import CopyPath
from pymigrate.engine.domain.types import ColumnInfo
from pymigrate.engine.ports.connector import SystemSpec
from pymigrate.engine.ports.file_formats import (
    ENDINGS,
    PACKINGS,
    CsvFormat,
    JsonLinesFormat,
    ParquetFormat,
    format_of,
    packing_of,
)
from pymigrate.engine.ports.http_format import HttpJsonFormat
from pymigrate.engine.ports.ranges import Position, SourceRange, ranges_between
from pymigrate.engine.ports.relations import RelationInfo, SourceRelation
from pymigrate.engine.ports.source import Source, SourceChunk

LISTED_JSON_BYTES_MAX = 256 * 1024 * 1024  # of a listing: every line must be read to tell its columns


class FilesSource:
    """Files below `root`."""

    def __init__(self, system: SystemSpec, listed_json_bytes_max: int = LISTED_JSON_BYTES_MAX) -> None:
        self._listed_json_bytes_max = listed_json_bytes_max
        self._folder = _folder(system)

    def is_sessionless(self) -> bool:
        """Files are opened by their names."""
        return True

    def hand_over(self, heir: Source) -> bool:
        """Nothing: files are opened by their names, and their states tell whether they are what they were."""
        return isinstance(heir, FilesSource)

    def version(self) -> str:
        """The root."""
        return f"files in {self._folder}"

    def relations(self, glob: str, limit: int) -> Sequence[RelationInfo]:
        """The files whose ending tells their format."""
        with _translated("the connection's folder"):
            names = [name for name in self._folder.names() if fnmatchcase(name, glob) and format_of(name)]
        found, left = list[RelationInfo](), self._listed_json_bytes_max
        for name in names[:limit]:
            size = self._folder.find(name).size
            is_json = isinstance(format_of(name), JsonLinesFormat)
            left -= size if is_json else 0
            found.append(self._listed(name, size) if left >= 0 or not is_json else RelationInfo(name, (), bytes=size))
        return found

    def _listed(self, name: str, size: int) -> RelationInfo:
        try:
            return self.describe(SourceRelation(name))
        except (
            DataRefused,
            InvalidDefinition,
            SourceMissing,
            SystemUnavailable,
        ):  # it is there, but can't be read and has nothing to show
            return RelationInfo(name, (), bytes=size)

    def describe(self, relation: SourceRelation) -> RelationInfo:
        """Columns as the files and the dataset tell them."""
        with _translated(relation.relation):
            return self._describe(relation)

    def _describe(self, relation: SourceRelation) -> RelationInfo:
        files, reader = self._open(relation)
        columns = declared_columns(relation, reader.columns())
        if problems := [p for name, kind in relation.columns.items() if (p := reader.declared(name, kind))]:
            raise InvalidDefinition(tuple(problems))
        rows, size = reader.rows(), sum(file.size for file in files)
        return RelationInfo(relation.relation, columns, (), rows, size, is_exact_rows=rows >= 0)

    def state(self, relation: SourceRelation) -> str:
        """Size, time of change and place of the file; of several the digest of their names and states. Empty where a file system does
        not tell."""
        with _translated(relation.relation):
            files = self._files(relation)
        if len(files) == 1 and files[0].name == relation.relation:
            return files[0].state
        if not all(file.state for file in files):
            return ""
        listed = "\0".join(f"{file.name}\0{file.state}" for file in files)
        return f"{len(files)}-{hashlib.sha256(listed.encode()).hexdigest()}"

    def chunks(
        self, relation: SourceRelation, columns: Sequence[ColumnInfo], after: Position | None
    ) -> Iterator[SourceChunk]:
        """In the order of the file, and of several by their names."""
        with _translated(relation.relation):
            _, reader = self._open(relation)
            span = SourceRange(after or relation.range.after, relation.range.until)
            yield from reader.chunks(columns, relation.chunk_bytes, span)

    def split(self, relation: SourceRelation, parts: int) -> Sequence[SourceRange]:
        """Between files, between records of CSV and JSON Lines that are not packed, and between row groups of Parquet."""
        with _translated(relation.relation):
            _, reader = self._open(relation)
            return ranges_between(reader.split(parts) if parts > 1 else ())

    def offers(self, relation: SourceRelation) -> Mapping[CopyPath, str]:
        """Records of CSV as they lie in the file."""
        with _translated(relation.relation):
            files, reader = self._open(relation)
            form = _format(files[0], relation)
            if not isinstance(form, CsvFormat):
                return {}
            if form != (relation.format or format_of(relation.relation)):
                return {CopyPath.CSV: f"`{relation.relation}` does not tell how its files are written"}
            if isinstance(reader, GlobReader) and len(reader.headers()) > 1:
                return {CopyPath.CSV: "the files have their columns in different orders"}
            return {CopyPath.CSV: relation_obstacle(form, declared_columns(relation, reader.columns()))}

    def passing_split(self, relation: SourceRelation, path: CopyPath, parts: int) -> Sequence[SourceRange]:
        """As `split`: the path has no positions of its own."""
        del path
        return self.split(relation, parts)

    def passing_chunks(
        self, relation: SourceRelation, columns: Sequence[ColumnInfo], path: CopyPath, after: Position | None
    ) -> Iterator[SourceChunk]:
        """As `chunks`, with the records as they lie in the files."""
        del path
        with _translated(relation.relation):
            _, reader = self._open(relation)
            span = SourceRange(after or relation.range.after, relation.range.until)
            yield from passing(reader).passing_chunks(columns, relation.chunk_bytes, span)

    def close(self) -> None:
        """Nothing stays open between calls."""

    def _files(self, relation: SourceRelation) -> list[StoredFile]:
        """The files of a relation. A file that has the very name comes before what the name may stand for."""
        if not is_glob(relation.relation):
            return [self._folder.find(relation.relation)]
        try:
            return [self._folder.find(relation.relation)]
        except SourceMissing:
            return matching(self._folder, relation.relation)

    def _open(self, relation: SourceRelation) -> tuple[list[StoredFile], Reader]:
        files = self._files(relation)
        if len(files) == 1 and files[0].name == relation.relation:
            return files, _reader(files[0], relation)
        kinds = {file.name: type(_format(file, relation)).__name__ for file in files}
        if len(set(kinds.values())) > 1:
            other = next(name for name, kind in kinds.items() if kind != kinds[files[0].name])
            why = f"`{relation.relation}` matches files of several formats, such as {files[0].name} and {other}: name those of one"
            raise InvalidDefinition((Problem("source.relation", why),))
        return files, GlobReader(relation.relation, files, lambda file: _reader(file, relation), relation.columns)


def _folder(system: SystemSpec) -> Folder:
    """The root, which is a path, or a URL whose library is imported for it."""
    root = system.options["root"]
    if (local := local_root(root)) is not None:
        return LocalFolder(local)
    from pymigrate.engine.adapters.connectors.remote_files import RemoteFolder

    return RemoteFolder(system)


def _format(file: StoredFile, relation: SourceRelation) -> CsvFormat | JsonLinesFormat | ParquetFormat:
    form = relation.format or format_of(file.name)
    if form is None or isinstance(form, HttpJsonFormat):
        endings = ", ".join(ENDINGS)
        packed = " or ".join(PACKINGS)
        why = f"`{file.name}` does not end in {endings} (and {packed} after it): set csv, json_lines or parquet"
        raise InvalidDefinition((Problem("source.relation", why),))
    if isinstance(form, ParquetFormat) and packing_of(file.name):
        why = f"`{file.name}` is packed as a whole, and Parquet is packed inside: unpack it"
        raise InvalidDefinition((Problem("source.relation", why),))
    return form


def _reader(file: StoredFile, relation: SourceRelation) -> Reader:
    match _format(file, relation):
        case CsvFormat() as form:
            return CsvReader(file, file.name, form)
        case JsonLinesFormat() as form:
            return JsonLinesReader(file, file.name, form, relation.columns)
        case ParquetFormat():
            return ParquetReader(file, file.name)


@contextmanager
def _translated(relation: str) -> Iterator[None]:
    """The file system's errors as PyMigrate's."""
    try:
        yield
    except PermissionError as error:
        raise unreadable(relation, error) from error
    except OSError as error:
        raise SystemUnavailable(f"{relation} can't be read: {error}") from error
