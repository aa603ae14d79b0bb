"""A whole set of definitions is one change: told before it is made, made whole or not at all, and made once."""

from typing import Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from pymigrate.engine.application.caller import Caller
from pymigrate.engine.application.kinds import CONNECTIONS, DEPARTMENTS
from pymigrate.engine.domain.errors import InvalidDefinition, NotOwned, StaleWrite
from pymigrate.engine.ports.store import Unit
from pymigrate.v1 import connection_pb2, environment_pb2
from tests.unit.application.gitops.applied import OWNER, Scene, Spec, changes, fields, phase, problems, world

OUT = {"isExcluded": True}


async def test_what_is_missing_is_created_with_its_owner_those_first_that_others_need() -> None:
    scene = Scene()
    applied = await scene.apply(dict(reversed(world().items())))
    assert list(changes(applied).items()) == [
        ("prod", "create"),
        ("prod/connections/warehouse", "create"),
        ("prod/connections/legacy", "create"),
        ("prod/departments/sales", "create"),
        ("prod/plans/p", "create"),
    ]
    assert applied.changes[-1].file == "Plan-prod-p.json"
    assert {each.managed_by for each in (await scene.stored()).values()} == {OWNER}
    assert "environments/prod/plans/p/phases/orders" in await scene.stored()
    assert f"{OWNER} create environments/prod/plans/p" in await scene.audited()


async def test_applying_the_same_again_differs_in_nothing_and_writes_nothing() -> None:
    scene = Scene()
    await scene.apply(world())
    before, audited = await scene.stored(), await scene.audited()
    applied = await scene.apply(world())
    assert (changes(applied), applied.unchanged_count, applied.is_empty) == ({}, 5, True)
    assert (await scene.stored(), await scene.audited()) == (before, audited)


async def test_what_is_only_looked_at_is_not_kept() -> None:
    scene = Scene()
    assert len(changes(await scene.look(world()))) == 5
    assert await scene.stored() == {}
    assert await scene.audited() == []


async def test_fields_that_differ_are_told_by_path_as_json_before_and_after() -> None:
    scene = Scene()
    await scene.apply(world())
    changed = world()
    changed["Connection prod/legacy"] = {
        "sqlite": {"path": "/data/new.db"},
        "lanesMax": 4,
        "labels": {"team.name": "a"},
    }
    changed["Plan prod/p"] = {
        "displayName": "P",
        "phases": {"orders": phase("orders", "lines", downtimePolicy="read_only"), "more": phase("more")},
    }
    applied = await scene.look(changed)
    assert changes(applied) == {"prod/connections/legacy": "update", "prod/plans/p": "update"}
    assert fields(applied, "prod/connections/legacy") == {
        "sqlite.path": ('"/data/legacy.db"', '"/data/new.db"'),
        "lanes_max": ("", "4"),
        "labels.`team.name`": ("", '"a"'),
    }
    told = fields(applied, "prod/plans/p")
    assert told["display_name"] == ("", '"P"')
    assert told["phases.orders.downtime_policy"] == ("", '"read_only"')
    assert told["phases.orders.datasets.lines"][0] == ""
    assert told["phases.more"][1].startswith('{"datasets": {"more": {"source"')
    assert len(told) == 4


async def test_a_field_that_a_file_says_no_longer_goes_back_to_its_default() -> None:
    scene = Scene()
    await scene.apply(world({"Department prod/sales": {"owner": "Ann", "users": 7}}))
    applied = await scene.apply(world({"Department prod/sales": {"owner": "Ann"}}))
    assert fields(applied, "prod/departments/sales") == {"users": ("7", "")}
    assert DEPARTMENTS.read(await scene.get("prod/departments/sales")).users == 0


async def test_an_updated_object_keeps_its_uid_and_has_another_version() -> None:
    scene = Scene()
    await scene.apply(world())
    before = await scene.get("prod/departments/sales")
    await scene.apply(world({"Department prod/sales": {"owner": "Ann"}}))
    after = await scene.get("prod/departments/sales")
    assert (after.uid, after.version) == (before.uid, before.version + 1)


async def test_a_phase_that_a_plan_declares_no_longer_goes_with_its_definition_alone() -> None:
    scene = Scene()
    await scene.apply(world({"Plan prod/p": {"phases": {"orders": phase(), "more": phase("more")}}}))
    applied = await scene.apply(world())
    assert [*fields(applied, "prod/plans/p")] == ["phases.more"]
    assert fields(applied, "prod/plans/p")["phases.more"][1] == ""
    assert "environments/prod/plans/p/phases/more" not in await scene.stored()


async def test_with_one_problem_nothing_is_kept_and_every_problem_is_told_at_its_line() -> None:
    scene = Scene()
    broken = world(
        {
            "Department prod/hr": {"users": -1},
            "Connection prod/spare": {},
            "Plan prod/p": {
                "phases": {"orders": phase(source="legcy"), "more": phase("more", dependencies=["nothing"])}
            },
        }
    )
    applied = await scene.apply(broken)
    told = problems(applied)
    assert "Department-prod-hr.json:9 invalid spec.users: can't be negative" in told
    assert any(each.startswith("Connection-prod-spare.json") and " invalid " in each for each in told)
    assert any(
        "invalid spec.phases.orders.datasets.orders.source.connection: there is no connection `legcy`" in each
        and each.startswith("Plan-prod-p.json:1")
        for each in told
    )
    assert any("spec.phases.more.dependencies: there is no phase `nothing`" in each for each in told)
    assert await scene.stored() == {}
    with pytest.raises(InvalidDefinition, match=r"Department-prod-hr\.json:9: spec\.users"):
        await scene.store.transact(applied.flush)


async def test_what_lies_in_an_environment_that_there_is_not_is_told_with_the_nearest() -> None:
    scene = Scene()
    await scene.apply(world())
    applied = await scene.apply({"Department prd/hr": {}})
    assert problems(applied) == [
        "Department-prd-hr.json:1 refused : there is no environments/prd; did you mean `prod`?"
    ]


async def test_a_problem_says_whether_it_is_mended_by_declaring_what_it_names() -> None:
    """Who declares one object after the other waits for the others then, and does not call for a person."""
    scene = Scene()
    wrong: dict[str, dict[str, Any]] = {
        "Department prd/hr": {},
        "Department prod/it": {"users": -1, "dependencies": ["nobody"]},
        "AlertRule prod/rule": {"recipients": {"stakeholders": ["nobody"]}},
        "Plan prod/p": {"dependencies": ["none"], "phases": {"orders": phase(source="legcy", department="gone")}},
        "Environment dev": {"bases": ["nothing"]},
    }
    applied = await scene.apply(world(wrong))
    found = {(each.name.partition("/")[2], each.path): each.is_missing for each in applied.problems}
    assert {key for key, is_missing in found.items() if is_missing} == {
        ("prd/departments/hr", ""),
        ("prod/departments/it", "spec.dependencies"),
        ("prod/plans/p", "spec.dependencies"),
        ("prod/plans/p", "spec.phases.orders.department"),
        ("prod/plans/p", "spec.phases.orders.datasets.orders.source.connection"),
        ("dev", "spec.bases"),
        ("prod/alertRules/rule", "spec.recipients.stakeholders"),
    }
    assert not found["prod/departments/it", "spec.users"]


async def test_an_environment_that_is_wrong_is_told_alone_without_everything_in_it() -> None:
    applied = await Scene().apply(world({"Environment prod": {"displayName": "x" * 300}}))
    assert [each.name for each in applied.problems] == ["environments/prod"]


async def test_a_literal_secret_is_refused_by_a_rule_of_its_own_and_not_repeated() -> None:
    secret = "ghp_" + "a1B2c3D4e5F6" * 3
    system = {"host": "db", "database": "erp", "user": "reader", "password": secret}
    applied = await Scene().apply(world({"Connection prod/legacy": {"postgres": system}}))
    (problem,) = [each for each in applied.problems if each.rule == "secret"]
    assert (problem.file, problem.line, problem.path) == (
        "Connection-prod-legacy.json",
        13,
        "spec.postgres.password",
    )
    assert secret not in str(applied.problems)


async def test_objects_of_other_sides_are_refused_with_how_to_take_them_over() -> None:
    scene = Scene()
    await scene.apply(world(), owner="api")
    applied = await scene.apply(world())
    assert len(applied.problems) == 5
    assert problems(applied)[1] == (
        "Connection-prod-legacy.json:1 refused : environments/prod/connections/legacy is managed by api: take it over by naming `api` among"
        " the sides that are taken over, change or delete it there, or leave it out here"
    )


async def test_objects_of_sides_that_are_taken_over_become_the_owners_with_an_entry_each() -> None:
    scene = Scene()
    await scene.apply(world(), owner="api")
    changed = world({"Department prod/sales": {"owner": "Ann"}})
    applied = await scene.apply(changed, taken_over_sides=frozenset({"api"}))
    assert problems(applied) == []
    assert set(changes(applied).values()) == {"update"}
    assert fields(applied, "prod/connections/legacy") == {"managed_by": ('"api"', '"git/warehouse"')}
    assert fields(applied, "prod/plans/p") == {
        "managed_by": ('"api"', '"git/warehouse"'),
        "phases.orders.managed_by": ('"api"', '"git/warehouse"'),
    }
    assert set(fields(applied, "prod/departments/sales")) == {"managed_by", "owner"}
    assert {each.managed_by for each in (await scene.stored()).values()} == {OWNER}
    adopted = [each for each in await scene.audited() if " adopt " in each]
    assert len(adopted) == 6
    assert changes(await scene.apply(changed)) == {}


async def test_others_may_change_what_a_suspended_source_declares_and_it_stays_the_sources() -> None:
    scene = Scene()
    await scene.apply(world())
    department = environment_pb2.Department(name="environments/prod/departments/sales", owner="Bob")

    def change(unit: Unit) -> Any:
        return scene.catalog.update(unit, DEPARTMENTS, department, FieldMask(paths=["owner"]), Caller("bob", "api"))

    with pytest.raises(NotOwned):
        await scene.store.transact(change)
    scene.suspended.add(OWNER)
    await scene.store.transact(change)
    assert (await scene.get("prod/departments/sales")).managed_by == OWNER
    scene.suspended.clear()
    applied = await scene.apply(world())
    assert fields(applied, "prod/departments/sales") == {"owner": ('"Bob"', "")}


async def test_files_too_may_change_what_a_suspended_source_declares_and_it_stays_the_sources() -> None:
    scene = Scene()
    await scene.apply(world())
    by_hand: dict[str, Spec] = {
        "Plan prod/p": {"phases": {"returns": phase("returns")}},
        "Department prod/hr": {"owner": "Eve"},
    }
    scene.suspended.add(OWNER)
    applied = await scene.apply(by_hand, owner="cli")
    assert problems(applied) == []
    assert changes(applied) == {"prod/departments/hr": "create", "prod/plans/p": "update"}
    assert (await scene.get("prod/plans/p")).managed_by == OWNER
    assert "environments/prod/plans/p/phases/orders" not in await scene.stored()
    assert changes(await scene.apply(by_hand, owner="cli")) == {}
    scene.suspended.clear()
    assert changes(await scene.apply(world())) == {"prod/plans/p": "update"}


async def test_what_a_source_declares_is_changed_in_its_repository_which_the_refusal_says() -> None:
    scene = Scene()
    await scene.apply(world())
    applied = await scene.look({"Department prod/sales": {"owner": "Eve"}}, owner="cli")
    (said,) = problems(applied)
    assert said == (
        "Department-prod-sales.json:1 refused : environments/prod/departments/sales is managed by git/warehouse: commit the change to the"
        " repository of gitSources/warehouse (DiffGitSource tells what a branch of it would change), suspend that source to change it by"
        " hand meanwhile, or leave it out here"
    )


async def test_another_source_changes_nothing_even_of_one_that_is_suspended() -> None:
    scene = Scene()
    await scene.apply(world())
    scene.suspended.add(OWNER)
    applied = await scene.look({"Department prod/sales": {"owner": "Eve"}}, owner="git/lake")
    assert (
        "declare it in one of the two alone, gitSources/warehouse or gitSources/lake" in applied.problems[0].description
    )


async def test_what_was_staged_over_another_state_is_not_kept_over_this_one() -> None:
    scene = Scene()
    await scene.apply(world())
    stale = await scene.look(world({"Department prod/sales": {"owner": "Ann"}}))
    await scene.apply(world({"Department prod/sales": {"owner": "Bob"}}))
    with pytest.raises(StaleWrite):
        await scene.store.transact(stale.flush)


async def test_the_hashes_of_plans_are_told_with_those_that_stay_and_those_that_go() -> None:
    scene = Scene()
    first = await scene.apply(world())
    (created,) = first.plans
    assert (created.plan, created.plan_hash_before, len(created.plan_hash)) == ("environments/prod/plans/p", "", 64)
    (same,) = (await scene.apply(world())).plans
    assert same.plan_hash_before == same.plan_hash == created.plan_hash
    plan = await scene.store.read(lambda unit: scene.plans.get(unit, created.plan))
    assert plan.plan_hash == created.plan_hash
    (other,) = (await scene.apply(world({"Connection prod/legacy": {"sqlite": {"path": "/other.db"}}}))).plans
    assert (other.plan_hash_before, other.declared_hash) == (created.plan_hash, created.declared_hash)
    assert other.plan_hash != created.plan_hash


async def test_the_same_plan_has_the_same_declared_hash_in_environments_that_give_it_other_values() -> None:
    scene = Scene()
    both: dict[str, Any] = {}
    for name in ("dev", "prod"):
        both |= world(environment=name)
        both[f"Environment {name}"] = {
            "parameters": {"tables": {"defaultValue": "public"}},
            "values": {"tables": name},
            "overrides": {
                "plans/p/phases/orders": {"fields": {"datasets.orders.lanes": "3" if name == "dev" else "9"}}
            },
        }
        both[f"Plan {name}/p"] = {"phases": {"orders": phase(labels={"of": "${tables}"})}}
    dev, prod = (await scene.apply(both)).plans
    assert dev.declared_hash == prod.declared_hash
    assert dev.plan_hash != prod.plan_hash


async def test_what_was_found_unchanged_is_looked_at_anew_once_anything_that_it_hangs_on_is_written() -> None:
    scene = Scene()
    await scene.apply(world())
    first = await scene.apply(world())
    again = await scene.apply(world())
    assert (again.staged, again.unchanged_count, again.plans) == (None, 5, first.plans)
    scene.suspended.add(OWNER)
    other = connection_pb2.Connection(name="environments/prod/connections/legacy", lanes_max=3)
    mask = FieldMask(paths=["lanes_max"])
    await scene.store.transact(lambda unit: scene.catalog.update(unit, CONNECTIONS, other, mask, Caller("bob", "api")))
    assert fields(await scene.look(world()), "prod/connections/legacy") == {"lanes_max": ("3", "")}
    await scene.apply(world())
    await scene.store.transact(
        lambda unit: scene.plans.delete(unit, "environments/prod/plans/p", "", Caller("bob", "api"), is_forced=True)
    )
    assert changes(await scene.look(world())) == {"prod/plans/p": "create"}


async def test_a_plan_hashes_anew_where_a_connection_of_another_side_is_another() -> None:
    scene = Scene()
    await scene.apply({"Environment prod": {}, "Connection prod/theirs": {"sqlite": {"path": "/a.db"}}}, owner="api")
    mine = world({"Plan prod/p": {"phases": {"orders": phase(source="theirs")}}})
    del mine["Environment prod"]
    await scene.apply(mine)
    (before,) = (await scene.apply(mine)).plans
    await scene.apply({"Connection prod/theirs": {"sqlite": {"path": "/b.db"}}}, owner="api")
    (after,) = (await scene.apply(mine)).plans
    assert after.plan_hash == after.plan_hash_before != before.plan_hash


async def test_an_object_that_is_inherited_is_not_declared_beside_that_whichever_comes_first() -> None:
    scene = Scene()
    dev: dict[str, Spec] = {"Environment dev": {"bases": ["prod"]}}
    together = await scene.look(world() | dev | {"Department dev/sales": {}})
    await scene.apply(world() | dev)
    later = await scene.apply({"Department dev/sales": {}})
    for applied in (together, later):
        (problem,) = applied.problems
        assert problem.rule == "refused"
        assert problem.description.startswith("environments/dev/departments/sales is inherited from `prod`")
    left_out = {"Environment dev": {"bases": ["prod"], "overrides": {"plans/p": OUT, "departments/sales": OUT}}}
    applied = await scene.look(world() | left_out | {"Department dev/sales": {}})
    assert list(applied.problems) == []


async def test_a_problem_in_what_inherits_is_told_at_the_base_that_causes_it() -> None:
    scene = Scene()
    heir: dict[str, Spec] = {
        "Environment dev": {"bases": ["prod"]},
        "Connection dev/spare": {"sqlite": {"path": "/s.db"}},
    }
    plan: dict[str, Spec] = {"Plan dev/q": {"phases": {"orders": phase("more", source="legacy")}}}
    await scene.apply(world() | heir | plan)
    applied = await scene.look(world({"Plan prod/p": {"phases": {"orders": phase(source="spare")}}}))
    assert any(
        each.file == "Plan-prod-p.json" and "there is no connection `spare`" in each.description
        for each in applied.problems
    )


async def test_a_problem_of_a_base_is_told_once_however_many_inherit_it() -> None:
    scene = Scene()
    heirs: dict[str, Spec] = {f"Environment {name}": {"bases": ["prod"]} for name in ("dev", "test")}
    await scene.apply(world() | heirs)
    wrong: dict[str, Spec] = {"Plan prod/p": {"phases": {"orders": phase(source="spare")}}}
    applied = await scene.look(world(wrong) | heirs)
    told = [each for each in applied.problems if "there is no connection `spare`" in each.description]
    assert [each.file for each in told] == ["Plan-prod-p.json"]


async def test_everything_that_inherits_is_renewed_once_with_what_its_bases_become() -> None:
    scene = Scene()
    environments: dict[str, Spec] = {
        "Environment base": {"parameters": {"zone": {"defaultValue": "eu"}}},
        "Environment middle": {"bases": ["base"], "overrides": {"connections/legacy": {"fields": {"lanesMax": "7"}}}},
        "Environment leaf": {"bases": ["middle"], "values": {"zone": "us"}},
    }
    legacy = {"sqlite": {"path": "/${zone}/legacy.db"}}
    await scene.apply(environments | {"Connection base/legacy": legacy})
    held = {
        name: CONNECTIONS.held(await scene.get(f"{name}/connections/legacy")) for name in ("base", "middle", "leaf")
    }
    assert {name: (each.sqlite.path, each.lanes_max) for name, each in held.items()} == {
        "base": ("/eu/legacy.db", 0),
        "middle": ("/eu/legacy.db", 7),
        "leaf": ("/us/legacy.db", 7),
    }
    inherits = [each for each in await scene.audited() if " inherit " in each]
    assert inherits == [f"{OWNER} inherit environments/middle", f"{OWNER} inherit environments/leaf"]
