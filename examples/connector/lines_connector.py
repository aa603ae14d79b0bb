"""A connector of one's own: text files below `root`, a row a line, with the line's number as its key.

It is the whole of what a source needs: what there is, what it looks like, whether it changed, and its rows in an order that stays.
"""

import hashlib
from collections.abc import Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path

import pyarrow as pa

from pymigrate.engine.domain.errors import InvalidDefinition, Problem, SourceMissing
from pymigrate.engine.domain.types import ColumnInfo, ColumnType
from pymigrate.engine.ports.arrow_types import arrow_schema
from pymigrate.engine.ports.connector import SystemSpec
from pymigrate.engine.ports.ranges import EVERYTHING, Position, SourceRange
from pymigrate.engine.ports.relations import RelationInfo, SourceRelation
from pymigrate.engine.ports.source import Source, SourceChunk
from pymigrate.engine.ports.target import Target

COLUMNS = (ColumnInfo("line", ColumnType("int64"), is_required=True), ColumnInfo("text", ColumnType("string")))


class LinesConnector:
    """Folders by `root`."""

    kind = "lines"

    def open_source(self, system: SystemSpec) -> Source:
        """Opens the folder. Raises SourceMissing where it is not there."""
        root = Path(system.options.get("root", ""))
        if not system.options.get("root") or not root.is_dir():
            raise SourceMissing(f"there is no folder {root}: set the option `root`", field="source.connection")
        return LinesSource(root)

    def open_target(self, system: SystemSpec) -> Target:
        """Lines are read only."""
        raise InvalidDefinition((Problem("target.connection", f"`{system.name}` holds lines, which are read only"),))


class LinesSource:
    """Files as relations. A position is how many lines were read."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def version(self) -> str:
        """The connector's own."""
        return "Lines 1.0"

    def relations(self, glob: str, limit: int) -> Sequence[RelationInfo]:
        """The files of the folder."""
        names = sorted(path.name for path in self._root.iterdir() if path.is_file() and fnmatch(path.name, glob))
        return [self.describe(SourceRelation(name)) for name in names[:limit]]

    def describe(self, relation: SourceRelation) -> RelationInfo:
        """Two columns, the first of which is the key."""
        size = self._path(relation).stat().st_size
        return RelationInfo(relation.relation, COLUMNS, ("line",), bytes=size)

    def state(self, relation: SourceRelation) -> str:
        """The file's digest."""
        return hashlib.sha256(self._path(relation).read_bytes()).hexdigest()

    def split(self, relation: SourceRelation, parts: int) -> Sequence[SourceRange]:
        """One lane reads a file."""
        del relation, parts
        return (EVERYTHING,)

    def chunks(
        self, relation: SourceRelation, columns: Sequence[ColumnInfo], after: Position | None
    ) -> Iterator[SourceChunk]:
        """The lines after those that were read, about `chunk_bytes` at a time."""
        done, texts, size = int(after or 0), list[str](), 0
        with self._path(relation).open(encoding="utf-8", newline="\n") as file:
            for number, line in enumerate(file, 1):
                if number <= done:
                    continue
                texts.append(line.removesuffix("\n"))
                size += len(line)
                if size >= relation.chunk_bytes:
                    yield _chunk(number, texts, size, columns)
                    texts, size = [], 0
                done = number
        if texts:
            yield _chunk(done, texts, size, columns)

    def close(self) -> None:
        """Nothing is open."""

    def _path(self, relation: SourceRelation) -> Path:
        path = self._root / relation.relation
        if path.parent != self._root or not path.is_file():
            raise SourceMissing(f"there is no file {relation.relation} in {self._root}", field="source.relation")
        return path


def _chunk(last: int, texts: Sequence[str], size: int, columns: Sequence[ColumnInfo]) -> SourceChunk:
    values = {
        "line": pa.array(range(last - len(texts) + 1, last + 1), pa.int64()),
        "text": pa.array(texts, pa.string()),
    }
    batch = pa.RecordBatch.from_arrays([values[column.name] for column in columns], schema=arrow_schema(columns))
    return SourceChunk((batch,), len(texts), size, Position(str(last)))
