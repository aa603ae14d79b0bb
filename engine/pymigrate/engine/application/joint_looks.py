"""Looks that many ask for at once: made once for all who asked before it began, so that what is seen is never older than the question."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Any, TypeVar

from pymigrate.engine.ports.clock import Clock

GATHER_SECONDS = 0.25
Result = TypeVar("Result")
Begin = Callable[[], None]
"""Said at the moment when something is looked at, on whichever thread: who asks after it waits for another look."""


@dataclass(eq=False, slots=True)
class _Look:
    """One look, how many wait for what it finds, and whether it is too late to join them."""

    task: "asyncio.Task[Any] | None" = None
    askers: int = 0
    has_begun: bool = False

    def begin(self) -> None:
        """Whoever asks from now on waits for another one."""
        self.has_begun = True


class JointLooks:
    """Looks under way and those that are to begin, by what is looked at. Who asks while a look is under way has missed its beginning: the
    next one is asked for when that has ended, and at the latest after a quarter of a second. It gathers those who ask until it begins,
    however long it waits for its turn. One that nobody waits for any more is given up."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._newest: dict[Hashable, _Look] = {}
        self._under_way: dict[Hashable, asyncio.Task[Any]] = {}

    async def look(self, key: Hashable, make: Callable[[Begin], Awaitable[Result]]) -> Result:
        """What `make` finds, which those who ask for the same share: nobody changes it. `make` says when it begins, before it looks.
        Raises what it raises."""
        look = self._newest.get(key)
        if look is None or look.task is None or look.has_begun:
            look = self._newest[key] = _Look()
            look.task = asyncio.create_task(self._make(key, look, make))
        look.askers += 1
        try:
            result: Result = await asyncio.shield(look.task)
        finally:
            look.askers -= 1
            if not look.askers and not look.task.done():
                look.begin()
                look.task.cancel()
        return result

    async def _make(self, key: Hashable, look: _Look, make: Callable[[Begin], Awaitable[Result]]) -> Result:
        try:
            if (before := self._under_way.get(key)) is not None:
                gathering = asyncio.ensure_future(self._clock.sleep(GATHER_SECONDS))
                try:
                    await asyncio.wait({before, gathering}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    gathering.cancel()
            if look.task is not None:
                self._under_way[key] = look.task
            return await make(look.begin)
        finally:
            look.begin()
            if self._newest.get(key) is look:
                del self._newest[key]
            if self._under_way.get(key) is look.task:
                del self._under_way[key]
