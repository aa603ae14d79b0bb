"""Work that would hold up everybody else in the loop, and where it is done instead."""

import asyncio
from collections.abc import Callable
from typing import Protocol, TypeVar

Result = TypeVar("Result")


class Aside(Protocol):
    """Does work aside, and waits for it without holding up anybody."""

    async def __call__(self, work: Callable[[], Result], /) -> Result:
        """What the work returns; raises what it raises."""
        ...


async def on_a_thread(work: Callable[[], Result], /) -> Result:
    """On a thread of the loop's own."""
    return await asyncio.to_thread(work)
