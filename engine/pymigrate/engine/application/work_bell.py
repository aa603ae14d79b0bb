"""Wakes the hosts that wait for work, none of which may miss what comes while it looks."""

import asyncio
import contextlib

from pymigrate.engine.ports.clock import Clock


class WorkBell:
    """`rung` counts how often there was something new; whoever waits names what it had seen before it looked."""

    def __init__(self) -> None:
        self.rung = 0
        self._condition = asyncio.Condition()
        self._notices: set[asyncio.Task[None]] = set()

    def ring(self) -> None:
        """Wakes everybody who waits; safe to call from anywhere in the loop."""
        self.rung += 1
        notice = asyncio.get_running_loop().create_task(self._notify())
        self._notices.add(notice)
        notice.add_done_callback(self._notices.discard)

    async def wait(self, seen: int, seconds: float) -> None:
        """Until it was rung since `seen`, at most so long."""
        async with self._condition:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._condition.wait_for(lambda: self.rung != seen)

    async def rest(self, seen: int, clock: Clock, seconds: float) -> None:
        """Until it was rung since `seen`, at most so long on a clock: the pause of a loop that looks again in any case."""
        if self.rung != seen:
            return
        ringing = asyncio.ensure_future(self._heard(seen))
        sleeping = asyncio.ensure_future(clock.sleep(seconds))
        try:
            await asyncio.wait((ringing, sleeping), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in (ringing, sleeping):
                each.cancel()
            await asyncio.gather(ringing, sleeping, return_exceptions=True)

    async def _heard(self, seen: int) -> None:
        async with self._condition:
            await self._condition.wait_for(lambda: self.rung != seen)

    async def _notify(self) -> None:
        async with self._condition:
            self._condition.notify_all()
