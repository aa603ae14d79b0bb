"""A queue of keys to work on: each is in it once, however often it is added, and is never worked on twice at once.

What fails is tried again, later and later, by workers of its own, so that keys which fail for ever delay none that do not.
"""

import asyncio
import heapq
import random
from collections import deque
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

import structlog

from pymigrate.engine.domain.errors import PyMigrateError, TemporaryError
from pymigrate.engine.ports.clock import Clock

log = structlog.get_logger(__name__)
RETRY_FIRST_SECONDS = 0.2
RETRY_MAX_SECONDS = 60.0
HURRY_SECONDS = 1.0
DOUBLINGS_MAX = 20
DUES_SPARE = 64
Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Worked:
    """A piece of work that ended: how long its key waited for a worker, how long it took, and whether it is tried again."""

    waited_seconds: float
    worked_seconds: float
    is_failed: bool


class WorkQueue(Generic[Key]):
    """`work` returns after how many seconds to look at the key again, or None. What it raises is tried again: after `retry_first_seconds`,
    doubling to `retry_max_seconds`, with jitter, and never sooner than a TemporaryError says. A failing key that is added in the
    meantime is tried sooner, but once in HURRY_SECONDS at most. Keys that failed last are held by `retry_workers`, all others by `workers`.

    Keys may be added before it runs. `on_worked` must not wait."""

    def __init__(
        self,
        clock: Clock,
        rng: random.Random,
        work: Callable[[Key], Awaitable[float | None]],
        *,
        workers: int,
        retry_workers: int,
        retry_first_seconds: float = RETRY_FIRST_SECONDS,
        retry_max_seconds: float = RETRY_MAX_SECONDS,
        on_worked: Callable[[Key, Worked], None] = lambda _, __: None,
    ) -> None:
        self._clock = clock
        self._rng = rng
        self._work = work
        self._lanes: dict[bool, _Lane[Key]] = {False: _Lane(workers), True: _Lane(retry_workers)}
        self._retry_first_seconds = retry_first_seconds
        self._retry_max_seconds = retry_max_seconds
        self._on_worked = on_worked
        self._waiting: dict[Key, float] = {}
        self._running: dict[Key, asyncio.Task[None]] = {}
        self._again: set[Key] = set()
        self._failures: dict[Key, int] = {}
        self._not_before: dict[Key, float] = {}
        self._due: dict[Key, float] = {}
        self._dues: list[tuple[float, int, Key]] = []
        self._numbers = 0
        self._is_taking = False
        self._alarm = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    def __len__(self) -> int:
        """How many keys wait for a worker now."""
        return len(self._waiting)

    @property
    def running(self) -> int:
        """How many keys are worked on."""
        return len(self._running)

    @property
    def failing(self) -> int:
        """How many keys failed when they were last worked on."""
        return len(self._failures)

    @property
    def later(self) -> int:
        """How many keys are to be looked at later."""
        return len(self._due)

    def add(self, key: Key) -> None:
        """To be worked on now; again, where it is being worked on."""
        if key in self._running:
            self._again.add(key)
        elif key in self._failures:
            self.add_after(key, self._not_before[key] - self._clock.monotonic())
        else:
            self._wait(key)

    def add_after(self, key: Key, seconds: float) -> None:
        """To be worked on in so many seconds, unless it is sooner."""
        now = self._clock.monotonic()
        due = now + seconds
        if key in self._waiting or self._due.get(key, due + 1.0) <= due:
            return
        if seconds <= 0 and key not in self._running:
            self._wait(key)
            return
        self._due[key] = due
        self._numbers += 1
        heapq.heappush(self._dues, (due, self._numbers, key))
        if self._dues[0][2] == key:
            self._alarm.set()
        self._tidy()

    def hurry(self) -> None:
        """What failed is tried within HURRY_SECONDS, as what it failed for may be over."""
        now = self._clock.monotonic()
        for key in self._failures:
            if key not in self._running:
                self.add_after(key, max(self._not_before[key] - now, self._rng.uniform(0.0, HURRY_SECONDS)))

    async def run(self) -> None:
        """Works until it is cancelled; what is under way is cancelled with it."""
        self._is_taking = True
        self._pump()
        try:
            while True:
                self._alarm.clear()
                self._ring()
                await self._wait_for_alarm()
        finally:
            self._is_taking = False
            left = list(self._running.values())
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)

    def stop_taking(self) -> None:
        """From now on no key is begun."""
        self._is_taking = False

    async def drained(self) -> None:
        """Until nothing is worked on."""
        await self._idle.wait()

    def _wait(self, key: Key) -> None:
        if key in self._waiting:
            return
        self._due.pop(key, None)
        self._waiting[key] = self._clock.monotonic()
        self._lanes[key in self._failures].keys.append(key)
        self._pump()

    def _pump(self) -> None:
        """Begins as much as there are workers for."""
        for lane in self._lanes.values():
            while self._is_taking and lane.keys and lane.running < lane.workers:
                key = lane.keys.popleft()
                lane.running += 1
                self._idle.clear()
                waited = self._clock.monotonic() - self._waiting.pop(key)
                self._running[key] = asyncio.get_running_loop().create_task(self._work_on(key, lane, waited))

    async def _work_on(self, key: Key, lane: "_Lane[Key]", waited: float) -> None:
        began = self._clock.monotonic()
        after: float | None = None
        error: Exception | None = None
        try:
            after = await self._work(key)
        except PyMigrateError as failed:
            error = failed
        except asyncio.CancelledError:
            if _is_cancelled():
                raise
            # What it waited for was given up, and not this work: the key must not be lost with it.
            log.warning("work.given_up", key=str(key))
            error = TemporaryError("what this waited for was given up")
        except (
            Exception
        ) as failed:  # a defect: it must not end the others' work, and is tried again like anything that failed
            log.exception("work.failed", key=str(key), error=type(failed).__name__)
            error = failed
        finally:
            del self._running[key]
            lane.running -= 1
            if not self._running:
                self._idle.set()
        is_again = key in self._again
        self._again.discard(key)
        if error is None:
            self._failures.pop(key, None)
            self._not_before.pop(key, None)
            if is_again:
                self._wait(key)
            elif after is not None:
                self.add_after(key, after)
        else:
            self._fail(key, error, is_again=is_again)
        self._on_worked(key, Worked(waited, self._clock.monotonic() - began, error is not None))
        self._pump()

    def _fail(self, key: Key, error: Exception, *, is_again: bool) -> None:
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        most = min(self._retry_max_seconds, self._retry_first_seconds * 2.0 ** min(failures, DOUBLINGS_MAX))
        least = error.retry_after_seconds if isinstance(error, TemporaryError) else 0.0
        seconds = max(most * self._rng.uniform(0.5, 1.0), least)
        hurried = min(seconds, max(HURRY_SECONDS, least))
        self._not_before[key] = self._clock.monotonic() + hurried
        self.add_after(key, hurried if is_again else seconds)

    def _ring(self) -> None:
        """What is due by now waits for a worker."""
        now = self._clock.monotonic()
        while self._dues and self._dues[0][0] <= now:
            due, _, key = heapq.heappop(self._dues)
            if self._due.get(key) != due:
                continue
            del self._due[key]
            if key in self._running:
                self._again.add(key)
            else:
                self._wait(key)

    async def _wait_for_alarm(self) -> None:
        """Until the next key is due, or one was added that may be sooner."""
        if not self._dues:
            await self._alarm.wait()
            return
        waits = (
            asyncio.ensure_future(self._alarm.wait()),
            asyncio.ensure_future(self._clock.sleep(self._dues[0][0] - self._clock.monotonic())),
        )
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waits:
                each.cancel()
            await asyncio.gather(*waits, return_exceptions=True)

    def _tidy(self) -> None:
        """Times that hold no longer are dropped before they outnumber the others."""
        if len(self._dues) > 2 * len(self._due) + DUES_SPARE:
            self._dues = [each for each in self._dues if self._due.get(each[2]) == each[0]]
            heapq.heapify(self._dues)


def _is_cancelled() -> bool:
    """Whether somebody has asked for the end of the present task."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


class _Lane(Generic[Key]):
    """Workers, and the keys that wait for one of them."""

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self.running = 0
        self.keys: deque[Key] = deque()
