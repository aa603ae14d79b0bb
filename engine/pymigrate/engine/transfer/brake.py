"""Holds a lane to the rate that its systems allow: it waits before each chunk for as long as the one before it should have taken.

Before the first chunk it waits for a random part of what that will take, so that lanes which start together do not read together.
"""

import random

from pymigrate.engine.ports.source import SourceChunk
from pymigrate.engine.transfer.signals import Signals

WAIT_SECONDS_MAX = 1.0


class Brake:
    """One lane's. `chunk_bytes` is what its first chunk is expected to hold. Waits on the thread that reads."""

    def __init__(self, signals: Signals, chunk_bytes: int, rng: random.Random) -> None:
        self._signals = signals
        self._bytes = int(chunk_bytes * rng.random())
        self._rows = 0
        self._is_let_go = False

    def wait(self) -> None:
        """Waits until the next chunk may be read. The rate may change meanwhile; ends early when the lane is asked to stop, or let go."""
        share = 1.0
        while share > 0 and not (self._is_let_go or self._signals.is_lost() or self._signals.is_draining()):
            seconds = self._signals.rate().seconds(self._bytes, self._rows)
            step = min(share * seconds, WAIT_SECONDS_MAX)
            if step <= 0:
                break
            self._signals.wait(step)
            share -= step / seconds

    def let_go(self) -> None:
        """Nothing is waited for any more, from WAIT_SECONDS_MAX from now on at the latest. Safe on every thread."""
        self._is_let_go = True

    def took(self, chunk: SourceChunk) -> None:
        """A chunk was read, and is to be waited for."""
        self._bytes, self._rows = chunk.bytes, chunk.rows
