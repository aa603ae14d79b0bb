"""How fast a lane goes: a source whose chunks are timed, since how long a live system takes to answer is what the engine throttles its
lanes by, and the rate of a task that has one of its own."""

from collections.abc import Callable, Iterator

from pymigrate.engine.domain.rates import Rate
from pymigrate.engine.ports.source import Source, SourceChunk
from pymigrate.engine.transfer.relayed_source import RelayedSource
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


class TimedSource(RelayedSource):
    """The source, and the pace that its chunks come at by `monotonic`: lanes are drained and granted by it, so that in a simulation it is
    virtual time."""

    def __init__(self, source: Source, pace: Pace, monotonic: Callable[[], float]) -> None:
        super().__init__(source)
        self._pace = pace
        self._monotonic = monotonic

    def relayed(self, chunks: Iterator[SourceChunk]) -> Iterator[SourceChunk]:
        """Each timed."""
        while True:
            started = self._monotonic()
            chunk = next(chunks, None)
            if chunk is None:
                return
            self._pace.seconds = self._monotonic() - started
            yield chunk
