"""Dispatchers as processes of this machine: started when there is something that they may send, started again when they end, and told to
end when the engine drains.

One whose engine was killed finds that out by itself: it reports what it has to the next engine, and ends.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Collection, Mapping
from pathlib import Path

import structlog

from pymigrate.engine.adapters.executors.children import end_child, start_child
from pymigrate.engine.ports.clock import Clock

log = structlog.get_logger(__name__)
MODULE = "pymigrate.engine.main.dispatcher"
LOOK_SECONDS = 1.0
RESTART_FIRST_SECONDS = 0.25
RESTART_MAX_SECONDS = 5.0
RESTART_DOUBLINGS_MAX = 6
# Longer than a dispatcher takes to finish what is under way and to report it.
DRAIN_SECONDS = 25.0


class LocalDispatchers:
    """Keeps `count` of them running over a home. `is_needed` says whether there is anything to send by; `on_lost` is told the name of each
    that has ended, and says whether it had ever called; `new_id` makes names that no other has; `environment` holds variables that theirs
    has besides this process's, and `own_variables` tells those of one of them; what is `withheld` none has."""

    def __init__(
        self,
        home: Path,
        count: int,
        clock: Clock,
        new_id: Callable[[], str],
        is_needed: Callable[[], Awaitable[bool]],
        on_lost: Callable[[str], Awaitable[bool]],
        environment: Mapping[str, str] | None = None,
        own_variables: Callable[[str], Mapping[str, str]] = lambda _: {},
        withheld: Collection[str] = (),
    ) -> None:
        self._own_variables = own_variables
        self._withheld = withheld
        self._home = home
        self._count = count
        self._clock = clock
        self._new_id = new_id
        self._is_needed = is_needed
        self._on_lost = on_lost
        self._environment = dict(environment or {})
        self._children: dict[str, asyncio.subprocess.Process] = {}

    @property
    def pids(self) -> list[int]:
        """The processes that run now."""
        return [child.pid for child in self._children.values() if child.returncode is None]

    async def run_loop(self) -> None:
        """Keeps them running until it is cancelled, which ends none of them."""
        if not self._count:
            return
        while not await self._looked():
            await self._clock.sleep(LOOK_SECONDS)
        async with asyncio.TaskGroup() as slots:
            for slot in range(1, self._count + 1):
                slots.create_task(self._keep(slot))

    async def close(self) -> None:
        """SIGTERM to all of them, and SIGKILL to those that have not ended after DRAIN_SECONDS."""
        await asyncio.gather(*(self._stop(name, child) for name, child in list(self._children.items())))

    async def _looked(self) -> bool:
        try:
            return await self._is_needed()
        except Exception as error:  # the next look may find the store again
            log.exception("dispatchers.look_failed", error=type(error).__name__)
            return False

    async def _keep(self, slot: int) -> None:
        """One process after the other: at once where the last one had come so far as to call, else later and later."""
        tries = 0
        while True:
            name = f"local-{slot}-{self._new_id()[:8]}"
            child = await self._start(slot, name)
            code = await child.wait()
            del self._children[name]
            log.warning("dispatcher.ended", dispatcher=name, code=code)
            if await self._told_lost(name):
                tries = 0
                continue
            await self._clock.sleep(min(RESTART_MAX_SECONDS, RESTART_FIRST_SECONDS * 2**tries))
            tries = min(tries + 1, RESTART_DOUBLINGS_MAX)

    async def _told_lost(self, name: str) -> bool:
        try:
            return await self._on_lost(name)
        except Exception as error:  # what it had comes back when its leases end
            log.exception("dispatcher.not_told_lost", dispatcher=name, error=type(error).__name__)
            return False

    async def _start(self, slot: int, name: str) -> asyncio.subprocess.Process:
        options = (f"--name={name}", f"--parent={os.getpid()}")
        environment = {**self._environment, **self._own_variables(name)}
        child = await start_child(self._home, f"dispatcher-{slot}", MODULE, options, environment, self._withheld)
        self._children[name] = child
        log.info("dispatcher.begun", dispatcher=name, pid=child.pid)
        return child

    async def _stop(self, name: str, child: asyncio.subprocess.Process) -> None:
        if not await end_child(child, DRAIN_SECONDS):
            log.warning("dispatcher.killed", dispatcher=name, pid=child.pid, reason="it did not drain in time")
