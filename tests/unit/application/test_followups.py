"""What follows without anybody asking: plans that others wait for, and runs whose time to be rolled back is over."""

import asyncio

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from pymigrate.engine.application.followups import SEAL_INTERVAL_SECONDS
from pymigrate.engine.application.kinds import PLANS
from pymigrate.engine.domain.errors import FailedPrecondition, InvalidDefinition
from pymigrate.v1 import plan_pb2, run_pb2
from tests.unit.application.engines import ENVIRONMENT, ME, PLAN, Engine, PlayedHost, phase

DAY_SECONDS = 86_400


async def started(engine: Engine, host: PlayedHost, plan: str) -> run_pb2.Run:
    """A run of a plan, started by a host that looks at its systems."""
    run = asyncio.create_task(engine.runs.start(run_pb2.StartRunRequest(parent=plan, run_id="r"), ME))
    while not run.done():
        if engine.inquiries.demand():
            await host.work(1)
        await asyncio.sleep(0)
    return await run


async def declared(engine: Engine, plan: str, *needs: str, **fields: int) -> None:
    """Another plan of the same environment."""
    message = plan_pb2.Plan(phases={"a": phase(f"of_{plan}")}, dependencies=needs, **fields)  # type: ignore[arg-type]  # fields
    await engine.store.transact(lambda unit: engine.plans.create(unit, ENVIRONMENT, plan, message, ME, is_dry=False))


@pytest.fixture
async def host(engine: Engine) -> PlayedHost:
    await engine.declare({"a": phase("orders")})
    found = PlayedHost(engine)
    await found.register()
    return found


async def test_a_run_waits_for_the_plan_that_its_own_depends_on_across_engines(
    engine: Engine, host: PlayedHost
) -> None:
    await declared(engine, "later", "p")
    waiting = await started(engine, host, f"{ENVIRONMENT}/plans/later")
    assert list(waiting.waiting_for_plans) == ["p"]
    assert await host.work() == []
    await started(engine, host, PLAN)
    assert await host.work() == ["copy", "verify", "publish"]
    another = engine.again()
    await another.board.restore()
    await another.followups.step()
    late = PlayedHost(another)
    await late.register()
    assert await late.work() == ["copy", "verify", "publish"]
    done = await another.runs.get(waiting.name)
    assert done.state == run_pb2.RUN_STATE_SUCCEEDED
    assert not done.waiting_for_plans


async def test_a_plan_whose_newest_run_has_succeeded_keeps_nobody_waiting(engine: Engine, host: PlayedHost) -> None:
    await started(engine, host, PLAN)
    await host.work()
    await declared(engine, "later", "p")
    assert not (await started(engine, host, f"{ENVIRONMENT}/plans/later")).waiting_for_plans


async def test_plans_that_depend_on_one_another_in_a_circle_are_refused_with_the_circle(
    engine: Engine, host: PlayedHost
) -> None:
    await declared(engine, "later", "p")
    with pytest.raises(InvalidDefinition, match="p → later → p"):
        await engine.store.transact(
            lambda unit: engine.catalog.update(
                unit, PLANS, plan_pb2.Plan(name=PLAN, dependencies=["later"]), FieldMask(), ME
            )
        )


async def test_a_plan_that_another_needs_is_not_deleted(engine: Engine, host: PlayedHost) -> None:
    await declared(engine, "later", "p")
    with pytest.raises(FailedPrecondition, match="is needed by"):
        await engine.store.transact(lambda unit: engine.plans.delete(unit, PLAN, "", ME, is_forced=True))


async def test_a_run_is_sealed_when_its_window_to_be_rolled_back_is_over(engine: Engine, host: PlayedHost) -> None:
    await started(engine, host, PLAN)
    await host.work()
    await engine.followups.step()
    assert await host.work() == []
    engine.clock.advance(7 * DAY_SECONDS + SEAL_INTERVAL_SECONDS)
    await engine.followups.step()
    assert await host.work() == ["seal"]
    run = await engine.runs.get(f"{PLAN}/runs/r")
    assert run.phases["a"].state == run_pb2.PHASE_STATE_SEALED
    assert run.state == run_pb2.RUN_STATE_SUCCEEDED


async def test_a_run_whose_plan_is_never_sealed_by_itself_keeps_its_way_back(engine: Engine, host: PlayedHost) -> None:
    await declared(engine, "kept", rollback_window_seconds=-1)
    await started(engine, host, f"{ENVIRONMENT}/plans/kept")
    await host.work()
    engine.clock.advance(1_000 * DAY_SECONDS)
    await engine.followups.step()
    assert await host.work() == []
    await engine.runs.roll_back(f"{ENVIRONMENT}/plans/kept/runs/r", "a", ME)
    assert await host.work() == ["rollback"]


async def test_a_seal_that_was_under_way_when_the_engine_died_is_finished_by_the_next(
    engine: Engine, host: PlayedHost
) -> None:
    run = await started(engine, host, PLAN)
    await host.work()
    await engine.runs.seal(run.name, [], ME)
    another = engine.again()
    await another.board.restore()
    late = PlayedHost(another)
    await late.register()
    assert await late.work() == ["seal"]
    assert (await another.runs.get(run.name)).phases["a"].state == run_pb2.PHASE_STATE_SEALED
