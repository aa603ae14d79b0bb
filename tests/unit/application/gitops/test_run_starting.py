"""Runs that are started for commits: one for each plan whose hash changed, never two, never none."""

from typing import Any

import pytest

from pymigrate.engine.application.gitops.run_starting import due_plans
from pymigrate.engine.domain.errors import InvalidDefinition, NotPermitted, Problem
from pymigrate.engine.ports.store import Unit
from pymigrate.v1 import definition_pb2, git_source_pb2
from tests.unit.application.gitops.sourced import ENVIRONMENT, SYSTEMS, Sourced, department, plan

PLAN = "environments/prod/plans/crm"


async def begun(*started: str, **fields: Any) -> Sourced:
    scene = Sourced()
    files = {"env.yaml": ENVIRONMENT, "s.yaml": SYSTEMS, "d.yaml": department("sales"), "p.yaml": plan("crm")}
    scene.push({**files, "q.yaml": plan("erp")})
    await scene.declare(startedPlans=list(started), **fields)
    return scene


def plan_of_run(run: str) -> str:
    return run.rpartition("/runs/")[0]


async def test_a_run_is_started_of_each_plan_that_is_named_and_changed() -> None:
    scene = await begun("crm")
    outcome = await scene.passed()
    assert [plan_of_run(each) for each in outcome.revision.runs] == [PLAN]
    assert list(outcome.revision.due_plans) == [PLAN]
    assert scene.runs.asked == {"git/warehouse": 1}
    sha = scene.push({"p.yaml": plan("crm", "invoices"), "q.yaml": plan("erp", "invoices")})
    await scene.passed()
    assert set(scene.runs.started) == {(PLAN, sha), (PLAN, outcome.revision.commit)}


async def test_a_commit_that_leaves_the_hash_starts_nothing() -> None:
    scene = await begun("*")
    await scene.passed()
    started = dict(scene.runs.started)
    assert len(started) == 2
    scene.push({"d2.yaml": department("hr")})
    outcome = await scene.passed()
    assert not outcome.revision.due_plans
    assert scene.runs.started == started


async def test_a_source_that_names_no_plan_starts_none() -> None:
    scene = await begun()
    await scene.passed()
    assert not scene.runs.started
    await scene.change("started_plans", startedPlans=["*"])
    await scene.passed()
    await scene.again().passed()
    assert not scene.runs.started


class Killed(BaseException):
    """The engine ends here."""


def kill(unit: Unit) -> None:
    """The next unit of work is never done."""
    del unit
    raise Killed


@pytest.mark.parametrize("is_started", [False, True])
async def test_an_engine_that_ends_around_the_start_leaves_neither_two_runs_nor_none(is_started: bool) -> None:
    scene = await begun("crm")
    if is_started:
        scene.runs.afterwards = lambda: setattr(scene.store, "meddle", kill)
    else:
        scene.runs.failure = Killed()
    with pytest.raises(Killed):
        await scene.passed()
    scene.runs.failure = scene.runs.afterwards = None
    assert [list(each.runs) for each in await scene.revisions()] == [[]]
    after = scene.again()
    assert (await after.passed()).result == "unchanged"
    assert [plan_of_run(run) for each in await after.revisions() for run in each.runs] == [PLAN]
    assert len(scene.runs.started) == 1
    writes = after.store.writes
    await after.again().passed()
    assert after.store.writes == writes


@pytest.mark.parametrize(
    "failure",
    [NotPermitted("git/warehouse may not run anything here"), InvalidDefinition((Problem("plan", "no table"),))],
)
async def test_a_run_that_can_t_be_started_is_told_and_tried_again(failure: Exception) -> None:
    scene = await begun("crm")
    scene.runs.failure = failure
    outcome = await scene.passed()
    assert (outcome.result, outcome.is_well) == ("applied", False)
    assert (await scene.conditions())["Ready"] == "!RUN_NOT_STARTED"
    assert (await scene.conditions())["Applied"] == "APPLIED"
    writes = scene.store.writes
    await scene.passed()
    assert scene.store.writes == writes
    scene.runs.failure = None
    assert (await scene.passed()).is_well
    assert (await scene.conditions())["Ready"] == "READY"
    assert [plan_of_run(each) for each in (await scene.revisions())[-1].runs] == [PLAN]


async def test_a_run_that_is_still_due_when_the_next_commit_comes_is_started_for_the_first() -> None:
    scene = await begun("crm")
    scene.runs.failure = NotPermitted("not yet")
    first = (await scene.passed()).revision
    scene.push({"d2.yaml": department("hr")})
    scene.runs.failure = None
    await scene.passed()
    assert list(scene.runs.started) == [(PLAN, first.commit)]


async def test_a_plan_that_another_commit_changed_meanwhile_is_started_for_that_one_alone() -> None:
    scene = await begun("crm")
    scene.runs.failure = NotPermitted("not yet")
    await scene.passed()
    sha = scene.push({"p.yaml": plan("crm", "invoices")})
    scene.runs.failure = None
    await scene.passed()
    assert list(scene.runs.started) == [(PLAN, sha)]


def test_a_plan_whose_runs_were_undone_for_a_commit_needs_none() -> None:
    source = git_source_pb2.GitSource(started_plans=["*"])
    changes = [definition_pb2.PlanChange(plan=PLAN, plan_hash_before="b", plan_hash="a")]
    reversal = git_source_pb2.Reversal(
        state=git_source_pb2.REVERSAL_STATE_DONE, runs=[git_source_pb2.ReversedRun(run=f"{PLAN}/runs/r1")]
    )
    assert due_plans(source, changes) == [PLAN]
    assert due_plans(source, changes, reversal) == []
    reversal.state = git_source_pb2.REVERSAL_STATE_REPORTED
    assert due_plans(source, changes, reversal) == [PLAN]
    gone = [definition_pb2.PlanChange(plan=PLAN, plan_hash_before="b")]
    assert due_plans(source, gone) == []
