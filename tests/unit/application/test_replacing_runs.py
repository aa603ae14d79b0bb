"""Runs that replace the same relation: one after the other, each with what it read in its own time."""

import asyncio

import pytest

from pymigrate.engine.application.replaced_relations import replaced_relations
from pymigrate.engine.domain.run_states import DesiredState
from pymigrate.v1 import connection_pb2, plan_pb2, run_pb2, worker_pb2
from tests.unit.application.engines import ENVIRONMENT, ME, PLAN, Engine, PlayedHost, phase, systems

OTHER = f"{ENVIRONMENT}/plans/q"


def replacing(*datasets: str, mode: "plan_pb2.LoadMode.ValueType" = plan_pb2.LOAD_MODE_REPLACE) -> plan_pb2.Phase:
    """A phase whose datasets load so."""
    found = phase(*datasets)
    for dataset in found.datasets.values():
        dataset.target.load_mode = mode
    return found


async def started(engine: Engine, host: PlayedHost, plan: str, run_id: str) -> str:
    """A run that has begun, while the host answers what is asked before."""
    asked = run_pb2.Run(triggers={"number": run_id})
    request = run_pb2.StartRunRequest(parent=plan, run_id=run_id, run=asked)
    starting = asyncio.create_task(engine.runs.start(request, ME))
    while not starting.done():
        if engine.inquiries.demand() and (task := await host.claim()):
            await host.finish(task)
        await asyncio.sleep(0)
    return (await starting).name


async def declared(phases: plan_pb2.Phase, second: plan_pb2.Phase | None = None) -> tuple[Engine, PlayedHost]:
    """An engine with two plans, of one phase each."""
    engine = Engine()
    await engine.declare({"a": phases})
    other = plan_pb2.Plan(phases={"b": second or phases})
    await engine.store.transact(lambda unit: engine.plans.create(unit, ENVIRONMENT, "q", other, ME, is_dry=False))
    host = PlayedHost(engine)
    await host.register()
    return engine, host


@pytest.mark.parametrize("plan", [PLAN, OTHER])
async def test_a_run_reads_nothing_for_what_another_replaces_until_that_is_published(plan: str) -> None:
    engine, host = await declared(replacing("orders"))
    first = await started(engine, host, PLAN, "r1")
    copying = await host.claim()
    assert copying is not None
    second = await started(engine, host, plan, "r2")
    assert await host.claim() is None
    engine.views.note_held_up(await engine.hosts.held_up())
    assert list((await engine.runs.get(second)).waiting_for_runs) == [first]
    assert not (await engine.runs.get(first)).waiting_for_runs
    await host.finish(copying)
    assert await host.work() == ["verify", "publish", "copy", "verify", "publish"]
    engine.views.note_held_up(await engine.hosts.held_up())
    for name in (first, second):
        run = await engine.runs.get(name)
        assert (run.state, list(run.waiting_for_runs)) == (run_pb2.RUN_STATE_SUCCEEDED, [])


async def test_a_run_that_is_cancelled_lets_the_next_one_begin() -> None:
    engine, host = await declared(replacing("orders"))
    first = await started(engine, host, PLAN, "r1")
    copying = await host.claim()
    assert copying is not None
    await started(engine, host, PLAN, "r2")
    await engine.runs.steer(first, DesiredState.CANCELLED, ME)
    await host.finish(copying, worker_pb2.LaneProgress())
    assert "publish" in await host.work()


async def test_runs_that_add_to_a_relation_or_replace_others_go_on_at_once() -> None:
    for phases, second in (
        (replacing("orders", mode=plan_pb2.LOAD_MODE_APPEND), None),
        (replacing("orders"), replacing("items")),
    ):
        engine, host = await declared(phases, second)
        await started(engine, host, PLAN, "r1")
        assert await host.claim() is not None
        await started(engine, host, OTHER, "r2")
        assert await host.claim() is not None


async def test_who_watches_is_told_when_a_run_begins_to_wait_and_when_it_waits_no_more() -> None:
    engine, _ = await declared(replacing("orders"))
    told: list[str] = []
    engine.views.follow(told.append)
    for held_up in ({}, {"r2": ("r1",)}, {"r2": ("r1",)}, {}):
        engine.views.note_held_up(held_up)
    assert told == ["r2", "r2"]


async def test_of_many_that_wait_none_is_told_again_when_another_holds_what_they_wait_for() -> None:
    engine, _ = await declared(replacing("orders"))
    told: list[str] = []
    engine.views.follow(told.append)
    waiting = [f"r{number}" for number in range(2, 100)]
    engine.views.note_held_up(dict.fromkeys(waiting, ("r1",)))
    del told[:]
    engine.views.note_held_up(dict.fromkeys(waiting[1:], ("r2",)))
    assert told == ["r2"]


def test_a_system_is_the_same_whatever_its_connection_is_called_and_opened_with() -> None:
    def revision(connection: str, path: str, lanes: int) -> run_pb2.PlanRevision:
        found = run_pb2.PlanRevision(plan=plan_pb2.Plan(phases={"a": replacing("orders")}))
        found.plan.phases["a"].datasets["orders"].target.connection = connection
        system = connection_pb2.DuckdbSystem(path=path)
        found.connections[connection].CopyFrom(connection_pb2.Connection(duckdb=system, lanes_max=lanes))
        return found

    one = replaced_relations(revision("warehouse", "/w.duckdb", 1))
    assert one == replaced_relations(revision("archive", "/w.duckdb", 2))
    assert one != replaced_relations(revision("warehouse", "/x.duckdb", 1))


def test_what_replaces_nothing_is_left_out() -> None:
    revision = run_pb2.PlanRevision(plan=plan_pb2.Plan(phases={"a": phase("orders")}), connections=systems())
    assert replaced_relations(revision) == {}
