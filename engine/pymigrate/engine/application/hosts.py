"""Worker hosts: who is there, what each has leased, and what becomes of it when a host is lost."""

import asyncio
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import structlog

from pymigrate.engine.application import works
from pymigrate.engine.application.board import Board
from pymigrate.engine.application.caller import Surroundings
from pymigrate.engine.application.declared_backends import TaskBackends
from pymigrate.engine.application.inquiries import Inquiries
from pymigrate.engine.application.known_hosts import HOST_BYTES_MIN, Host, LeaseTerms, is_process, refuse_problems
from pymigrate.engine.application.lane_credentials import LaneCredentials
from pymigrate.engine.application.limits import LaneLimits
from pymigrate.engine.application.task_reports import TaskReports
from pymigrate.engine.application.work_bell import WorkBell
from pymigrate.engine.domain.errors import FailedPrecondition, NotFound
from pymigrate.engine.domain.happenings import Leased, Lost, Renewed
from pymigrate.engine.domain.names import at_environment, parent_of
from pymigrate.engine.domain.orchestration import RunCore
from pymigrate.engine.domain.rates import Rate
from pymigrate.engine.domain.recalls import Recalls
from pymigrate.engine.domain.run import Failure, Task
from pymigrate.engine.domain.run_states import TaskKind, TaskState
from pymigrate.engine.domain.schedule import Limits, Scheduler
from pymigrate.engine.domain.writers import held_up
from pymigrate.engine.ports.hosts import HostRecord
from pymigrate.engine.ports.store import Store
from pymigrate.v1 import worker_pb2

log = structlog.get_logger(__name__)
WAIT_MAX_SECONDS = 30.0
# A look through all runs for work, of which there was none, is followed by a rest of so many times what it took. Something happens all
# the time where a thousand runs begin or are cancelled, and each look takes the longer the more there are.
REST_SHARE = 4.0
REST_SECONDS_MAX = 0.25


class Hosts:
    """The use cases behind WorkerService, and the sweep that finds lost hosts."""

    def __init__(
        self,
        store: Store,
        board: Board,
        inquiries: Inquiries,
        limits: LaneLimits,
        surroundings: Surroundings,
        terms: LeaseTerms,
        scheduler: Scheduler,
        credentials: LaneCredentials,
    ) -> None:
        self._store = store
        self._credentials = credentials
        self._scheduler = scheduler
        self._board = board
        self._inquiries = inquiries
        self._limits = limits
        self._surroundings = surroundings
        self.terms = terms
        self._hosts: dict[str, Host] = {}
        self._bell = WorkBell()
        self._reports = TaskReports(board, inquiries, limits, surroundings.clock, scheduler, self.tell_work)
        self._claiming = asyncio.Lock()
        self._recalls = Recalls()
        self._backends = TaskBackends(store)

    async def restore(self) -> None:
        """Takes over the hosts of an engine that ended: each has one lease to register again."""
        for record in await self._store.read(lambda unit: list(unit.hosts.list())):
            self._hosts[record.name] = Host(record, self._surroundings.clock.monotonic())
        for core in list(self._board.active()):
            for task in core.leased():
                if task.host in self._hosts:
                    self._hosts[task.host].tasks.add(task.id)
                    until = self._surroundings.clock.now() + timedelta(seconds=self.terms.lease_seconds)
                    await self._board.apply(core.run.name, Renewed(task.id, task.fence, until))
                else:
                    await self._board.apply(core.run.name, Lost(task.id))

    async def register(
        self, host: worker_pb2.WorkerHost, leases: Iterable[worker_pb2.TaskLease]
    ) -> worker_pb2.RegisterHostResponse:
        """Makes a host known. Raises InvalidDefinition, and FailedPrecondition while another process of that name is there: an engine
        that was killed may have started one that comes late."""
        now, name = self._surroundings.clock.now(), host.name
        refuse_problems(host)
        session = self._surroundings.new_id()
        record = HostRecord(name, host.affinity, host.pid, host.pid_start_ticks, session, now, host.workload)
        former = self._hosts.get(name)
        is_same_process = former is not None and is_process(former.record, host)
        if former is not None and not is_same_process:
            if former.is_registered and not self._is_overdue(former):
                raise FailedPrecondition(f"another process has registered as {name}: this one must end")
            await self._lose_tasks(former)
        await self._store.transact(lambda unit: unit.hosts.put(record))
        known = Host(record, moment := self._surroundings.clock.monotonic(), is_registered=True, since=moment)
        self._hosts[name] = known
        answer = worker_pb2.RegisterHostResponse(
            session=record.session,
            heartbeat_seconds=self.terms.heartbeat_seconds,
            lease_seconds=self.terms.lease_seconds,
            tasks_max=self.terms.tasks_max,
            memory_bytes_max=self.memory_share_bytes(),
        )
        given = list(leases)
        kept = [lease for lease in given if self._is_held(lease, name)]
        answer.lost_task_ids.extend(lease.task_id for lease in given if lease not in kept)
        for lease in kept:
            answer.credentials[lease.task_id] = self._credential(name, lease.task_id, lease.fence)
        known.tasks = {lease.task_id for lease in kept}
        if former is not None and is_same_process:
            await self._lose_tasks(former, kept=known.tasks)
        log.info("host.registered", host=name, pid=host.pid, workload=host.workload, affinity=host.affinity)
        return answer

    async def claim(self, name: str, session: str, wait_seconds: float) -> worker_pb2.Task | None:
        """The most urgent task that the host may take, waited for at most `wait_seconds`."""
        host = self._require(name, session)
        deadline = self._surroundings.clock.monotonic() + min(wait_seconds, WAIT_MAX_SECONDS)
        while True:
            await self._rest(host, deadline)
            seen, since, begun = self._bell.rung, self._surroundings.clock.now(), self._surroundings.clock.monotonic()
            task = await self._lease_one(host)
            if task is not None:
                await self._backends.bring(task)
                task.credential = self._credential(name, task.id, task.fence)
            left = deadline - self._surroundings.clock.monotonic()
            if task is not None or left <= 0:
                return task
            wait = min(left, await self._seconds_to_retry(since))
            looked = self._surroundings.clock.monotonic()
            host.rests_until = looked + min(REST_SECONDS_MAX, (looked - begun) * REST_SHARE)
            await self._bell.wait(seen, wait)
            self._require(name, session)  # another process may have taken the name meanwhile

    async def heartbeat(
        self, name: str, session: str, leases: Iterable[worker_pb2.TaskLease]
    ) -> worker_pb2.HeartbeatResponse:
        """Renews what the host has, and says what it should drain and what it has lost."""
        host = self._require(name, session)
        now = self._surroundings.clock.now()
        until = now + timedelta(seconds=self.terms.lease_seconds)
        await self._store.transact(lambda unit: unit.hosts.touch(name, now))
        host.record = replace(host.record, heartbeat_time=now)
        answer = worker_pb2.HeartbeatResponse()
        for lease in leases:
            if not self._is_held(lease, name):
                answer.lost_task_ids.append(lease.task_id)
                continue
            if core := self._core_of(lease.task_id):
                await self._board.apply(core.run.name, Renewed(lease.task_id, lease.fence, until))
            answer.credentials[lease.task_id] = self._credential(name, lease.task_id, lease.fence)
        limits = await self._limits.current()
        draining = set(self._scheduler.to_drain(self._board.active(), limits, now))
        draining.update(self._recalls.to_drain(self._board.active(), limits))
        answer.drain_task_ids.extend(sorted(host.tasks & draining))
        rates = self._scheduler.rates(self._board.active(), limits)
        answer.rates.extend(_rate(rates[task], task) for task in sorted(host.tasks & rates.keys()))
        answer.memory_bytes_max = self.memory_share_bytes()
        return answer

    async def report(
        self, name: str, session: str, lease: worker_pb2.TaskLease, progress: worker_pb2.LaneProgress
    ) -> None:
        """Notes how far a lane got. Raises FailedPrecondition for a host that no longer has it, NotPermitted for one that shows no
        credential for it."""
        self._require(name, session)
        self._credentials.require(name, lease)
        if not await self._reports.progress(lease, progress):
            raise FailedPrecondition(f"{name} no longer has {lease.task_id}: stop it without committing")

    async def finish(self, request: worker_pb2.FinishTaskRequest) -> None:
        """Notes how a task ended; the second time, and after the task was lost, nothing changes. Raises NotPermitted for a host that shows
        no credential for it."""
        host = self._require(request.host, request.session)
        self._credentials.require(request.host, request.lease)
        host.tasks.discard(request.lease.task_id)
        await self._reports.finish(request)
        self.tell_work()  # the host has room for another task, whatever this one was

    def memory_share_bytes(self) -> int:
        """What each host has of the memory of all, now that there are so many."""
        share = self.terms.memory_bytes_max // max(len(self._hosts), 1)
        return min(share, self.terms.host_bytes_max or share)

    @property
    def hosts_max(self) -> int:
        """How many hosts the memory of all is enough for."""
        return max(1, self.terms.memory_bytes_max // (self.terms.host_bytes_max or HOST_BYTES_MIN))

    def idle(self) -> list[HostRecord]:
        """Hosts that have nothing under way, and that nothing waits for; the one that was heard of last comes last."""
        demand = self.demand()
        found = [host for host in self.hosts() if not host.tasks and not demand.get(host.record.affinity)]
        return [host.record for host in sorted(found, key=lambda host: host.seen)]

    def pausable(self) -> list[HostRecord]:
        """Hosts that could give up their place for others and lose nothing by it: all that they have under way is lanes, which go on from
        their checkpoints elsewhere. Of several that do the same work the last comes first, then who is there the longest."""
        copying = {task.id for core in self._board.active() for task in core.leased() if task.kind is TaskKind.COPY}
        crews = Counter(host.record.affinity for host in self.hosts())
        found = [host for host in self.hosts() if host.is_registered and host.tasks <= copying]
        found.sort(key=lambda host: host.since)
        shared = [host.record for host in found if crews[host.record.affinity] > 1]
        alone = [host.record for host in found if crews[host.record.affinity] == 1]
        return [*reversed(shared), *alone]

    def hosts(self) -> list[Host]:
        """All known hosts, ordered by name."""
        return [self._hosts[name] for name in sorted(self._hosts)]

    def overdue(self) -> list[HostRecord]:
        """Hosts that have not called for a whole lease."""
        return [host.record for host in self.hosts() if self._is_overdue(host)]

    async def expire(self) -> None:
        """Takes back every task whose lease has run out without a heartbeat that named it."""
        now = self._surroundings.clock.now()
        for core in list(self._board.active()):
            for task in core.leased():
                if task.lease_expires is not None and task.lease_expires < now:
                    log.warning("lease.expired", task=task.id, host=task.host)
                    if host := self._hosts.get(task.host):
                        host.tasks.discard(task.id)
                    await self._lose(core, task.id)

    async def forget(self, name: str) -> None:
        """The host's process is gone for certain: what it had is given to others."""
        host = self._hosts.pop(name, None)
        if host is not None:
            log.warning("host.lost", host=name, tasks=len(host.tasks))
            await self._store.transact(lambda unit: unit.hosts.delete(name))
            await self._lose_tasks(host)
        self._inquiries.lose(name)

    def demand(self) -> dict[str, int]:
        """How many tasks wait for a host, by affinity."""
        counts = self._inquiries.demand()
        now = self._surroundings.clock.now()
        for core in self._board.active():
            for task in core.claimable(now):
                affinity = at_environment(task.affinity, core.run.name)
                counts[affinity] = counts.get(affinity, 0) + 1
        return counts

    async def held_up(self) -> dict[str, tuple[str, ...]]:
        """As `writers.held_up`, of all runs under way."""
        return held_up(self._board.active(), (await self._limits.current()).replaced)

    def note_troubles(self, troubles: Mapping[str, Sequence[Failure]]) -> None:
        """Why hosts do not come now, by affinity, for questions that nobody answers."""
        served = {host.record.affinity for host in self.hosts()}
        self._inquiries.note_troubles(troubles, served, self._surroundings.clock.monotonic())

    def tell_work(self) -> None:
        """Wakes the hosts that wait; safe to call from anywhere in the loop."""
        self._bell.ring()

    async def _rest(self, host: Host, deadline: float) -> None:
        """After a look in vain, whichever claim made it. A question that the host may take ends the rest."""
        while (left := min(host.rests_until, deadline) - self._surroundings.clock.monotonic()) > 0:
            if self._may_take(host) and self._inquiries.waiting(host.record.affinity):
                return
            await self._bell.wait(self._bell.rung, left)

    async def _lease_one(self, host: Host) -> worker_pb2.Task | None:
        async with self._claiming:
            if not self._may_take(host):
                return None
            if inquiry := self._inquiries.waiting(host.record.affinity):
                message = self._inquiries.lease(inquiry, host.record.name, self.terms.lease_seconds)
                host.tasks.add(message.id)
                return message
            limits = await self._limits.current()
            if not self._may_take(host):  # another process may have taken the name meanwhile
                return None
            cores, now = list(self._board.active()), self._surroundings.clock.now()
            granted = next(self._scheduler.grants(cores, limits, now, host.record.affinity), None)
            return None if granted is None else await self._lease(host, *granted, limits)

    def _may_take(self, host: Host) -> bool:
        return len(host.tasks) < self.terms.tasks_max and self._hosts.get(host.record.name) is host

    async def _lease(self, host: Host, core: RunCore, task: Task, limits: Limits) -> worker_pb2.Task | None:
        run = core.run.name
        until = self._surroundings.clock.now() + timedelta(seconds=self.terms.lease_seconds)
        if not await self._board.apply(run, Leased(task.id, host.record.name, until)):
            return None
        host.tasks.add(task.id)
        self._scheduler.leased(core, task)
        # Noted before what it is opened with is read: what changes in between calls the lane back once too often, not once too little.
        self._recalls.leased(core, task, limits)
        revision, seconds = self._limits.opened_now(run, await self._board.revision(run)), self.terms.lease_seconds
        message = await self._board.view(
            run, lambda aggregate: works.task_message(revision, aggregate, aggregate.tasks[task.id], seconds)
        )
        rates = self._scheduler.rates(self._board.active(), await self._limits.current())
        if task.id in rates:
            message.rate.CopyFrom(_rate(rates[task.id]))
        return message

    async def _seconds_to_retry(self, since: datetime) -> float:
        """Until the next held back task may be leased. What could be leased at `since` waits for something else."""
        limits, now = await self._limits.current(), self._surroundings.clock.now()
        wake = self._scheduler.next_wake(list(self._board.active()), limits, since)
        return WAIT_MAX_SECONDS if wake is None else max(0.05, (wake - now).total_seconds())

    async def _lose_tasks(self, host: Host, kept: Collection[str] = ()) -> None:
        for task_id in sorted(host.tasks.difference(kept)):
            if core := self._core_of(task_id):
                await self._lose(core, task_id)
        self._inquiries.lose(host.record.name, kept)

    async def _lose(self, core: RunCore, task_id: str) -> None:
        await self._board.apply(core.run.name, Lost(task_id))
        self._scheduler.gave_back(core, core.aggregate.tasks[task_id])

    def _core_of(self, task_id: str) -> RunCore | None:
        return self._board.core(parent_of(task_id))

    def _credential(self, host: str, task_id: str, fence: int) -> str:
        return self._credentials.make(host, task_id, fence, self.terms.lease_seconds)

    def _is_held(self, lease: worker_pb2.TaskLease, host: str) -> bool:
        """Whether the host has a task, and shows that it was given to it."""
        task_id, fence = lease.task_id, lease.fence
        if not self._credentials.is_good(host, lease):
            return False
        if task_id.startswith("inquiries/"):
            return self._inquiries.holds(task_id, fence)
        core = self._core_of(task_id)
        task = core.aggregate.tasks.get(task_id) if core else None
        return task is not None and (task.state, task.fence, task.host) == (TaskState.LEASED, fence, host)

    def _is_overdue(self, host: Host) -> bool:
        return self._surroundings.clock.monotonic() - host.seen > self.terms.lease_seconds

    def _require(self, name: str, session: str) -> Host:
        host = self._hosts.get(name)
        if host is None or not host.is_registered:
            raise NotFound(f"{name} is not registered: register it")
        if host.record.session != session:
            raise FailedPrecondition(f"another process has registered as {name}: this one must stop without committing")
        host.seen = self._surroundings.clock.monotonic()
        return host


def _rate(rate: Rate, task: str = "") -> worker_pb2.LaneRate:
    return worker_pb2.LaneRate(
        task_id=task, bytes_per_second_max=rate.bytes_per_second, rows_per_second_max=rate.rows_per_second
    )
