"""Holds a lane to the rate that its systems allow: a chunk is read no sooner than the one before it should have taken, counted from the
moment at which that one was begun. What reading and writing take is within that time, so that a lane keeps to its rate exactly.

Before the first chunk it waits for a part of what that will take, so that lanes which start together do not read together.
"""

from collections.abc import Callable

from pymigrate.engine.ports.source import SourceChunk
from pymigrate.engine.transfer.signals import Signals

WAIT_SECONDS_MAX = 1.0
SHARE_MIN = 1e-6  # of a wait: less is rounding, which a clock may be too coarse to pass


class Brake:
    """One lane's. `lead_bytes` are waited for before the first chunk. Waits on the thread that reads; `monotonic` tells seconds."""

    def __init__(self, signals: Signals, monotonic: Callable[[], float], lead_bytes: int) -> None:
        self._signals = signals
        self._monotonic = monotonic
        self._bytes = lead_bytes
        self._rows = 0
        self._begun: float | None = None
        self._is_let_go = False

    def wait(self) -> None:
        """Waits until the next chunk may be read. The rate may change meanwhile; ends early when the lane is asked to stop, or let go."""
        share = 1.0
        while not (self._is_let_go or self._signals.is_lost() or self._signals.is_draining()):
            seconds = self._signals.rate().seconds(self._bytes, self._rows)
            if seconds <= 0:
                self._begun = None
                return
            share -= self._passed(seconds)
            if share <= SHARE_MIN:
                # What came too late is made up for with the next chunk, but never more than a chunk at once.
                self._begun = self._monotonic() - min(max(-share, 0.0), 1.0) * seconds
                return
            self._signals.wait(min(share * seconds, WAIT_SECONDS_MAX))
            share -= self._passed(seconds)

    def _passed(self, seconds: float) -> float:
        """Which share of so many seconds has passed since this was last asked, or since the chunk was begun."""
        now = self._monotonic()
        begun, self._begun = self._begun, now
        return 0.0 if begun is None else (now - begun) / seconds

    def let_go(self) -> None:
        """Nothing is waited for any more, from WAIT_SECONDS_MAX from now on at the latest. Safe on every thread."""
        self._is_let_go = True

    def took(self, chunk: SourceChunk) -> None:
        """A chunk was read, and is to be waited for."""
        self._bytes, self._rows = chunk.bytes, chunk.rows
