"""Custom resource Runs that are suspended, cancelled, tried again, rolled back and scaled, as they are declared."""

from pymigrate.v1 import run_pb2
from tests.integration.engine.served import ServedEngine
from tests.integration.operator.operated import conditions_of
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


async def test_a_run_that_is_suspended_starts_when_it_is_not_any_more(served: ServedEngine) -> None:
    async with scenery(served) as scene:
        await scene.apply(RUN, {"plan": "p", "suspend": True})
        await scene.until_told(RUN, "Suspended", "Suspended", status="True")
        assert "StartRun" not in scene.engine_calls
        assert "finalizers" not in (await scene.get(RUN))["metadata"]
        await scene.apply(RUN, {"plan": "p"})
        await scene.until_told(RUN, "Succeeded", status="True")


async def test_a_run_under_way_is_paused_and_goes_on(served: ServedEngine) -> None:
    async with scenery(served, orders=held()) as scene:
        found = await started(scene)
        await scene.apply(RUN, {"plan": "p", "suspend": True})
        await scene.until_told(RUN, "Suspended", "Suspended")
        assert (await engine_run(scene, found)).desired_state == run_pb2.DESIRED_STATE_PAUSED
        await scene.apply(RUN, {"plan": "p"})
        await scene.until_told(RUN, "ApprovalRequired", "Stalled")
        assert (await engine_run(scene, found)).state == run_pb2.RUN_STATE_RUNNING


async def test_a_run_that_somebody_paused_elsewhere_goes_on_as_it_is_declared(served: ServedEngine) -> None:
    async with scenery(served, orders=held()) as scene:
        found = await started(scene)
        await scene.engine.steer_run("PauseRun", run_pb2.PauseRunRequest(name=run_name(found)))
        await scene.eventually(lambda: "ResumeRun" in scene.engine_calls)
        await scene.quiet()
        assert (await engine_run(scene, found)).state == run_pb2.RUN_STATE_RUNNING


async def test_a_run_is_cancelled_for_good(served: ServedEngine) -> None:
    async with scenery(served, orders=held()) as scene:
        found = await started(scene)
        await scene.apply(RUN, {"plan": "p", "cancel": True})
        await scene.until_told(RUN, "Cancelled", status="False")
        assert conditions_of(await scene.get(RUN)).keys() == {"Ready", "Approved", "Verified"}
        assert (await engine_run(scene, found)).state == run_pb2.RUN_STATE_CANCELLED
        await scene.apply(RUN, {"plan": "p"})
        await scene.until_told(RUN, "Cancelled", "Stalled")


async def test_a_run_that_is_cancelled_before_its_start_never_starts(served: ServedEngine) -> None:
    async with scenery(served) as scene:
        await scene.apply(RUN, {"plan": "p", "cancel": True})
        await scene.until_told(RUN, "Cancelled")
        await scene.quiet()
        assert "StartRun" not in scene.engine_calls


async def test_a_failed_run_is_never_ready_and_is_tried_again_when_it_is_asked_for(served: ServedEngine) -> None:
    served.outcomes["copy orders"] = FAILURE
    async with scenery(served) as scene:
        await scene.apply(RUN, {"plan": "p"})
        told = await scene.until_told(RUN, "RunFailed", "Stalled")
        assert "DATA_REFUSED: row 7" in told
        found = await scene.get(RUN)
        assert conditions_of(found)["Ready"] == "False"
        assert (found["status"]["lanes"]["failed"], found["status"]["phases"][0]["phase"]) == (1, "orders")
        served.outcomes.clear()
        await scene.apply(RUN, {"plan": "p", "retry": 1})
        await scene.until_told(RUN, "Succeeded", status="True")
        assert int((await scene.get(RUN))["status"]["retry"]) == 1
        assert scene.engine_calls.count("RetryRun") == 1


async def test_a_retry_that_fails_again_is_not_repeated_by_itself(served: ServedEngine) -> None:
    served.outcomes["copy orders"] = FAILURE
    async with scenery(served) as scene:
        await scene.apply(RUN, {"plan": "p"})
        await scene.until_told(RUN, "RunFailed", "Stalled")
        await scene.apply(RUN, {"plan": "p", "retry": 1})
        await scene.until(RUN, lambda found: str(found["status"].get("retry", "0")) == "1")
        await scene.until_told(RUN, "RunFailed", "Stalled")
        await scene.quiet()
        assert scene.engine_calls.count("RetryRun") == 1


async def test_what_is_published_is_rolled_back(served: ServedEngine) -> None:
    async with scenery(served) as scene:
        await scene.apply(RUN, {"plan": "p"})
        await scene.until_told(RUN, "Succeeded")
        await scene.apply(RUN, {"plan": "p", "rollback": True})
        await scene.until_told(RUN, "RolledBack", status="False")
        found = await scene.get(RUN)
        assert (await engine_run(scene, found)).state == run_pb2.RUN_STATE_ROLLED_BACK
        assert "Stalled" not in conditions_of(found)
        await scene.quiet()
        assert scene.engine_calls.count("RollbackRun") == 1


async def test_lanes_are_scaled_as_declared_and_by_the_load(served: ServedEngine) -> None:
    async with scenery(served, orders=held()) as scene:
        found = await started(scene, {"lanes": 3})
        await scene.until(RUN, lambda each: each["status"].get("lanes", {}).get("limit") == 3)
        await scene.apply(RUN, {"plan": "p", "scaling": {"lanesMin": 2, "lanesMax": 5}})
        await scene.until(RUN, lambda each: each["status"]["lanes"].get("limit") == 3)
        assert (await engine_run(scene, found)).lanes_max == 3
        await scene.apply(RUN, {"plan": "p", "scaling": {"lanesMin": 4, "lanesMax": 5}})
        await scene.until(RUN, lambda each: each["status"]["lanes"].get("limit") == 4)
        await scene.apply(RUN, {"plan": "p"})
        await scene.until(RUN, lambda each: not each["status"]["lanes"].get("limit"))
        assert (await engine_run(scene, found)).lanes_max == 0


async def test_what_never_changes_is_refused_while_the_run_that_was_accepted_goes_on(served: ServedEngine) -> None:
    async with scenery(served, orders=held()) as scene:
        found = await started(scene)
        await scene.apply(RUN, {"plan": "p", "triggers": {"day": "2"}})
        assert "`triggers`" in await scene.until_told(RUN, "Immutable", "Stalled")
        await scene.apply(RUN, {"plan": "other"})
        assert "`plan`" in await scene.until_told(RUN, "Immutable", "Stalled")
        assert await engine_runs(scene) == [run_name(found)]
        await scene.apply(RUN, {"plan": "other", "suspend": True})
        await scene.eventually(lambda: "PauseRun" in scene.engine_calls)
        await scene.apply(RUN, {"plan": "p"})
        await scene.until_told(RUN, "ApprovalRequired", "Stalled")
