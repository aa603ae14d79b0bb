"""How fast a lane goes: a source whose chunks are timed, since how long a live system takes to answer is what the engine throttles its
lanes by, and the rate of a task that has one of its own."""

from collections.abc import Callable, Iterator, Mapping, Sequence

from pymigrate.engine.domain.errors import FailedPrecondition
from pymigrate.engine.domain.paths import CopyPath
from pymigrate.engine.domain.rates import Rate
from pymigrate.engine.domain.types import ColumnInfo
from pymigrate.engine.ports.ranges import Position, SourceRange
from pymigrate.engine.ports.relations import RelationInfo, SourceRelation
from pymigrate.engine.ports.source import PassingSource, Source, SourceChunk
from pymigrate.engine.transfer.signals import Signals
from pymigrate.v1 import worker_pb2


class Pace:
    """The seconds that the last chunk took; 0 before the first. Written by the source's thread, read by any."""

    def __init__(self) -> None:
        self.seconds = 0.0


class HeldToRate:
    """What is asked of a task that the engine gave a rate once and for all: heartbeats tell those of runs alone."""

    def __init__(self, signals: Signals, rate: worker_pb2.LaneRate) -> None:
        self._signals = signals
        self._rate = Rate(rate.bytes_per_second_max, rate.rows_per_second_max)

    def is_draining(self) -> bool:
        """The task's."""
        return self._signals.is_draining()

    def is_lost(self) -> bool:
        """The task's."""
        return self._signals.is_lost()

    def wait(self, seconds: float) -> None:
        """The task's."""
        self._signals.wait(seconds)

    def rate(self) -> Rate:
        """The one that it was given."""
        return self._rate


class TimedSource:
    """The source, and the pace that its chunks come at by `monotonic`: lanes are drained and granted by it, so that in a simulation it is
    virtual time."""

    def __init__(self, source: Source, pace: Pace, monotonic: Callable[[], float]) -> None:
        self._source = source
        self._pace = pace
        self._monotonic = monotonic

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
        """The source's, each timed."""
        return self._timed(self._source.chunks(relation, columns, after))

    def offers(self, relation: SourceRelation) -> Mapping[CopyPath, str]:
        """The source's, where it passes bytes."""
        return self._source.offers(relation) if isinstance(self._source, PassingSource) else {}

    def passing_split(self, relation: SourceRelation, path: CopyPath, parts: int) -> Sequence[SourceRange]:
        """The source's."""
        return self._passing().passing_split(relation, path, parts)

    def passing_chunks(
        self, relation: SourceRelation, columns: Sequence[ColumnInfo], path: CopyPath, after: Position | None
    ) -> Iterator[SourceChunk]:
        """The source's, each timed."""
        return self._timed(self._passing().passing_chunks(relation, columns, path, after))

    def _passing(self) -> PassingSource:
        if not isinstance(self._source, PassingSource):
            raise FailedPrecondition(f"{self._source.version()} passes no bytes: start another run")
        return self._source

    def _timed(self, found: Iterator[SourceChunk]) -> Iterator[SourceChunk]:
        while True:
            started = self._monotonic()
            chunk = next(found, None)
            if chunk is None:
                return
            self._pace.seconds = self._monotonic() - started
            yield chunk

    def close(self) -> None:
        """The source's."""
        self._source.close()
