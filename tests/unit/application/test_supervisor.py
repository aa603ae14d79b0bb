"""The supervisor: waiting work gets hosts, lost hosts give up their work, and a pass that fails is followed by another."""

import asyncio
import itertools
from dataclasses import replace

import pytest

from pymigrate.engine.adapters.executors.local import LocalExecutor
from pymigrate.engine.application.housekeeping import Housekeeping
from pymigrate.engine.application.inquiries import VAIN_SECONDS_MAX
from pymigrate.engine.application.known_hosts import HOST_BYTES_MIN
from pymigrate.engine.application.requests import Requests
from pymigrate.engine.domain.errors import HostsUnavailable, StoreUnavailable
from pymigrate.engine.domain.run import Failure
from pymigrate.engine.entrypoints.loops.supervisor import (
    HOUSEKEEPING_SECONDS,
    INTERVAL_SECONDS,
    RESTART_MAX_SECONDS,
    TURN_SECONDS,
    Supervisor,
    host_names,
    stopped,
)
from pymigrate.engine.ports.executor import Executor
from pymigrate.engine.testing.executors import MemoryExecutor
from pymigrate.v1 import run_pb2, worker_pb2
from tests.unit.application.engines import ME, PLAN, Engine, PlayedHost, phase
from tests.unit.application.test_board import RUN, start


@pytest.fixture
def executor() -> MemoryExecutor:
    """No host runs."""
    return MemoryExecutor()


def housekeeping(engine: Engine) -> Housekeeping:
    """Messages are kept for ten days."""
    return Housekeeping(engine.store, Requests(engine.clock), engine.clock, 10)


@pytest.fixture
def supervisor(engine: Engine, executor: MemoryExecutor) -> Supervisor:
    """At most two shared hosts."""
    return Supervisor(engine.hosts, engine.followups, executor, housekeeping(engine), engine.clock, 2, engine.views)


async def asked(engine: Engine, affinity: str, times: int = 1) -> list["asyncio.Task[worker_pb2.TaskResult]"]:
    """Questions that wait for a host."""
    questions = [worker_pb2.Task(test=worker_pb2.TestWork()) for _ in range(times)]
    waiting = [asyncio.create_task(engine.inquiries.ask(question, affinity, 600)) for question in questions]
    await asyncio.sleep(0)
    return waiting


async def cancelled(waiting: list["asyncio.Task[worker_pb2.TaskResult]"]) -> None:
    """Nobody asks any more."""
    for question in waiting:
        question.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


def test_the_executor_of_tests_has_the_shape_of_the_real_one(executor: MemoryExecutor) -> None:
    port: Executor = executor
    calls = {name for name in vars(Executor) if not name.startswith("_")}
    assert all(callable(getattr(port, name)) and callable(getattr(LocalExecutor, name)) for name in calls)


@pytest.mark.parametrize(
    ("affinity", "waiting", "expected"),
    [
        ("shared@e", 0, ["shared-e-1"]),
        ("shared@e", 1, ["shared-e-1"]),
        ("shared@e", 9, ["shared-e-1", "shared-e-2"]),
        ("file:/w", 9, ["file-29830596b9a7"]),
    ],
)
def test_a_single_writer_has_one_host_and_the_others_as_many_as_wait(
    affinity: str, waiting: int, expected: list[str]
) -> None:
    assert host_names(affinity, waiting, 2) == expected


async def test_waiting_work_gets_hosts(engine: Engine, executor: MemoryExecutor, supervisor: Supervisor) -> None:
    waiting = await asked(engine, "shared@e", 5) + await asked(engine, "file:/w@e")
    await supervisor.step()
    assert [affinity for _, affinity in executor.started] == ["file:/w@e", "shared@e", "shared@e"]
    assert len({name for name, _ in executor.started}) == 3
    await supervisor.step()
    assert len(executor.started) == 3
    await cancelled(waiting)


async def test_no_host_is_started_for_no_work_or_beside_one_that_is_there(
    engine: Engine, executor: MemoryExecutor, supervisor: Supervisor
) -> None:
    await supervisor.step()
    assert executor.started == []
    host = PlayedHost(engine, "workerHosts/shared-e-1", pid=7, affinity="shared@e")
    executor.running.add(7)
    await host.register()
    waiting = await asked(engine, "shared@e")
    await supervisor.step()
    assert executor.started == []
    assert await host.work() == ["test"]
    await asyncio.gather(*waiting)


async def test_a_host_that_keeps_ending_is_started_later_and_later(
    engine: Engine, executor: MemoryExecutor, supervisor: Supervisor
) -> None:
    waiting = await asked(engine, "file:/w@e")
    starts: list[float] = []
    while len(starts) < 9:
        before = len(executor.started)
        await supervisor.step()
        if len(executor.started) > before:
            starts.append(engine.clock.monotonic())
            executor.exited.add(executor.started[-1][0])
        engine.clock.advance(INTERVAL_SECONDS)
    pauses = [after - before for before, after in itertools.pairwise(starts)]
    assert pauses == sorted(pauses)
    assert pauses[-1] == RESTART_MAX_SECONDS
    await cancelled(waiting)


async def test_a_host_that_starts_slowly_is_not_started_twice(
    engine: Engine, executor: MemoryExecutor, supervisor: Supervisor
) -> None:
    waiting = await asked(engine, "file:/w@e")
    for _ in range(10):
        await supervisor.step()
        engine.clock.advance(RESTART_MAX_SECONDS)
    assert len(executor.started) == 1
    await cancelled(waiting)


async def test_a_host_whose_process_is_gone_loses_its_work_at_once(
    engine: Engine, executor: MemoryExecutor, supervisor: Supervisor
) -> None:
    host = PlayedHost(engine, pid=7, affinity="file:/w@e")
    executor.running.add(7)
    await host.register()
    waiting = await asked(engine, "file:/w@e")
    assert await host.claim() is not None
    await supervisor.step()
    assert engine.hosts.hosts() != []
    executor.running.clear()
    await supervisor.step()
    assert engine.hosts.hosts() == []
    assert [affinity for _, affinity in executor.started] == ["file:/w@e"]
    await cancelled(waiting)


async def test_a_silent_host_is_killed_before_its_work_is_given_to_another(
    engine: Engine, executor: MemoryExecutor, supervisor: Supervisor
) -> None:
    host = PlayedHost(engine, pid=7)
    executor.running.add(7)
    await host.register()
    engine.clock.advance(engine.hosts.terms.lease_seconds + 1)
    executor.unkillable.add(7)
    await supervisor.step()
    assert [known.record.pid for known in engine.hosts.hosts()] == [7]
    executor.unkillable.clear()
    await supervisor.step()
    assert (executor.killed, engine.hosts.hosts()) == ([7], [])


async def test_a_pass_that_fails_is_followed_by_another(
    engine: Engine, executor: MemoryExecutor, supervisor: Supervisor
) -> None:
    class Failing(MemoryExecutor):
        """Can't start anything at first."""

        async def ensure(self, host: str, affinity: str) -> None:
            if not executor.started:
                await executor.ensure(host, affinity)
                raise StoreUnavailable("the disk is full")
            await executor.ensure(host, affinity)

    supervisor = Supervisor(
        engine.hosts, engine.followups, Failing(), housekeeping(engine), engine.clock, 2, engine.views
    )
    waiting = await asked(engine, "shared@e", 2)
    passes = asyncio.create_task(supervisor.run())
    await engine.clock.run_for(5 * INTERVAL_SECONDS)
    assert {name for name, _ in executor.started} == {"shared-e-1", "shared-e-2"}
    assert not passes.done()
    await stopped(passes)
    assert passes.cancelled()
    await cancelled(waiting)


async def test_old_answers_are_forgotten_now_and_then(engine: Engine, supervisor: Supervisor) -> None:
    await engine.store.transact(lambda unit: unit.requests.put("m", "1", b"", b"", engine.clock.now()))
    await supervisor.step()
    engine.clock.advance(HOUSEKEEPING_SECONDS * 200)
    await supervisor.step()
    assert await engine.store.read(lambda unit: unit.requests.get("m", "1")) is None


async def test_where_memory_is_short_a_host_with_nothing_to_do_makes_room_for_another(
    engine: Engine, executor: MemoryExecutor, supervisor: Supervisor
) -> None:
    engine.hosts.terms = replace(engine.hosts.terms, memory_bytes_max=2 * HOST_BYTES_MIN)
    busy = PlayedHost(engine, "workerHosts/file-busy", pid=7, affinity="file:/busy@e")
    idle = PlayedHost(engine, "workerHosts/file-idle", pid=8, affinity="file:/idle@e")
    executor.running |= {7, 8}
    for host in (busy, idle):
        await host.register()
    working = await asked(engine, "file:/busy@e")
    claimed = await engine.hosts.claim("workerHosts/file-busy", busy.session, 0)
    assert claimed is not None
    waiting = await asked(engine, "file:/new@e")
    await supervisor.step()
    assert (executor.drained, executor.started) == ([8], [])
    await supervisor.step()
    assert [affinity for _, affinity in executor.started] == ["file:/new@e"]
    await supervisor.step()
    assert executor.drained == [8]
    await cancelled([*waiting, *working])


async def hosts_at_work(engine: Engine, executor: MemoryExecutor, *affinities: str) -> list[PlayedHost]:
    """Hosts of the process ids 11 and following, in the order of their coming."""
    hosts = [
        PlayedHost(engine, f"workerHosts/h{pid}", pid=pid, affinity=affinity)
        for pid, affinity in enumerate(affinities, 11)
    ]
    for host in hosts:
        executor.running.add(host.message.pid)
        await host.register()
    return hosts


async def test_where_memory_is_short_one_of_several_hosts_gives_way_to_an_environment_that_has_none(
    engine: Engine, executor: MemoryExecutor, supervisor: Supervisor
) -> None:
    engine.hosts.terms = replace(engine.hosts.terms, memory_bytes_max=3 * HOST_BYTES_MIN)
    await hosts_at_work(engine, executor, "shared@e", "shared@e", "file:/w@e")
    waiting = await asked(engine, "shared@e", 5) + await asked(engine, "file:/w@e") + await asked(engine, "shared@prod")
    await supervisor.step()
    assert (executor.drained, executor.started) == ([12], [])
    await supervisor.step()
    assert executor.drained == [12]
    assert executor.started == [("shared-prod-1", "shared@prod")]
    await cancelled(waiting)


async def test_an_environment_that_has_waited_for_its_turn_gets_the_place_of_the_host_that_is_there_the_longest(
    engine: Engine, executor: MemoryExecutor, supervisor: Supervisor
) -> None:
    engine.hosts.terms = replace(engine.hosts.terms, memory_bytes_max=2 * HOST_BYTES_MIN)
    hosts = await hosts_at_work(engine, executor, "file:/w@e", "shared@e")
    waiting = await asked(engine, "shared@e") + await asked(engine, "file:/w@e") + await asked(engine, "shared@prod")
    await supervisor.step()
    assert executor.drained == []
    engine.clock.advance(TURN_SECONDS)
    for host in hosts:
        await host.heartbeat()
    await supervisor.step()
    assert executor.drained == [11]
    await cancelled(waiting)


async def test_hosts_share_the_memory_of_all_as_they_come_and_go(engine: Engine, executor: MemoryExecutor) -> None:
    del executor
    total = engine.hosts.terms.memory_bytes_max
    first = PlayedHost(engine, "workerHosts/shared-e-1", pid=7, affinity="shared@e")
    await first.register()
    assert engine.hosts.memory_share_bytes() == total
    await PlayedHost(engine, "workerHosts/shared-e-2", pid=8, affinity="shared@e").register()
    answer = await engine.hosts.heartbeat("workerHosts/shared-e-1", first.session, [])
    assert answer.memory_bytes_max == total // 2


async def test_why_hosts_do_not_come_is_told_with_the_runs_that_wait_for_them(
    engine: Engine, executor: MemoryExecutor, supervisor: Supervisor
) -> None:
    await engine.declare({"a": phase("orders")})
    host = PlayedHost(engine, pid=7)
    executor.running.add(7)
    await host.register()
    await start(engine, "r", host)
    executor.known_troubles = {"file:/warehouse.duckdb@e": [Failure("IMAGE_MISSING", "no such image")]}
    await supervisor.step()
    assert [told.reason for told in (await engine.runs.get(RUN)).host_troubles] == ["IMAGE_MISSING"]
    executor.known_troubles = {}
    await supervisor.step()
    assert not (await engine.runs.get(RUN)).host_troubles


async def test_a_start_that_no_host_comes_for_ends_soon_with_the_reason_and_starts_nothing(
    engine: Engine, executor: MemoryExecutor, supervisor: Supervisor
) -> None:
    await engine.declare({"a": phase("orders")})
    starting = asyncio.create_task(engine.runs.start(run_pb2.StartRunRequest(parent=PLAN, run_id="r"), ME))
    for _ in range(100):
        await asyncio.sleep(0)
    assert engine.inquiries.demand()
    executor.known_troubles = {"file:/warehouse.duckdb@e": [Failure("QUOTA_EXCEEDED", "a quota is used up")]}
    await supervisor.step()
    assert engine.inquiries.demand()
    engine.clock.advance(VAIN_SECONDS_MAX)
    await supervisor.step()
    with pytest.raises(HostsUnavailable, match="a quota is used up"):
        await starting
    assert not list(engine.board.active())


async def test_a_question_is_not_given_up_where_a_host_works(
    engine: Engine, executor: MemoryExecutor, supervisor: Supervisor
) -> None:
    executor.running.add(7)
    await PlayedHost(engine, "workerHosts/shared-e-1", pid=7, affinity="shared@e").register()
    waiting = await asked(engine, "shared@e")
    executor.known_troubles = {"shared@e": [Failure("QUOTA_EXCEEDED", "a quota is used up")]}
    await supervisor.step()
    engine.clock.advance(VAIN_SECONDS_MAX)
    await supervisor.step()
    assert engine.inquiries.demand() == {"shared@e": 1}
    await cancelled(waiting)
