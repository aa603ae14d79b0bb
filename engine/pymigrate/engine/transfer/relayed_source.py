"""A source that stands before another: what it is asked it asks that one, and only its chunks go through its hands."""

from collections.abc import Iterator, Mapping, Sequence

from pymigrate.engine.domain.errors import FailedPrecondition
from pymigrate.engine.domain.paths import CopyPath
from pymigrate.engine.domain.types import ColumnInfo
from pymigrate.engine.ports.ranges import Position, SourceRange
from pymigrate.engine.ports.relations import RelationInfo, SourceRelation
from pymigrate.engine.ports.source import PassingSource, Source, SourceChunk


class RelayedSource:
    """See the port. What some sources have on top it has not, but for bytes that pass."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def relayed(self, chunks: Iterator[SourceChunk]) -> Iterator[SourceChunk]:
        """The chunks as they are handed on; what stands before a source says how."""
        return chunks

    def version(self) -> str:
        """The source's."""
        return self._source.version()

    def relations(self, glob: str, limit: int) -> Sequence[RelationInfo]:
        """The source's."""
        return self._source.relations(glob, limit)

    def describe(self, relation: SourceRelation) -> RelationInfo:
        """The source's."""
        return self._source.describe(relation)

    def state(self, relation: SourceRelation) -> str:
        """The source's."""
        return self._source.state(relation)

    def split(self, relation: SourceRelation, parts: int) -> Sequence[SourceRange]:
        """The source's."""
        return self._source.split(relation, parts)

    def chunks(
        self, relation: SourceRelation, columns: Sequence[ColumnInfo], after: Position | None
    ) -> Iterator[SourceChunk]:
        """The source's, relayed."""
        return self.relayed(self._source.chunks(relation, columns, after))

    def offers(self, relation: SourceRelation) -> Mapping[CopyPath, str]:
        """The source's, where it passes bytes."""
        return self._source.offers(relation) if isinstance(self._source, PassingSource) else {}

    def passing_split(self, relation: SourceRelation, path: CopyPath, parts: int) -> Sequence[SourceRange]:
        """The source's."""
        return self._passing().passing_split(relation, path, parts)

    def passing_chunks(
        self, relation: SourceRelation, columns: Sequence[ColumnInfo], path: CopyPath, after: Position | None
    ) -> Iterator[SourceChunk]:
        """The source's, relayed."""
        return self.relayed(self._passing().passing_chunks(relation, columns, path, after))

    def close(self) -> None:
        """The source's."""
        self._source.close()

    def _passing(self) -> PassingSource:
        if not isinstance(self._source, PassingSource):
            raise FailedPrecondition(f"{self._source.version()} passes no bytes: start another run")
        return self._source
