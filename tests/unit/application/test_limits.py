"""How many lanes run at once: in all, of a plan, on a connection, in an environment."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from pymigrate.engine.application.kinds import ENVIRONMENTS, PLANS
from pymigrate.engine.application.limits import AGE_MAX_SECONDS, LaneLimits
from pymigrate.engine.ports.store import Unit
from pymigrate.engine.testing.store import MemoryStore
from pymigrate.v1 import environment_pb2, plan_pb2, run_pb2, worker_pb2
from tests.unit.application.engines import ENVIRONMENT, ME, PLAN, Engine, PlayedHost, phase

Result = TypeVar("Result")


async def lanes_at_once(engine: Engine) -> int:
    """How many lanes a host is given before it has finished any."""
    host = PlayedHost(engine)
    await host.register()
    run = asyncio.create_task(engine.runs.start(run_pb2.StartRunRequest(parent=PLAN), ME))
    while not run.done():
        if task := await host.claim():
            await host.finish(task)
        await asyncio.sleep(0)
    await run
    given = [await host.claim() for _ in range(10)]
    return sum(task is not None for task in given)


DATASETS = [f"d{number}" for number in range(8)]


@pytest.mark.parametrize(("declared", "expected"), [(0, 8), (3, 3)])
async def test_a_plan_has_its_own_limit(engine: Engine, declared: int, expected: int) -> None:
    await engine.declare({"a": phase(*DATASETS)}, lanes=declared)
    assert await lanes_at_once(engine) == expected


async def test_a_connection_has_its_own_limit(engine: Engine) -> None:
    await engine.declare({"a": phase(*DATASETS)}, connection_lanes=2)
    assert await lanes_at_once(engine) == 2


async def test_an_environment_has_its_own_limit(engine: Engine) -> None:
    await engine.declare({"a": phase(*DATASETS)})
    wanted = environment_pb2.Environment(name=ENVIRONMENT, lanes_max=4)
    await engine.store.transact(lambda unit: engine.catalog.update(unit, ENVIRONMENTS, wanted, FieldMask(), ME))
    assert await lanes_at_once(engine) == 4


async def test_the_engine_has_a_limit_for_all() -> None:
    engine = Engine(lanes_max=5)
    await engine.declare({"a": phase(*DATASETS)})
    assert await lanes_at_once(engine) == 5


async def test_room_is_counted_once_however_many_lanes_wait() -> None:
    class Counting(MemoryStore):
        """Counts what is read."""

        reads = 0

        async def read(self, work: Callable[[Unit], Result]) -> Result:
            self.reads += 1
            return await super().read(work)

    store = Counting()
    engine = Engine(store)
    await engine.declare({"a": phase(*[f"d{number}" for number in range(100)])}, connection_lanes=2)
    assert await lanes_at_once(engine) == 2
    before = store.reads
    late = PlayedHost(engine, "workerHosts/late", pid=2)
    await late.register()
    assert await late.claim() is None
    assert store.reads - before <= 3


class Held(MemoryStore):
    """Counts what is read, and finishes no reading until it may."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = 0
        self.may = asyncio.Event()
        self.may.set()
        self.asked = asyncio.Event()

    async def read(self, work: Callable[[Unit], Result]) -> Result:
        self.reads += 1
        self.asked.set()
        await self.may.wait()
        return await super().read(work)


async def under_way(store: Held) -> tuple[Engine, LaneLimits]:
    """Limits of an engine with a run, that were read before and are too old."""
    engine = Engine(store)
    await copying(engine, PlayedHost(engine), lanes=1)
    limits = LaneLimits(store, engine.board, 50, engine.clock)
    await limits.current()
    engine.clock.advance(AGE_MAX_SECONDS)
    store.reads = 0
    store.asked.clear()
    return engine, limits


async def test_limits_that_are_too_old_are_read_once_however_many_ask() -> None:
    store = Held()
    _, limits = await under_way(store)
    found = await asyncio.gather(*[limits.current() for _ in range(100)])
    assert store.reads == 1
    assert found[0] is await limits.current()


async def test_who_asks_while_the_limits_of_the_same_runs_are_read_goes_on_with_those_from_before() -> None:
    store = Held()
    _, limits = await under_way(store)
    store.may.clear()
    first = asyncio.create_task(limits.current())
    await store.asked.wait()
    before = await limits.current()
    assert not first.done()
    store.may.set()
    assert await first is not before
    assert await limits.current() is await first


async def test_limits_whose_reading_takes_long_are_read_for_a_fifth_of_the_time_at_most() -> None:
    store = Held()
    engine, limits = await under_way(store)
    store.may.clear()
    first = asyncio.create_task(limits.current())
    await store.asked.wait()
    engine.clock.advance(2.0)
    store.may.set()
    read = await first
    engine.clock.advance(7.9)
    assert await limits.current() is read
    engine.clock.advance(0.2)
    assert await limits.current() is not read


async def test_a_lane_that_ended_makes_room_for_another(engine: Engine) -> None:
    await engine.declare({"a": phase("x", "y", "z")}, connection_lanes=1)
    host = PlayedHost(engine)
    await host.register()
    run = asyncio.create_task(engine.runs.start(run_pb2.StartRunRequest(parent=PLAN), ME))
    while not run.done():
        await host.work(1)
        await asyncio.sleep(0)
    first = await host.claim()
    assert first is not None
    assert await host.claim() is None
    await host.finish(first)
    second = await host.claim()
    assert second is not None
    assert await host.claim() is None


async def given(host: PlayedHost, tasks_max: int = 10) -> int:
    """How many lanes more a host is given."""
    return sum([await host.claim() is not None for _ in range(tasks_max)])


async def copying(engine: Engine, host: PlayedHost, *, lanes: int) -> None:
    """A run of eight datasets of which so many are copied."""
    await engine.declare({"a": phase(*DATASETS)}, lanes=lanes)
    await host.register()
    run = asyncio.create_task(engine.runs.start(run_pb2.StartRunRequest(parent=PLAN), ME))
    while not run.done():
        if task := await host.claim():
            await host.finish(task)
        await asyncio.sleep(0)
    assert await given(host) == lanes


async def change(engine: Engine, wanted: plan_pb2.Plan) -> None:
    """Changes the plan, and waits until what was read before counts no longer."""
    await engine.store.transact(lambda unit: engine.catalog.update(unit, PLANS, wanted, FieldMask(), ME))
    engine.clock.advance(AGE_MAX_SECONDS)


async def test_a_limit_that_is_raised_while_lanes_run_lets_more_run(engine: Engine) -> None:
    host = PlayedHost(engine)
    await copying(engine, host, lanes=2)
    await change(engine, plan_pb2.Plan(name=PLAN, lanes_max=5))
    assert await given(host) == 3


async def test_a_department_has_its_own_limit(engine: Engine) -> None:
    host = PlayedHost(engine)
    await copying(engine, host, lanes=2)
    await change(engine, plan_pb2.Plan(name=PLAN, department_lanes_max={"sales": 4}))
    assert await given(host) == 2


async def test_a_limit_of_a_plan_that_was_deleted_is_the_one_that_its_run_froze(engine: Engine) -> None:
    host = PlayedHost(engine)
    await copying(engine, host, lanes=2)
    await engine.store.transact(lambda unit: unit.resources.delete(PLAN, unit.resources.get(PLAN).version))  # type: ignore[union-attr]  # it is there
    engine.clock.advance(AGE_MAX_SECONDS)
    assert await given(host) == 0


async def test_a_blackout_declared_while_a_run_is_under_way_drains_its_lanes_and_hands_out_none(engine: Engine) -> None:
    host = PlayedHost(engine)
    await copying(engine, host, lanes=2)
    today = engine.clock.now().date()
    ban = plan_pb2.Blackout(start=f"{today}T00:00", end=f"{today}T06:00")
    await change(engine, plan_pb2.Plan(name=PLAN, schedule=plan_pb2.Schedule(blackouts={"stop": ban})))
    assert await given(host) == 0
    held = [worker_pb2.Task(id=name, fence=1) for name in engine.hosts.hosts()[0].tasks]
    assert len((await host.heartbeat(*held)).drain_task_ids) == 2
    for task in held:
        await host.finish(task, worker_pb2.LaneProgress(chunks=1, rows=1))
    engine.clock.advance(6 * 3600)
    assert await given(host) == 8


async def test_one_run_more_is_read_alone_and_with_its_limit_as_it_is_by_then(engine: Engine) -> None:
    await engine.declare({"a": phase("x")})
    other = f"{ENVIRONMENT}/plans/q"

    async def limit(plan: str, lanes_max: int) -> None:
        wanted, mask = plan_pb2.Plan(name=plan, lanes_max=lanes_max), FieldMask(paths=["lanes_max"])
        await engine.store.transact(lambda unit: engine.catalog.update(unit, PLANS, wanted, mask, ME))

    made = plan_pb2.Plan(phases={"a": phase("y")})
    await engine.store.transact(lambda unit: engine.plans.create(unit, ENVIRONMENT, "q", made, ME, is_dry=False))
    host = PlayedHost(engine)
    await host.register()
    await begun_run(engine, host, other)
    await engine.limits.current()
    await limit(PLAN, 3)
    await limit(other, 5)
    await begun_run(engine, host, PLAN)
    assert (await engine.limits.current()).plans == {PLAN: 3, other: 0}
    engine.clock.advance(AGE_MAX_SECONDS)
    assert (await engine.limits.current()).plans == {PLAN: 3, other: 5}


async def begun_run(engine: Engine, host: PlayedHost, plan: str) -> None:
    """A run of the plan, begun."""
    starting = asyncio.create_task(engine.runs.start(run_pb2.StartRunRequest(parent=plan, run=PAUSED), ME))
    while not starting.done():
        await host.work(1)
        await asyncio.sleep(0)
    await starting


PAUSED = run_pb2.Run(desired_state=run_pb2.DESIRED_STATE_PAUSED)
