"""A run's own limit of lanes as its hosts feel it: told with a heartbeat, granted at once, kept by the next engine, and audited."""

import asyncio

import pytest

from pymigrate.engine.domain.errors import FailedPrecondition, InvalidDefinition, NotFound
from pymigrate.v1 import run_pb2, worker_pb2
from tests.unit.application.engines import ME, PLAN, Engine, PlayedHost, phase
from tests.unit.application.test_board import RUN

DATASETS = "uvwxyz"
DRAINED = worker_pb2.LaneProgress(chunks=1, rows=1)


async def begun(engine: Engine, host: PlayedHost) -> None:
    """A run of six lanes that nobody has."""
    await engine.declare({"a": phase(*DATASETS)})
    await host.register()
    starting = asyncio.create_task(engine.runs.start(run_pb2.StartRunRequest(parent=PLAN, run_id="r"), ME))
    while not starting.done():
        if task := await host.claim():
            await host.finish(task)
        await asyncio.sleep(0)
    await starting


async def claimed(host: PlayedHost) -> list[worker_pb2.Task]:
    """Every lane that the host is given now."""
    tasks = []
    while task := await host.claim():
        tasks.append(task)
    return tasks


@pytest.fixture
def host(engine: Engine) -> PlayedHost:
    return PlayedHost(engine)


async def test_lanes_beyond_a_lowered_limit_drain_and_go_on_when_it_is_raised(engine: Engine, host: PlayedHost) -> None:
    await begun(engine, host)
    tasks = await claimed(host)
    assert len(tasks) == len(DATASETS)
    assert (await engine.runs.scale(RUN, 2, ME)).lanes_max == 2
    draining = set((await host.heartbeat(*tasks)).drain_task_ids)
    assert len(draining) == 4
    for task in tasks:
        if task.id in draining:
            await host.finish(task, DRAINED)
    assert await claimed(host) == []
    going_on = [task for task in tasks if task.id not in draining]
    assert list((await host.heartbeat(*going_on)).drain_task_ids) == []
    waiting = asyncio.create_task(host.claim(wait_seconds=20))
    await engine.clock.run_for(0)
    assert not waiting.done()
    await engine.runs.scale(RUN, 3, ME)
    await engine.clock.run_for(0)
    again = await waiting
    assert again is not None, "a host that waits is given the lane at once"
    assert again.id in draining
    await engine.runs.scale(RUN, 0, ME)
    rest = await claimed(host)
    for task in (*going_on, again, *rest):
        await host.finish(task)
    await host.work()
    assert (await engine.runs.get(RUN)).state == run_pb2.RUN_STATE_SUCCEEDED


async def test_the_next_engine_keeps_to_it(engine: Engine, host: PlayedHost) -> None:
    await begun(engine, host)
    await engine.runs.scale(RUN, 2, ME)
    other = engine.again()
    await other.board.restore()
    await other.hosts.restore()
    successor = PlayedHost(other)
    await successor.register()
    assert (await other.runs.get(RUN)).lanes_max == 2
    assert len(await claimed(successor)) == 2


async def test_a_plan_s_limit_is_not_the_run_s_own(engine: Engine, host: PlayedHost) -> None:
    await engine.declare({"a": phase("x")}, lanes=4)
    await host.register()
    starting = asyncio.create_task(engine.runs.start(run_pb2.StartRunRequest(parent=PLAN, run_id="r"), ME))
    while not starting.done():
        await host.work(1)
        await asyncio.sleep(0)
    assert (await starting).lanes_max == 0


async def test_who_scaled_a_run_is_in_the_audit_trail(engine: Engine, host: PlayedHost) -> None:
    await begun(engine, host)
    await engine.runs.scale(RUN, 3, ME)
    entries = await engine.store.read(lambda unit: unit.audit.list(0, 1_000))
    told = [(each.actor, each.action, each.subject) for each in entries if "scale" in each.action]
    assert told == [("me", "run.scaled", RUN), ("me", "scale 3", RUN)]


@pytest.mark.parametrize("lanes_max", [-1, 1_001])
async def test_a_number_that_is_no_limit_is_refused(engine: Engine, host: PlayedHost, lanes_max: int) -> None:
    await begun(engine, host)
    with pytest.raises(InvalidDefinition, match="lanes_max: must be 0 to 1,000"):
        await engine.runs.scale(RUN, lanes_max, ME)
    assert (await engine.runs.get(RUN)).lanes_max == 0


async def test_a_run_that_has_ended_or_is_not_there_is_refused(engine: Engine, host: PlayedHost) -> None:
    await begun(engine, host)
    await host.work()
    with pytest.raises(FailedPrecondition, match="is succeeded"):
        await engine.runs.scale(RUN, 2, ME)
    with pytest.raises(NotFound):
        await engine.runs.scale(f"{PLAN}/runs/none", 2, ME)
