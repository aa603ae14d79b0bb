"""Runs that were undone for good give their keys up: the same plan with the same triggers is another run then, and
the run before counts again."""

import pytest

from pymigrate.engine.domain.errors import FailedPrecondition
from pymigrate.engine.domain.happenings import GivenUp
from pymigrate.engine.domain.run_keys import is_given_up
from pymigrate.engine.ports.store import AuditEntry
from pymigrate.v1 import run_pb2
from tests.unit.application.engines import ENVIRONMENT, ME, PLAN, Engine, PlayedHost, phase
from tests.unit.application.test_followups import declared, started
from tests.unit.application.test_runs import answered


@pytest.fixture
async def host(engine: Engine) -> PlayedHost:
    await engine.declare({"a": phase("orders")})
    found = PlayedHost(engine)
    await found.register()
    return found


async def ran(engine: Engine, host: PlayedHost, trigger: str) -> str:
    """The name of a run that has succeeded."""
    engine.clock.advance(1)
    run = await answered(engine, host, asked(trigger))
    await host.work()
    return run.name


def asked(trigger: str) -> run_pb2.StartRunRequest:
    return run_pb2.StartRunRequest(parent=PLAN, run=run_pb2.Run(triggers={"day": trigger}))


async def given_up(engine: Engine, host: PlayedHost, run: str) -> None:
    await engine.runs.roll_back(run, "", ME)
    await host.work()
    audit = AuditEntry(engine.clock.now(), "git/warehouse", "give up", run, 0)
    assert await engine.board.apply(run, GivenUp("git/warehouse"), audit)


async def test_a_run_that_was_rolled_back_is_adopted_and_not_repeated_until_it_is_given_up(
    engine: Engine, host: PlayedHost
) -> None:
    first = await ran(engine, host, "monday")
    await engine.runs.roll_back(first, "", ME)
    await host.work()
    assert (await answered(engine, host, asked("monday"))).state == run_pb2.RUN_STATE_ROLLED_BACK
    await engine.board.apply(first, GivenUp("git/warehouse"))
    again = await answered(engine, host, asked("monday"))
    assert again.name == f"{first}-2"
    await host.work()
    assert (await engine.runs.get(again.name)).state == run_pb2.RUN_STATE_SUCCEEDED
    assert (await answered(engine, host, asked("monday"))).name == again.name, "that one is adopted"
    await given_up(engine, host, again.name)
    assert (await answered(engine, host, asked("monday"))).name == f"{first}-3"


async def test_giving_up_twice_changes_nothing(engine: Engine, host: PlayedHost) -> None:
    first = await ran(engine, host, "monday")
    await given_up(engine, host, first)
    assert not await engine.board.apply(first, GivenUp("git/warehouse"))
    stored = await engine.store.read(lambda unit: unit.runs.get(first))
    assert stored is not None
    assert is_given_up(stored)


async def test_what_still_holds_data_is_not_given_up(engine: Engine, host: PlayedHost) -> None:
    first = await ran(engine, host, "monday")
    with pytest.raises(FailedPrecondition, match="is succeeded: it is given up when all of it is undone"):
        await engine.board.apply(first, GivenUp("git/warehouse"))


async def test_the_figures_of_a_plan_are_those_of_the_run_before(engine: Engine, host: PlayedHost) -> None:
    first, second = await ran(engine, host, "monday"), await ran(engine, host, "tuesday")
    await engine.keeping.step()
    assert [run.name for run in engine.kpis.current()] == [second]
    await given_up(engine, host, second)
    assert [(await engine.kpis.kpis(name)).rows for name in (PLAN, first)] == [10, 10]
    assert [run.name for run in engine.kpis.current()] == [first]
    assert dict((await engine.kpis.kpis(ENVIRONMENT)).runs) == {"succeeded": 1}
    assert await engine.keeping.step() == [first]
    again = engine.again()
    await again.kpis.restore()
    assert [run.name for run in again.kpis.current()] == [first]
    assert again.kpis.behind() == set()


async def test_a_plan_without_another_run_has_no_figures(engine: Engine, host: PlayedHost) -> None:
    first = await ran(engine, host, "monday")
    await given_up(engine, host, first)
    assert (await engine.kpis.kpis(PLAN)).rows == 0
    assert list(engine.kpis.current()) == []


async def test_plans_that_wait_for_it_go_on_with_the_run_before(engine: Engine, host: PlayedHost) -> None:
    await ran(engine, host, "monday")
    second = await ran(engine, host, "tuesday")
    await declared(engine, "later", "p")
    await engine.runs.roll_back(second, "", ME)
    await host.work()
    waiting = await started(engine, host, f"{ENVIRONMENT}/plans/later")
    assert list(waiting.waiting_for_plans) == ["p"]
    await engine.board.apply(second, GivenUp("git/warehouse"))
    await engine.followups.step()
    assert not (await engine.runs.get(waiting.name)).waiting_for_plans
