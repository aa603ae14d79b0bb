"""Custom resources of the kinds that files may declare: in any order, each truthful about where it stands, and gone when they go."""

import asyncio

import pytest

from pymigrate.engine.domain.errors import EngineUnavailable, NotFound
from pymigrate.engine.entrypoints.operator.engine import Document
from pymigrate.engine.entrypoints.operator.objects import FINALIZER, RESOURCE_TYPES, EnvironmentRule, Key
from pymigrate.engine.entrypoints.operator.verdicts import Findings, Verdict
from pymigrate.engine.ports.cluster import ClusterUnavailable, Object, ObjectConflict
from pymigrate.v1.custom_resource_pb2 import RunStatus
from pymigrate.v1.definition_pb2 import ApplyDefinitionsRequest, ApplyDefinitionsResponse
from tests.integration.engine.served import ServedEngine, ask
from tests.integration.operator.operated import Scene, condition_of, conditions_of, operated, world
from tests.unit.application.gitops.applied import file as applied_file
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


async def test_what_is_deleted_goes_from_the_engine_and_then_from_the_cluster_in_any_order(
    served: ServedEngine,
) -> None:
    async with operated(served) as scene:
        for name, spec in world().items():
            await scene.apply(name, spec)
        await scene.until_ready(*world())
        for name in world():
            await scene.delete(name)
        for name in world():
            await scene.until_gone(name)
        with pytest.raises(NotFound):
            await scene.in_engine("Environment", "environments/prod")


async def test_a_deletion_that_the_engine_refuses_is_told_and_goes_on_once_nothing_needs_the_object(
    served: ServedEngine,
) -> None:
    async with operated(served) as scene:
        for name, spec in world().items():
            await scene.apply(name, spec)
        await scene.until_ready(*world())
        await scene.delete(LEGACY)
        told = await scene.until_told(LEGACY, "DeletionRefused", "Stalled")
        assert "environments/prod/plans/p" in told
        assert (await scene.get(LEGACY))["metadata"]["finalizers"] == [FINALIZER]
        await scene.delete(PLAN)
        await scene.until_gone(LEGACY)


async def test_an_object_that_is_orphaned_stays_in_the_engine_when_the_resource_goes(served: ServedEngine) -> None:
    async with operated(served) as scene:
        await scene.apply(ENVIRONMENT, {})
        await scene.until_ready(ENVIRONMENT)
        await scene.apply(ENVIRONMENT, annotations={"pymigrate.io/deletion-policy": "orphan"})
        await scene.quiet()
        await scene.delete(ENVIRONMENT)
        await scene.until_gone(ENVIRONMENT)
        assert (await scene.in_engine("Environment", "environments/prod")).name == "environments/prod"


async def test_what_is_suspended_is_left_alone_until_it_is_not(served: ServedEngine) -> None:
    async with operated(served) as scene:
        await scene.apply(ENVIRONMENT, {"displayName": "one"})
        await scene.until_ready(ENVIRONMENT)
        await scene.apply(ENVIRONMENT, {"displayName": "two"}, annotations={"pymigrate.io/suspend": "true"})
        await scene.until_told(ENVIRONMENT, "Suspended", "Suspended", "True")
        assert conditions_of(await scene.get(ENVIRONMENT)) == {"Ready": "Unknown", "Suspended": "True"}
        assert (await scene.in_engine("Environment", "environments/prod")).display_name == "one"
        await scene.apply(ENVIRONMENT, annotations={"pymigrate.io/suspend": None})
        await scene.until_ready(ENVIRONMENT)
        assert (await scene.in_engine("Environment", "environments/prod")).display_name == "two"


async def test_what_another_side_declares_is_not_taken_from_it_and_stays_there(served: ServedEngine) -> None:
    from pymigrate.v1 import environment_pb2

    client = served.client("terraform")
    request = environment_pb2.CreateEnvironmentRequest(environment_id="prod")
    ask(client, client.environments.CreateEnvironment, request)
    client.channel.close()
    async with operated(served) as scene:
        await scene.apply(ENVIRONMENT, {"displayName": "mine"})
        assert "terraform" in await scene.until_told(ENVIRONMENT, "Refused", "Stalled")
        await scene.delete(ENVIRONMENT)
        await scene.until_gone(ENVIRONMENT)
        assert (await scene.in_engine("Environment", "environments/prod")).managed_by == "terraform"


async def test_what_another_side_has_taken_over_stays_there_when_the_resource_goes(served: ServedEngine) -> None:
    async with operated(served) as scene:
        await scene.apply(ENVIRONMENT, {})
        await scene.until_ready(ENVIRONMENT)
        client = served.client("terraform")
        file = applied_file("Environment prod", {"displayName": "theirs"})
        request = ApplyDefinitionsRequest(files=[file], taken_over_sides=["kubernetes"])
        await asyncio.to_thread(ask, client, client.definitions.ApplyDefinitions, request)
        client.channel.close()
        await scene.delete(ENVIRONMENT)
        await scene.until_gone(ENVIRONMENT)
        assert (await scene.in_engine("Environment", "environments/prod")).managed_by == "terraform"


async def test_an_environment_is_called_like_its_namespace(served: ServedEngine) -> None:
    async with operated(served) as scene:
        await scene.apply("Environment team/prod", {})
        assert "call it `team`" in await scene.until_told("Environment team/prod", "WrongNamespace", "Stalled")
        await scene.apply("GitSource team/repo", {"environment": "prod", "url": "https://git.example.com/a.git"})
        told = await scene.until_told("GitSource team/repo", "WrongNamespace", "Stalled")
        assert "set spec.environment to `team`" in told


@pytest.mark.parametrize("is_deleted", [True, False])
async def test_a_status_that_names_what_another_namespace_declares_reaches_nothing_there(
    served: ServedEngine, is_deleted: bool
) -> None:
    async with operated(served) as scene:
        for namespace in ("mine", "theirs"):
            await scene.apply(f"Environment {namespace}/{namespace}", {})
            await scene.apply(f"Department {namespace}/{namespace}", {})
            await scene.until_ready(f"Department {namespace}/{namespace}")
        theirs = "environments/theirs/departments/theirs"
        await tell_name(scene, "Department mine/mine", theirs)
        if is_deleted:
            await scene.delete("Department mine/mine")
            await scene.until_gone("Department mine/mine")
        else:
            await scene.apply("Department mine/mine", {"users": 2})
            await scene.until_ready("Department mine/mine")
        assert (await scene.in_engine("Department", theirs)).name == theirs
        own = "environments/mine/departments/mine"
        if is_deleted:
            with pytest.raises(NotFound):
                await scene.in_engine("Department", own)
        else:
            assert (await scene.in_engine("Department", own)).users == 2


@pytest.mark.parametrize("is_told", [True, False])
async def test_a_finalizer_that_a_person_set_takes_no_environment_of_another_namespace_away(
    served: ServedEngine, is_told: bool
) -> None:
    async with operated(served) as scene:
        orphaned = {"pymigrate.io/deletion-policy": "orphan"}
        await scene.apply("Environment theirs/theirs", {}, annotations=orphaned)
        await scene.until_ready("Environment theirs/theirs")
        await scene.delete("Environment theirs/theirs")
        await scene.until_gone("Environment theirs/theirs")
        await scene.apply("Environment mine/theirs", {}, finalizers=[FINALIZER])
        await scene.until_told("Environment mine/theirs", "WrongNamespace", "Stalled")
        if is_told:
            await tell_name(scene, "Environment mine/theirs", "environments/theirs")
        await scene.delete("Environment mine/theirs")
        await scene.until_gone("Environment mine/theirs")
        assert (await scene.in_engine("Environment", "environments/theirs")).name == "environments/theirs"


async def test_by_annotation_an_object_belongs_where_it_says_and_moves_when_it_says_otherwise(
    served: ServedEngine,
) -> None:
    async with operated(served, rule=EnvironmentRule.ANNOTATION) as scene:
        for name in ("one", "two"):
            await scene.apply(f"Environment team/{name}", {})
        await scene.apply("Department team/sales", {}, annotations={"pymigrate.io/environment": "one"})
        await scene.until_ready("Department team/sales")
        assert await scene.in_engine("Department", "environments/one/departments/sales")
        await scene.apply("Department team/sales", annotations={"pymigrate.io/environment": "two"})
        await scene.until(
            "Department team/sales",
            lambda found: found["status"].get("name") == "environments/two/departments/sales",
        )
        with pytest.raises(NotFound):
            await scene.in_engine("Department", "environments/one/departments/sales")


async def test_of_two_that_declare_one_name_the_first_keeps_it_and_the_second_follows(served: ServedEngine) -> None:
    async with operated(served, rule=EnvironmentRule.ANNOTATION) as scene:
        await scene.apply("Environment a/shared", {"displayName": "a"})
        await scene.until_ready("Environment a/shared")
        await scene.apply("Environment b/shared", {"displayName": "b"})
        told = await scene.until_told("Environment b/shared", "NameTaken", "Stalled")
        assert "a/shared" in told
        await scene.delete("Environment b/shared")
        await scene.until_gone("Environment b/shared")
        assert (await scene.in_engine("Environment", "environments/shared")).display_name == "a"
        await scene.apply("Environment b/shared", {"displayName": "b"})
        await scene.until_told("Environment b/shared", "NameTaken", "Stalled")
        await scene.delete("Environment a/shared")
        await scene.until_ready("Environment b/shared")
        assert (await scene.in_engine("Environment", "environments/shared")).display_name == "b"


async def test_while_the_engine_is_away_it_is_told_and_afterwards_nothing_is_lost(served: ServedEngine) -> None:
    async with operated(served) as scene:
        served.stop()
        await scene.apply(ENVIRONMENT, {})
        await scene.until_told(ENVIRONMENT, "EngineUnavailable", "Reconciling")
        with pytest.raises(EngineUnavailable):
            await scene.in_engine("Environment", "environments/prod")
        served.start()
        await scene.until_ready(ENVIRONMENT)
        assert (await scene.in_engine("Environment", "environments/prod")).managed_by == "kubernetes"


async def test_everything_that_is_as_it_should_be_causes_no_write_when_an_operator_starts_again(
    served: ServedEngine,
) -> None:
    async with operated(served) as scene:
        for name, spec in world().items():
            await scene.apply(name, spec)
        await scene.until_ready(*world())
        await scene.quiet()
        await scene.stop()
        before = len(scene.cluster.writes)
        scene.start()
        await scene.eventually(lambda: scene.operator.mirrors["Plan"].is_synced)
        await scene.eventually(lambda: all(each.is_synced for each in scene.operator.mirrors.values()))
        await scene.quiet()
        assert len(scene.cluster.writes) == before


async def test_what_happened_while_no_operator_was_there_is_made_up_for(served: ServedEngine) -> None:
    async with operated(served) as scene:
        for name, spec in world().items():
            await scene.apply(name, spec)
        await scene.until_ready(*world())
        await scene.stop()
        await scene.delete(PLAN)
        await scene.apply("Department prod/sales", {"users": 3})
        scene.start()
        await scene.until_gone(PLAN)
        await scene.until_ready("Department prod/sales")
        assert (await scene.in_engine("Department", "environments/prod/departments/sales")).users == 3


async def test_a_status_that_others_write_over_and_over_is_written_all_the_same(served: ServedEngine) -> None:
    async with operated(served) as scene:
        told: list[ObjectConflict] = []

        def conflict() -> ObjectConflict:
            told.append(ObjectConflict("somebody was faster"))
            return told[-1]

        scene.cluster.faults.fail(conflict, verb="patch", times=20)
        await scene.apply(ENVIRONMENT, {})
        await scene.until_ready(ENVIRONMENT)
        assert len(told) == 20


async def test_an_api_that_fails_now_and_then_delays_and_loses_nothing(served: ServedEngine) -> None:
    async with operated(served) as scene:
        told: list[ClusterUnavailable] = []

        def trouble() -> ClusterUnavailable:
            told.append(ClusterUnavailable("the API said 500"))
            return told[-1]

        scene.cluster.faults.fail(trouble, verb="patch", times=5)
        for name, spec in world().items():
            await scene.apply(name, spec)
        scene.cluster.cut_watches()
        await scene.until_ready(*world())
        assert len(told) == 5
        assert (await scene.in_engine("Plan", "environments/prod/plans/p")).plan_hash


async def test_an_operator_that_leads_no_longer_writes_nothing_into_the_engine_or_the_cluster(
    served: ServedEngine,
) -> None:
    async with operated(served) as scene:
        scene.is_leading = False
        await scene.apply(ENVIRONMENT, {})
        await scene.eventually(lambda: scene.operator.queue.failing > 0)
        assert [each.verb for each in scene.cluster.writes] == ["create"]
        with pytest.raises(NotFound):
            await scene.in_engine("Environment", "environments/prod")


async def test_a_kind_whose_definition_is_deleted_keeps_no_other_from_going_on(served: ServedEngine) -> None:
    async with operated(served) as scene:
        await scene.apply(ENVIRONMENT, {})
        await scene.until_ready(ENVIRONMENT)
        scene.cluster.unregister(RESOURCE_TYPES["Silence"])
        await scene.eventually(lambda: scene.operator.mirrors["Silence"].trouble is not None)
        await scene.apply("Department prod/sales", {})
        await scene.until_ready("Department prod/sales")
        scene.cluster.register(RESOURCE_TYPES["Silence"])
        await scene.eventually(lambda: scene.operator.mirrors["Silence"].trouble is None)
        await scene.apply("Silence prod/quiet", {"matchers": {}})
        await scene.until(
            "Silence prod/quiet", lambda each: condition_of(each, "Ready").get("reason") not in {None, "Accepted"}
        )


async def test_events_are_told_once_for_each_reason_with_a_count(served: ServedEngine) -> None:
    async with operated(served) as scene:
        await scene.apply(ENVIRONMENT, {})
        await scene.until_ready(ENVIRONMENT)
        for number in range(3):
            await scene.apply(ENVIRONMENT, {"lanesMax": -1 - number})
            await scene.until_told(ENVIRONMENT, "InvalidDefinition", "Stalled")
            await scene.apply(ENVIRONMENT, {"lanesMax": number})
            await scene.until_ready(ENVIRONMENT)
        wanted = [("prod", "Normal", "Applied", 4), ("prod", "Warning", "InvalidDefinition", 3)]
        await scene.eventually(lambda: scene.events() == wanted)
        await scene.quiet()
        assert scene.events() == wanted, "nothing is told twice"


async def test_in_one_namespace_the_others_are_not_looked_at(served: ServedEngine) -> None:
    async with operated(served, namespace="prod") as scene:
        await scene.apply("Environment other/other", {})
        await scene.apply(ENVIRONMENT, {})
        await scene.until_ready(ENVIRONMENT)
        assert "status" not in await scene.get("Environment other/other")


async def tell_name(scene: Scene, name: str, told: str) -> None:
    """As `kubectl edit --subresource=status` by whoever may."""
    word, _, place = name.partition(" ")
    namespace, _, object_name = place.partition("/")
    patch = {"status": {"name": told}}
    await scene.cluster.patch(RESOURCE_TYPES[word], namespace, object_name, patch, subresource="status")
