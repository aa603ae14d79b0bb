"""The memory that a host's lanes have together: a chunk is read when there is room for it, and gives its room back when it is written.

A lane that holds nothing always gets on in the end: those that hold chunks only write them, which makes room, and where nobody holds
anything even a chunk that is larger than the whole is let in. Lanes with nothing come in the order in which they asked, and before those
that want to read ahead of a chunk that they hold.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from pymigrate.engine.ports.source import SourceChunk
from pymigrate.engine.transfer.signals import Signals

POLL_SECONDS = 0.2
UNLIMITED = 1 << 62


class MemoryBudget:
    """Bytes for all lanes of a process. Safe on every thread; may be resized at any time: what is held beyond it runs out by itself."""

    def __init__(self, bytes_max: int = UNLIMITED) -> None:
        self.changed = threading.Condition()
        self.held_bytes = 0
        self.waiting: list[LaneMemory] = []
        self._bytes_max = bytes_max

    def resize(self, bytes_max: int) -> None:
        """From now on there is so much."""
        with self.changed:
            self._bytes_max = bytes_max
            self.changed.notify_all()

    @contextmanager
    def held(self, size_bytes: int, signals: Signals) -> Iterator[None]:
        """Room for so much, waited for, as long as the block takes."""
        share = LaneMemory(self, size_bytes, signals)
        share.reserve()
        try:
            yield
        finally:
            share.close()

    def has_room(self, size_bytes: int) -> bool:
        """Whether so much may be taken; under `changed`."""
        return self.held_bytes == 0 or self.held_bytes + size_bytes <= self._bytes_max


class LaneMemory:
    """One lane's part of a budget: room for the chunk that it is about to read, and what it holds. For one reader and one writer."""

    def __init__(self, budget: MemoryBudget, chunk_bytes: int, signals: Signals) -> None:
        self._budget = budget
        self._signals = signals
        self._expected = chunk_bytes
        self._held: list[int] = []
        self._is_closed = False

    def reserve(self) -> bool:
        """Waits for room for the next chunk. Where the lane is asked to stop meanwhile it takes what it needs: it will not need it long.
        False: this was closed, and nothing is to be read."""
        budget = self._budget
        with budget.changed:
            budget.waiting.append(self)
            try:
                while not (self._is_due() or self._is_closed or self._signals.is_lost() or self._signals.is_draining()):
                    budget.changed.wait(POLL_SECONDS)
            finally:
                budget.waiting.remove(self)
            if not self._is_closed:
                self._held.append(self._expected)
                budget.held_bytes += self._expected
            budget.changed.notify_all()
            return not self._is_closed

    def came(self, chunk: SourceChunk | None) -> None:
        """What was read into the room that was reserved last; None: nothing more."""
        size = 0 if chunk is None else _bytes_of(chunk)
        with self._budget.changed:
            if self._held:
                self._budget.held_bytes += size - self._held[-1]
                self._held[-1] = size
            self._expected = max(size, 1)
            self._budget.changed.notify_all()

    def release(self) -> None:
        """The oldest chunk is written; nothing is left to give back where this was closed."""
        with self._budget.changed:
            if not self._is_closed:
                self._budget.held_bytes -= self._held.pop(0)
            self._budget.changed.notify_all()

    def close(self) -> None:
        """Gives back everything, and takes nothing any more. May be called again."""
        with self._budget.changed:
            self._is_closed = True
            self._budget.held_bytes -= sum(self._held)
            self._held.clear()
            self._budget.changed.notify_all()

    def _is_due(self) -> bool:
        first = next((lane for lane in self._budget.waiting if not lane._held), self)  # noqa: SLF001 (of its own kind)
        return first is self and self._budget.has_room(self._expected)


def _bytes_of(chunk: SourceChunk) -> int:
    return sum(int(batch.nbytes) for batch in chunk.batches) + sum(map(len, chunk.pieces))
