"""Ends worker hosts that have had nothing to do for a while, where what idles costs something."""

import asyncio
from collections import Counter
from dataclasses import dataclass

import structlog

from pymigrate.engine.application.hosts import Hosts
from pymigrate.engine.application.works import SHARED
from pymigrate.engine.ports.clock import Clock
from pymigrate.engine.ports.executor import Executor
from pymigrate.engine.ports.hosts import HostRecord

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Idling:
    """How long a host may idle; None: for ever. `shared_min` of an environment's shared hosts stay all the same."""

    seconds_max: float | None = None
    shared_min: int = 0


IDLE_FOR_EVER = Idling()


class IdleHosts:
    """Hosts end beside the supervisor's passes, which go on meanwhile."""

    def __init__(self, hosts: Hosts, executor: Executor, clock: Clock, idling: Idling) -> None:
        self._hosts = hosts
        self._executor = executor
        self._clock = clock
        self._idling = idling
        self._since: dict[str, float] = {}
        self._ending: dict[str, asyncio.Task[None]] = {}

    def is_ending(self, name: str) -> bool:
        """Whether the host was asked to end for its idleness."""
        return name in self._ending

    async def step(self) -> None:
        """Asks those to end whose time is over."""
        for name in [name for name, task in self._ending.items() if task.done()]:
            await self._ending.pop(name)
        if self._idling.seconds_max is None:
            return
        now = self._clock.monotonic()
        idle = {record.name: record for record in self._hosts.idle() if record.name not in self._ending}
        self._since = {name: self._since.get(name, now) for name in idle}
        left = Counter(host.record.affinity for host in self._hosts.hosts() if not self.is_ending(host.record.name))
        for name, record in idle.items():
            least = self._idling.shared_min if record.affinity.startswith(f"{SHARED}@") else 0
            if now - self._since[name] >= self._idling.seconds_max and left[record.affinity] > least:
                left[record.affinity] -= 1
                log.info("host.ended_idle", host=name, affinity=record.affinity)
                self._ending[name] = asyncio.get_running_loop().create_task(self._end(record))

    def close(self) -> None:
        """Waits for none of them."""
        for task in self._ending.values():
            task.cancel()

    async def _end(self, record: HostRecord) -> None:
        await self._executor.drain(record)
        await self._hosts.forget(record.name)
