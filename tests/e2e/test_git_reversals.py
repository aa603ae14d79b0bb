"""A `git revert` of what ran in production: the data of before is back, to the byte, and the definitions agree with the commit again."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pymigrate.v1 import git_source_pb2, kpi_pb2, plan_pb2, run_pb2
from tests.e2e.engines import EngineProcess, wait_until
from tests.e2e.gitted import Gitted, Target, documents, legacy_file, plan, systems
from tests.git_hosting import HttpsHost

WRONG = {"derive": {"columns": {"name": {"expression": "reverse(name)", "type": "string"}}}}
FAILING = {"derive": {"columns": {"total": {"expression": "cast(note as integer)", "type": "int32"}}}}
PLAN = "environments/prod/plans/sales"


@pytest.fixture(params=["postgres", "sqlite"])
def target(request: pytest.FixtureRequest, create_postgres_database: Callable[[], str], tmp_path: Path) -> Target:
    if request.param == "postgres":
        return Target.postgres(create_postgres_database())
    return Target.sqlite(tmp_path / "warehouse.db")


def begin(scene: Gitted, policy: str, legacy: Path, target: Target) -> None:
    """The first commit is applied in production, and has run."""
    environment = ("Environment", "prod", {"policy": {"revertPolicy": policy}})
    scene.push({"env.yaml": documents(environment, *systems(legacy, target)), "sales.yaml": documents(plan())}, "Begin")
    scene.declare("prod", "prod")
    scene.sync("prod")
    scene.run("prod")


def hash_of(scene: Gitted) -> str:
    found = scene.client.plans.GetPlan(plan_pb2.GetPlanRequest(name=PLAN), **scene.client.options)
    return str(found.plan_hash)


def test_wrong_data_of_a_bad_transform_is_taken_back_as_it_was_told_beforehand(
    engine: EngineProcess, https_host: HttpsHost, target: Target, tmp_path: Path
) -> None:
    legacy = legacy_file(tmp_path / "legacy.db")
    with engine.client() as client:
        scene = Gitted(client, https_host, tmp_path)
        begin(scene, "rollback", legacy, target)
        before, hash_before = target.content(), hash_of(scene)
        kpis_before = client.kpis.GetKpis(kpi_pb2.GetKpisRequest(name=PLAN), **client.options)
        bad = scene.push({"sales.yaml": documents(plan(WRONG))}, "Turn names around")
        scene.sync("prod")
        wrong = scene.run("prod")
        assert target.content() != before
        good = scene.revert(bad)
        told = scene.diff("prod").reversal
        assert told.state == git_source_pb2.REVERSAL_STATE_PLANNED
        assert [(each.run, list(each.phases), each.rows) for each in told.runs] == [
            (wrong.name, ["orders", "customers"], wrong.rows)
        ]
        assert list(told.reverted_commits) == [bad]
        scene.sync("prod")
        scene.applied("prod", good)
        assert target.content() == before
        assert hash_of(scene) == hash_before
        undone = client.runs.GetRun(run_pb2.GetRunRequest(name=wrong.name), **client.options)
        assert undone.state == run_pb2.RUN_STATE_ROLLED_BACK
        last = newest(scene)
        assert last.reversal.state == git_source_pb2.REVERSAL_STATE_DONE
        assert [(each.run, each.phases, each.rows) for each in last.reversal.runs] == [
            (each.run, each.phases, each.rows) for each in told.runs
        ]
        kpis = client.kpis.GetKpis(kpi_pb2.GetKpisRequest(name=PLAN), **client.options)
        assert (kpis.state, kpis.rows) == (kpis_before.state, kpis_before.rows)


def newest(scene: Gitted) -> git_source_pb2.GitRevision:
    request = git_source_pb2.ListGitRevisionsRequest(parent="gitSources/prod", page_size=1)
    answer = scene.client.git_sources.ListGitRevisions(request, **scene.client.options)
    found: git_source_pb2.GitRevision = answer.revisions[0]
    return found


def test_what_a_failed_run_published_is_taken_back_once_somebody_has_approved_it(
    engine: EngineProcess, https_host: HttpsHost, target: Target, tmp_path: Path
) -> None:
    legacy = legacy_file(tmp_path / "legacy.db")
    with engine.client() as client:
        scene = Gitted(client, https_host, tmp_path)
        begin(scene, "approve", legacy, target)
        before = target.content()
        bad = scene.push({"sales.yaml": documents(plan(WRONG, FAILING))}, "Count what is no number")
        scene.sync("prod")
        failed = scene.run("prod", run_pb2.RUN_STATE_FAILED)
        assert failed.phases["customers"].state == run_pb2.PHASE_STATE_PUBLISHED
        after = target.content()
        assert after["customers"] != before["customers"]
        good = scene.revert(bad)
        held = scene.sync("prod")
        assert held.state == git_source_pb2.GIT_REVISION_STATE_REVERSING
        assert held.reversal.state == git_source_pb2.REVERSAL_STATE_AWAITING_APPROVAL
        assert [list(each.phases) for each in held.reversal.runs] == [["customers"]]
        assert target.content() == after, "nothing is touched before"
        request = git_source_pb2.ApproveReversalRequest(name="gitSources/prod", commit=good)
        client.git_sources.ApproveReversal(request, **client.options)
        scene.applied("prod", good)
        assert target.content() == before


def test_an_engine_that_is_killed_amid_it_is_followed_by_one_that_brings_it_to_its_end(
    engine: EngineProcess, https_host: HttpsHost, tmp_path: Path, create_postgres_database: Callable[[], str]
) -> None:
    target, legacy = Target.postgres(create_postgres_database()), legacy_file(tmp_path / "legacy.db")
    with engine.client() as client:
        scene = Gitted(client, https_host, tmp_path)
        begin(scene, "rollback", legacy, target)
        before = target.content()
        bad = scene.push({"sales.yaml": documents(plan(WRONG))})
        scene.sync("prod")
        scene.run("prod")
        good = scene.revert(bad)
        scene.sync("prod")
        wait_until(lambda: any(each.is_asked for each in scene.status("prod").reversal.runs), 60, 0.002)
        assert scene.status("prod").applied_commit == bad
        engine.kill()
    engine.start()
    with engine.client() as client:
        scene.client = client
        scene.applied("prod", good)
        assert target.content() == before
        assert newest(scene).reversal.state == git_source_pb2.REVERSAL_STATE_DONE
