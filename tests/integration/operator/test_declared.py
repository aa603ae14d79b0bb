"""Custom resources of the kinds that files may declare: in any order, and each truthful about where it stands."""

import asyncio

from pymigrate.engine.entrypoints.operator.engine import Document
from pymigrate.engine.entrypoints.operator.objects import FINALIZER, Key
from pymigrate.engine.entrypoints.operator.verdicts import Findings, Verdict
from pymigrate.engine.ports.cluster import Object
from pymigrate.v1.custom_resource_pb2 import RunStatus
from pymigrate.v1.definition_pb2 import ApplyDefinitionsResponse
from tests.integration.engine.served import ServedEngine
from tests.integration.operator.operated import conditions_of, operated, world
from tests.unit.application.gitops.applied import phase

ENVIRONMENT = "Environment prod/prod"
LEGACY = "Connection prod/legacy"
PLAN = "Plan prod/p"


async def test_what_is_declared_in_any_order_is_in_the_engine_and_ready(served: ServedEngine) -> None:
    async with operated(served) as scene:
        for name, spec in reversed(world().items()):
            await scene.apply(name, spec)
        await scene.until_ready(*world())
        plan = await scene.get(PLAN)
        assert plan["status"]["name"] == "environments/prod/plans/p"
        assert plan["status"]["environment"] == "prod"
        stored = await scene.in_engine("Plan", "environments/prod/plans/p")
        assert plan["status"]["planHash"] == stored.plan_hash
        assert stored.managed_by == "kubernetes"
        assert conditions_of(plan) == {"Ready": "True"}


async def test_a_new_object_costs_the_engine_a_check_and_a_change_and_the_api_three_writes(
    served: ServedEngine,
) -> None:
    async with operated(served) as scene:
        await scene.apply(ENVIRONMENT, {})
        await scene.until_ready(ENVIRONMENT)
        await scene.quiet()
        assert scene.engine_calls.count("ApplyDefinitions") == 2
        assert [call.verb for call in scene.writes()] == ["create", *["patch"] * 3]
        await scene.apply(ENVIRONMENT, {"displayName": "changed"})
        await scene.until_ready(ENVIRONMENT)
        await scene.quiet()
        assert scene.engine_calls.count("ApplyDefinitions") == 3


async def test_hundreds_of_objects_at_once_cost_the_engine_few_calls(served: ServedEngine) -> None:
    async with operated(served, starts=False) as scene:
        names = [f"Department prod/d{at}" for at in range(300)]
        for name in (*names, ENVIRONMENT):
            await scene.apply(name, {})
        scene.start()
        await scene.until_ready(*names)
        await scene.quiet()
        assert scene.engine_calls.count("ApplyDefinitions") < 30
        await scene.kill()


async def test_however_many_objects_wait_for_the_engine_a_run_is_looked_at(served: ServedEngine) -> None:
    looked_at: list[str] = []

    class Noting:
        async def look(self, key: Key, found: Object) -> Verdict:
            looked_at.append(key.name)
            return Findings(RunStatus()).ready("Looked", f"at {found['metadata']['name']}")

        def gone(self, key: Key) -> None:
            del key

    async with operated(served, build_runs=lambda _: Noting()) as scene:
        is_let_go = asyncio.Event()

        async def never(*_: Document) -> ApplyDefinitionsResponse:
            await is_let_go.wait()
            return ApplyDefinitionsResponse()

        scene.engine.check = never  # type: ignore[method-assign]  # an engine that takes its time
        for at in range(400):
            await scene.apply(f"Department prod/d{at}", {})
        await scene.eventually(lambda: len(scene.operator.queue) > 0)
        await scene.apply("Run prod/r", {"plan": "p"})
        await scene.until_told("Run prod/r", "Looked")
        assert looked_at == ["r"]
        assert not is_let_go.is_set()


async def test_what_names_something_that_is_missing_waits_and_goes_on_once_it_is_there(served: ServedEngine) -> None:
    async with operated(served) as scene:
        objects = world()
        legacy = objects.pop(LEGACY)
        for name, spec in objects.items():
            await scene.apply(name, spec)
        told = "spec.phases.orders.datasets.orders.source.connection: there is no connection `legacy`"
        await scene.until_told(PLAN, "DependencyMissing", "Reconciling", text=told)
        assert not (await scene.get(PLAN))["metadata"].get("finalizers"), "nothing of it is in the engine"
        await scene.apply(LEGACY, legacy)
        await scene.until_ready(PLAN)


async def test_what_is_wrong_is_stalled_with_the_path_and_ready_once_it_is_mended(served: ServedEngine) -> None:
    async with operated(served) as scene:
        await scene.apply(ENVIRONMENT, {})
        await scene.apply("Department prod/sales", {"users": -1, "owner": "x" * 300})
        told = await scene.until_told("Department prod/sales", "InvalidDefinition", "Stalled")
        assert "spec.users: can't be negative" in told
        assert "spec.owner" in told
        assert not (await scene.get("Department prod/sales"))["metadata"].get("finalizers")
        await scene.apply("Department prod/sales", {"users": 1})
        await scene.until_ready("Department prod/sales")


async def test_a_change_that_is_wrong_leaves_what_is_in_the_engine_and_is_told(served: ServedEngine) -> None:
    async with operated(served) as scene:
        for name, spec in world().items():
            await scene.apply(name, spec)
        await scene.until_ready(PLAN)
        await scene.apply(PLAN, {"phases": {"orders": phase(source="warehouse")}, "lanesMax": -3})
        assert "spec.lanesMax" in await scene.until_told(PLAN, "InvalidDefinition", "Stalled")
        plan = await scene.get(PLAN)
        assert plan["status"]["name"] == "environments/prod/plans/p"
        assert plan["metadata"]["finalizers"] == [FINALIZER]
        assert (await scene.in_engine("Plan", "environments/prod/plans/p")).lanes_max == 0


async def test_the_hash_of_a_plan_follows_a_connection_that_changes(served: ServedEngine) -> None:
    async with operated(served) as scene:
        for name, spec in world().items():
            await scene.apply(name, spec)
        await scene.until_ready(*world())
        before = (await scene.get(PLAN))["status"]["planHash"]
        await scene.apply(LEGACY, {"sqlite": {"path": "/data/other.db"}})
        plan = await scene.until(PLAN, lambda found: found["status"].get("planHash") not in {None, before})
        assert plan["status"]["planHash"] == (await scene.in_engine("Plan", "environments/prod/plans/p")).plan_hash
