"""KPIs as they change: what is first told, what resumes a watch, and when it ends."""

import asyncio

import pytest

from pymigrate.engine.application.kpi_watching import KpiWatching
from pymigrate.engine.domain.errors import NotFound
from pymigrate.engine.domain.happenings import Lost, Progressed, Steered
from pymigrate.engine.domain.run_states import DesiredState
from pymigrate.v1 import kpi_pb2, run_pb2
from tests.unit.application.engines import PLAN, Engine, PlayedHost, phase
from tests.unit.application.test_board import RUN, start


@pytest.fixture
async def watching(engine: Engine) -> KpiWatching:
    """Watches of an engine that has begun a run, of which a host copies the lane."""
    found = KpiWatching(engine.kpis, engine.topics, "start")
    await engine.declare({"a": phase("orders")})
    host = PlayedHost(engine)
    await host.register()
    await start(engine, "r", host)
    assert await host.claim() is not None
    return found


async def copied(engine: Engine, rows: int) -> None:
    """The lane that a host has got so far."""
    (task,) = [task for core in engine.board.active() for task in core.leased()]
    await engine.board.report(RUN, Progressed(task.id, task.fence, chunks=rows, rows=rows, bytes=rows))


async def test_a_watch_tells_what_is_and_then_what_has_changed(engine: Engine, watching: KpiWatching) -> None:
    watch = watching.watch(PLAN, False, "")
    assert (await anext(watch)).message.kpis.rows == 0
    following = asyncio.ensure_future(anext(watch))
    await engine.clock.run_for(1)
    assert not following.done()
    await copied(engine, 5)
    await engine.clock.run_for(1)
    assert (await following).message.kpis.rows == 5


async def test_a_watch_that_is_resumed_tells_only_what_is_newer(engine: Engine, watching: KpiWatching) -> None:
    first = (await anext(watching.watch(PLAN, False, ""))).message
    resumed = asyncio.ensure_future(anext(watching.watch(PLAN, False, first.resume_token)))
    await engine.clock.run_for(1)
    assert not resumed.done()
    await copied(engine, 5)
    assert not (await resumed).message.is_resync


@pytest.mark.parametrize("token", ["another.1", "start.999", "start.x", "yesterday"])
async def test_a_token_that_is_not_known_here_is_answered_with_a_resync(watching: KpiWatching, token: str) -> None:
    answer = (await anext(watching.watch(PLAN, False, token))).message
    assert answer.is_resync
    assert answer.kpis.name == PLAN


async def test_a_watch_of_a_run_ends_with_it(engine: Engine, watching: KpiWatching) -> None:
    async def collect() -> list[kpi_pb2.WatchKpisResponse]:
        return [answer.message async for answer in watching.watch(RUN, False, "")]

    collecting = asyncio.create_task(collect())
    await engine.clock.run_for(1)
    await engine.board.apply(RUN, Steered(DesiredState.CANCELLED, "people"))
    (task,) = [task for core in engine.board.active() for task in core.leased()]
    await engine.board.apply(RUN, Lost(task.id))
    host = PlayedHost(engine)
    await host.register()
    await host.work()
    await engine.clock.run_for(1)
    assert (await collecting)[-1].kpis.state == run_pb2.RUN_STATE_CANCELLED


async def test_a_watch_of_a_name_that_nothing_has_is_refused(watching: KpiWatching) -> None:
    with pytest.raises(NotFound):
        await anext(watching.watch(f"{PLAN}x", False, ""))


async def test_many_who_watch_a_plan_share_one_answer(engine: Engine, watching: KpiWatching) -> None:
    watches = [watching.watch(PLAN, True, "") for _ in range(50)]
    for watch in watches:
        await anext(watch)
    await copied(engine, 5)
    await engine.clock.run_for(1)
    answers = [await anext(watch) for watch in watches]
    assert answers[0].message.kpis.rows == 5
    assert all(answer is answers[0] for answer in answers)
    assert len(engine.topics) == 1
    for watch in watches:
        await watch.aclose()
    assert len(engine.topics) == 0


async def test_a_watcher_that_was_stuck_is_told_that_changes_were_left_out(
    engine: Engine, watching: KpiWatching
) -> None:
    stuck, prompt = watching.watch(PLAN, False, ""), watching.watch(PLAN, False, "")
    await anext(stuck)
    await anext(prompt)
    for rows in range(1, 4):
        await copied(engine, rows)
        await engine.clock.run_for(1)
        told = (await anext(prompt)).message
        assert (told.kpis.rows, told.is_resync) == (rows, False)
    late = (await anext(stuck)).message
    assert (late.kpis.rows, late.is_resync) == (3, True)
    await stuck.aclose()
    await prompt.aclose()


async def test_a_watch_of_a_run_that_has_ended_and_was_seen_ends_at_once(engine: Engine, watching: KpiWatching) -> None:
    (task,) = [task for core in engine.board.active() for task in core.leased()]
    await engine.board.apply(RUN, Steered(DesiredState.CANCELLED, "people"))
    await engine.board.apply(RUN, Lost(task.id))
    host = PlayedHost(engine)
    await host.register()
    await host.work()
    (last,) = [answer.message async for answer in watching.watch(RUN, False, "")]
    assert [answer async for answer in watching.watch(RUN, False, last.resume_token)] == []
