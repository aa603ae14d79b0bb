"""What runs tell beside what is stored of them: where their lanes stand, why they have no hosts, and how slow their sources are."""

import asyncio
from dataclasses import dataclass

import pytest

from pymigrate.engine.application.run_views import TROUBLES_MAX
from pymigrate.engine.application.watching import INTERVAL_SECONDS
from pymigrate.engine.domain.run import Failure
from pymigrate.engine.domain.throttle import SAMPLES_MIN
from pymigrate.engine.testing.store import MemoryStore
from pymigrate.v1 import run_pb2, worker_pb2
from tests.unit.application.engines import ME, PLAN, Engine, PlayedHost, phase
from tests.unit.application.test_board import RUN, begun

HOSTS = "file:/warehouse.duckdb@e"
QUOTA = Failure("QUOTA_EXCEEDED", "the quota of pods is used up", is_temporary=True)
MEGABYTE = 1_000_000


async def run_of(engine: Engine) -> run_pb2.Run:
    """The run as it stands."""
    return await engine.runs.get(RUN)


def counts(run: run_pb2.Run) -> dict[str, int]:
    """Its lanes by where they stand, as far as there are any."""
    return {field.name: value for field, value in run.lane_counts.ListFields()}


async def copying(engine: Engine, **phases: str) -> tuple[PlayedHost, list[worker_pb2.Task]]:
    """A run with a lane for each phase, all of them at work."""
    await engine.declare({name: phase(dataset) for name, dataset in phases.items()})
    host = PlayedHost(engine)
    await host.register()
    starting = asyncio.create_task(engine.runs.start(run_pb2.StartRunRequest(parent=PLAN, run_id="r"), ME))
    while not starting.done():
        if task := await host.claim():
            await host.finish(task)
        await asyncio.sleep(0)
    await starting
    return host, [task for _ in phases if (task := await host.claim()) is not None]


async def test_lanes_are_counted_by_where_they_stand() -> None:
    engine = Engine()
    host, (one, other, third) = await copying(engine, a="x", b="y", c="z")
    assert counts(await run_of(engine)) == {"running": 3}
    await host.finish(one)
    await host.finish(other, worker_pb2.LaneProgress())
    assert counts(await run_of(engine)) == {"pending": 1, "running": 1, "done": 1}
    await host.finish(third, run_pb2.Failure(reason="DATA_REFUSED", message="no"))
    assert counts(await run_of(engine)) == {"pending": 1, "done": 1, "failed": 1}


async def test_lanes_of_an_earlier_attempt_are_not_counted() -> None:
    engine = Engine()
    host, (task,) = await copying(engine, a="x")
    await host.finish(task, run_pb2.Failure(reason="DATA_REFUSED", message="no"))
    await host.work()
    retrying = asyncio.create_task(engine.runs.retry(RUN, ME))
    while not retrying.done():
        await host.work(1)
        await asyncio.sleep(0)
    assert counts(await run_of(engine)) == {"done": 1}, "that which failed is of the attempt before"


async def test_a_run_is_told_why_the_hosts_that_it_waits_for_do_not_come() -> None:
    engine, _ = await begun(MemoryStore())
    engine.views.note_troubles({HOSTS: [QUOTA], "shared@e": [Failure("OTHER", "no matter")]})
    (told,) = (await run_of(engine)).host_troubles
    assert (told.reason, told.message, told.is_temporary) == ("QUOTA_EXCEEDED", QUOTA.message, True)
    engine.views.note_troubles({})
    assert not (await run_of(engine)).host_troubles


@pytest.mark.parametrize("affinity", ["file:/warehouse.duckdb@e2", "file:/other.duckdb@e", "shared@e"])
async def test_troubles_of_other_hosts_are_none_of_the_run_s(affinity: str) -> None:
    engine, _ = await begun(MemoryStore())
    engine.views.note_troubles({affinity: [QUOTA]})
    assert not (await run_of(engine)).host_troubles


async def test_a_run_whose_tasks_hosts_have_waits_for_none() -> None:
    engine, host = await begun(MemoryStore())
    assert await host.claim() is not None
    engine.views.note_troubles({HOSTS: [QUOTA]})
    assert not (await run_of(engine)).host_troubles


async def test_no_more_troubles_are_told_than_somebody_reads() -> None:
    engine, _ = await begun(MemoryStore())
    engine.views.note_troubles({HOSTS: [QUOTA] * 99})
    assert len((await run_of(engine)).host_troubles) == TROUBLES_MAX


async def test_whoever_watches_is_told_of_troubles_as_they_come_and_go_and_not_in_between() -> None:
    engine, _ = await begun(MemoryStore())
    told: list[list[str]] = []

    async def follow() -> None:
        async for answer in engine.runs.watch_many("environments/-/plans/-", active_only=True):
            told.extend([trouble.reason for trouble in run.host_troubles] for run in answer.message.runs)

    watch = asyncio.create_task(follow())
    for troubles in ({}, {HOSTS: [QUOTA]}, {HOSTS: [QUOTA]}, {HOSTS: [QUOTA], "shared@e": [QUOTA]}, {}):
        engine.views.note_troubles(troubles)
        await engine.clock.run_for(2 * INTERVAL_SECONDS)
    assert told == [[], ["QUOTA_EXCEEDED"], []]
    watch.cancel()
    await asyncio.gather(watch, return_exceptions=True)


@dataclass
class Reading:
    """A lane that reports what its source took for a megabyte, chunk after chunk."""

    engine: Engine
    host: PlayedHost
    task: worker_pb2.Task
    chunks: int = 0

    async def took(self, seconds: float, times: int = 1) -> None:
        """So many chunks took so long each."""
        for _ in range(times):
            self.chunks += 1
            core = self.engine.board.core(RUN)
            assert core is not None
            known, limits = core.aggregate.tasks[self.task.id], await self.engine.limits.current()
            now, cores = self.engine.clock.now(), self.engine.board.active()
            self.engine.scheduler.progressed(core, known, seconds, MEGABYTE, cores, limits, now)


async def test_a_run_tells_how_many_times_slower_than_at_its_best_its_source_is() -> None:
    engine = Engine()
    host, (task,) = await copying(engine, a="x")
    reading = Reading(engine, host, task)
    await reading.took(0.1, SAMPLES_MIN - 1)
    assert (await run_of(engine)).source_latency_factor == 0, "that is too few to know"
    await reading.took(0.1)
    assert (await run_of(engine)).source_latency_factor == pytest.approx(1.0)
    await reading.took(0.5, 20)
    assert 4.0 < (await run_of(engine)).source_latency_factor < 5.1
    await host.finish(task, worker_pb2.LaneProgress())
    assert (await run_of(engine)).source_latency_factor == 0, "nobody reads now"
