"""What changes between two looks: a source before a retry, the store behind an engine's back, a task that was never stored."""

import asyncio
from datetime import timedelta

import pytest

from pymigrate.engine.application.followups import CATCH_UP_INTERVAL_SECONDS
from pymigrate.engine.domain.happenings import Leased, Lost, Retried, Steered
from pymigrate.engine.domain.run_states import DesiredState
from pymigrate.v1 import connection_pb2, run_pb2, worker_pb2
from tests.unit.application.engines import ME, PLAN, Engine, PlayedHost, phase

RUN = f"{PLAN}/runs/r"


def look(rows: int, *ranges: str) -> worker_pb2.TaskResult:
    """What a host finds in the source."""
    source = connection_pb2.RelationSchema(relation="orders", rows=rows)
    return worker_pb2.TaskResult(inspect=run_pb2.Inspection(source=source, path="arrow", ranges=ranges))


async def done_while_looking(host: PlayedHost, call: "asyncio.Task[run_pb2.Run]", found: worker_pb2.TaskResult) -> None:
    """The host answers every look with the same until the call is done."""
    while not call.done():
        if task := await host.claim():
            assert task.HasField("inspect")
            await host.finish(task, found)
        await asyncio.sleep(0)
    call.result()


@pytest.fixture
async def host(engine: Engine) -> PlayedHost:
    """A host, and a run of one dataset that is copied in two ranges."""
    await engine.declare({"a": phase("orders")})
    played = PlayedHost(engine)
    await played.register()
    request = run_pb2.StartRunRequest(parent=PLAN, run_id="r")
    await done_while_looking(
        host=played, call=asyncio.create_task(engine.runs.start(request, ME)), found=look(2, "1", "2")
    )
    return played


async def failed(engine: Engine, host: PlayedHost) -> None:
    """The source has changed: both lanes end, and what they staged is dropped."""
    for _ in range(2):
        task = await host.claim()
        assert task is not None
        await host.finish(task, run_pb2.Failure(reason="SOURCE_CHANGED", message="changed"))
    await host.work()
    assert (await engine.runs.get(RUN)).state == run_pb2.RUN_STATE_FAILED


@pytest.mark.parametrize("ranges", [(), ("..4", "4..8", "8..")])
async def test_a_retry_copies_the_ranges_that_it_found_however_many_they_are(
    engine: Engine, host: PlayedHost, ranges: tuple[str, ...]
) -> None:
    await failed(engine, host)
    retry = asyncio.create_task(engine.runs.retry(RUN, ME))
    asked: list[worker_pb2.Task] = []
    while len(asked) < max(1, len(ranges)):
        if task := await host.claim():
            if task.HasField("inspect"):
                await host.finish(task, look(12, *ranges))
            else:
                asked.append(task)
        await asyncio.sleep(0)
    await retry
    assert await host.claim() is None
    assert tuple(sorted(task.copy.range for task in asked)) == (tuple(sorted(ranges)) or ("",))
    for task in asked:
        await host.finish(task)
    await host.work()
    run = await engine.runs.get(RUN)
    assert run.state == run_pb2.RUN_STATE_SUCCEEDED
    assert run.rows_expected == 12


async def test_of_two_retries_the_one_that_changes_nothing_leaves_the_revision_alone(
    engine: Engine, host: PlayedHost
) -> None:
    await failed(engine, host)
    before = await engine.board.revision(RUN)
    assert await engine.board.apply(RUN, Retried("first"), revision=before.SerializeToString())
    other = run_pb2.PlanRevision()
    other.CopyFrom(before)
    other.inspections["a/orders"].ranges[:] = ["everything"]
    assert not await engine.board.apply(RUN, Retried("second"), revision=other.SerializeToString())
    assert list((await engine.board.revision(RUN)).inspections["a/orders"].ranges) == ["1", "2"]


async def test_a_commit_of_the_engine_before_that_comes_late_is_noticed(engine: Engine, host: PlayedHost) -> None:
    heir = engine.again()
    await heir.board.restore()
    await engine.board.apply(RUN, Steered(DesiredState.PAUSED, "people"))
    core = heir.board.core(RUN)
    assert core is not None
    assert core.run.desired is DesiredState.RUNNING
    engine.clock.advance(CATCH_UP_INTERVAL_SECONDS)
    await heir.followups.step()
    caught_up = heir.board.core(RUN)
    assert caught_up is not None
    assert caught_up.run.desired is DesiredState.PAUSED
    assert await heir.board.catch_up() == []


async def test_a_run_that_ended_and_was_taken_up_again_elsewhere_is_noticed(engine: Engine, host: PlayedHost) -> None:
    await host.work()
    heir = engine.again()
    assert await heir.board.restore() == []
    await engine.runs.roll_back(RUN, "", ME)
    assert await heir.board.catch_up() == [RUN]
    assert [core.run.name for core in heir.board.active()] == [RUN]


async def test_a_task_of_a_change_that_was_not_stored_is_not_handed_out(engine: Engine, host: PlayedHost) -> None:
    later = engine.clock.now() + timedelta(seconds=15)
    assert not await engine.board.apply(RUN, Leased(f"{RUN}/tasks/none", "workerHosts/h", later))
    assert not await engine.board.apply(RUN, Lost(f"{RUN}/tasks/none"))
