"""Whose a declared object is: its deletion and suspension, other sides that declare it, and the environment that it belongs to."""

import asyncio

import pytest

from pymigrate.engine.domain.errors import NotFound
from pymigrate.engine.entrypoints.operator.objects import FINALIZER, RESOURCE_TYPES, EnvironmentRule
from pymigrate.v1.definition_pb2 import ApplyDefinitionsRequest
from tests.integration.engine.served import ServedEngine, ask
from tests.integration.operator.operated import Scene, conditions_of, operated, world
from tests.unit.application.gitops.applied import file as applied_file

ENVIRONMENT = "Environment prod/prod"
LEGACY = "Connection prod/legacy"
PLAN = "Plan prod/p"


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
