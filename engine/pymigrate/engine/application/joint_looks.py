"""Looks that many ask for at once: made once for all who asked before it began, so that what is seen is never older than the question."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Any, TypeVar

from pymigrate.engine.ports.clock import Clock

GATHER_SECONDS = 0.25
Result = TypeVar("Result")


@dataclass(eq=False, slots=True)
class _Look:
    """One look, and how many wait for what it finds."""

    task: "asyncio.Task[Any] | None" = None
    askers: int = 0


class JointLooks:
    """Looks under way and those that are to begin, by what is looked at. Who asks while a look is under way has missed its beginning: the
    next one begins when that has ended, and at the latest after a quarter of a second. One that nobody waits for any more is given up."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._to_begin: dict[Hashable, _Look] = {}
        self._under_way: dict[Hashable, asyncio.Task[Any]] = {}

    async def look(self, key: Hashable, make: Callable[[], Awaitable[Result]]) -> Result:
        """What `make` finds, which those who ask for the same share: nobody changes it. Raises what it raises."""
        look = self._to_begin.get(key)
        if look is None or look.task is None:
            look = self._to_begin[key] = _Look()
            look.task = asyncio.create_task(self._make(key, look, make))
        look.askers += 1
        try:
            result: Result = await asyncio.shield(look.task)
        finally:
            look.askers -= 1
            if not look.askers and not look.task.done():
                self._begin(key, look)
                look.task.cancel()
        return result

    async def _make(self, key: Hashable, look: _Look, make: Callable[[], Awaitable[Result]]) -> Result:
        if (before := self._under_way.get(key)) is not None:
            gathering = asyncio.ensure_future(self._clock.sleep(GATHER_SECONDS))
            try:
                await asyncio.wait({before, gathering}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                gathering.cancel()
        self._begin(key, look)
        if look.task is not None:
            self._under_way[key] = look.task
        try:
            return await make()
        finally:
            if self._under_way.get(key) is look.task:
                del self._under_way[key]

    def _begin(self, key: Hashable, look: _Look) -> None:
        """Whoever asks from now on waits for another one."""
        if self._to_begin.get(key) is look:
            del self._to_begin[key]
