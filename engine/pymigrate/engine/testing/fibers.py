"""Blocking code in virtual time: each piece of work has a thread, but only one thread runs at any moment, hand over hand with the loop.

The work gives up its turn where it calls `pause`; the loop decides when it gets the next one. So chance on the loop decides over the
order of everything, and the same chance gives the same order.
"""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from pymigrate.engine.testing.faults import Crash

Result = TypeVar("Result")
JOIN_SECONDS_MAX = 10.0


def _taken() -> threading.Lock:
    lock = threading.Lock()
    lock.acquire()
    return lock


class Fiber(Generic[Result]):
    """One piece of work. It runs only inside `resume`."""

    def __init__(self, work: Callable[[], Result], number: int) -> None:
        self.work = work
        self.number = number
        self.pause_seconds = 0.0
        self.is_over = False
        self.is_killed = False
        self.result: Result | None = None
        self.error: BaseException | None = None
        self._turn = _taken()
        self._back = _taken()

    def resume(self, start: "Callable[[Fiber[Result]], None] | None" = None) -> None:
        """Lets it run until it pauses or ends."""
        if start is not None:
            start(self)
        else:
            self._turn.release()
        self._back.acquire()

    def run(self) -> None:
        """The whole of it, on its thread."""
        try:
            self.result = self.work()
        except BaseException as error:  # noqa: BLE001 (whoever waits for the fiber raises it)
            self.error = error
        self.is_over = True
        self._back.release()

    def pause(self, seconds: float) -> None:
        """Gives the turn back, on its own thread. Raises Crash when the fiber's process has ended meanwhile."""
        if self.is_killed:
            raise Crash
        self.pause_seconds = seconds
        self._back.release()
        self._turn.acquire()
        if self.is_killed:
            raise Crash


class _Thread(threading.Thread):
    """Runs one fiber after the other."""

    def __init__(self, fibers: "Fibers") -> None:
        super().__init__(daemon=True, name="fiber")
        self._fibers = fibers
        self._given = _taken()
        self._next: Fiber[object] | None = None

    def give(self, fiber: "Fiber[object] | None") -> None:
        self._next = fiber
        self._given.release()

    def run(self) -> None:
        while True:
            self._given.acquire()
            fiber = self._next
            if fiber is None:
                return
            self._fibers.present.fiber = fiber
            fiber.run()


class Fibers:
    """The fibers of one simulation, on as many threads as there are fibers at once."""

    def __init__(self) -> None:
        self.present = threading.local()
        self._threads: list[_Thread] = []
        self._idle: list[_Thread] = []
        self._begun = 0

    def pause(self, seconds: float) -> None:
        """Called by work in a fiber: time passes, and others have their turn."""
        fiber: Fiber[object] = self.present.fiber
        fiber.pause(seconds)

    @property
    def number(self) -> int:
        """Tells the fiber that runs now from every other."""
        fiber: Fiber[object] = self.present.fiber
        return fiber.number

    async def run(self, work: Callable[[], Result], wait: Callable[[float], Awaitable[None]] = asyncio.sleep) -> Result:
        """Does the work in a fiber; `wait` lets its pauses pass. Raises what it raised. Cancelled: the work ends with Crash where it
        pauses, as if its process had been killed."""
        self._begun += 1
        fiber = Fiber(work, self._begun)
        thread = self._idle.pop() if self._idle else self._start()
        fiber.resume(thread.give)  # type: ignore[arg-type]  # a thread takes fibers of any result
        try:
            while not fiber.is_over:
                await wait(fiber.pause_seconds)
                fiber.resume()
        finally:
            if not fiber.is_over:
                fiber.is_killed = True
                fiber.resume()
            self._idle.append(thread)
        if fiber.error is not None:
            raise fiber.error
        return fiber.result  # type: ignore[return-value]  # it is over, without an error

    def close(self) -> None:
        """Ends the threads; every fiber must be over."""
        for thread in self._threads:
            thread.give(None)
        for thread in self._threads:
            thread.join(JOIN_SECONDS_MAX)

    def _start(self) -> _Thread:
        thread = _Thread(self)
        self._threads.append(thread)
        thread.start()
        return thread
