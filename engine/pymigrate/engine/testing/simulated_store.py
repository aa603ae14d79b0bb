"""One engine's way to the store that engines share, in virtual time: slow, failing before or after a commit, cut off for good, or held.

Whoever observes the store looks within each transaction that commits, whichever engine made it.
"""

import asyncio
import random
from collections.abc import Callable
from typing import TypeVar

from pymigrate.engine.domain.errors import StoreUnavailable
from pymigrate.engine.ports.store import Store, Unit
from pymigrate.engine.testing.faults import Crash
from pymigrate.engine.testing.weather import Trouble, Weather

LATENCY_SECONDS = (0.0005, 0.02)
IMMEDIATE = 0.7
Result = TypeVar("Result")


class SimulatedStore:
    """The Store port. `observe` sees the unit after the work; `wrap` is what a mutant gives the work in place of the unit."""

    def __init__(
        self,
        inner: Store,
        weather: Weather,
        rng: random.Random,
        observe: Callable[[Unit], None],
        wrap: Callable[[Unit], Unit] | None = None,
    ) -> None:
        self._inner = inner
        self._weather = weather
        self._rng = rng
        self._observe = observe
        self._wrap = wrap or (lambda unit: unit)
        self._is_cut_off = False
        self._open = asyncio.Event()
        self._open.set()

    def cut_off(self) -> None:
        """The engine's process has ended: nothing of it reaches the store any more."""
        self._is_cut_off = True
        self._open.set()

    def hold(self) -> None:
        """The engine's process was stopped: what it does next reaches the store when it goes on."""
        self._open.clear()

    def let_go(self) -> None:
        """It goes on."""
        self._open.set()

    async def transact(self, work: Callable[[Unit], Result]) -> Result:
        """As the store does; in bad weather it fails, and may have committed all the same."""

        def observed(unit: Unit) -> Result:
            if self._is_cut_off:
                raise Crash
            done = work(self._wrap(unit))
            self._observe(unit)
            return done

        await self._reach()
        done = await self._inner.transact(observed)
        await self._reach("committed")
        return done

    async def read(self, work: Callable[[Unit], Result]) -> Result:
        """As the store does."""
        await self._reach()
        return await self._inner.read(work)

    async def close(self) -> None:
        """Nothing of its own is open."""

    async def _reach(self, how_far: str = "asked") -> None:
        if self._rng.random() > IMMEDIATE:
            await asyncio.sleep(self._rng.uniform(*LATENCY_SECONDS))
        await self._open.wait()
        if self._is_cut_off:
            raise Crash
        if self._weather.strikes_at(Trouble.STORE_FAILING):
            raise StoreUnavailable(f"the store does not answer: {how_far}")
