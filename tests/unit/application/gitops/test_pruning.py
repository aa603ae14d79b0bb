"""What an owner declares no longer goes, those first that need others; but not what would be missed, which is told with the reason."""

import pytest

from pymigrate.engine.application.gitops.applying import Applied
from pymigrate.engine.domain.run import PhaseRun, Run, RunAggregate
from pymigrate.engine.domain.run_states import PhaseState, RunState
from pymigrate.engine.testing.clock import START
from pymigrate.v1 import run_pb2
from tests.unit.application.gitops.applied import DELETE, OWNER, Scene, Spec, changes, fields, phase, problems, world

PLAN = "environments/prod/plans/p"


async def ran(scene: Scene, state: RunState, phase_state: PhaseState, phase_id: str = "orders") -> None:
    """Stores a run of the plan whose only phase is in a state."""
    revision = run_pb2.PlanRevision()
    revision.plan.phases[phase_id].department = "sales"
    run = Run(name=f"{PLAN}/runs/r", plan=PLAN, key="k", plan_hash="h", create_time=START, managed_by="api")
    run.state = state
    aggregate = RunAggregate(run)
    aggregate.phases[phase_id] = PhaseRun(phase_id, "sales", state=phase_state)
    await scene.store.transact(lambda unit: unit.runs.insert(aggregate, revision.SerializeToString()))


def reasons(applied: Applied) -> dict[str, str]:
    """Why what is kept."""
    return {each.name.removeprefix("environments/"): each.reason for each in applied.changes if each.reason}


async def test_without_a_policy_what_is_declared_no_longer_stays_and_is_no_difference() -> None:
    scene = Scene()
    await scene.apply(world())
    applied = await scene.apply({"Environment prod": {}})
    assert (changes(applied), applied.unchanged_count) == ({}, 1)


async def test_what_is_declared_no_longer_goes_after_what_needs_it() -> None:
    scene = Scene()
    more: dict[str, Spec] = {
        "Department prod/hr": {"dependencies": ["sales"]},
        "Plan prod/q": {"dependencies": ["p"], "phases": {"more": phase("more")}},
        "AlertRule prod/all": {},
        "AlertRule prod/below": {"parentRule": "all"},
    }
    await scene.apply(world(more))
    applied = await scene.apply({"Environment prod": {}}, environment="prod", prune_policy=DELETE)
    assert problems(applied) == []
    names = [name for name, action in changes(applied).items() if action == "delete"]
    assert len(names) == len(applied.changes) == 8
    for first, second in (
        ("prod/plans/q", "prod/plans/p"),
        ("prod/plans/p", "prod/departments/sales"),
        ("prod/plans/p", "prod/connections/legacy"),
        ("prod/departments/hr", "prod/departments/sales"),
        ("prod/alertRules/below", "prod/alertRules/all"),
    ):
        assert names.index(first) < names.index(second)
    assert [*await scene.stored()] == ["environments/prod"]
    assert {each.plan: (bool(each.plan_hash_before), each.plan_hash) for each in applied.plans} == {
        "environments/prod/plans/q": (True, ""),
        PLAN: (True, ""),
    }


async def test_objects_of_other_sides_and_of_other_environments_are_nothing_to_it() -> None:
    scene = Scene()
    await scene.apply(world() | world(environment="dev"))
    await scene.apply({"Department prod/theirs": {}}, owner="api")
    applied = await scene.apply(world(), environment="prod", prune_policy=DELETE)
    assert changes(applied) == {}


async def test_a_plan_with_data_that_can_be_taken_back_is_kept_with_what_it_needs_and_tried_again() -> None:
    scene = Scene()
    await scene.apply(world())
    await ran(scene, RunState.SUCCEEDED, PhaseState.PUBLISHED)
    for _ in range(2):
        applied = await scene.apply({"Environment prod": {}}, environment="prod", prune_policy=DELETE)
        assert set(changes(applied).values()) == {"keep"}
        assert reasons(applied)["prod/plans/p"] == (
            f"{PLAN} has data that {PLAN}/runs/r published and that can still be taken back (phase orders):"
            " roll the run back, or seal it"
        )
        assert reasons(applied)["prod/connections/legacy"] == (
            f"environments/prod/connections/legacy is needed by {PLAN}/phases/orders: change that first"
        )
        assert applied.is_empty
    assert len(await scene.stored()) == 6


@pytest.mark.parametrize("state", [PhaseState.ROLLED_BACK, PhaseState.SEALED, PhaseState.FAILED])
async def test_a_plan_whose_data_is_undone_or_sealed_goes(state: PhaseState) -> None:
    scene = Scene()
    await scene.apply(world())
    await ran(scene, RunState.SUCCEEDED, state)
    applied = await scene.apply({"Environment prod": {}}, environment="prod", prune_policy=DELETE)
    assert set(changes(applied).values()) == {"delete"}


async def test_a_plan_with_an_unfinished_run_or_protection_is_kept_with_all_its_phases() -> None:
    scene = Scene()
    await scene.apply(world({"Plan prod/p": {"deletionProtection": True, "phases": {"orders": phase()}}}))
    applied = await scene.apply({"Environment prod": {}}, environment="prod", prune_policy=DELETE)
    assert "set deletion_protection to false first" in reasons(applied)["prod/plans/p"]
    await scene.apply(world())
    await ran(scene, RunState.RUNNING, PhaseState.STAGING)
    applied = await scene.apply({"Environment prod": {}}, environment="prod", prune_policy=DELETE)
    assert "wait for the end of" in reasons(applied)["prod/plans/p"]
    assert f"{PLAN}/phases/orders" in await scene.stored()


async def test_what_another_sides_object_needs_is_kept() -> None:
    scene = Scene()
    await scene.apply(world())
    await scene.apply({"Plan prod/theirs": {"phases": {"more": phase("more")}}}, owner="api")
    applied = await scene.apply({"Environment prod": {}}, environment="prod", prune_policy=DELETE)
    assert changes(applied) == {
        "prod/plans/p": "delete",
        "prod/departments/sales": "keep",
        "prod/connections/warehouse": "keep",
        "prod/connections/legacy": "keep",
    }


async def test_an_environment_goes_with_everything_but_not_while_others_have_something_in_it() -> None:
    scene = Scene()
    await scene.apply(world() | world(environment="dev"))
    await scene.apply({"Department dev/theirs": {}}, owner="api")
    applied = await scene.apply(world(), prune_policy=DELETE)
    assert "is managed by api" in reasons(applied)["dev"]
    assert "environments/dev/departments/theirs" in await scene.stored()
    await scene.apply({"Environment test": {}, "Department test/x": {}, "Environment heir": {"bases": ["test"]}})
    applied = await scene.apply(world(), prune_policy=DELETE)
    assert changes(applied) == {"heir": "delete", "test/departments/x": "delete", "test": "delete", "dev": "keep"}


async def test_what_a_scoped_owner_is_bound_to_is_never_deleted_by_it() -> None:
    scene = Scene()
    await scene.apply(world())
    applied = await scene.apply({"Department prod/hr": {}}, environment="prod", prune_policy=DELETE)
    assert "prod" not in changes(applied)
    assert [*await scene.stored()] == ["environments/prod", "environments/prod/departments/hr"]


async def test_nothing_is_deleted_where_anything_can_not_be_read_or_applied() -> None:
    scene = Scene()
    await scene.apply(world())
    before = await scene.stored()
    secret = {"owner": "ghp_" + "a1B2c3D4e5F6" * 3}
    for wrong in ({"users": -1}, {"usres": 1}, secret):
        applied = await scene.apply({"Department prod/hr": wrong}, environment="prod", prune_policy=DELETE)
        assert len(applied.problems) == 1
        assert await scene.stored() == before


async def test_a_phase_goes_though_its_data_can_be_taken_back_and_the_way_back_is_told() -> None:
    scene = Scene()
    await scene.apply(world({"Plan prod/p": {"phases": {"orders": phase(), "more": phase("more")}}}))
    await ran(scene, RunState.SUCCEEDED, PhaseState.PUBLISHED, "more")
    applied = await scene.apply(world())
    assert [*fields(applied, "prod/plans/p")] == ["phases.more"]
    assert f"{PLAN}/runs/r published" in reasons(applied)["prod/plans/p"]
    assert f"{PLAN}/phases/more" not in await scene.stored()


async def test_a_source_does_not_delete_itself() -> None:
    scene = Scene()
    source = {"url": "https://git.example.org/a.git", "path": "deploy"}
    await scene.apply({"GitSource warehouse": source, "GitSource other": source})
    applied = await scene.apply({"GitSource third": source}, prune_policy=DELETE)
    told = {each.name: each.action for each in applied.changes}
    assert told == {"gitSources/third": 1, "gitSources/other": 3, "gitSources/warehouse": 4}
    assert OWNER == "git/warehouse"
