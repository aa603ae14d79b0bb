"""A source on a thread of its own, which reads the next chunk while the one before is written.

A source's calls are made on one thread alone; whoever waits for one of them still hears what is asked of its task. Two chunks at most
are held: the one that is handed out, and the one that is being read, for which there must be room and time.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from types import TracebackType
from typing import TypeVar

from pymigrate.engine.domain.errors import CredentialsRefused, FailedPrecondition, SystemUnavailable
from pymigrate.engine.domain.paths import PASSING, CopyPath
from pymigrate.engine.domain.types import ColumnInfo
from pymigrate.engine.ports.ranges import Position
from pymigrate.engine.ports.relations import SourceRelation
from pymigrate.engine.ports.source import PassingSource, Rereading, Source, SourceChunk
from pymigrate.engine.transfer.brake import Brake
from pymigrate.engine.transfer.checksum import digested
from pymigrate.engine.transfer.memory import LaneMemory, MemoryBudget
from pymigrate.engine.transfer.signals import Signals, check

Result = TypeVar("Result")
POLL_SECONDS = 0.2
CLOSE_SECONDS_MAX = 5.0
SOURCE_FIELD = "source.connection"


def chunks_of(
    source: Source, relation: SourceRelation, columns: Sequence[ColumnInfo], after: Position | None, path: CopyPath
) -> Iterator[SourceChunk]:
    """A source's chunks as they travel on a path; those that pass undecoded with the digest of their bytes, so that who writes one chunk
    need not wait for it. Raises FailedPrecondition for a path that the source does not know."""
    if path is CopyPath.ARROW:
        return source.chunks(relation, columns, after)
    if not isinstance(source, PassingSource):
        raise FailedPrecondition(f"{source.version()} has no rows to pass as {path}: start another run")
    found = source.passing_chunks(relation, columns, path, after)
    return map(digested, found) if path in PASSING else found


class SourceReader:
    """An opened source. `brake` makes what holds a lane back whose chunks are expected to hold so many bytes. Raises what its calls raise,
    and LeaseLost or Drained while waiting for one."""

    def __init__(
        self,
        open_source: Callable[[], Source],
        signals: Signals,
        budget: MemoryBudget,
        brake: Callable[[Signals, int], Brake],
    ) -> None:
        self._signals = signals
        self._budget = budget
        self._brake = brake
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="source")
        self._source: Source | None = None
        self._open_source = open_source
        self._ahead_of: list[tuple[Brake, LaneMemory]] = []

    def __enter__(self) -> "SourceReader":
        try:
            self.call(lambda _: None)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def call(self, use: Callable[[Source], Result]) -> Result:
        """What `use` makes of the source, on the source's thread."""
        return self.wait(self.start(use))

    def start(self, use: Callable[[Source], Result]) -> "Future[Result]":
        """The same, without waiting."""
        return self._thread.submit(lambda: use(self._opened()))

    def wait(self, future: "Future[Result]") -> Result:
        """Waits for what was started, and hears what is asked meanwhile."""
        while not wait([future], timeout=POLL_SECONDS).done:
            check(self._signals)
        try:
            return future.result()
        except (SystemUnavailable, CredentialsRefused) as error:
            error.field = error.field or SOURCE_FIELD
            raise

    def chunks(
        self,
        relation: SourceRelation,
        columns: Sequence[ColumnInfo],
        after: Position | None,
        path: CopyPath = CopyPath.ARROW,
    ) -> Iterator[SourceChunk]:
        """The source's chunks in order, as they travel on a path, each read while its predecessor is used, not faster than the lane may
        go, and not before there is memory for it."""
        return self._ahead(self.call(lambda source: chunks_of(source, relation, columns, after, path)), relation)

    def reread(
        self, relation: SourceRelation, columns: Sequence[ColumnInfo], until: Position | None
    ) -> tuple[Iterator[SourceChunk], Iterator[SourceChunk]] | None:
        """What Rereading gives, read in the same way; None for a source whose chunks hold every row that it reads."""
        found = self.call(
            lambda source: source.reread(relation, columns, until) if until and isinstance(source, Rereading) else None
        )
        return None if found is None else (self._ahead(found[0], relation), self._ahead(found[1], relation))

    def _ahead(self, found: Iterator[SourceChunk], relation: SourceRelation) -> Iterator[SourceChunk]:
        brake = self._brake(self._signals, relation.chunk_bytes)
        memory = LaneMemory(self._budget, relation.chunk_bytes, self._signals)
        self._ahead_of.append((brake, memory))

        def read() -> SourceChunk | None:
            brake.wait()
            if not memory.reserve():
                return None  # nobody waits for it any more
            chunk = next(found, None)
            memory.came(chunk)
            if chunk is not None:
                brake.took(chunk)
            return chunk

        try:
            ahead = self.start(lambda _: read())
            while (chunk := self.wait(ahead)) is not None:
                ahead = self.start(lambda _: read())
                yield chunk
                del chunk
                memory.release()
        finally:
            memory.close()

    def renew(self, open_heir: Callable[[], Source | None]) -> bool:
        """Puts the source that is opened in the place of the present one. False: there is none, and the present one stays. Either way what
        is being read is given up, since room for it may never come while whoever asks still holds a chunk."""

        def exchange() -> bool:
            heir = open_heir()
            if heir is None:
                return False
            former, self._source = self._source, heir
            if former is not None:
                former.close()
            return True

        for brake, memory in self._ahead_of:
            brake.let_go()
            memory.close()
        self._ahead_of.clear()
        return self.call(lambda _: exchange())

    def close(self) -> None:
        """Closes the source on its thread; what waits there for room or time is let go. A call that hangs is waited for a few seconds
        only, not at all once the lease is lost; the source is closed after it."""
        for brake, memory in self._ahead_of:
            brake.let_go()
            memory.close()
        closing = self._thread.submit(self._close)
        self._thread.shutdown(wait=False)
        wait([closing], timeout=0 if self._signals.is_lost() else CLOSE_SECONDS_MAX)

    def _opened(self) -> Source:
        if self._source is None:
            self._source = self._open_source()
        return self._source

    def _close(self) -> None:
        if self._source is not None:
            self._source.close()
