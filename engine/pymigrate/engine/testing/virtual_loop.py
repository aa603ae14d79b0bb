"""An event loop on which time is virtual and order is chance: nothing waits, and what is ready at one moment runs in a shuffled order.

Everything follows from the source of chance, so that one seed gives one history; another seed gives another interleaving of the same
code. Only what runs on the loop, or hand over hand with it (`fibers`), may take part.
"""

import asyncio
import collections
import heapq
import random
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

START = datetime(2026, 1, 1, tzinfo=UTC)
CALLBACKS_MAX = 3_000_000
Result = TypeVar("Result")


class NothingLeft(RuntimeError):
    """Somebody waits for what can't happen any more: nothing is ready, and nothing is due at any time."""


class Livelock(RuntimeError):
    """More callbacks ran than any honest history has."""


class VirtualLoop(asyncio.SelectorEventLoop):
    """`time()` starts at 0 and jumps from one timer to the next. No file descriptor is ever looked at."""

    _ready: "collections.deque[asyncio.Handle]"
    _scheduled: "list[asyncio.TimerHandle]"
    _stopping: bool

    def __init__(self, rng: random.Random) -> None:
        super().__init__()
        self._rng = rng
        self._seconds = 0.0
        self._callbacks = 0
        self.errors: list[BaseException] = []
        self.set_exception_handler(self._note_error)

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._seconds

    def _run_once(self) -> None:
        """One round: whatever is due by the time of the next timer, in any order."""
        scheduled, ready = self._scheduled, self._ready
        while scheduled and scheduled[0].cancelled():
            _take(scheduled)
        if not ready and not self._stopping:
            if not scheduled:
                raise NothingLeft(f"everybody waits at {self._seconds:.3f} s, and nothing is due")
            self._seconds = max(self._seconds, scheduled[0].when())
        while scheduled and scheduled[0].when() <= self._seconds:
            ready.append(_take(scheduled))
        handles = list(ready)
        ready.clear()
        if len(handles) > 1:
            self._rng.shuffle(handles)
        self._callbacks += len(handles)
        if self._callbacks > CALLBACKS_MAX:
            raise Livelock(f"{self._callbacks:,} callbacks by {self._seconds:.3f} s")
        for handle in handles:
            if not handle.cancelled():
                handle._run()  # noqa: SLF001 (what the base class's own round does)

    def _note_error(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if isinstance(error, Exception):
            self.errors.append(error)


def _take(scheduled: "list[asyncio.TimerHandle]") -> asyncio.TimerHandle:
    handle = heapq.heappop(scheduled)
    # The base class counts cancelled timers by it.
    handle._scheduled = False  # type: ignore[attr-defined]  # noqa: SLF001
    return handle


class VirtualClock:
    """The Clock port on a virtual loop. A machine's clock may be set wrong by `offset_seconds` and run at another `rate`."""

    def __init__(self, loop: VirtualLoop, offset_seconds: float = 0.0, rate: float = 1.0) -> None:
        self._loop = loop
        self.offset_seconds = offset_seconds
        self.rate = rate

    def now(self) -> datetime:
        """The time of day that this machine believes in."""
        return START + timedelta(seconds=self._loop.time() + self.offset_seconds)

    def monotonic(self) -> float:
        """Seconds by this machine's clock."""
        return self._loop.time() * self.rate

    async def sleep(self, seconds: float) -> None:
        """Returns after so many seconds by this machine's clock."""
        await asyncio.sleep(max(0.0, seconds) / self.rate)


def run_virtually(main: "Callable[[VirtualLoop], Coroutine[Any, Any, Result]]", rng: random.Random) -> Result:
    """Runs a coroutine to its end on a loop of its own. Raises what it raised, and NothingLeft when it can't end."""
    loop = VirtualLoop(rng)
    try:
        asyncio.set_event_loop(loop)
        return loop.run_until_complete(main(loop))
    finally:
        _give_up(loop)
        asyncio.set_event_loop(None)
        loop.close()


def _give_up(loop: VirtualLoop) -> None:
    left = asyncio.all_tasks(loop)
    for task in left:
        task.cancel()
    if left:
        loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
    loop.run_until_complete(loop.shutdown_asyncgens())
