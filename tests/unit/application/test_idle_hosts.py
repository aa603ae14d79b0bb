"""Hosts that have nothing to do end after a while where that is asked for, and nobody waits for them."""

import asyncio
from dataclasses import replace

import pytest

from pymigrate.engine.application.housekeeping import Housekeeping
from pymigrate.engine.application.requests import Requests
from pymigrate.engine.entrypoints.loops.idle_hosts import IDLE_FOR_EVER, Idling
from pymigrate.engine.entrypoints.loops.supervisor import EXECUTOR_SECONDS, Supervisor
from pymigrate.engine.ports.hosts import HostRecord
from pymigrate.engine.testing.executors import MemoryExecutor
from pymigrate.v1 import worker_pb2
from tests.unit.application.engines import Engine, PlayedHost

IDLE_SECONDS = 4.0


@pytest.fixture
def executor() -> MemoryExecutor:
    """No host runs."""
    return MemoryExecutor()


def supervised(engine: Engine, executor: MemoryExecutor, idling: Idling) -> Supervisor:
    """A supervisor with at most two shared hosts."""
    housekeeping = Housekeeping(engine.store, Requests(engine.clock), engine.clock, 10)
    return Supervisor(engine.hosts, engine.followups, executor, housekeeping, engine.clock, 2, engine.views, idling)


async def registered(engine: Engine, executor: MemoryExecutor, *affinities: str) -> list[PlayedHost]:
    """Hosts with the process ids 1 and following."""
    hosts = [
        PlayedHost(engine, f"workerHosts/h{pid}", pid=pid, affinity=each) for pid, each in enumerate(affinities, 1)
    ]
    for host in hosts:
        executor.running.add(host.message.pid)
        await host.register()
    return hosts


async def passed(engine: Engine, supervisor: Supervisor, hosts: list[PlayedHost], seconds: float) -> None:
    """Passes go by, once a second, in which the hosts call."""
    for _ in range(int(seconds)):
        engine.clock.advance(1)
        for host in hosts:
            if any(known.record.name == host.message.name for known in engine.hosts.hosts()):
                await host.heartbeat()
        await supervisor.step()
        await asyncio.sleep(0)


async def test_a_host_that_idles_ends_after_a_while_and_not_before(engine: Engine, executor: MemoryExecutor) -> None:
    supervisor = supervised(engine, executor, Idling(IDLE_SECONDS))
    hosts = await registered(engine, executor, "shared@e", "file:/w@e")
    await supervisor.step()
    await passed(engine, supervisor, hosts, IDLE_SECONDS - 1)
    assert executor.drained == []
    await passed(engine, supervisor, hosts, 2)
    assert sorted(executor.drained) == [1, 2]
    assert engine.hosts.hosts() == []
    assert executor.started == []


async def test_hosts_idle_for_ever_where_nothing_is_said(engine: Engine, executor: MemoryExecutor) -> None:
    supervisor = supervised(engine, executor, IDLE_FOR_EVER)
    hosts = await registered(engine, executor, "shared@e")
    await passed(engine, supervisor, hosts, 10 * IDLE_SECONDS)
    assert executor.drained == []


async def test_some_shared_hosts_of_each_environment_stay_however_long_they_idle(
    engine: Engine, executor: MemoryExecutor
) -> None:
    supervisor = supervised(engine, executor, Idling(IDLE_SECONDS, shared_min=1))
    hosts = await registered(engine, executor, "shared@e", "shared@e", "shared@prod", "file:/w@e")
    await passed(engine, supervisor, hosts, 3 * IDLE_SECONDS)
    assert sorted(known.record.affinity for known in engine.hosts.hosts()) == ["shared@e", "shared@prod"]


async def test_a_host_at_work_does_not_idle_and_begins_anew_when_it_is_done(
    engine: Engine, executor: MemoryExecutor
) -> None:
    supervisor = supervised(engine, executor, Idling(IDLE_SECONDS))
    [host] = await registered(engine, executor, "shared@e")
    await passed(engine, supervisor, [host], IDLE_SECONDS - 1)
    question = asyncio.create_task(engine.inquiries.ask(worker_pb2.Task(test=worker_pb2.TestWork()), "shared@e", 600))
    await asyncio.sleep(0)
    task = await host.claim()
    assert task is not None
    for _ in range(10):
        engine.clock.advance(1)
        await host.heartbeat(task)
        await supervisor.step()
    await host.finish(task)
    await question
    await passed(engine, supervisor, [host], IDLE_SECONDS)
    assert executor.drained == []
    await passed(engine, supervisor, [host], 2)
    assert executor.drained == [1]


async def test_a_host_that_takes_long_to_end_keeps_nobody_waiting_and_is_asked_once(engine: Engine) -> None:
    class Slow(MemoryExecutor):
        """Drains when the test says so."""

        def __init__(self) -> None:
            super().__init__()
            self.let_go = asyncio.Event()

        async def drain(self, record: HostRecord) -> None:
            await super().drain(record)
            await self.let_go.wait()

    executor = Slow()
    supervisor = supervised(engine, executor, Idling(IDLE_SECONDS))
    hosts = await registered(engine, executor, "file:/w@e")
    await passed(engine, supervisor, hosts, IDLE_SECONDS + 2)
    waiting = asyncio.create_task(engine.inquiries.ask(worker_pb2.Task(test=worker_pb2.TestWork()), "shared@e", 600))
    await asyncio.sleep(0)
    await passed(engine, supervisor, hosts, 30)
    assert executor.drained == [1]
    assert executor.killed == []
    assert [affinity for _, affinity in executor.started] == ["shared@e"]
    executor.let_go.set()
    await passed(engine, supervisor, hosts, 1)
    assert engine.hosts.hosts() == []
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)


async def test_the_executor_is_told_now_and_then_who_is_known_and_who_is_about_to_be(
    engine: Engine, executor: MemoryExecutor
) -> None:
    supervisor = supervised(engine, executor, IDLE_FOR_EVER)
    hosts = await registered(engine, executor, "shared@e")
    waiting = asyncio.create_task(engine.inquiries.ask(worker_pb2.Task(test=worker_pb2.TestWork()), "file:/w@e", 600))
    await asyncio.sleep(0)
    await passed(engine, supervisor, hosts, EXECUTOR_SECONDS + 1)
    [(known, wanted)] = executor.tidied
    assert known == {"workerHosts/h1"}
    assert [name.partition("-")[0] for name in wanted] == ["file"]
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)


async def test_a_host_of_a_bounded_size_is_never_given_more_than_it_may_hold(engine: Engine) -> None:
    engine.hosts.terms = replace(engine.hosts.terms, memory_bytes_max=4_000, host_bytes_max=1_000)
    await PlayedHost(engine, "workerHosts/h1", pid=1).register()
    assert (engine.hosts.memory_share_bytes(), engine.hosts.hosts_max) == (1_000, 4)
