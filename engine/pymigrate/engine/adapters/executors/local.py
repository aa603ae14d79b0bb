"""Worker hosts as processes of this machine.

They outlive an engine that was killed, for as long as they try to find it again; the next engine takes them over.
"""

import asyncio
import signal
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

import structlog

from pymigrate.engine.adapters.executors import processes
from pymigrate.engine.adapters.executors.children import end_child, start_child
from pymigrate.engine.adapters.executors.failing_starts import FailingStarts
from pymigrate.engine.adapters.executors.logs import log_path
from pymigrate.engine.domain.run import Failure
from pymigrate.engine.ports.hosts import HostRecord

log = structlog.get_logger(__name__)
DRAIN_SECONDS = 20.0
KILL_SECONDS_MAX = 10.0
POLL_SECONDS = 0.02
WORKER_MODULE = "pymigrate.engine.main.worker"
OwnVariables = Callable[[str, str], Mapping[str, str]]


def no_variables(host: str, affinity: str) -> Mapping[str, str]:
    """None of its own."""
    del host, affinity
    return {}


class LocalExecutor:
    """Starts worker hosts that read the endpoint from `home`, and keeps their output below it. They have this process's environment without
    what is `withheld`, and in it the variables that are given, and those that `own_variables` tells of a host and its affinity. Of what
    runs elsewhere (`HostRecord.workload`) nothing is seen here: its lease decides."""

    def __init__(
        self,
        home: Path,
        drain_seconds: float = DRAIN_SECONDS,
        environment: Mapping[str, str] | None = None,
        own_variables: OwnVariables = no_variables,
        withheld: Collection[str] = (),
    ) -> None:
        self._own_variables = own_variables
        self._withheld = withheld
        self._home = home
        self._environment = dict(environment or {})
        self._drain_seconds = drain_seconds
        self._children: dict[str, asyncio.subprocess.Process] = {}
        self._starts = FailingStarts()

    async def ensure(self, host: str, affinity: str) -> None:
        """Starts the host's process unless ours of that name still runs."""
        if not self.has_exited(host):
            return
        options = (f"--host={host}", f"--affinity={affinity}", f"--drain-seconds={self._drain_seconds:g}")
        environment = {**self._environment, **self._own_variables(host, affinity)}
        child = await start_child(self._home, host, WORKER_MODULE, options, environment, self._withheld)
        self._children[host] = child
        self._starts.begun(host, affinity, asyncio.get_running_loop().time())
        log.info("host.started", host=host, pid=child.pid, affinity=affinity)

    async def kill(self, record: HostRecord) -> bool:
        """Ends that very process and waits until it is gone, at most ten seconds."""
        if record.workload:
            return True
        if processes.kill(record.pid, record.pid_start_ticks):
            log.warning("host.killed", pid=record.pid)
        return await self._is_gone_within(record, KILL_SECONDS_MAX)

    async def drain(self, record: HostRecord) -> None:
        """SIGTERM to that very process, and SIGKILL when it has not ended after the time that draining may take."""
        if record.workload:
            return
        processes.kill(record.pid, record.pid_start_ticks, signal.SIGTERM)
        if not await self._is_gone_within(record, self._drain_seconds * 1.25):
            await self.kill(record)

    def is_running(self, record: HostRecord) -> bool:
        """Whether that very process is there."""
        return bool(record.workload) or processes.is_running(record.pid, record.pid_start_ticks)

    def has_exited(self, host: str) -> bool:
        """Whether our process of that name has ended, or never was."""
        child = self._children.get(host)
        return child is None or child.returncode is not None

    def troubles(self) -> Mapping[str, Sequence[Failure]]:
        """Of each affinity the hosts that end again and again before they have worked."""
        now = asyncio.get_running_loop().time()
        for host, child in self._children.items():
            if child.returncode is not None:
                self._starts.ended(host, child.returncode, now)
        return self._starts.troubles(now, lambda host: log_path(self._home, host))

    async def stop(self, host: str) -> None:
        """SIGTERM, and SIGKILL when the host has not ended after the time that draining may take and a quarter of it."""
        child = self._children.get(host)
        if child is None or child.returncode is not None:
            return
        if not await end_child(child, self._drain_seconds * 1.25):
            log.warning("host.killed", host=host, pid=child.pid, reason="it did not drain in time")

    async def tidy(self, records: Collection[HostRecord], wanted: Collection[str]) -> None:
        """Nothing: a process that finds no engine ends by itself."""

    async def close(self, records: Sequence[HostRecord]) -> None:
        """Drains every host, those too that an earlier engine started, and stops what was started here."""
        await asyncio.gather(*(self.drain(record) for record in records))
        await asyncio.gather(*(self.stop(host) for host in list(self._children)))

    async def _is_gone_within(self, record: HostRecord, seconds: float) -> bool:
        for _ in range(int(seconds / POLL_SECONDS)):
            if not self.is_running(record):
                return True
            await asyncio.sleep(POLL_SECONDS)
        return False
