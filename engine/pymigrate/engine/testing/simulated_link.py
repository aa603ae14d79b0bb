"""The network between worker hosts and engines in virtual time: calls take time, are lost on either way, doubled, or come late.

An engine is whatever serves calls of its `Hosts`; what it raises becomes what a host sees over gRPC.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Protocol, TypeVar

from pymigrate.engine.application.hosts import Hosts
from pymigrate.engine.domain.errors import IllegalTransition, NotFound, PyMigrateError, StaleWrite, TemporaryError
from pymigrate.engine.testing.faults import Crash
from pymigrate.engine.testing.weather import Trouble, Weather
from pymigrate.v1 import worker_pb2

CALL_SECONDS_MAX = 5.0
LATENCY_SECONDS = (0.001, 0.02)
LATE_SECONDS = (0.1, 6.0)
Answer = TypeVar("Answer")
Call = Callable[[Hosts], Awaitable[Answer]]


class EngineAway(Exception):
    """No answer: whether the call took effect is not known."""


class NotRegistered(EngineAway):
    """The engine does not know the host."""


class Refused(Exception):
    """The engine says no."""


class ServedEngine(Protocol):
    """An engine on the network."""

    @property
    def is_up(self) -> bool:
        """Whether its process is there."""
        ...

    def serve(self, call: Callable[[Hosts], Coroutine[Any, Any, Answer]]) -> "asyncio.Task[Answer]":
        """Begins a call; it is cancelled when the engine ends."""
        ...


class Network:
    """What all links share. `engine` is the one whose address is known now. `on_granted` hears of each task that a claim was given."""

    def __init__(self, weather: Weather, rng: random.Random) -> None:
        self.weather = weather
        self.rng = rng
        self.engine: ServedEngine | None = None
        self.broken: list[str] = []
        self.on_granted: Callable[[str, worker_pb2.Task], None] = lambda host, task: None
        self.on_asked: Callable[[str], None] = lambda host: None
        self.on_finished: Callable[[], None] = lambda: None
        self.on_heard: Callable[[str, float, frozenset[str]], None] = lambda host, since, tasks: None
        self._late: set[asyncio.Task[None]] = set()

    def find(self, host: str) -> "Link":
        """A link to the present engine. Raises EngineAway while there is none."""
        if self.engine is None or not self.engine.is_up:
            raise EngineAway("nobody serves")
        return Link(self, self.engine, host)

    def send_late(self, send: Coroutine[Any, Any, None]) -> None:
        """Lets something arrive on its own."""
        task = asyncio.get_running_loop().create_task(send)
        self._late.add(task)
        task.add_done_callback(self._late.discard)


class Link:
    """One host's channel to one engine."""

    def __init__(self, network: Network, engine: ServedEngine, host: str) -> None:
        self._network = network
        self._engine = engine
        self._host = host

    async def register(
        self, host: worker_pb2.WorkerHost, leases: list[worker_pb2.TaskLease]
    ) -> worker_pb2.RegisterHostResponse:
        """RegisterHost."""
        return await self._ask(lambda hosts: hosts.register(host, leases))

    async def claim(self, session: str, wait_seconds: float) -> worker_pb2.Task | None:
        """ClaimTask."""
        return await self._ask(
            lambda hosts: self._granted(hosts, session, wait_seconds), CALL_SECONDS_MAX + wait_seconds
        )

    async def heartbeat(self, session: str, leases: list[worker_pb2.TaskLease]) -> worker_pb2.HeartbeatResponse:
        """Heartbeat."""
        since = asyncio.get_running_loop().time()
        answer = await self._ask(lambda hosts: hosts.heartbeat(self._host, session, leases))
        if self._engine is self._network.engine:
            self._network.on_heard(self._host, since, frozenset(lease.task_id for lease in leases))
        return answer

    async def report(self, session: str, lease: worker_pb2.TaskLease, progress: worker_pb2.LaneProgress) -> None:
        """ReportProgress; it may come late, after others."""
        await self._tell(lambda hosts: hosts.report(self._host, session, lease, progress))

    async def finish(self, request: worker_pb2.FinishTaskRequest) -> None:
        """FinishTask; it may come late, after others."""
        kept = worker_pb2.FinishTaskRequest()
        kept.CopyFrom(request)
        await self._tell(lambda hosts: self._finished(hosts, kept))

    async def _finished(self, hosts: Hosts, request: worker_pb2.FinishTaskRequest) -> None:
        self._network.on_finished()
        await hosts.finish(request)

    async def _granted(self, hosts: Hosts, session: str, wait_seconds: float) -> worker_pb2.Task | None:
        self._network.on_asked(self._host)
        task = await hosts.claim(self._host, session, wait_seconds)
        if task is not None:
            self._network.on_granted(self._host, task)
        return task

    async def _tell(self, call: Call[None]) -> None:
        network = self._network
        if network.weather.strikes_at(Trouble.REPORTS_REORDERED, self._host):
            network.send_late(self._send(call, network.rng.uniform(*LATE_SECONDS)))
            await asyncio.sleep(network.rng.uniform(*LATENCY_SECONDS))
            raise EngineAway("no answer in time")
        await self._ask(call)

    async def _ask(self, call: Call[Answer], seconds: float = CALL_SECONDS_MAX) -> Answer:
        weather, rng = self._network.weather, self._network.rng
        await asyncio.sleep(rng.uniform(*LATENCY_SECONDS))
        if not self._engine.is_up:
            raise EngineAway("connection refused")
        if weather.is_on(Trouble.ENGINE_PARTITION, self._host):
            await asyncio.sleep(seconds)
            raise EngineAway("deadline exceeded")
        if weather.strikes_at(Trouble.REPORTS_DOUBLED, self._host):
            self._network.send_late(self._send(call, rng.uniform(*LATENCY_SECONDS)))
        answer = await self._served(call, seconds)
        await asyncio.sleep(rng.uniform(*LATENCY_SECONDS))
        if weather.strikes_at(Trouble.ANSWERS_LOST, self._host) or weather.is_on(Trouble.ENGINE_PARTITION, self._host):
            raise EngineAway("the answer was lost")
        return answer

    async def _send(self, call: Call[Any], delay_seconds: float) -> None:
        """Lets a call take effect though nobody waits for its answer."""
        await asyncio.sleep(delay_seconds)
        if self._engine.is_up:
            try:
                await self._served(call, CALL_SECONDS_MAX)
            except (EngineAway, Refused):
                return

    async def _served(self, call: Call[Answer], seconds: float) -> Answer:
        async def run(hosts: Hosts) -> Answer:
            return await call(hosts)

        task = self._engine.serve(run)
        try:
            done, _ = await asyncio.wait({task}, timeout=seconds)
        finally:
            if not task.done():
                task.cancel()
        if not done or task.cancelled() or not self._engine.is_up:
            raise EngineAway("deadline exceeded, or the engine ended")
        try:
            return _unwrapped(task)
        except EngineAway as error:
            if isinstance(error.__cause__, Exception) and not isinstance(error.__cause__, PyMigrateError):
                self._network.broken.append(f"a call of {self._host} failed with {error.__cause__!r}")
            raise
        except Refused as error:
            if isinstance(error.__cause__, IllegalTransition):
                self._network.broken.append(f"a call of {self._host} failed: {error}")
            raise


def _unwrapped(task: "asyncio.Task[Answer]") -> Answer:
    """The answer, or what the host sees in place of what was raised."""
    try:
        return task.result()
    except (TemporaryError, StaleWrite, Crash) as error:
        raise EngineAway(str(error)) from error
    except NotFound as error:
        raise NotRegistered(error.message) from error
    except PyMigrateError as error:
        raise Refused(error.message) from error
    except Exception as error:
        raise EngineAway(f"internal: {error!r}") from error
