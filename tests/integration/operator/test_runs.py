"""Custom resource Runs between a cluster in memory and an engine that serves: each starts one run, once it may, and says how it goes."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from pymigrate.engine.application.inquiries import VAIN_SECONDS_MAX
from pymigrate.engine.domain.run import Failure
from pymigrate.engine.entrypoints.operator.objects import FINALIZER, Key
from pymigrate.engine.entrypoints.operator.run_adopting import RUN_NAME
from pymigrate.engine.entrypoints.operator.runs import MISSING_SECONDS, Runs
from pymigrate.engine.testing.hosts import ScriptedHost
from pymigrate.v1 import run_pb2
from tests.integration.engine.served import ServedEngine
from tests.integration.operator.operated import conditions_of, operated
from tests.integration.operator.run_scenes import (
    PLAN,
    RUN,
    WRITING,
    engine_run,
    engine_runs,
    held,
    run_name,
    scenery,
    started,
    world,
)
from tests.unit.application.gitops.applied import phase


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
