"""Declared objects while engine, API and operator fail: nothing is lost, nothing is told twice, and one is kept from nothing by others."""

import pytest

from pymigrate.engine.domain.errors import EngineUnavailable, NotFound
from pymigrate.engine.entrypoints.operator.objects import RESOURCE_TYPES
from pymigrate.engine.ports.cluster import ClusterUnavailable, ObjectConflict
from tests.integration.engine.served import ServedEngine
from tests.integration.operator.operated import condition_of, operated, world

ENVIRONMENT = "Environment prod/prod"
LEGACY = "Connection prod/legacy"
PLAN = "Plan prod/p"


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
