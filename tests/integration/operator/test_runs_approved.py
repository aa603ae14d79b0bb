"""Custom resource Runs that wait for an approval of their plan or of a gate, and those that are but a look at what would happen."""

import pytest

from pymigrate.v1 import plan_pb2, run_pb2, worker_pb2
from tests.integration.engine.served import ServedEngine
from tests.integration.operator.operated import condition_of, conditions_of
from tests.integration.operator.run_scenes import PLAN, RUN, WRITING, engine_runs, held, plan_hash, scenery, started
from tests.unit.application.gitops.applied import phase


async def test_what_is_approved_by_hand_tells_its_hash_and_starts_once_that_is_approved(served: ServedEngine) -> None:
    async with scenery(served) as scene:
        await scene.apply(RUN, {"plan": "p", "approvalPolicy": "manual"})
        told = await scene.until_told(RUN, "ApprovalRequired", "Stalled")
        found = await scene.get(RUN)
        assert found["status"]["planHash"] == await plan_hash(scene)
        assert found["status"]["planHash"] in told
        assert conditions_of(found)["Approved"] == "False"
        assert "finalizers" not in found["metadata"]
        assert await engine_runs(scene) == []
        spec = {"plan": "p", "approvalPolicy": "manual", "approvedPlanHash": found["status"]["planHash"]}
        await scene.apply(RUN, spec)
        await scene.until_told(RUN, "Succeeded", status="True")


async def test_a_plan_that_changed_since_its_approval_does_not_start(served: ServedEngine) -> None:
    async with scenery(served) as scene:
        before = await plan_hash(scene)
        await scene.apply(PLAN, {"phases": {"orders": phase("orders", "returns")}})
        await scene.until(PLAN, lambda each: each["status"]["planHash"] != before)
        await scene.apply(RUN, {"plan": "p", "approvedPlanHash": before})
        told = await scene.until_told(RUN, "PlanChanged", "Stalled")
        assert await plan_hash(scene) in told
        assert condition_of(await scene.get(RUN), "Approved")["reason"] == "PlanChanged"
        assert await engine_runs(scene) == []


async def test_a_run_that_waits_for_its_approval_tells_the_new_hash_once_the_plan_changes(served: ServedEngine) -> None:
    async with scenery(served) as scene:
        before = await plan_hash(scene)
        await scene.apply(RUN, {"plan": "p", "approvalPolicy": "manual"})
        await scene.until_told(RUN, "ApprovalRequired", "Stalled")
        await scene.apply(PLAN, {"phases": {"orders": phase("orders", "returns")}})
        await scene.until(RUN, lambda each: each["status"]["planHash"] != before)
        assert (await scene.get(RUN))["status"]["planHash"] == await plan_hash(scene)


async def test_a_gate_is_approved_of_the_plan_that_was_looked_at_alone(served: ServedEngine) -> None:
    async with scenery(served, orders=held()) as scene:
        found = await started(scene)
        approval = {"phase": "orders", "gate": "sign_off", "planHash": "0" * 64}
        await scene.apply(RUN, {"plan": "p", "gateApprovals": [approval]})
        await scene.until_told(RUN, "PlanChanged", "Approved")
        assert "ApproveGate" not in scene.engine_calls
        approval["planHash"] = found["status"]["planHash"]
        await scene.apply(RUN, {"plan": "p", "gateApprovals": [approval]})
        await scene.until_told(RUN, "Succeeded", status="True")


async def test_an_approval_that_the_engine_refuses_is_told_and_not_repeated(served: ServedEngine) -> None:
    async with scenery(served) as scene:
        await scene.apply("Environment e/e", {"policy": {"approvalsMin": 1}})
        await scene.until_ready("Environment e/e")
        found = await started(scene)
        approval = {"phase": "", "gate": "environment", "planHash": found["status"]["planHash"]}
        await scene.apply(RUN, {"plan": "p", "gateApprovals": [approval]})
        told = await scene.until_told(RUN, "NotPermitted", "Approved")
        assert "somebody else must approve it, by `pymigrate approve` with a token of their own" in told
        await scene.quiet()
        assert scene.engine_calls.count("ApproveGate") == 1


async def test_a_dry_run_writes_nothing_but_its_status(served: ServedEngine) -> None:
    async with scenery(served) as scene:
        await scene.quiet()
        calls, writes = len(scene.engine_calls), len(scene.writes())
        await scene.apply(RUN, {"plan": "p", "dryRun": True})
        await scene.until_told(RUN, "DryRunPassed")
        await scene.quiet()
        found = await scene.get(RUN)
        # Of the plan, which is looked at once more, its connections may have been applied as late as this.
        of_runs = WRITING - {"ApplyDefinitions"}
        assert {each for each in scene.engine_calls[calls:] if each in of_runs} == {"StartRun"}
        assert await engine_runs(scene) == []
        assert {(each.verb, each.subresource) for each in scene.writes()[writes + 1 :]} == {("patch", "status")}
        assert "finalizers" not in found["metadata"]
        assert found["status"]["dryRun"]["datasetCount"] == 1
        assert int(found["status"]["dryRun"]["rowsExpected"]) == 10
        assert conditions_of(found)["Ready"] == "False"
        await scene.delete(RUN)
        await scene.until_gone(RUN)


@pytest.mark.parametrize("is_dry", [True, False])
async def test_what_stands_against_a_start_is_told_by_the_field_that_a_resource_has(
    served: ServedEngine, is_dry: bool
) -> None:
    problem = plan_pb2.Problem(field="target.load_mode", description="it holds rows")
    served.outcomes["inspect orders"] = worker_pb2.TaskResult(inspect=run_pb2.Inspection(problems=[problem]))
    wanted = "phases.orders.datasets.orders.target.loadMode: it holds rows"
    async with scenery(served) as scene:
        await scene.apply(RUN, {"plan": "p", "dryRun": is_dry})
        if is_dry:
            await scene.until_told(RUN, "DryRunFailed", "Stalled")
            assert (await scene.get(RUN))["status"]["dryRun"]["problems"] == [wanted]
        else:
            assert await scene.until_told(RUN, "InvalidDefinition", "Stalled") == wanted


async def test_a_dry_run_tells_every_problem(served: ServedEngine) -> None:
    served.outcomes["inspect orders"] = run_pb2.Failure(reason="SOURCE_MISSING", message="there is no `orders`")
    async with scenery(served) as scene:
        await scene.apply(RUN, {"plan": "p", "dryRun": True})
        await scene.until_told(RUN, "DryRunFailed", "Stalled")
        report = (await scene.get(RUN))["status"]["dryRun"]
        assert report["problemCount"] == 1
        assert "there is no `orders`" in report["problems"][0]
