"""A folder of files as a source, for the tests of the formats."""

from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from pymigrate.engine.adapters.connectors.files_source import FilesSource
from pymigrate.engine.domain.types import parse_type
from pymigrate.engine.ports.connector import SystemSpec
from pymigrate.engine.ports.file_formats import FileFormat
from pymigrate.engine.ports.ranges import Position
from pymigrate.engine.ports.relations import RelationInfo, SourceRelation
from pymigrate.engine.ports.source import SourceChunk


class Folder:
    """A folder that files are written to and read from."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def open(self) -> FilesSource:
        return FilesSource(SystemSpec("files", "legacy", {"root": str(self.path)}))

    def write(self, name: str, content: bytes | str) -> None:
        (self.path / name).write_bytes(content.encode() if isinstance(content, str) else content)

    def describe(
        self, name: str, form: FileFormat | None = None, types: Mapping[str, str] | None = None
    ) -> RelationInfo:
        with closing(self.open()) as source:
            return source.describe(self.relation(name, form, types))

    def chunks(
        self,
        name: str,
        form: FileFormat | None = None,
        types: Mapping[str, str] | None = None,
        chunk_bytes: int = 20_000_000,
        after: Position | None = None,
    ) -> list[SourceChunk]:
        relation = self.relation(name, form, types, chunk_bytes)
        with closing(self.open()) as source:
            return list(source.chunks(relation, source.describe(relation).columns, after))

    def rows(
        self,
        name: str,
        form: FileFormat | None = None,
        types: Mapping[str, str] | None = None,
        chunk_bytes: int = 20_000_000,
        after: Position | None = None,
    ) -> list[tuple[object, ...]]:
        found = self.chunks(name, form, types, chunk_bytes, after)
        return [tuple(row.values()) for chunk in found for batch in chunk.batches for row in batch.to_pylist()]

    def relation(
        self,
        name: str,
        form: FileFormat | None = None,
        types: Mapping[str, str] | None = None,
        chunk_bytes: int = 20_000_000,
    ) -> SourceRelation:
        columns = {column: parse_type(text) for column, text in (types or {}).items()}
        return SourceRelation(name, form, columns, (), chunk_bytes)
