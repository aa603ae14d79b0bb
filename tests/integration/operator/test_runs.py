"""Custom resource Runs between a cluster in memory and an engine that serves: each starts one run, steers it, tells where it stands, and
goes as its policy says."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from pymigrate.engine.application.inquiries import VAIN_SECONDS_MAX
from pymigrate.engine.domain.run import Failure
from pymigrate.engine.entrypoints.operator.objects import FINALIZER, RESOURCE_TYPES, Key
from pymigrate.engine.entrypoints.operator.run_adopting import RUN_NAME
from pymigrate.engine.entrypoints.operator.runs import MISSING_SECONDS, Runs
from pymigrate.engine.ports.cluster import Object
from pymigrate.engine.testing.hosts import ScriptedHost
from pymigrate.v1 import plan_pb2, run_pb2, worker_pb2
from tests.integration.engine.served import ServedEngine
from tests.integration.operator.operated import Scene, condition_of, conditions_of, operated
from tests.unit.application.gitops.applied import phase

RUN = "Run e/first"
PLAN = "Plan e/p"
WRITING = {
    "ApplyDefinitions",
    "StartRun",
    "PauseRun",
    "ResumeRun",
    "CancelRun",
    "RetryRun",
    "RollbackRun",
    "ApproveGate",
    "ScaleRun",
}
FAILURE = run_pb2.Failure(reason="DATA_REFUSED", message="row 7")


def world(**phases: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """An environment that the test's hosts serve, and a plan of these phases; of one without a gate where none is said."""
    return {
        "Environment e/e": {},
        "Department e/sales": {},
        "Connection e/legacy": {"sqlite": {"path": "/legacy.db"}},
        "Connection e/warehouse": {"duckdb": {"path": "/warehouse.duckdb"}},
        PLAN: {"phases": dict(phases) or {"orders": phase()}},
    }


@asynccontextmanager
async def scenery(served: ServedEngine, **phases: Mapping[str, Any]) -> AsyncGenerator[Scene]:
    """An operator, and a plan that is Ready."""
    async with operated(served, build_runs=Runs) as scene:
        objects = world(**phases)
        for name, spec in objects.items():
            await scene.apply(name, spec)
        await scene.until_ready(*objects)
        yield scene


def held() -> dict[str, Any]:
    """A phase that waits for an approval, so that its run is under way for as long as a test likes."""
    return phase(gates={"sign_off": {"point": "before_start"}})


def run_name(found: Object) -> str:
    return f"environments/e/plans/p/runs/k-{found['metadata']['uid']}"


async def plan_hash(scene: Scene) -> str:
    return str((await scene.get(PLAN))["status"]["planHash"])


async def engine_run(scene: Scene, found: Object) -> run_pb2.Run:
    return await scene.engine.get_run(run_name(found))


async def engine_runs(scene: Scene) -> list[str]:
    """The names of all runs that the engine has."""
    async for answer in scene.engine.watch_runs():
        if answer.is_complete:
            return [run.name for run in answer.runs]
    raise AssertionError("the engine ended the watch")


async def started(scene: Scene, spec: Mapping[str, Any] | None = None) -> Object:
    """A Run whose gate holds it up."""
    await scene.apply(RUN, {"plan": "p", **(spec or {})})
    await scene.until_told(RUN, "ApprovalRequired", "Stalled")
    return await scene.get(RUN)


# Starting ----------------------------------------------------------------------------------------------------------------------------


async def test_a_run_is_started_and_ready_once_all_of_it_is_published_and_verified(served: ServedEngine) -> None:
    async with scenery(served) as scene:
        await scene.apply(RUN, {"plan": "p", "triggers": {"day": "1"}})
        assert await scene.until_told(RUN, "Succeeded", status="True") == "10 rows are published and verified"
        found = await scene.get(RUN)
        run = await engine_run(scene, found)
        assert dict(run.triggers) == {"day": "1", "kubernetes_run": found["metadata"]["uid"]}
        assert run.managed_by == "kubernetes"
        assert found["metadata"]["finalizers"] == [FINALIZER]
        assert found["metadata"]["annotations"][RUN_NAME] == run.name == found["status"]["name"]
        assert found["status"]["progress"] == "100%"
        assert found["status"]["state"] == "succeeded"
        assert conditions_of(found) == {"Ready": "True", "Approved": "True", "Verified": "True"}


async def test_a_run_that_has_ended_causes_no_call_and_no_write_any_more(served: ServedEngine) -> None:
    async with scenery(served) as scene:
        await scene.apply(RUN, {"plan": "p"})
        await scene.until_told(RUN, "Succeeded")
        await scene.quiet()
        writes = len(scene.writes())
        scene.operator.queue.add(next(iter(scene.operator.runs._keys.values())))
        await scene.quiet()
        assert len(scene.writes()) == writes
        # The plan itself is looked at once more a moment after its connections were applied, which may be as late as this.
        of_runs = WRITING - {"ApplyDefinitions"}
        assert not of_runs & set(scene.engine_calls[scene.engine_calls.index("StartRun") + 1 :])


async def test_a_run_waits_for_its_plan_and_starts_as_soon_as_that_is_applied(served: ServedEngine) -> None:
    async with operated(served, build_runs=Runs) as scene:
        await scene.apply(RUN, {"plan": "p"})
        await scene.until_told(RUN, "DependencyMissing", "Reconciling")
        assert await engine_runs(scene) == []
        for name, spec in world().items():
            await scene.apply(name, spec)
        await scene.until_told(RUN, "Succeeded", status="True")
        assert await engine_runs(scene) == [run_name(await scene.get(RUN))]


async def test_a_run_waits_until_a_changed_plan_is_as_it_is_declared(served: ServedEngine) -> None:
    async with scenery(served) as scene:
        await scene.apply(PLAN, {"phases": {"orders": phase(source="nowhere")}})
        await scene.until_told(PLAN, "DependencyMissing")
        await scene.apply(RUN, {"plan": "p"})
        assert "Plan `p`" in await scene.until_told(RUN, "DependencyNotReady", "Reconciling")
        await scene.apply(PLAN, {"phases": {"orders": phase()}})
        await scene.until_told(RUN, "Succeeded", status="True")


async def test_a_run_whose_plan_stays_wrong_is_looked_at_no_more_often_than_others_that_wait(
    served: ServedEngine,
) -> None:
    async with scenery(served) as scene:
        await scene.apply(PLAN, {"phases": {"orders": phase(source="nowhere")}})
        await scene.until_told(PLAN, "DependencyMissing")
        await scene.apply(RUN, {"plan": "p"})
        await scene.until_told(RUN, "DependencyNotReady", "Reconciling")
        await scene.quiet()
        verdict = await scene.operator.reconcilers["Run"].look(Key("Run", "e", "first"), await scene.get(RUN))
        assert verdict is not None
        assert verdict.look_again_seconds == MISSING_SECONDS


async def test_a_run_goes_on_once_nobody_declares_its_plan_there_any_more(served: ServedEngine) -> None:
    async with scenery(served) as scene:
        await scene.apply(PLAN, annotations={"pymigrate.io/deletion-policy": "orphan"})
        await scene.apply(PLAN, {"phases": {"orders": phase(source="nowhere")}})
        await scene.until_told(PLAN, "DependencyMissing")
        await scene.apply(RUN, {"plan": "p"})
        await scene.until_told(RUN, "DependencyNotReady", "Reconciling")
        assert "StartRun" not in scene.engine_calls
        await scene.delete(PLAN)
        await scene.until_told(RUN, "Succeeded", status="True")


async def test_a_plan_that_is_deleted_while_it_runs_goes_as_soon_as_its_run_has_ended(served: ServedEngine) -> None:
    async with scenery(served, orders=held()) as scene:
        await started(scene)
        await scene.delete(PLAN)
        assert "unfinished run" in await scene.until_told(PLAN, "DeletionRefused", "Stalled")
        await scene.quiet()
        await scene.delete(RUN)
        await scene.until_gone(PLAN)


async def test_what_stands_against_a_start_is_told_with_its_field(served: ServedEngine) -> None:
    served.outcomes["inspect orders"] = run_pb2.Failure(reason="SOURCE_MISSING", message="there is no `orders`")
    async with scenery(served) as scene:
        await scene.apply(RUN, {"plan": "p"})
        told = await scene.until_told(RUN, "InvalidDefinition", "Stalled")
        assert "phases.orders.datasets.orders" in told
        assert "name" not in (await scene.get(RUN))["status"]


@pytest.mark.parametrize("fields", [{"plan": "No Name"}, {"plan": "p", "retry": "x"}, {"plan": ""}])
async def test_what_is_no_declaration_is_stalled(served: ServedEngine, fields: Mapping[str, Any]) -> None:
    async with scenery(served) as scene:
        await scene.apply(RUN, fields)
        await scene.until_told(RUN, "InvalidDefinition", "Stalled")
        assert "StartRun" not in scene.engine_calls


async def test_a_run_that_no_host_comes_for_tells_why_and_starts_once_one_does(served: ServedEngine) -> None:
    async with operated(served, build_runs=Runs) as scene:
        objects = {name.replace(" e/e", " x/x").replace(" e/", " x/"): spec for name, spec in world().items()}
        for name, spec in objects.items():
            await scene.apply(name, spec)
        await scene.until_ready(*objects)
        engine, affinity = served.engine, "file:/warehouse.duckdb@x"
        quota = Failure("QUOTA_EXCEEDED", "Job h-1 gets no pod, as a quota is used up", is_temporary=True)

        async def note(at: float) -> None:
            engine.inquiries.note_troubles({affinity: [quota]}, (), at)

        async def serve() -> None:
            host = ScriptedHost(engine.hosts, "workerHosts/x", pid=9, affinity=affinity, script=served.script)
            serving.append(asyncio.ensure_future(host.serve()))

        async def stop() -> None:
            serving[0].cancel()
            await asyncio.gather(*serving, return_exceptions=True)

        serving: list[asyncio.Future[None]] = []
        await scene.apply("Run x/first", {"plan": "p"})
        await scene.eventually(lambda: bool(engine.inquiries.demand()))
        served.do(note(0.0))
        served.do(note(VAIN_SECONDS_MAX))
        assert "a quota is used up" in await scene.until_told("Run x/first", "QuotaExceeded", "Ready", "False")
        assert conditions_of(await scene.get("Run x/first")) == {"Ready": "False", "Reconciling": "True"}
        served.do(serve())
        await scene.until_told("Run x/first", "Succeeded", status="True")
        served.do(stop())


async def test_who_may_not_run_there_is_told(served: ServedEngine) -> None:
    async with scenery(served) as scene:
        await scene.apply("Environment e/e", {"policy": {"runners": ["somebody-else"]}})
        await scene.until_ready("Environment e/e")
        await scene.apply(RUN, {"plan": "p"})
        await scene.until_told(RUN, "NotPermitted", "Stalled")
        assert await engine_runs(scene) == []


async def test_two_resources_are_two_runs_and_one_that_is_made_again_is_a_third(served: ServedEngine) -> None:
    async with scenery(served) as scene:
        for name in (RUN, "Run e/second"):
            await scene.apply(name, {"plan": "p"})
            await scene.until_told(name, "Succeeded")
        await scene.delete(RUN)
        await scene.until_gone(RUN)
        await scene.apply(RUN, {"plan": "p"})
        await scene.until_told(RUN, "Succeeded")
        assert len(set(await engine_runs(scene))) == 3


async def test_a_copy_of_a_resource_with_its_annotations_is_a_run_of_its_own(served: ServedEngine) -> None:
    async with scenery(served, orders=held()) as scene:
        first = await started(scene)
        annotations = dict(first["metadata"]["annotations"])
        await scene.apply("Run e/copy", {"plan": "p"}, annotations=annotations, finalizers=[FINALIZER])
        await scene.until_told("Run e/copy", "ApprovalRequired", "Stalled")
        assert len(await engine_runs(scene)) == 2
        await scene.delete("Run e/copy")
        await scene.until_gone("Run e/copy")
        assert (await engine_run(scene, first)).state == run_pb2.RUN_STATE_RUNNING


async def test_what_was_refused_under_one_plan_is_started_under_the_one_that_is_declared_then(
    served: ServedEngine,
) -> None:
    served.outcomes["inspect orders"] = run_pb2.Failure(reason="SOURCE_MISSING", message="there is no `orders`")
    async with scenery(served) as scene:
        await scene.apply("Plan e/q", {"phases": {"items": phase("items")}})
        await scene.until_ready("Plan e/q")
        await scene.apply(RUN, {"plan": "p"})
        await scene.until_told(RUN, "InvalidDefinition", "Stalled")
        await scene.apply(RUN, {"plan": "q"})
        await scene.until_told(RUN, "Succeeded", status="True")
        assert [name.split("/")[3] for name in await engine_runs(scene)] == ["q"]


async def test_an_annotation_leads_into_no_other_environment(served: ServedEngine) -> None:
    async with scenery(served) as scene:
        for name, spec in world().items():
            await scene.apply(name.replace(" e/e", " prod/prod").replace(" e/", " prod/"), spec)
        await scene.until_ready("Plan prod/p")
        made = await scene.apply(RUN, {"plan": "p", "suspend": True})
        reaching = run_name(made).replace("environments/e/", "environments/prod/")
        await scene.apply(RUN, {"plan": "p"}, annotations={RUN_NAME: reaching})
        await scene.until_told(RUN, "Succeeded", status="True")
        assert await engine_runs(scene) == [run_name(made)]


# Suspending, cancelling, trying again, rolling back ----------------------------------------------------------------------------------


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


# Approving, and dry runs -------------------------------------------------------------------------------------------------------------


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


# The end of a resource ---------------------------------------------------------------------------------------------------------------

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
