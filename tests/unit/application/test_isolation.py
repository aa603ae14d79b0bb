"""Environments are nothing to one another: work, limits, figures, policies and templates of one are never those of another."""

import asyncio

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from pymigrate.engine.application.kinds import CONNECTIONS, DEPARTMENTS, ENVIRONMENTS
from pymigrate.engine.application.policies import policy_of
from pymigrate.engine.application.trying_templates import TryingTemplates
from pymigrate.engine.domain.errors import InvalidDefinition, NotFound
from pymigrate.engine.ports.store import Unit
from pymigrate.engine.testing.rendering import PlainRenderer
from pymigrate.v1 import environment_pb2, notification_pb2, plan_pb2, run_pb2
from tests.unit.application.engines import ENVIRONMENT, ME, PLAN, Engine, PlayedHost, phase, systems

OTHER = "environments/f"
OTHER_PLAN = f"{OTHER}/plans/p"


async def twins(engine: Engine, lanes_max: int = 0) -> dict[str, PlayedHost]:
    """Two environments with the same plan under the same names, and a host of each; the first has so many lanes at most."""
    await engine.declare({"a": phase("orders", "items")})

    def work(unit: Unit) -> None:
        engine.catalog.update(
            unit, ENVIRONMENTS, environment_pb2.Environment(name=ENVIRONMENT, lanes_max=lanes_max), FieldMask(), ME
        )
        engine.catalog.create(unit, ENVIRONMENTS, "", "f", environment_pb2.Environment(), ME)
        engine.catalog.create(unit, DEPARTMENTS, OTHER, "sales", environment_pb2.Department(), ME)
        for name, system in systems().items():
            engine.catalog.create(unit, CONNECTIONS, OTHER, name, system, ME)
        plan = plan_pb2.Plan(phases={"a": phase("orders", "items")})
        engine.plans.create(unit, OTHER, "p", plan, ME, is_dry=False)

    await engine.store.transact(work)
    hosts = {
        each: PlayedHost(engine, f"workerHosts/{each}", affinity=f"file:/warehouse.duckdb@{each}") for each in "ef"
    }
    for host in hosts.values():
        await host.register()
    return hosts


async def start(engine: Engine, plan: str, host: PlayedHost) -> None:
    run = asyncio.create_task(engine.runs.start(run_pb2.StartRunRequest(parent=plan, run_id="r"), ME))
    while not run.done():
        if task := await host.claim():
            await host.finish(task)
        await asyncio.sleep(0)
    await run


async def test_a_host_is_given_work_of_its_own_environment_alone(engine: Engine) -> None:
    hosts = await twins(engine)
    await start(engine, PLAN, hosts["e"])
    assert await hosts["f"].claim() is None
    task = await hosts["e"].claim()
    assert task is not None
    assert task.copy.lane.startswith(f"{ENVIRONMENT}/")


async def test_the_lanes_of_one_environment_are_no_limit_of_another(engine: Engine) -> None:
    hosts = await twins(engine, lanes_max=1)
    await start(engine, PLAN, hosts["e"])
    await start(engine, OTHER_PLAN, hosts["f"])
    given = {name: [bool(await host.claim()) for _ in range(2)] for name, host in hosts.items()}
    assert given == {"e": [True, False], "f": [True, True]}


async def test_what_one_environment_moved_is_in_no_figure_of_another(engine: Engine) -> None:
    hosts = await twins(engine)
    await start(engine, PLAN, hosts["e"])
    await hosts["e"].work()
    names = [ENVIRONMENT, f"{ENVIRONMENT}/departments/sales", PLAN]
    assert [(await engine.kpis.kpis(name)).rows for name in names] == [20, 20, 20]
    twins_of = [name.replace(ENVIRONMENT, OTHER) for name in names]
    assert [(await engine.kpis.kpis(name)).rows for name in twins_of] == [0, 0, 0]


async def test_runs_of_one_environment_are_not_found_in_another(engine: Engine) -> None:
    hosts = await twins(engine)
    await start(engine, PLAN, hosts["e"])
    assert (await engine.runs.page(OTHER_PLAN, 0, ""))[0] == []
    with pytest.raises(NotFound):
        await engine.runs.get(f"{OTHER_PLAN}/runs/r")


async def test_the_policy_of_one_environment_binds_no_other(engine: Engine) -> None:
    hosts = await twins(engine)
    policy = environment_pb2.EnvironmentPolicy(runners=["nobody"], approvals_min=3)
    own = environment_pb2.Environment(name=ENVIRONMENT, policy=policy)
    await engine.store.transact(lambda unit: engine.catalog.update(unit, ENVIRONMENTS, own, FieldMask(), ME))
    assert await engine.store.read(lambda unit: policy_of(unit, OTHER)) == environment_pb2.EnvironmentPolicy()
    await start(engine, OTHER_PLAN, hosts["f"])
    assert await hosts["f"].claim() is not None


async def test_a_template_of_one_environment_is_not_tried_from_another(engine: Engine) -> None:
    await twins(engine)
    trying = TryingTemplates(engine.store, engine.catalog, PlainRenderer())
    named = notification_pb2.NotificationTemplate(name=f"{ENVIRONMENT}/notificationTemplates/short")
    asked = notification_pb2.RenderNotificationTemplateRequest(parent=OTHER, type="phase.failed", template=named)
    with pytest.raises(InvalidDefinition, match="is no template of environments/f"):
        await trying.render(asked)
