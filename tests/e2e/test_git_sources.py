"""Sources of a real engine: what it knows after it was killed, the runs that commits start, and how it ends amid a fetch."""

import contextlib
import threading
from pathlib import Path
from typing import Any

import grpc
import pytest

from pymigrate.v1 import definition_pb2, git_source_pb2, plan_pb2, run_pb2
from tests.e2e.engines import EngineProcess, is_alive, wait_until
from tests.e2e.gitted import Gitted, Target, documents, legacy_file, plan, systems
from tests.git_hosting import Answer, HttpsHost

PLAN = "environments/prod/plans/sales"
ENVIRONMENT: tuple[str, str, dict[str, Any]] = ("Environment", "prod", {})


def source_of(scene: Gitted) -> git_source_pb2.GitSource:
    """The source with where it stands."""
    return scene.client.git_sources.GetGitSource(
        git_source_pb2.GetGitSourceRequest(name="gitSources/prod"), **scene.client.options
    )


def revisions_of(scene: Gitted) -> list[git_source_pb2.GitRevision]:
    """What came of its commits, the newest first."""
    asked = git_source_pb2.ListGitRevisionsRequest(parent="gitSources/prod")
    return list(scene.client.git_sources.ListGitRevisions(asked, **scene.client.options).revisions)


def gits_below(pid: int) -> list[int]:
    """The processes of git that a process has started, at any depth."""
    parents: dict[int, tuple[str, int]] = {}
    for each in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            told, _, rest = each.read_text().rpartition(")")
            parents[int(told.split(" ", 1)[0])] = told.partition("(")[2], int(rest.split()[1])
    below, found = {pid}, set[int]()
    while found != below:
        found = set(below)
        below |= {child for child, (_, parent) in parents.items() if parent in below}
    return sorted(child for child in below - {pid} if parents[child][0].startswith("git"))


def runs_of(scene: Gitted) -> list[run_pb2.Run]:
    """The plan's runs, the newest first."""
    asked = run_pb2.ListRunsRequest(parent=PLAN)
    return list(scene.client.runs.ListRuns(asked, **scene.client.options).runs)


def test_an_engine_that_was_killed_knows_what_it_applied_and_takes_what_came_meanwhile(
    engine: EngineProcess, https_host: HttpsHost, tmp_path: Path
) -> None:
    with engine.client() as client:
        scene = Gitted(client, https_host, tmp_path)
        first = scene.push({"env.yaml": documents(ENVIRONMENT, ("Department", "sales", {}))}, "Begin")
        scene.declare("prod", "prod")
        scene.sync("prod")
    engine.kill()
    engine.start()
    with engine.client() as client:
        scene.client = client
        wait_until(lambda: source_of(scene).status.HasField("fetch_time"))
        found = source_of(scene)
        assert (found.status.applied_commit, len(revisions_of(scene))) == (first, 1)
    engine.kill()
    second = scene.push({"hr.yaml": documents(("Department", "hr", {}))})
    engine.start()
    with engine.client() as client:
        scene.client = client
        wait_until(lambda: source_of(scene).status.applied_commit == second)
        assert [each.commit for each in revisions_of(scene)] == [second, first]


def test_a_commit_that_changes_a_plan_starts_a_run_of_it_and_a_killed_engine_none_twice(
    engine: EngineProcess, https_host: HttpsHost, tmp_path: Path
) -> None:
    legacy, target = legacy_file(tmp_path / "legacy.db"), Target.sqlite(tmp_path / "warehouse.db")
    with engine.client() as client:
        scene = Gitted(client, https_host, tmp_path)
        files = {"env.yaml": documents(ENVIRONMENT, *systems(legacy, target)), "sales.yaml": documents(plan())}
        sha = scene.push(files, "Begin")
        scene.declare("prod", "prod", started_plans=["sales"])
        scene.sync("prod")
        wait_until(lambda: [each.state for each in runs_of(scene)] == [run_pb2.RUN_STATE_SUCCEEDED])
        [run] = runs_of(scene)
        assert (dict(run.triggers), run.managed_by) == ({"git_commit": sha}, "git/prod")
        assert list(revisions_of(scene)[0].runs) == [run.name]
        assert len(target.content()["customers"]) > 1
        scene.push({"README.md": "Nothing that is declared"})
        scene.sync("prod")
    engine.kill()
    engine.start()
    with engine.client() as client:
        scene.client = client
        wait_until(lambda: source_of(scene).status.HasField("fetch_time"))
        assert len(runs_of(scene)) == 1


def test_an_engine_that_is_told_to_end_amid_a_fetch_ends_and_leaves_no_git_behind(
    engine: EngineProcess, https_host: HttpsHost, tmp_path: Path
) -> None:
    hung, asked = threading.Event(), threading.Event()

    def hang(_: object) -> Answer:
        asked.set()
        return Answer(hangs_until=hung)

    with engine.client() as client:
        scene = Gitted(client, https_host, tmp_path)
        scene.push({"env.yaml": documents(ENVIRONMENT)}, "Begin")
        https_host.answer = hang
        scene.declare("prod", "prod")
        assert asked.wait(60)
        assert engine.process is not None
        gits = gits_below(engine.process.pid)
    try:
        assert gits
        assert engine.stop() == 0
        assert not [pid for pid in gits if is_alive(pid)]
    finally:
        hung.set()


def test_a_plan_whose_data_can_be_taken_back_is_not_pruned_before_it_is(
    engine: EngineProcess, https_host: HttpsHost, tmp_path: Path
) -> None:
    legacy, target = legacy_file(tmp_path / "legacy.db"), Target.sqlite(tmp_path / "warehouse.db")
    with engine.client() as client:
        scene = Gitted(client, https_host, tmp_path)
        files = {"env.yaml": documents(ENVIRONMENT, *systems(legacy, target)), "sales.yaml": documents(plan())}
        scene.push(files, "Begin")
        scene.declare("prod", "prod", prune_policy=definition_pb2.PRUNE_POLICY_DELETE)
        scene.sync("prod")
        run = scene.run("prod")
        before = target.content()
        scene.push({"sales.yaml": None, "env.yaml": documents(ENVIRONMENT, ("Department", "hr", {}))}, "Clear away")
        scene.sync("prod")
        in_sync = next(each for each in scene.status("prod").conditions if each.type == "InSync")
        assert (in_sync.is_met, in_sync.reason) == (True, "KEPT")
        told = {each.name: each.reason for each in scene.status("prod").drift}
        assert {PLAN, "environments/prod/connections/warehouse", "environments/prod/departments/sales"} <= told.keys()
        assert run.name in told[PLAN]
        assert target.content() == before
        client.runs.RollbackRun(run_pb2.RollbackRunRequest(name=run.name), **client.options)
        wait_until(lambda: runs_of(scene)[0].state == run_pb2.RUN_STATE_ROLLED_BACK)
        scene.sync("prod")
        assert not [each.reason for each in scene.status("prod").drift]
        with pytest.raises(grpc.RpcError, match="NOT_FOUND"):
            client.plans.GetPlan(plan_pb2.GetPlanRequest(name=PLAN), **client.options)
