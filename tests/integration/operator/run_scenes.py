"""Custom resource Runs between a cluster in memory and an engine that serves: what their tests have in common."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from pymigrate.engine.entrypoints.operator.runs import Runs
from pymigrate.engine.ports.cluster import Object
from pymigrate.v1 import run_pb2
from tests.integration.engine.served import ServedEngine
from tests.integration.operator.operated import Scene, operated
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
