"""A connection that is changed while a run is under way: lanes drain, and go on with what opens the system now."""

import asyncio

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from pymigrate.engine.application.kinds import CONNECTIONS
from pymigrate.engine.application.limits import AGE_MAX_SECONDS
from pymigrate.v1 import connection_pb2, run_pb2, worker_pb2
from tests.unit.application.engines import ENVIRONMENT, ME, PLAN, Engine, PlayedHost, phase

LEGACY = f"{ENVIRONMENT}/connections/legacy"
DRAINED = worker_pb2.LaneProgress(chunks=1, rows=1)


def legacy(
    password: str = "env://OLD", host: str = "h", lanes_max: int = 0
) -> connection_pb2.Connection:  # a reference
    """The source as it is declared."""
    system = connection_pb2.MysqlSystem(host=host, database="d", user="u", password=password)
    return connection_pb2.Connection(name=LEGACY, mysql=system, lanes_max=lanes_max)


async def change(engine: Engine, wanted: connection_pb2.Connection) -> None:
    """Changes the source, and waits until what was read before counts no longer."""
    await engine.store.transact(lambda unit: engine.catalog.update(unit, CONNECTIONS, wanted, FieldMask(), ME))
    engine.clock.advance(AGE_MAX_SECONDS)


@pytest.fixture
def host(engine: Engine) -> PlayedHost:
    return PlayedHost(engine)


async def copying(engine: Engine, host: PlayedHost) -> list[worker_pb2.Task]:
    """Two lanes at work."""
    await engine.declare({"a": phase("x", "y")}, legacy=legacy())
    await host.register()
    run = asyncio.create_task(engine.runs.start(run_pb2.StartRunRequest(parent=PLAN, run_id="r"), ME))
    while not run.done():
        if task := await host.claim():
            await host.finish(task)
        await asyncio.sleep(0)
    await run
    tasks = [task for _ in range(2) if (task := await host.claim()) is not None]
    assert [task.copy.dataset.source.mysql.password for task in tasks] == ["env://OLD"] * 2
    return tasks


async def test_a_password_of_another_reference_is_taken_by_the_lanes_at_work(engine: Engine, host: PlayedHost) -> None:
    tasks = await copying(engine, host)
    await change(engine, legacy("env://NEW"))
    assert set((await host.heartbeat(*tasks)).drain_task_ids) == {task.id for task in tasks}
    for task in tasks:
        await host.finish(task, DRAINED)
    again = [found for _ in range(2) if (found := await host.claim()) is not None]
    assert [task.copy.dataset.source.mysql.password for task in again] == ["env://NEW"] * 2
    assert list((await host.heartbeat(*again)).drain_task_ids) == []
    for task in again:
        await host.finish(task)
    verification = await host.claim()
    assert verification is not None
    assert verification.verify.dataset.source.mysql.password == "env://NEW"  # a reference


async def test_another_system_is_another_run_and_calls_no_lane_back(engine: Engine, host: PlayedHost) -> None:
    tasks = await copying(engine, host)
    await change(engine, legacy("env://NEW", host="other"))
    assert list((await host.heartbeat(*tasks)).drain_task_ids) == []
    await host.finish(tasks[0], DRAINED)
    again = await host.claim()
    assert again is not None
    assert again.copy.dataset.source.mysql == tasks[0].copy.dataset.source.mysql


async def test_a_reference_that_is_changed_back_holds_again(engine: Engine, host: PlayedHost) -> None:
    tasks = await copying(engine, host)
    await change(engine, legacy("env://NEW"))
    await change(engine, legacy())
    assert list((await host.heartbeat(*tasks)).drain_task_ids) == []


async def test_a_limit_that_is_lowered_while_lanes_run_calls_back_what_is_beyond(
    engine: Engine, host: PlayedHost
) -> None:
    tasks = await copying(engine, host)
    await change(engine, legacy(lanes_max=1))
    (drained,) = (await host.heartbeat(*tasks)).drain_task_ids
    await host.finish(next(task for task in tasks if task.id == drained), DRAINED)
    assert await host.claim() is None
    assert list((await host.heartbeat(*tasks)).drain_task_ids) == []
