"""A worker host in virtual time: it claims, beats, reports and drains as the real one does, and runs real tasks in fibers.

It can be stopped and go on later, as a process that was sent SIGSTOP, or end at once, as one that was sent SIGKILL.
"""

import asyncio
import contextlib
import math
from collections.abc import Coroutine
from typing import Any

from pymigrate.engine.testing.faults import Crash
from pymigrate.engine.testing.simulated_link import EngineAway, Link, NotRegistered, Refused
from pymigrate.engine.testing.simulated_machine import HostLease, Machine, OnProgress
from pymigrate.engine.testing.virtual_loop import VirtualClock
from pymigrate.engine.transfer.signals import LeaseLost
from pymigrate.v1 import worker_pb2

WAIT_SECONDS_MAX = 10.0
REPORT_SECONDS = 0.2
TELL_TRIES_MAX = 20
LEASES_TO_TRY = 4
BACKOFF_FIRST_SECONDS = 0.1
BACKOFF_MAX_SECONDS = 2.0


class GaveUp(Exception):
    """The host has no engine any more, or another process has its name."""


class SimulatedHost:
    """One process. `name` is its resource name."""

    def __init__(self, machine: Machine, name: str, affinity: str, pid: int, clock: VirtualClock) -> None:
        self.name = name
        self.pid = pid
        self.clock = clock
        self.is_over = False
        self._machine = machine
        self._message = worker_pb2.WorkerHost(name=name, pid=pid, pid_start_ticks=pid, affinity=affinity)
        self._runner = machine.runner(f"{name}.{pid}")
        self._awake = asyncio.Event()
        self._awake.set()
        self._beat = asyncio.Event()
        self._reported = asyncio.Event()
        self._room = asyncio.Event()
        self._joining = asyncio.Lock()
        self._leases: dict[str, HostLease] = {}
        self._link: Link | None = None
        self._terms = worker_pb2.RegisterHostResponse(lease_seconds=15.0, tasks_max=1)
        self._heard = clock.monotonic()
        self._parts: dict[asyncio.Task[None], None] = {}  # in the order of their beginning, unlike a set
        self._main = asyncio.get_running_loop().create_task(self._live())

    # What befalls it ---------------------------------------------------------------------------------------------------------------

    def crash(self) -> None:
        """SIGKILL."""
        self.is_over = True
        self._main.cancel()
        for part in list(self._parts):
            part.cancel()

    def stop(self) -> None:
        """SIGSTOP."""
        self._awake.clear()

    def go_on(self) -> None:
        """SIGCONT."""
        self._awake.set()

    @property
    def is_stopped(self) -> bool:
        """Whether it neither runs nor ends."""
        return not self._awake.is_set()

    # Its threads -------------------------------------------------------------------------------------------------------------------

    async def _live(self) -> None:
        try:
            await self._join("")
            for work in (self._claims(), self._heartbeats(), self._reports()):
                self._begin(self._guarded(work))
        except (GaveUp, Refused):
            self.crash()

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except GaveUp:
            self.crash()

    async def _claims(self) -> None:
        while True:
            await self._awake.wait()
            if len(self._leases) >= self._terms.tasks_max:
                self._room.clear()
                await self._room.wait()
                continue
            asked, session = self.clock.monotonic(), self._terms.session
            try:
                task = await self._present().claim(session, min(WAIT_SECONDS_MAX, self._terms.lease_seconds / 2))
            except (EngineAway, Refused) as error:
                await self._rejoin(session, error)
                continue
            await self._awake.wait()
            self._heard = self.clock.monotonic()
            if task is not None:
                lease = self._machine.lease(task, asked, self.clock.monotonic, self._machine.fibers.pause)
                self._leases[task.id] = lease
                self._begin(self._guarded(self._run_task(task, lease)))
                self._beat.set()

    async def _heartbeats(self) -> None:
        while True:
            await self._waited(self._beat, self._terms.heartbeat_seconds * 0.8 / self.clock.rate)
            self._beat.clear()
            await self._awake.wait()
            held, asked, session = self._held(), self.clock.monotonic(), self._terms.session
            try:
                answer = await self._present().heartbeat(session, [lease.message for lease in held])
            except (EngineAway, Refused) as error:
                await self._rejoin(session, error)
                continue
            await self._awake.wait()
            self._heard = self.clock.monotonic()
            self._settle(held, asked, set(answer.lost_task_ids))
            _drain(held, answer)

    async def _reports(self) -> None:
        while True:
            await self._reported.wait()
            self._reported.clear()
            for lease in self._held():
                await self._tell_progress(lease)
            await asyncio.sleep(REPORT_SECONDS)

    async def _run_task(self, task: worker_pb2.Task, lease: HostLease) -> None:
        def on_progress(progress: worker_pb2.LaneProgress) -> None:
            lease.progress = progress

        is_told = False
        try:
            outcome = await self._outcome(task, lease, on_progress)
            if outcome is not None:
                await self._tell_progress(lease)
                is_told = await self._tell_outcome(outcome, lease)
        finally:
            lease.lose()
            if self._leases.get(task.id) is lease:
                del self._leases[task.id]
            self._room.set()
        if not is_told:
            await self._rejoin(self._terms.session)

    # Parts -------------------------------------------------------------------------------------------------------------------------

    async def _outcome(
        self, task: worker_pb2.Task, lease: HostLease, on_progress: OnProgress
    ) -> worker_pb2.FinishTaskRequest | None:
        async def wait(seconds: float) -> None:
            if lease.progress is not None:
                self._reported.set()
            await asyncio.sleep(seconds)
            await self._awake.wait()

        try:
            return await self._machine.fibers.run(lambda: self._runner.run(task, lease, on_progress), wait)
        except LeaseLost:
            return None
        except Exception as error:  # noqa: BLE001 (told to the engine, as the real host does)
            return worker_pb2.FinishTaskRequest(failure=self._runner.failure_of(error, task))

    async def _tell_progress(self, lease: HostLease) -> None:
        await self._awake.wait()
        progress, lease.progress = lease.progress, None
        if progress is not None:
            try:
                await self._present().report(self._terms.session, lease.message, progress)
            except EngineAway:
                return
            except Refused:
                self._beat.set()

    async def _tell_outcome(self, outcome: worker_pb2.FinishTaskRequest, lease: HostLease) -> bool:
        outcome.lease.CopyFrom(lease.message)
        outcome.host = self.name
        for _ in range(TELL_TRIES_MAX):
            await self._awake.wait()
            if lease.is_lost():
                return False
            session = outcome.session = self._terms.session
            try:
                await self._present().finish(outcome)
            except EngineAway as error:
                if not await self._rejoin(session, error):
                    return False
            except Refused:
                if self._terms.session == session:
                    return False
            else:
                return True
        return False

    async def _rejoin(self, session: str, error: "EngineAway | Refused | None" = None) -> bool:
        await self._awake.wait()
        try:
            if isinstance(error, Refused) and self._terms.session == session:
                raise GaveUp
            await self._join(session)
        except (GaveUp, Refused):
            for lease in self._leases.values():
                lease.lose()
            self.crash()
            return False
        return True

    async def _join(self, failed: str) -> None:
        """Registers, unless that was done since the session `failed` was found not to work."""
        async with self._joining:
            if self._link is not None and self._terms.session != failed:
                return
            deadline = self._heard + LEASES_TO_TRY * self._terms.lease_seconds
            for attempt in range(10_000):
                await self._awake.wait()
                try:
                    await self._register()
                    return
                except EngineAway as error:
                    if self.clock.monotonic() >= deadline:
                        raise GaveUp from error
                pause = min(BACKOFF_MAX_SECONDS, BACKOFF_FIRST_SECONDS * 2 ** min(attempt, 8))
                await asyncio.sleep(pause * self._machine.rng.uniform(0.5, 1.0))

    async def _register(self) -> None:
        link = self._machine.network.find(self.name)
        if self._terms.session:
            with contextlib.suppress(NotRegistered):  # another process may have taken the name over
                held = self._held()
                answer = await link.heartbeat(self._terms.session, [lease.message for lease in held])
                _drain(held, answer)
        await self._awake.wait()
        held, asked = self._held(), self.clock.monotonic()
        terms = await link.register(self._message, [lease.message for lease in held])
        await self._awake.wait()
        self._settle(held, asked, set(terms.lost_task_ids))
        self._link, self._terms, self._heard = link, terms, self.clock.monotonic()

    def _settle(self, held: list[HostLease], asked: float, lost: set[str]) -> None:
        for lease in held:
            if lease.message.task_id in lost:
                lease.lose()
            else:
                lease.renew(asked)

    def _held(self) -> list[HostLease]:
        return [lease for lease in self._leases.values() if not lease.is_lost()]

    def _present(self) -> Link:
        if self._link is None:
            raise GaveUp
        return self._link

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        part = asyncio.get_running_loop().create_task(work)
        self._parts[part] = None
        part.add_done_callback(self._ended)

    def _ended(self, part: "asyncio.Task[None]") -> None:
        self._parts.pop(part, None)
        error = None if part.cancelled() else part.exception()
        if error is not None and not isinstance(error, Crash):
            self._machine.network.broken.append(f"{self.name} broke with {error!r}")

    async def _waited(self, event: asyncio.Event, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await event.wait()
        except TimeoutError:
            return


def _drain(held: list[HostLease], answer: worker_pb2.HeartbeatResponse) -> None:
    for lease in held:
        if lease.message.task_id in answer.drain_task_ids:
            lease.drain()


def rounded_up(seconds: float) -> float:
    """The next power of two of tenths of a second: what blocking code draws for itself is no part of a seed's history."""
    return 0.1 * 2.0 ** math.ceil(math.log2(max(seconds, 0.001) / 0.1))
