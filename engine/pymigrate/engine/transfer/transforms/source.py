"""A source whose rows went through transforms: inspection, copying and verification see what the target gets.

Rows are counted before the transforms, so that a lane is resumed at the very row of the source: a filter leaves rows out, and the rows
that a chunk refused must not be refused again by the next.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from pymigrate.engine.domain.errors import InvalidDefinition, Problem, SourceChanged
from pymigrate.engine.domain.types import ColumnInfo
from pymigrate.engine.ports.arrow_types import arrow_schema
from pymigrate.engine.ports.ranges import Position, SourceRange
from pymigrate.engine.ports.relations import RelationInfo, SourceRelation
from pymigrate.engine.ports.source import RefusedRow, Source, SourceChunk
from pymigrate.engine.transfer.transforms.changes import Shape, Transformed
from pymigrate.engine.transfer.transforms.pipeline import Pipeline
from pymigrate.engine.transfer.transforms.place import Place, place_of
from pymigrate.engine.transfer.transforms.rows import row_text

OpenPipeline = Callable[[Sequence[ColumnInfo]], Pipeline]


class TransformedSource:
    """See the port, and Rereading. `open_pipeline` binds the transforms to the source's columns, `lookup_states` tells the states of the
    relations that they look things up in. `reads_text`: declared types are the transforms' matter, not the source's. It passes no rows
    as bytes."""

    def __init__(
        self,
        source: Source,
        open_pipeline: OpenPipeline,
        lookup_states: Callable[[], Sequence[str]] = tuple,
        *,
        reads_text: bool = False,
    ) -> None:
        self._source = source
        self._open_pipeline = open_pipeline
        self._lookup_states = lookup_states
        self._reads_text = reads_text
        self._pipelines: list[Pipeline] = []

    def version(self) -> str:
        """The source's."""
        return self._source.version()

    def relations(self, glob: str, limit: int) -> Sequence[RelationInfo]:
        """The source's, as they are."""
        return self._source.relations(glob, limit)

    def describe(self, relation: SourceRelation) -> RelationInfo:
        """The columns and the key after the transforms; the size is the source's, and an estimate."""
        self._source.describe(
            replace(relation, key=())
        )  # with the declared types, which may name columns that are not there
        info = self._source.describe(self._keyless(relation))
        pipeline = self._opened(info.columns)
        try:
            key = tuple(pipeline.destination(name) or "" for name in info.key)
            schema = info.schema.through(pipeline.destination)
            return replace(
                info, columns=pipeline.columns, key=key if all(key) else (), is_exact_rows=False, schema=schema
            )
        finally:
            pipeline.close()

    def state(self, relation: SourceRelation) -> str:
        """The source's, with those of the relations that are looked up; empty where one of them has none."""
        own = self._source.state(self._keyless(relation))
        others = list(self._lookup_states())
        if not others:
            return own
        return json.dumps([own, *others]) if own and all(others) else ""

    def split(self, relation: SourceRelation, parts: int) -> Sequence[SourceRange]:
        """The source's ranges; a single one where what becomes of a row depends on others."""
        inner, pipeline = self._inner(relation)
        try:
            return self._source.split(inner, 1 if pipeline.is_stateful else parts)
        finally:
            pipeline.close()

    def chunks(
        self, relation: SourceRelation, columns: Sequence[ColumnInfo], after: Position | None
    ) -> Iterator[SourceChunk]:
        """The source's chunks after the transforms; one that has no row left is empty, and says how far it goes."""
        inner, pipeline = self._inner(relation)
        self._refuse_others(relation, pipeline, columns)
        place = place_of(after)
        if pipeline.is_stateful and after is not None:
            first, rest = self._again(inner, pipeline, place)
            for _ in first:
                pass  # what it does to the pipeline's state is what counts
            return rest
        return self._shaped(self._source.chunks(inner, pipeline.given, place.inner), pipeline, place)

    def shape(self, dataset: str, relation: SourceRelation, columns: Sequence[ColumnInfo]) -> Shape:
        """What is made of changes, to be closed by itself. Raises InvalidDefinition where that can't be said of each one alone."""
        inner, pipeline = self._inner(relation)
        self._refuse_others(relation, pipeline, columns)
        if problems := _follow_problems(relation, pipeline):
            raise InvalidDefinition(problems)
        self._pipelines.remove(pipeline)
        return Transformed(dataset, pipeline, list(zip(inner.key, relation.key, strict=True)))

    def followed(self, relation: SourceRelation) -> tuple[SourceRelation, Sequence[Problem]]:
        """The relation and its key as the source itself knows them, and what keeps changes from being told by that key."""
        inner, pipeline = self._inner(relation)
        return inner, _follow_problems(relation, pipeline)

    def reread(
        self, relation: SourceRelation, columns: Sequence[ColumnInfo], until: Position
    ) -> tuple[Iterator[SourceChunk], Iterator[SourceChunk]]:
        """See the port."""
        inner, pipeline = self._inner(relation)
        self._refuse_others(relation, pipeline, columns)
        return self._again(inner, pipeline, place_of(until))

    def close(self) -> None:
        """The source's, and what the transforms hold."""
        for pipeline in self._pipelines:
            pipeline.close()
        self._source.close()

    def _inner(self, relation: SourceRelation) -> tuple[SourceRelation, Pipeline]:
        """The relation as the source itself knows it: its key in the names before the transforms, where each column of it has one."""
        keyless = self._keyless(relation)
        pipeline = self._opened(self._source.describe(keyless).columns)
        key = tuple(pipeline.origin(name) or "" for name in relation.key)
        return (replace(keyless, key=key) if all(key) else keyless), pipeline

    def _keyless(self, relation: SourceRelation) -> SourceRelation:
        return replace(relation, key=(), columns={} if self._reads_text else relation.columns)

    def _opened(self, columns: Sequence[ColumnInfo]) -> Pipeline:
        pipeline = self._open_pipeline(columns)
        self._pipelines.append(pipeline)
        return pipeline

    def _refuse_others(self, relation: SourceRelation, pipeline: Pipeline, columns: Sequence[ColumnInfo]) -> None:
        if arrow_schema(pipeline.columns) != arrow_schema(columns):
            raise SourceChanged(
                f"{relation.relation} no longer has the columns that the run froze, so that its transforms give others: "
                "put them back, or start another run",
                field="source.relation",
            )

    def _again(
        self, inner: SourceRelation, pipeline: Pipeline, until: Place
    ) -> tuple[Iterator[SourceChunk], Iterator[SourceChunk]]:
        cut = _Cut(self._source.chunks(inner, pipeline.given, None), until.read)
        progress = _Progress(Place())
        return (
            self._shaped_on(cut.first(), pipeline, progress),
            self._shaped_on(cut.rest(), pipeline, progress),
        )

    def _shaped(self, chunks: Iterator[SourceChunk], pipeline: Pipeline, start: Place) -> Iterator[SourceChunk]:
        return self._shaped_on(chunks, pipeline, _Progress(start))

    def _shaped_on(
        self, chunks: Iterator[SourceChunk], pipeline: Pipeline, progress: "_Progress"
    ) -> Iterator[SourceChunk]:
        for chunk in chunks:
            yield progress.shaped(chunk, pipeline)


@dataclass
class _Progress:
    """Where the reading stands; goes on from the prefix to the rest."""

    place: Place

    def shaped(self, chunk: SourceChunk, pipeline: Pipeline) -> SourceChunk:
        """The chunk after the transforms."""
        read, digest = self.place.read, self.place.digest
        batches: list[pa.RecordBatch] = []
        refused: list[RefusedRow] = []
        for batch in chunk.batches:
            shaped = pipeline.apply(batch)
            if shaped.batch.num_rows:
                batches.append(shaped.batch)
            for refusal in shaped.refusals:
                text = row_text(batch, refusal.row, pipeline.hidden)
                refused.append(RefusedRow(read + refusal.row + 1, refusal.column, refusal.reason, text))
            read += batch.num_rows
        for row in refused:
            digest = hashlib.sha256(
                json.dumps([digest, row.row, row.column, row.reason, row.content]).encode()
            ).hexdigest()
        self.place = Place(chunk.end, read, self.place.refused + len(refused), digest)
        rows = sum(batch.num_rows for batch in batches)
        return SourceChunk(tuple(batches), rows, chunk.bytes, self.place.position(), refused=tuple(refused))


def _follow_problems(relation: SourceRelation, pipeline: Pipeline) -> tuple[Problem, ...]:
    made = [name for name in relation.key if pipeline.origin(name) is None]
    problems = [
        Problem(
            "transforms",
            f"`{name}` is of the key and made by a transform: changes are told by the source's own key; leave its values as they are, or "
            "choose another downtime policy",
        )
        for name in made
    ]
    if pipeline.is_stateful:
        text = "what becomes of a row depends on others, which change: choose another downtime policy"
        problems.append(Problem("transforms", text))
    return tuple(problems)


class _Cut:
    """A source's chunks, with an end of one at an exact number of rows."""

    def __init__(self, chunks: Iterator[SourceChunk], rows: int) -> None:
        self._chunks = chunks
        self._rows = rows
        self._left: SourceChunk | None = None

    def first(self) -> Iterator[SourceChunk]:
        """Everything up to that number of rows, or all there is."""
        wanted = self._rows
        while wanted > 0 and (chunk := next(self._chunks, None)) is not None:
            if chunk.rows > wanted:
                head, self._left = _parts(chunk, wanted)
                chunk = head
            wanted -= chunk.rows
            yield chunk

    def rest(self) -> Iterator[SourceChunk]:
        """What follows."""
        if self._left is not None:
            yield self._left
        yield from self._chunks


def _parts(chunk: SourceChunk, rows: int) -> tuple[SourceChunk, SourceChunk]:
    """The chunk in two. The first one's end is not a position to go on from."""
    table = pa.Table.from_batches(chunk.batches)
    size = chunk.bytes * rows // chunk.rows
    head, tail = table.slice(0, rows), table.slice(rows)
    return (
        SourceChunk(tuple(head.to_batches()), rows, size, chunk.end),
        SourceChunk(tuple(tail.to_batches()), chunk.rows - rows, chunk.bytes - size, chunk.end),
    )
