"""A clock that a test moves: nothing passes by itself, and whoever sleeps wakes when the time has come."""

import asyncio
import heapq
import itertools
import threading
from datetime import UTC, datetime, timedelta

START = datetime(2026, 1, 1, tzinfo=UTC)
SETTLE_ROUNDS = 20


class ManualClock:
    """Stands still until it is moved. `now` and `monotonic` move together, but for a `jump`; `monotonic` starts at 0."""

    def __init__(self, start: datetime = START) -> None:
        self._start = start
        self._seconds = 0.0
        self._jumped = timedelta()
        self._order = itertools.count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    def now(self) -> datetime:
        """The start plus what the clock was moved by."""
        return self._start + self._jumped + timedelta(seconds=self._seconds)

    def monotonic(self) -> float:
        """Seconds that the clock was moved by."""
        return self._seconds

    def jump(self, seconds: float) -> None:
        """Sets the time of day alone, forth or back, as whoever sets a machine's clock does."""
        self._jumped += timedelta(seconds=seconds)

    async def sleep(self, seconds: float) -> None:
        """Sleeps until the clock was moved so far."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._seconds + seconds, next(self._order), woken))
        await woken

    @property
    def sleepers(self) -> int:
        """How many sleep right now."""
        return sum(not woken.done() for _, _, woken in self._sleepers)

    def advance(self, seconds: float) -> None:
        """Moves at once, and wakes in order whoever is due. They run when the caller lets the event loop go on."""
        self._move_to(self._seconds + seconds)

    async def run_for(self, seconds: float) -> None:
        """Moves from one sleeper's time to the next and lets everybody act in between, so that a loop which sleeps again and
        again comes round as often as it would."""
        end = self._seconds + seconds
        await self._settle()
        while self._sleepers and self._sleepers[0][0] <= end:
            self._move_to(self._sleepers[0][0])
            await self._settle()
        self._move_to(end)
        await self._settle()

    def _move_to(self, seconds: float) -> None:
        if seconds < self._seconds:
            raise ValueError("a clock is never moved back")
        self._seconds = seconds
        while self._sleepers and self._sleepers[0][0] <= seconds:
            _, _, woken = heapq.heappop(self._sleepers)
            if not woken.done():
                woken.set_result(None)

    async def _settle(self) -> None:
        for _ in range(SETTLE_ROUNDS):
            await asyncio.sleep(0)


class HastyClock:
    """For threads that wait: a wait moves the clock and returns at once. `waits` are the seconds of each, in order."""

    def __init__(self, start: datetime = START) -> None:
        self._start = start
        self._moving = threading.Lock()
        self.waits: list[float] = []

    def now(self) -> datetime:
        """The start plus every wait."""
        return self._start + timedelta(seconds=self.monotonic())

    def monotonic(self) -> float:
        """The sum of all waits."""
        with self._moving:
            return sum(self.waits)

    def wait(self, seconds: float) -> None:
        """Moves the clock."""
        with self._moving:
            self.waits.append(max(0.0, seconds))
