"""Runs in memory: never other than the store holds them, whatever fails, and forgotten when nobody needs them."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

import pytest

from pymigrate.engine.application.board import IDLE_CORES_MAX
from pymigrate.engine.domain.errors import StoreUnavailable
from pymigrate.engine.domain.happenings import Progressed
from pymigrate.engine.domain.run_states import DesiredState, RunState
from pymigrate.engine.ports.store import Unit
from pymigrate.engine.testing.store import MemoryStore
from pymigrate.v1 import run_pb2
from tests.unit.application.engines import ME, PLAN, Engine, PlayedHost, phase

Result = TypeVar("Result")
RUN = f"{PLAN}/runs/r"


class FailingStore(MemoryStore):
    """A store whose disk is full, or away, for the next few calls."""

    def __init__(self) -> None:
        super().__init__()
        self.writes_to_fail = 0
        self.reads_to_fail = 0
        self.answers_to_lose = 0

    async def transact(self, work: Callable[[Unit], Result]) -> Result:
        if self.answers_to_lose:
            self.answers_to_lose -= 1
            await super().transact(work)
            raise StoreUnavailable("the connection was lost while it committed")
        if self.writes_to_fail:
            self.writes_to_fail -= 1

            def fail(unit: Unit) -> Result:
                work(unit)
                raise StoreUnavailable("the disk is full")

            return await super().transact(fail)
        return await super().transact(work)

    async def read(self, work: Callable[[Unit], Result]) -> Result:
        if self.reads_to_fail:
            self.reads_to_fail -= 1
            raise StoreUnavailable("the disk is away")
        return await super().read(work)


async def start(engine: Engine, run_id: str, host: PlayedHost) -> None:
    """A run of a plan, begun."""
    request = run_pb2.StartRunRequest(parent=PLAN, run_id=run_id, run=run_pb2.Run(triggers={"run": run_id}))
    run = asyncio.create_task(engine.runs.start(request, ME))
    while not run.done():
        if task := await host.claim():
            await host.finish(task)
        await asyncio.sleep(0)
    await run


async def begun(store: MemoryStore) -> tuple[Engine, PlayedHost]:
    """An engine with a run whose host has done nothing yet."""
    engine = Engine(store)
    await engine.declare({"a": phase("orders")})
    host = PlayedHost(engine)
    await host.register()
    await start(engine, "r", host)
    return engine, host


async def require_equal(engine: Engine) -> None:
    """Memory and store hold the same run."""
    stored = await engine.store.read(lambda unit: unit.runs.load(RUN))
    in_memory = await engine.board.view(RUN, lambda aggregate: aggregate)
    assert in_memory == stored


async def test_a_change_that_is_not_stored_is_not_kept() -> None:
    store = FailingStore()
    engine, host = await begun(store)
    store.writes_to_fail = 1
    with pytest.raises(StoreUnavailable):
        await engine.runs.steer(RUN, DesiredState.PAUSED, ME)
    await require_equal(engine)
    assert (await engine.runs.get(RUN)).state == run_pb2.RUN_STATE_RUNNING
    assert await host.work() == ["copy", "verify", "publish"]


async def test_a_change_that_is_not_stored_is_not_kept_even_where_the_store_does_not_answer_after_it() -> None:
    store = FailingStore()
    engine, host = await begun(store)
    task = await host.claim()
    assert task is not None
    store.writes_to_fail = store.reads_to_fail = 1
    with pytest.raises(StoreUnavailable):
        await host.report(task, 1, 5)
    await require_equal(engine)
    store.writes_to_fail, store.reads_to_fail = 1, 2
    with pytest.raises(StoreUnavailable):
        await host.report(task, 2, 9)
    with pytest.raises(StoreUnavailable):
        await engine.runs.get(RUN)
    await require_equal(engine)
    await host.report(task, 2, 9)
    await require_equal(engine)


async def test_a_host_whose_outcome_was_not_stored_tells_it_again() -> None:
    store = FailingStore()
    engine, host = await begun(store)
    task = await host.claim()
    assert task is not None
    store.writes_to_fail = 1
    with pytest.raises(StoreUnavailable):
        await host.finish(task)
    await host.finish(task)
    assert await host.work() == ["verify", "publish"]
    await require_equal(engine)


async def test_the_last_outcome_of_a_run_is_heard_though_the_store_failed_when_it_was_told_first() -> None:
    store = FailingStore()
    engine, host = await begun(store)
    while (task := await host.claim()) is not None and not task.HasField("publish"):
        await host.finish(task)
    assert task is not None
    store.writes_to_fail = store.reads_to_fail = (
        1  # memory has ended the run then, and nobody knows whether the store has
    )
    with pytest.raises(StoreUnavailable):
        await host.finish(task)
    await host.finish(task)
    assert (await engine.runs.get(RUN)).state == run_pb2.RUN_STATE_SUCCEEDED
    await require_equal(engine)


async def ended_runs(names: list[str]) -> Engine:
    """An engine that took over a run under way, and these that have ended."""
    engine, host = await begun(MemoryStore())
    await engine.runs.steer(RUN, DesiredState.PAUSED, ME)
    for name in names:
        await start(engine, name, host)
        await host.work()
    again = engine.again()
    assert await again.board.restore() == [RUN]
    return again


async def test_only_so_many_runs_that_have_ended_stay_in_memory() -> None:
    names = [f"e{number}" for number in range(IDLE_CORES_MAX + 5)]
    engine = await ended_runs(names)
    for name in names:
        assert (await engine.runs.get(f"{PLAN}/runs/{name}")).state == run_pb2.RUN_STATE_SUCCEEDED
    kept = set(engine.board._runs)
    assert len(kept) <= IDLE_CORES_MAX + 1
    assert {RUN, f"{PLAN}/runs/{names[-1]}"} <= kept


async def test_runs_that_are_forgotten_while_work_is_looked_for_disturb_nobody() -> None:
    names = [f"e{number}" for number in range(IDLE_CORES_MAX + 5)]
    engine = await ended_runs(["z", *names])
    await engine.runs.get(f"{PLAN}/runs/z")
    looking = engine.board.active()
    assert next(looking).run.name == RUN
    for name in names:
        await engine.runs.get(f"{PLAN}/runs/{name}")
    assert f"{PLAN}/runs/z" not in engine.board._runs
    assert list(looking) == []


async def test_two_who_start_the_same_run_at_once_get_the_same() -> None:
    engine = Engine()
    await engine.declare({"a": phase("orders")})
    host = PlayedHost(engine)
    await host.register()
    asks = [run_pb2.StartRunRequest(parent=PLAN, run_id=name) for name in ("one", "two")]
    both = asyncio.gather(*(engine.runs.start(ask, ME) for ask in asks))
    while not both.done():
        await host.work()
        await asyncio.sleep(0)
    first, second = await both
    assert first.name == second.name
    names = await engine.store.read(lambda unit: list(unit.runs.names_in(list(RunState))))
    assert names == [first.name]


async def test_a_stale_report_is_not_stored() -> None:
    engine, host = await begun(MemoryStore())
    task = await host.claim()
    assert task is not None
    before = await engine.store.read(lambda unit: unit.runs.load(RUN))
    assert not await engine.board.apply(RUN, Progressed(task.id, task.fence - 1, 9, 9, 9))
    assert await engine.store.read(lambda unit: unit.runs.load(RUN)) == before
