"""Keeps the worker hosts that the waiting work needs, and finds the ones that are lost."""

import asyncio
import contextlib
import hashlib
from collections import Counter
from collections.abc import Iterable

import structlog

from pymigrate.engine.application.followups import Followups
from pymigrate.engine.application.hosts import Hosts
from pymigrate.engine.application.housekeeping import Housekeeping
from pymigrate.engine.application.run_views import RunViews
from pymigrate.engine.application.works import SHARED
from pymigrate.engine.domain.names import last_segment
from pymigrate.engine.entrypoints.loops.idle_hosts import IDLE_FOR_EVER, IdleHosts, Idling
from pymigrate.engine.ports.clock import Clock
from pymigrate.engine.ports.executor import Executor
from pymigrate.engine.ports.hosts import HostRecord

log = structlog.get_logger(__name__)
INTERVAL_SECONDS = 0.5
HOUSEKEEPING_SECONDS = 600.0
EXECUTOR_SECONDS = 5.0
RESTART_FIRST_SECONDS = 0.5
RESTART_MAX_SECONDS = 15.0
HOST_DIGITS = 12
TURN_SECONDS = 60.0  # how long work waits for a host of its own before another gives way


def host_names(affinity: str, waiting: int, shared_max: int) -> list[str]:
    """The hosts that an affinity may have: one alone for a single-writer target, else as many as wait, within the limit."""
    own, _, environment = affinity.rpartition("@")
    if own != SHARED:
        digest = hashlib.sha256(affinity.encode()).hexdigest()
        return [f"file-{digest[:HOST_DIGITS]}"]
    return [f"{SHARED}-{environment}-{number}" for number in range(1, min(max(waiting, 1), shared_max) + 1)]


class Supervisor:
    """One pass: lost hosts give up their work, what follows by itself is told, waiting work gets hosts. Each is complete in itself."""

    def __init__(
        self,
        hosts: Hosts,
        followups: Followups,
        executor: Executor,
        housekeeping: Housekeeping,
        clock: Clock,
        hosts_shared_max: int,
        views: RunViews,
        idling: Idling = IDLE_FOR_EVER,
    ) -> None:
        self._idle_hosts = IdleHosts(hosts, executor, clock, idling)
        self._views = views
        self._followups = followups
        self._hosts = hosts
        self._executor = executor
        self._housekeeping = housekeeping
        self._clock = clock
        self._hosts_shared_max = hosts_shared_max
        self._starts: dict[str, tuple[int, float]] = {}
        self._unserved: dict[str, float] = {}
        self._giving_way: set[str] = set()
        self._tidied = self._executor_tidied = clock.monotonic()

    async def run(self) -> None:
        """Passes until it is cancelled. A pass that fails is logged, and the next one tries again."""
        try:
            while True:
                try:
                    await self.step()
                except Exception as error:
                    log.exception("supervisor.failed", error=type(error).__name__)
                await self._clock.sleep(INTERVAL_SECONDS)
        finally:
            self._idle_hosts.close()

    async def step(self) -> None:
        """One pass."""
        await asyncio.gather(*(self._take_back(record) for record in self._lost()))
        await self._hosts.expire()
        await self._followups.step()
        registered = {last_segment(host.record.name) for host in self._hosts.hosts()}
        for affinity, waiting in self._by_need():
            for name in host_names(affinity, waiting, self._hosts_shared_max):
                if name not in registered and await self._has_room(name, affinity):
                    await self._start(name, affinity)
        await self._idle_hosts.step()
        troubles = self._executor.troubles()
        self._views.note_troubles(troubles)
        self._hosts.note_troubles(troubles)
        self._views.note_held_up(await self._hosts.held_up())
        for name in registered:
            self._starts.pop(name, None)
        await self._tidy()

    async def _take_back(self, record: HostRecord) -> None:
        """What a lost host had goes to others once its process is gone for certain."""
        if await self._executor.kill(record):
            await self._hosts.forget(record.name)
        else:
            log.error("host.unkillable", host=record.name, pid=record.pid, workload=record.workload)

    async def _tidy(self) -> None:
        now = self._clock.monotonic()
        if now - self._executor_tidied > EXECUTOR_SECONDS:
            self._executor_tidied = now
            await self._executor.tidy([host.record for host in self._hosts.hosts()], self._starts.keys())
        if now - self._tidied > HOUSEKEEPING_SECONDS:
            self._tidied = now
            await self._housekeeping.step()

    def _lost(self) -> Iterable[HostRecord]:
        overdue = {record.name for record in self._hosts.overdue()}
        for host in self._hosts.hosts():
            record = host.record
            is_gone = not self._executor.is_running(record)
            if (is_gone or record.name in overdue) and not self._idle_hosts.is_ending(record.name):
                yield record

    def _by_need(self) -> list[tuple[str, int]]:
        """What waits, by affinity; first that which nobody works for."""
        demand, now = self._hosts.demand(), self._clock.monotonic()
        crews = Counter(host.record.affinity for host in self._hosts.hosts())
        self._unserved = {each: self._unserved.get(each, now) for each in demand if not crews[each]}
        return sorted(demand.items(), key=lambda found: (crews[found[0]], found[0]))

    async def _has_room(self, name: str, affinity: str) -> bool:
        """Whether the memory of all hosts is enough for one more; where it is not, one that has nothing to do makes room, or one of several
        that do the same work, or, for work that has waited for its turn, the one that is there the longest."""
        running = {last_segment(host.record.name) for host in self._hosts.hosts()}
        starting = {each for each in self._starts if each not in running and not self._executor.has_exited(each)}
        if len(running | starting | {name}) <= self._hosts.hosts_max:
            return True
        for record in self._hosts.idle()[:1]:
            log.info("host.ended_for_another", host=record.name, waiting=name)
            await self._executor.drain(record)
            await self._hosts.forget(record.name)
            return False
        if affinity in self._unserved and not self._giving_way & running:
            await self._make_room(name, affinity)
        return False

    async def _make_room(self, name: str, affinity: str) -> None:
        """Has a host end whose lanes can go on elsewhere, when it is its turn to."""
        crews = Counter(host.record.affinity for host in self._hosts.hosts())
        has_waited = self._clock.monotonic() - self._unserved[affinity] >= TURN_SECONDS
        for record in self._hosts.pausable():
            if crews[record.affinity] > 1 or has_waited:
                log.info("host.gives_way", host=record.name, waiting=name)
                self._giving_way = {last_segment(record.name)}
                await self._executor.drain(record)
                return

    async def _start(self, name: str, affinity: str) -> None:
        """Starts a host, later and later when it keeps ending before it has registered."""
        tries, not_before = self._starts.get(name, (0, 0.0))
        now = self._clock.monotonic()
        if now < not_before:
            return
        if tries and not self._executor.has_exited(name):
            return
        delay = min(RESTART_MAX_SECONDS, RESTART_FIRST_SECONDS * 2**tries)
        self._starts[name] = (tries + 1, now + delay)
        if tries:
            log.warning("host.restarted", host=name, tries=tries)
        await self._executor.ensure(name, affinity)


async def stopped(task: "asyncio.Task[None]") -> None:
    """Cancels a loop's task and waits for its end."""
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
