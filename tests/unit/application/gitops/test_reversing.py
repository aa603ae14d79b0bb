"""Commits that go back: held back until what ran since is undone, by the environment's policy, and then applied."""

from collections.abc import Callable
from typing import TypeVar

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from pymigrate.engine.application.caller import Caller
from pymigrate.engine.application.gitops.git_source_kinds import GIT_SOURCES
from pymigrate.engine.application.gitops.pass_outcomes import Wish
from pymigrate.engine.application.gitops.suspension import status_of
from pymigrate.engine.domain.errors import EngineUnavailable, FailedPrecondition, NotFound, NotPermitted
from pymigrate.engine.domain.run_states import DesiredState
from pymigrate.engine.ports.store import Unit
from pymigrate.engine.testing.store import MemoryStore
from pymigrate.v1 import git_source_pb2, run_pb2
from tests.unit.application.gitops.reversed_source import ME, PLAN, Reversed, begun, environment, plan
from tests.unit.application.gitops.sourced import NAME, SYSTEMS, department
from tests.unit.application.test_runs import answered

Result = TypeVar("Result")
ANN, BOB = Caller("ann"), Caller("bob")
ROLLING_BACK = git_source_pb2.REVERSAL_STATE_ROLLING_BACK
AWAITING = git_source_pb2.REVERSAL_STATE_AWAITING_APPROVAL
BLOCKED = git_source_pb2.REVERSAL_STATE_BLOCKED
DONE = git_source_pb2.REVERSAL_STATE_DONE
REPORTED = git_source_pb2.REVERSAL_STATE_REPORTED
PLANNED = git_source_pb2.REVERSAL_STATE_PLANNED


async def gone_on(policy: str = "rollback", **more: str) -> tuple[Reversed, str]:
    """A source whose second commit, B, has run as b1 over a1; and that commit."""
    scene = await begun(policy, **more)
    sha = scene.push({"p.yaml": plan("B")}, "Read B")
    await scene.passed()
    await scene.ran("b1")
    assert scene.targets.tops() == {"p_a": "b1"}
    return scene, sha


async def approve(scene: Reversed, caller: Caller, commit: str) -> git_source_pb2.GitSource:
    return await scene.sources.approve_reversal(git_source_pb2.ApproveReversalRequest(name=NAME, commit=commit), caller)


async def test_a_revert_undoes_what_ran_since_and_then_applies_the_commit() -> None:
    scene, second = await gone_on()
    third = scene.revert(second)
    outcome = await scene.passed()
    assert outcome.result == "held_back"
    assert await scene.relation() == "B", "until the data is gone the definitions are those of the data"
    assert (await scene.reversal()).state == ROLLING_BACK
    assert await scene.condition() == "!ROLLING_BACK"
    await scene.undo()
    assert scene.targets.tops() == {"p_a": "a1"}
    assert (await scene.reversal()).state == DONE
    assert scene.rung[-1] == NAME, "the next pass comes at once"
    assert (await scene.passed()).result == "applied"
    assert await scene.relation() == "A"
    status = await scene.status()
    assert status.applied_commit == third
    assert not status.HasField("reversal")
    assert await scene.condition() == "DONE"
    assert await scene.condition("Ready") == "READY"
    last = (await scene.revisions())[-1]
    assert last.state == git_source_pb2.GIT_REVISION_STATE_APPLIED
    assert [each.run for each in last.reversal.runs] == [f"{PLAN}/runs/b1"]
    assert list(last.reversal.reverted_commits) == [second]


async def test_after_it_the_earlier_revision_is_the_current_one() -> None:
    scene, second = await gone_on()
    before = (await scene.revisions())[0]
    scene.revert(second)
    await scene.passed()
    await scene.undo()
    await scene.passed()
    last = (await scene.revisions())[-1]
    assert [each.plan_hash for each in last.plans] == [each.plan_hash for each in before.plans]
    assert [run.name for run in scene.engine.kpis.current()] in ([], [f"{PLAN}/runs/a1"])
    kpis = await scene.engine.kpis.kpis(PLAN)
    assert kpis.state == run_pb2.RUN_STATE_SUCCEEDED
    assert [run.name for run in scene.engine.kpis.current()] == [f"{PLAN}/runs/a1"]
    standing = await scene.store.read(lambda unit: unit.runs.standing(PLAN))
    assert standing is not None
    assert (standing.name, standing.plan_hash) == (f"{PLAN}/runs/a1", before.plans[0].plan_hash)


async def test_what_is_told_beforehand_is_exactly_what_happens() -> None:
    scene, second = await gone_on()
    await scene.ran("b2")
    third = scene.revert(second)
    told = await scene.sources.diff(NAME, "")
    assert told.reversal.state == PLANNED
    assert [(each.run.rpartition("/")[2], list(each.phases), each.rows) for each in told.reversal.runs] == [
        ("b2", ["a"], 10),
        ("b1", ["a"], 10),
    ]
    assert "would be undone" in told.reversal.message
    assert not (await scene.status()).HasField("reversal"), "nothing was stored"
    await scene.passed()
    await scene.undo()
    await scene.passed()
    happened = (await scene.revisions())[-1].reversal
    assert scene.targets.undone == [each.run.rpartition("/")[2] for each in told.reversal.runs]
    assert [(each.run, each.phases, each.rows) for each in happened.runs] == [
        (each.run, each.phases, each.rows) for each in told.reversal.runs
    ]
    assert (happened.commit, happened.reverted_commits) == (third, told.reversal.reverted_commits)
    assert all(each.is_undone for each in happened.runs)


async def test_every_step_is_in_the_audit_trail_in_the_name_of_the_source() -> None:
    scene, second = await gone_on()
    third = scene.revert(second)
    await scene.passed()
    await scene.undo()
    await scene.passed()
    entries = [each for each in await scene.audited() if each[1].split()[-1] == third or each[1].startswith("hold")]
    assert entries == [
        ("git/warehouse", f"hold back {third}"),
        ("git/warehouse", f"undo {third}"),
        ("git/warehouse", f"undone {third}"),
        ("git/warehouse", f"reverse {third}"),
        ("git/warehouse", f"apply {third}"),
    ]
    run = await scene.audited(f"{PLAN}/runs/b1")
    assert ("git/warehouse", "roll back") in run
    assert ("git/warehouse", f"give up {third}") in run


async def test_by_the_policy_report_the_commit_is_applied_and_the_data_is_told() -> None:
    scene, second = await gone_on("report")
    third = scene.revert(second)
    assert (await scene.passed()).result == "applied"
    assert await scene.relation() == "A"
    assert scene.targets.tops() == {"p_a": "b1"}
    last = (await scene.revisions())[-1]
    assert (last.commit, last.reversal.state) == (third, REPORTED)
    assert [each.run for each in last.reversal.runs] == [f"{PLAN}/runs/b1"]
    assert await scene.condition() == "REPORTED"
    await scene.passed()
    assert await scene.condition() == "REPORTED", "it stays told"


async def test_by_the_policy_approve_nothing_is_undone_before_enough_have_approved() -> None:
    scene, second = await gone_on("approve", approvalsMin="2", approvers="[ann, bob]")
    third = scene.revert(second)
    await scene.passed()
    await scene.undo()
    assert (await scene.reversal()).state == AWAITING
    assert await scene.condition() == "!AWAITING_APPROVAL"
    assert scene.targets.tops() == {"p_a": "b1"}
    await approve(scene, ANN, third)
    await approve(scene, ANN, third)
    await scene.undo()
    assert list((await scene.reversal()).approved_by) == ["ann"]
    assert scene.targets.tops() == {"p_a": "b1"}
    source = await approve(scene, BOB, third)
    assert source.status.reversal.state == ROLLING_BACK
    await scene.undo()
    await scene.passed()
    assert (scene.targets.tops(), await scene.relation()) == ({"p_a": "a1"}, "A")
    assert list((await scene.revisions())[-1].reversal.approved_by) == ["ann", "bob"]
    assert ("ann", f"approve reversal {third}") in await scene.audited()


async def test_the_policy_approve_asks_for_one_at_least() -> None:
    scene, second = await gone_on("approve")
    third = scene.revert(second)
    await scene.passed()
    assert (await scene.reversal()).approvals_min == 1
    await approve(scene, ANN, third)
    assert (await scene.reversal()).state == ROLLING_BACK


async def test_who_is_no_approver_and_who_approves_something_else_are_refused() -> None:
    scene, second = await gone_on("approve", approvers="[ann]")
    with pytest.raises(FailedPrecondition, match="no commit of gitSources/warehouse waits for approval"):
        await approve(scene, ANN, second)
    third = scene.revert(second)
    await scene.passed()
    with pytest.raises(NotPermitted, match="bob may not approve in environments/prod"):
        await approve(scene, BOB, third)
    with pytest.raises(FailedPrecondition, match=f"commit {third} of gitSources/warehouse waits"):
        await approve(scene, ANN, second)
    with pytest.raises(NotFound, match="there is no gitSources/other"):
        await scene.sources.approve_reversal(git_source_pb2.ApproveReversalRequest(name="gitSources/other"), ANN)
    await approve(scene, ANN, third)
    await scene.undo()
    await scene.passed()
    with pytest.raises(FailedPrecondition, match="no commit"):
        await approve(scene, ANN, third)


async def test_a_commit_cannot_loosen_the_policy_that_it_is_held_back_by() -> None:
    scene, _ = await gone_on("approve")
    scene.push({"p.yaml": plan("A"), "env.yaml": environment("rollback")})
    await scene.passed()
    assert (await scene.reversal()).state == AWAITING


async def test_nothing_is_touched_where_anything_is_sealed_and_the_condition_says_what_to_do() -> None:
    scene, second = await gone_on()
    await scene.ran("b2")
    await scene.engine.runs.seal(f"{PLAN}/runs/b1", (), ANN)
    await scene.host.work()
    scene.revert(second)
    await scene.passed()
    await scene.undo()
    reversal = await scene.reversal()
    assert reversal.state == BLOCKED
    assert scene.targets.undone == []
    assert [list(each.sealed_phases) for each in reversal.runs] == [[], ["a"]]
    assert "its way back is sealed. Nothing was touched. The definitions stay as they are." in reversal.message
    assert await scene.condition() == "!BLOCKED"
    assert await scene.relation() == "B"
    third = scene.hosted.branches["main"]
    assert ("git/warehouse", f"block reversal {third}") in await scene.audited()
    scene.push({"p.yaml": plan("C")})
    assert (await scene.passed()).result == "applied", "another commit takes its place"


async def test_a_run_that_ends_as_it_is_to_be_cancelled_is_undone_all_the_same() -> None:
    scene = await begun()
    second = scene.push({"p.yaml": plan("B")})
    await scene.passed()
    await scene.ran("b1", is_paused=True)
    await scene.ran("b2", is_paused=True)
    scene.revert(second)
    await scene.passed()
    for name in ("b1", "b2"):
        await scene.engine.runs.steer(f"{PLAN}/runs/{name}", DesiredState.RUNNING, ANN)
    await scene.host.work()
    assert scene.targets.tops() != {"p_a": "a1"}
    await scene.undo()
    await scene.undo()
    assert (await scene.passed()).result == "applied"
    assert (scene.targets.tops(), await scene.relation()) == ({"p_a": "a1"}, "A")


async def test_several_runs_under_way_are_cancelled_before_anything_is_undone() -> None:
    scene, second = await gone_on()
    for name in ("b2", "b3"):
        await scene.ran(name, is_paused=True)
    scene.revert(second)
    await scene.passed()
    await scene.reversing.step()
    runs = [await scene.engine.runs.get(f"{PLAN}/runs/{name}") for name in ("b1", "b2", "b3")]
    assert [run.desired_state for run in runs[1:]] == [run_pb2.DESIRED_STATE_CANCELLED] * 2
    assert [run.state for run in runs] == [
        run_pb2.RUN_STATE_ROLLING_BACK,
        run_pb2.RUN_STATE_CANCELLED,
        run_pb2.RUN_STATE_CANCELLED,
    ]
    await scene.undo()
    assert (await scene.passed()).result == "applied"
    assert (scene.targets.tops(), await scene.relation()) == ({"p_a": "a1"}, "A")


async def test_what_is_blocked_midway_stays_undone_and_goes_on_when_a_person_has_mended_it() -> None:
    scene, second = await gone_on()
    await scene.ran("b2")
    third = scene.revert(second)
    await scene.passed()
    scene.targets.held["p_a"].remove(f"{PLAN}/runs/b1")
    scene.targets.held["p_a"][:0] = [f"{PLAN}/runs/b1"]  # somebody else's a1 lies over it now
    await scene.undo()
    reversal = await scene.reversal()
    assert reversal.state == BLOCKED
    assert [each.is_undone for each in reversal.runs] == [True, False]
    assert "b2 stays undone" in reversal.message
    assert ("git/warehouse", f"block reversal {third}") in await scene.audited()
    scene.targets.held["p_a"].reverse()
    await scene.engine.runs.roll_back(f"{PLAN}/runs/b1", "", ANN)
    await scene.undo()
    await scene.undo()
    assert (await scene.reversal()).state == DONE
    await scene.passed()
    assert (scene.targets.tops(), await scene.relation()) == ({"p_a": "a1"}, "A")


async def test_another_commit_takes_the_place_of_one_that_waits_for_approval() -> None:
    scene, second = await gone_on("approve")
    third = scene.revert(second)
    await scene.passed()
    await approve_nothing(scene)
    scene.push({"p.yaml": plan("C")})
    assert (await scene.passed()).result == "applied"
    assert (await scene.relation(), scene.targets.tops()) == ("C", {"p_a": "b1"})
    assert await scene.condition() == "REPLACED"
    with pytest.raises(FailedPrecondition):
        await approve(scene, ANN, third)


async def approve_nothing(scene: Reversed) -> None:
    assert (await scene.reversal()).state == AWAITING


async def test_another_commit_waits_for_the_end_of_what_is_under_way() -> None:
    scene, second = await gone_on()
    scene.revert(second)
    await scene.passed()
    await scene.reversing.step()
    scene.push({"p.yaml": plan("C")})
    assert (await scene.passed()).result == "held_back"
    assert await scene.relation() == "B"
    await scene.undo()
    assert (await scene.passed()).result == "applied"
    assert (await scene.relation(), scene.targets.tops()) == ("C", {"p_a": "a1"})


async def test_a_branch_that_is_put_back_to_what_is_applied_ends_what_waits() -> None:
    scene, second = await gone_on("approve")
    scene.revert(second)
    await scene.passed()
    scene.hosted.branches["main"] = second
    await scene.passed()
    assert not (await scene.status()).HasField("reversal")
    assert await scene.condition() == "REPLACED"


async def test_a_force_push_back_undoes_too() -> None:
    scene, second = await gone_on()
    scene.hosted.branches["main"] = scene.hosted.commits[second][0].parents[0]
    await scene.passed()
    await scene.undo()
    await scene.passed()
    assert (scene.targets.tops(), await scene.relation()) == ({"p_a": "a1"}, "A")


async def test_a_plan_that_a_reverted_commit_brought_goes_with_its_data() -> None:
    scene = await begun()
    await change(scene, prune_policy=2)
    second = scene.push({"q.yaml": plan("A", "q")}, "Bring q")
    await scene.passed()
    await scene.ran("q1", "environments/prod/plans/q")
    scene.push({"d.yaml": scene.hosted.commits[second][1]["d.yaml"] + b"\n"}, "Another")
    await scene.passed()
    scene.push({"q.yaml": None}, f'Revert "Bring q"\n\nThis reverts commit {second}.\n')
    assert (await scene.passed()).result == "held_back"
    await scene.undo()
    await scene.passed()
    assert scene.targets.tops() == {"p_a": "a1"}
    assert await scene.relation("environments/prod/plans/q") == ""


async def test_a_plan_that_is_simply_deleted_keeps_its_data_and_is_kept() -> None:
    scene = await begun()
    await change(scene, prune_policy=2)
    scene.push({"q.yaml": plan("A", "q")}, "Bring q")
    await scene.passed()
    await scene.ran("q1", "environments/prod/plans/q")
    scene.push({"q.yaml": None, "d.yaml": scene.hosted.commits[scene.hosted.branches["main"]][1]["d.yaml"] + b"\n"})
    assert (await scene.passed()).result == "applied"
    assert scene.targets.tops() == {"p_a": "a1", "q_a": "q1"}
    assert await scene.relation("environments/prod/plans/q") == "A"


async def change(scene: Reversed, **fields: object) -> None:
    source = git_source_pb2.GitSource(name=NAME, **fields)  # type: ignore[arg-type]  # the test's choice
    await scene.store.transact(
        lambda unit: scene.engine.catalog.update(unit, GIT_SOURCES, source, FieldMask(paths=list(fields)), ME)
    )


async def test_a_run_that_is_under_way_is_ended_and_undone() -> None:
    scene = await begun()
    second = scene.push({"p.yaml": plan("B")})
    await scene.passed()
    run = await scene.ran("b1", is_started_only=True)
    scene.revert(second)
    await scene.passed()
    await scene.undo()
    assert (await scene.engine.runs.get(run)).state == run_pb2.RUN_STATE_CANCELLED
    assert (await scene.passed()).result == "applied"
    assert (scene.targets.tops(), await scene.relation()) == ({"p_a": "a1"}, "A")


async def test_a_failed_run_that_published_in_part_is_undone() -> None:
    scene = await begun()
    second = scene.push({"p.yaml": plan("B", phases=("a", "b"))})
    await scene.passed()
    run = await scene.ran("b1", is_started_only=True)
    await work_with_a_failure(scene, "p_b")
    assert (await scene.engine.runs.get(run)).state == run_pb2.RUN_STATE_FAILED
    assert scene.targets.tops() == {"p_a": "b1"}
    scene.revert(second)
    await scene.passed()
    await scene.undo()
    await scene.passed()
    assert (scene.targets.tops(), await scene.relation()) == ({"p_a": "a1"}, "A")


async def work_with_a_failure(scene: Reversed, relation: str) -> None:
    """The host does everything but the verification of what goes into this relation."""
    while task := await scene.host.claim():
        fails = task.WhichOneof("work") == "verify" and task.verify.dataset.dataset.target.relation == relation
        await scene.host.finish(task, run_pb2.Failure(reason="VERIFICATION_FAILED", message="no") if fails else None)


async def test_a_revert_of_the_revert_goes_forward_and_the_same_plan_runs_anew() -> None:
    scene, second = await gone_on()
    third = scene.revert(second)
    await scene.passed()
    await scene.undo()
    await scene.passed()
    scene.revert(third)
    assert (await scene.passed()).result == "applied"
    assert (await scene.relation(), scene.targets.tops()) == ("B", {"p_a": "a1"})
    scene.clock.advance(1)
    request = run_pb2.StartRunRequest(parent=PLAN, run=run_pb2.Run(triggers={"name": "b1"}))
    run = await answered(scene.engine, scene.host, request)  # type: ignore[arg-type]  # a host is a host
    await scene.host.work()
    assert run.name != f"{PLAN}/runs/b1"
    assert (await scene.engine.runs.get(run.name)).state == run_pb2.RUN_STATE_SUCCEEDED
    assert scene.targets.tops() == {"p_a": run.name.rpartition("/")[2]}


async def test_while_a_source_is_suspended_nothing_more_is_undone() -> None:
    scene, second = await gone_on()
    await scene.ran("b2")
    scene.revert(second)
    await scene.passed()
    await scene.reversing.step()
    await scene.sources.suspend(NAME, "wait", ANN)
    await scene.undo()
    assert scene.targets.undone == ["b2"], "what was asked for already comes to its end"
    await scene.sources.resume(NAME, ANN)
    await scene.passed()
    await scene.undo()
    assert scene.targets.undone == ["b2", "b1"]


async def test_passes_while_a_commit_is_held_back_write_nothing() -> None:
    scene, second = await gone_on("approve")
    scene.revert(second)
    await scene.passed()
    version = await version_of(scene)
    await scene.passed()
    await scene.undo()
    await scene.passed()
    assert await version_of(scene) == version
    assert len(await scene.revisions()) == 3


async def version_of(scene: Reversed) -> int:
    """How often it was written where the source stands."""

    def read(unit: Unit) -> int:
        return status_of(unit, scene.engine.catalog.get(unit, GIT_SOURCES, NAME).uid)[0]

    return await scene.store.read(read)


async def test_a_phase_that_goes_away_with_the_revert_is_undone_before_it_goes() -> None:
    scene = await begun()
    second = scene.push({"p.yaml": plan("A", phases=("a", "b"))})
    await scene.passed()
    await scene.ran("b1")
    assert scene.targets.tops() == {"p_a": "b1", "p_b": "b1"}
    scene.revert(second)
    assert (await scene.passed()).result == "held_back"
    await scene.undo()
    assert (await scene.passed()).result == "applied"
    assert scene.targets.tops() == {"p_a": "a1"}


async def test_a_commit_that_a_person_has_made_room_for_by_hand_is_applied() -> None:
    scene, second = await gone_on("approve")
    scene.revert(second)
    await scene.passed()
    await scene.engine.runs.roll_back(f"{PLAN}/runs/b1", "", ANN)
    await scene.host.work()
    await scene.passed()
    await scene.undo()
    assert (await scene.passed()).result == "applied"
    assert (scene.targets.tops(), await scene.relation()) == ({"p_a": "a1"}, "A")


async def test_a_source_that_only_looks_tells_what_would_be_undone_and_undoes_it_when_somebody_asks() -> None:
    scene, second = await gone_on()
    await change(scene, sync_mode=git_source_pb2.SYNC_MODE_DRY_RUN)
    third = scene.revert(second)
    assert (await scene.passed()).result == "checked"
    checked = (await scene.revisions())[-1]
    assert (checked.commit, checked.reversal.state) == (third, PLANNED)
    assert not (await scene.status()).HasField("reversal")
    assert (await scene.passed(Wish("ann", applies=True))).result == "held_back"
    await scene.undo()
    assert (await scene.passed()).result == "applied"
    assert (scene.targets.tops(), await scene.relation()) == ({"p_a": "a1"}, "A")


async def test_plans_that_depend_on_what_is_undone_are_told() -> None:
    scene = await begun()
    scene.push({"q.yaml": plan("A", "q", needs="p")})
    await scene.passed()
    second = scene.push({"p.yaml": plan("B")})
    await scene.passed()
    await scene.ran("b1")
    await scene.ran("q1", "environments/prod/plans/q")
    scene.revert(second)
    await scene.passed()
    reversal = await scene.reversal()
    assert [each.run.rpartition("/")[2] for each in reversal.runs] == ["b1"]
    assert "not undone are environments/prod/plans/q, which depend on what is" in reversal.message


async def test_two_plans_go_back_at_once_those_first_that_ran_last() -> None:
    scene = await begun()
    scene.push({"q.yaml": plan("A", "q", needs="p")})
    await scene.passed()
    second = scene.push({"p.yaml": plan("B"), "q.yaml": plan("B", "q", needs="p")})
    await scene.passed()
    await scene.ran("b1")
    await scene.ran("q1", "environments/prod/plans/q")
    scene.revert(second)
    await scene.passed()
    await scene.undo()
    assert scene.targets.undone == ["q1", "b1"]
    assert (await scene.passed()).result == "applied"


async def test_a_plan_goes_back_where_it_is_inherited_and_runs() -> None:
    scene = Reversed()
    base = "apiVersion: pymigrate.io/v1alpha1\nkind: Environment\nmetadata: {name: base}\nspec: {isTemplate: true}\n"
    heir = environment("rollback").replace("spec: {", "spec: {bases: [base], ")
    shared = [text.replace("metadata: {", "metadata: {environment: base, ") for text in (SYSTEMS, department("sales"))]
    plans = {each: plan(each).replace("metadata: {", "metadata: {environment: base, ") for each in "AB"}
    scene.push({"envs.yaml": f"{base}---\n{heir}", "base.yaml": "---\n".join(shared), "p.yaml": plans["A"]}, "Begin")
    await scene.declare(environment="")
    await scene.passed()
    await scene.ran("a1")
    second = scene.push({"p.yaml": plans["B"]})
    await scene.passed()
    await scene.ran("b1")
    scene.revert(second)
    assert (await scene.passed()).result == "held_back"
    await scene.undo()
    assert (await scene.passed()).result == "applied"
    assert (scene.targets.tops(), await scene.relation()) == ({"p_a": "a1"}, "A")


class Mortal(MemoryStore):
    """A store that nobody reaches any more once it has been written so often: before the write, or just after it was committed."""

    left = 1_000_000
    is_late = False

    async def transact(self, work: Callable[[Unit], Result]) -> Result:
        self.left -= 1
        if self.left == 0 and self.is_late:
            await super().transact(work)
        if self.left <= 0:
            raise EngineUnavailable("the engine was killed")
        return await super().transact(work)

    async def read(self, work: Callable[[Unit], Result]) -> Result:
        if self.left <= 0:
            raise EngineUnavailable("the engine was killed")
        return await super().read(work)


@pytest.mark.parametrize("is_late", [False, True])
async def test_whatever_moment_an_engine_dies_at_the_next_one_comes_to_the_same_end(is_late: bool) -> None:
    writes = 0
    while True:
        writes += 1
        scene = Reversed(store=Mortal())
        await scene.begin()
        second = scene.push({"p.yaml": plan("B")})
        await scene.passed()
        await scene.ran("b1")
        await scene.ran("b2")
        scene.revert(second)
        store = scene.store
        assert isinstance(store, Mortal)
        store.left, store.is_late = writes, is_late
        try:
            await to_the_end(scene)
        except EngineUnavailable:
            store.left = 1_000_000
            scene = await scene.again()
            await to_the_end(scene)
        else:
            break
        assert (scene.targets.tops(), await scene.relation()) == ({"p_a": "a1"}, "A")
        assert scene.targets.undone == ["b2", "b1"]
        standing = await scene.store.read(lambda unit: unit.runs.standing(PLAN))
        assert standing is not None
        assert standing.name == f"{PLAN}/runs/a1"
        actions = [action for _, action in await scene.audited() if action.startswith(("reverse", "apply"))]
        assert len(actions) == 4, "three commits were applied and one was gone back for, each once"
    assert writes > 15


async def to_the_end(scene: Reversed) -> None:
    await scene.passed()
    for _ in range(3):
        await scene.undo()
        scene.clock.advance(600)  # what a host had when its engine died is given out again after a while
        await scene.engine.hosts.expire()
        await scene.host.register()
    await scene.passed()
