"""Custom resource Runs that are deleted, whose operator ends, and whose engine is away."""

from collections.abc import Mapping
from typing import Any

import pytest

from pymigrate.engine.entrypoints.operator.objects import RESOURCE_TYPES
from pymigrate.engine.entrypoints.operator.run_adopting import RUN_NAME
from pymigrate.engine.ports.cluster import Object
from pymigrate.v1 import run_pb2
from tests.integration.engine.served import ServedEngine
from tests.integration.operator.operated import Scene, condition_of, conditions_of
from tests.integration.operator.run_scenes import (
    FAILURE,
    RUN,
    engine_run,
    engine_runs,
    held,
    run_name,
    scenery,
    started,
)
from tests.unit.application.gitops.applied import phase

STANDINGS = ["waiting", "suspended", "under way", "paused", "failed", "succeeded"]
ENDS = {
    ("cancel", "under way"): run_pb2.RUN_STATE_CANCELLED,
    ("cancel", "paused"): run_pb2.RUN_STATE_CANCELLED,
    ("cancel", "failed"): run_pb2.RUN_STATE_FAILED,
    ("cancel", "succeeded"): run_pb2.RUN_STATE_SUCCEEDED,
    ("orphan", "under way"): run_pb2.RUN_STATE_RUNNING,
    ("orphan", "paused"): run_pb2.RUN_STATE_PAUSED,
    ("orphan", "failed"): run_pb2.RUN_STATE_FAILED,
    ("orphan", "succeeded"): run_pb2.RUN_STATE_SUCCEEDED,
    ("rollback", "under way"): run_pb2.RUN_STATE_CANCELLED,
    ("rollback", "paused"): run_pb2.RUN_STATE_CANCELLED,
    ("rollback", "failed"): run_pb2.RUN_STATE_FAILED,
    ("rollback", "succeeded"): run_pb2.RUN_STATE_ROLLED_BACK,
}


@pytest.mark.parametrize("policy", ["cancel", "orphan", "rollback"])
@pytest.mark.parametrize("standing", STANDINGS)
async def test_a_resource_goes_in_every_phase_of_its_life_as_its_policy_says(
    served: ServedEngine, policy: str, standing: str
) -> None:
    if standing == "failed":
        served.outcomes["copy orders"] = FAILURE
    is_held = standing in {"under way", "paused"}
    async with scenery(served, orders=held() if is_held else phase()) as scene:
        spec = {"plan": "p", "deletionPolicy": policy}
        found = await brought_to(scene, standing, spec)
        await scene.delete(RUN)
        await scene.until_gone(RUN)
        await scene.quiet()
        if (policy, standing) in ENDS:
            assert (await engine_run(scene, found)).state == ENDS[policy, standing]
        else:
            assert await engine_runs(scene) == []


async def brought_to(scene: Scene, standing: str, spec: Mapping[str, Any]) -> Object:
    """A Run that stands there."""
    match standing:
        case "waiting":
            await scene.apply(RUN, {**spec, "plan": "missing"})
            await scene.until_told(RUN, "DependencyMissing")
        case "suspended":
            await scene.apply(RUN, {**spec, "suspend": True})
            await scene.until_told(RUN, "Suspended")
        case "under way":
            await started(scene, spec)
        case "paused":
            await started(scene, spec)
            await scene.apply(RUN, {**spec, "suspend": True})
            await scene.until_told(RUN, "Suspended")
        case "failed":
            await scene.apply(RUN, spec)
            await scene.until_told(RUN, "RunFailed")
        case _:
            await scene.apply(RUN, spec)
            await scene.until_told(RUN, "Succeeded")
    return await scene.get(RUN)


# Operators that end, engines that are away -------------------------------------------------------------------------------------------


async def test_an_operator_that_starts_again_adopts_what_is_under_way(served: ServedEngine) -> None:
    async with scenery(served, orders=held()) as scene:
        found = await started(scene)
        await scene.kill()
        await scene.apply(RUN, {"plan": "p", "suspend": True})
        scene.start()
        await scene.until_told(RUN, "Suspended", "Suspended")
        assert await engine_runs(scene) == [run_name(found)]
        assert scene.engine_calls.count("StartRun") == 1


async def test_a_run_that_was_started_without_a_word_in_its_status_is_adopted_and_not_started_twice(
    served: ServedEngine,
) -> None:
    async with scenery(served, orders=held()) as scene:
        found = await started(scene)
        await scene.kill()
        blank = {"status": dict.fromkeys(found["status"])}
        await scene.cluster.patch(RESOURCE_TYPES["Run"], "e", "first", blank, subresource="status")
        await scene.apply(RUN, {"plan": "other"})
        scene.start()
        assert "from `p` to `other`" in await scene.until_told(RUN, "Immutable", "Stalled")
        assert await engine_runs(scene) == [run_name(found)]


async def test_a_run_whose_resource_lost_its_annotations_too_is_still_the_same_run(served: ServedEngine) -> None:
    async with scenery(served, orders=held()) as scene:
        found = await started(scene)
        await scene.kill()
        blank = {"status": dict.fromkeys(found["status"])}
        await scene.cluster.patch(RESOURCE_TYPES["Run"], "e", "first", blank, subresource="status")
        await scene.apply(RUN, {"plan": "p"}, annotations={RUN_NAME: None}, finalizers=[])
        scene.start()
        await scene.until_told(RUN, "ApprovalRequired", "Stalled")
        assert await engine_runs(scene) == [run_name(found)]
        assert (await scene.get(RUN))["metadata"]["annotations"][RUN_NAME] == run_name(found)


async def test_an_engine_that_is_away_is_told_and_what_is_asked_meanwhile_is_done_after(served: ServedEngine) -> None:
    async with scenery(served, orders=held()) as scene:
        found = await started(scene)
        served.stop()
        await scene.apply(RUN, {"plan": "p", "suspend": True})
        await scene.until_told(RUN, "EngineUnavailable", "Reconciling")
        served.start()
        await scene.until_told(RUN, "Suspended", "Suspended")
        assert (await engine_run(scene, found)).state == run_pb2.RUN_STATE_PAUSED


async def test_a_run_that_succeeded_stays_ready_while_the_engine_is_away(served: ServedEngine) -> None:
    async with scenery(served) as scene:
        await scene.apply(RUN, {"plan": "p"})
        await scene.until_told(RUN, "Succeeded", status="True")
        await scene.quiet()
        served.stop()
        await scene.eventually(lambda: not scene.operator.runs.is_live)
        calls = len(scene.engine_calls)
        for key in list(scene.operator.runs._keys.values()):
            scene.operator.queue.add(key)
        await scene.eventually(lambda: "GetRun" in scene.engine_calls[calls:])
        found = await scene.get(RUN)
        assert conditions_of(found)["Ready"] == "True"
        served.start()


async def test_a_resource_that_is_deleted_while_the_engine_is_away_goes_once_its_run_is_cancelled(
    served: ServedEngine,
) -> None:
    async with scenery(served, orders=held()) as scene:
        found = await started(scene)
        served.stop()
        await scene.delete(RUN)
        await scene.until(RUN, lambda each: condition_of(each, "Reconciling").get("reason") == "EngineUnavailable")
        served.start()
        await scene.until_gone(RUN)
        assert (await engine_run(scene, found)).state == run_pb2.RUN_STATE_CANCELLED
