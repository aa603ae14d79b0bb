"""Work that two may do at once on the same objects: whoever comes second does it again, on what the first one left."""

from collections.abc import Callable
from typing import TypeVar

from pymigrate.engine.domain.errors import StaleWrite
from pymigrate.engine.ports.store import Store, Unit

AGAIN_MAX = 5
Result = TypeVar("Result")


async def transact_again(store: Store, work: Callable[[Unit], Result]) -> Result:
    """`transact`, and again from the beginning where somebody else wrote in between, at most AGAIN_MAX times. Raises StaleWrite."""
    for _ in range(AGAIN_MAX):
        try:
            return await store.transact(work)
        except StaleWrite:
            continue
    return await store.transact(work)
