"""What environments inherit is kept as what the layers say, in the transaction of the change that caused it, or the change is refused."""

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from pymigrate.engine.application.environment_layers import INHERITANCE
from pymigrate.engine.application.kinds import CONNECTIONS, DEPARTMENTS, ENVIRONMENTS, PHASES
from pymigrate.engine.domain.errors import AlreadyExists, FailedPrecondition, Inherited, InvalidDefinition
from pymigrate.engine.ports.store import Unit
from pymigrate.v1.environment_pb2 import Department, Environment
from pymigrate.v1.plan_pb2 import Phase
from pymigrate.v1.shape import from_data
from tests.unit.application.layered import ME, Layered, phase, told, with_base

EVERYTHING = ["connections/legacy", "connections/warehouse", "departments/sales", "plans/p", "plans/p/phases/orders"]


async def test_an_environment_has_what_its_base_declares_with_its_own_values() -> None:
    layered = await with_base()
    await layered.environment("prod", bases=["base"], values={"host": "db.prod"})
    assert await layered.names("prod") == EVERYTHING
    legacy = await layered.held("prod/connections/legacy")
    assert (legacy.postgres.host, legacy.lanes_max, legacy.managed_by) == ("db.prod", 4, INHERITANCE)
    assert legacy.name == "environments/prod/connections/legacy"
    assert (await layered.held("prod/connections/warehouse")).duckdb.path == "/data/db.prod/warehouse.duckdb"


async def test_the_last_layer_that_says_something_counts_field_by_field() -> None:
    layered = await with_base()
    say = {"lanesMax": "8", "postgres.port": "${port}"}
    await layered.environment(
        "eu", bases=["base"], isTemplate=True, overrides={"connections/legacy": {"fields": say | {"description": "eu"}}}
    )
    await layered.environment(
        "prod",
        bases=["eu"],
        values={"host": "db", "port": "6000"},
        overrides={"connections/legacy": {"fields": {"lanes_max": "16"}, "clearedFields": ["description"]}},
    )
    legacy = await layered.held("prod/connections/legacy")
    assert (legacy.lanes_max, legacy.postgres.port, legacy.description) == (16, 6000, "")


async def test_a_change_of_a_base_reaches_everything_below_and_nothing_else() -> None:
    layered = await with_base()
    for name, base in (("eu", "base"), ("prod", "eu"), ("dev", "base")):
        await layered.environment(name, bases=[base], values={"host": name})
    before = {name: await layered.versions(name) for name in ("eu", "prod", "dev")}
    await layered.connection("base", "warehouse", duckdb={"path": "/new/${host}.duckdb"})
    for name in ("eu", "prod", "dev"):
        assert (await layered.held(f"{name}/connections/warehouse")).duckdb.path == f"/new/{name}.duckdb"
        after = await layered.versions(name)
        assert {key for key in after if after[key] != before[name][key]} == {"connections/warehouse"}


async def test_writing_a_layer_as_it_is_changes_no_etag() -> None:
    layered = await with_base()
    await layered.environment("prod", bases=["base"], values={"host": "db"})
    before = await layered.versions("prod")
    await layered.environment("prod", bases=["base"], values={"host": "db", "port": "5432"})
    assert await layered.versions("prod") == before


@pytest.mark.parametrize("is_base_first", [True, False])
async def test_the_same_layers_mean_the_same_whatever_was_written_first(is_base_first: bool) -> None:
    layered = Layered()
    await layered.environment("base")
    await layered.environment("prod", bases=["base"] if not is_base_first else [])
    await layered.department("base", "sales", owner="Ann")
    await layered.connection("base", "legacy", sqlite={"path": "/a.db"})
    await layered.environment("prod", bases=["base"])
    assert (await layered.held("prod/departments/sales")).owner == "Ann"
    assert await layered.names("prod") == ["connections/legacy", "departments/sales"]


async def test_an_object_that_a_layer_leaves_out_is_not_inherited_with_what_lies_below() -> None:
    layered = await with_base()
    await layered.environment("prod", bases=["base"], values={"host": "db"})
    await layered.environment(
        "prod", bases=["base"], values={"host": "db"}, overrides={"plans/p": {"isExcluded": True}}
    )
    assert await layered.names("prod") == EVERYTHING[:3]
    await layered.environment("prod", bases=["base"], values={"host": "db"})
    assert await layered.names("prod") == EVERYTHING


async def test_a_name_that_is_inherited_is_not_declared_anew_unless_it_is_left_out() -> None:
    layered = Layered()
    await layered.environment("base")
    await layered.department("base", "sales", owner="base")
    await layered.environment("prod", bases=["base"])

    def declare(unit: Unit) -> object:
        own = Department(owner="prod")
        return layered.catalog.create(unit, DEPARTMENTS, "environments/prod", "sales", own, ME)

    with pytest.raises(AlreadyExists, match="is inherited from `base`: say in environments/prod what is different"):
        await layered.in_unit(declare)
    await layered.environment("prod", bases=["base"], overrides={"departments/sales": {"isExcluded": True}})
    await layered.in_unit(declare)
    assert (await layered.held("prod/departments/sales")).owner == "prod"


async def test_an_own_object_wins_over_one_that_a_base_declares_later_and_gives_way_when_it_goes() -> None:
    layered = Layered()
    await layered.environment("base")
    await layered.environment("prod", bases=["base"])
    await layered.department("prod", "sales", owner="prod")
    await layered.department("base", "sales", owner="base")
    assert (await layered.held("prod/departments/sales")).owner == "prod"
    await layered.delete("prod/departments/sales")
    assert (await layered.held("prod/departments/sales")).owner == "base"


async def test_an_inherited_object_is_not_written_and_its_refusal_says_where_to_turn() -> None:
    layered = await with_base()
    await layered.environment("eu", bases=["base"], isTemplate=True)
    await layered.environment("prod", bases=["eu"], values={"host": "db"})
    expected = "is inherited from `base`: change environments/base/connections/legacy, or say in environments/prod"
    with pytest.raises(Inherited, match=expected):
        await layered.connection("prod", "legacy", sqlite={"path": "/x"})
    with pytest.raises(Inherited, match=expected):
        await layered.delete("prod/connections/legacy")


async def test_every_problem_in_every_environment_is_told_and_nothing_is_stored() -> None:
    layered = await with_base()
    await layered.environment("prod", bases=["base"], values={"host": "db"})
    await layered.environment("dev", bases=["base"], values={"host": "dev"})
    await layered.department("prod", "hr", dependencies=["sales"])
    before = {name: await layered.versions(name) for name in ("base", "prod", "dev")}
    with pytest.raises(InvalidDefinition) as refused:
        await layered.environment("base", isTemplate=True, parameters={"host": {"pattern": "[0-9]+"}, "port": {}})
    found = told(refused.value)
    assert found["environments/prod: values.host"] == "does not match the pattern `[0-9]+`"
    assert found["environments/dev: values.host"] == "does not match the pattern `[0-9]+`"
    assert before == {name: await layered.versions(name) for name in ("base", "prod", "dev")}


async def test_overrides_that_can_not_be_are_all_told_with_their_paths() -> None:
    layered = await with_base()
    with pytest.raises(InvalidDefinition) as refused:
        await layered.environment(
            "prod",
            bases=["base"],
            values={"host": "db"},
            overrides={
                "connections/legcy": {"fields": {"lanesMax": "1"}},
                "silences/x": {"isExcluded": True},
                "connections/legacy": {
                    "fields": {
                        "postgres.hots": "x",
                        "sqlite.path": "/x",
                        "lanesMax": "many",
                        "uid": "1",
                        "labels": "[]",
                        "description": "${nothing}",
                    }
                },
                "plans/p": {"fields": {"phases": "{}"}},
            },
        )
    found = told(refused.value)
    legacy = "overrides.connections/legacy.fields"
    assert (
        found["overrides.connections/legcy"]
        == "neither this environment nor a base has it; did you mean `connections/legacy`?"
    )
    assert found["overrides.silences/x"].startswith("is no name of an object within the environment")
    assert found[f"{legacy}.postgres.hots"] == "there is no field `hots`; did you mean `host`?"
    assert found[f"{legacy}.sqlite.path"] == (
        "it is `postgres`: take that away by cleared_fields before `sqlite` is set"
    )
    assert found[f"{legacy}.lanesMax"] == "must be a whole number, not text"
    assert found[f"{legacy}.uid"] == "`uid` is not set by a definition, and so not by an override"
    assert found[f"{legacy}.labels"] == "must be a map, not a list"
    assert found["connections/legacy.description"] == ("there is no parameter `nothing`; there are `host`, `port`")
    assert found["overrides.plans/p.fields.phases"].startswith("`phases` is not set")


async def test_own_objects_hold_values_of_parameters_and_show_what_was_declared() -> None:
    layered = Layered()
    await layered.environment("prod", parameters={"host": {"defaultValue": "a"}})
    made = await layered.connection("prod", "legacy", postgres={"host": "${host}", "database": "d$${x}", "user": "u"})
    assert made.postgres.host == "${host}"
    held = await layered.held("prod/connections/legacy")
    assert (held.postgres.host, held.postgres.database) == ("a", "d${x}")
    versions, states = await layered.versions("prod"), await layered.states("prod", "connections")
    await layered.environment("prod", parameters={"host": {"defaultValue": "b"}})
    assert (await layered.held("prod/connections/legacy")).postgres.host == "b"
    assert await layered.versions("prod") == versions  # nobody wrote it, so whoever read it may write it
    assert await layered.states("prod", "connections") != states
    with pytest.raises(InvalidDefinition) as refused:
        await layered.environment("prod", parameters={"hots": {"defaultValue": "b"}})
    assert told(refused.value) == {
        "connections/legacy.postgres.host": "there is no parameter `host`; did you mean `hots`?"
    }


async def test_a_parameter_that_is_not_there_is_refused_where_it_stands() -> None:
    layered = Layered()
    await layered.environment("prod", parameters={"host": {"defaultValue": "a"}})
    with pytest.raises(InvalidDefinition) as refused:
        await layered.connection("prod", "legacy", postgres={"host": "${hots}", "database": "${", "user": "u"})
    assert told(refused.value)["connection.postgres.host"] == "there is no parameter `hots`; did you mean `host`?"
    assert "does not end with `}`" in told(refused.value)["connection.postgres.database"]


async def test_what_holds_is_checked_where_it_holds() -> None:
    layered = await with_base()
    with pytest.raises(InvalidDefinition) as refused:
        await layered.environment(
            "prod",
            bases=["base"],
            values={"host": "db"},
            overrides={"plans/p/phases/orders": {"fields": {"datasets.orders.source.connection": "elsewhere"}}},
        )
    assert "there is no connection `elsewhere`" in str(refused.value)
    assert "plans/p/phases/orders.datasets.orders.source.connection" in told(refused.value)


async def test_objects_of_one_environment_are_nothing_to_another() -> None:
    layered = await with_base()
    await layered.environment("prod", bases=["base"], values={"host": "db"})
    await layered.environment("dev", bases=["base"], values={"host": "dev"})
    await layered.connection("dev", "scratch", sqlite={"path": "/scratch.db"})
    assert await layered.held("prod/connections/scratch") is None
    with pytest.raises(InvalidDefinition, match="there is no connection `scratch`"):
        await layered.plan("prod", "mine", phases={"x": phase("scratch")})


async def test_a_base_is_not_deleted_while_another_environment_inherits_from_it() -> None:
    layered = await with_base()
    await layered.environment("prod", bases=["base"], values={"host": "db"})
    with pytest.raises(FailedPrecondition, match="environments/base is a base of environments/prod"):
        await layered.delete("base")
    await layered.delete("prod")
    assert await layered.names("prod") == []


async def test_what_a_base_deletes_is_refused_while_an_heir_needs_it_or_speaks_of_it() -> None:
    layered = await with_base()
    await layered.connection("base", "spare", sqlite={"path": "/spare.db"})
    await layered.environment(
        "prod", bases=["base"], values={"host": "db"}, overrides={"connections/spare": {"fields": {"lanesMax": "1"}}}
    )
    with pytest.raises(InvalidDefinition) as refused:
        await layered.delete("base/connections/spare")
    assert told(refused.value)["environments/prod: overrides.connections/spare"].startswith(
        "neither this environment nor a base has it"
    )
    await layered.environment("prod", bases=["base"], values={"host": "db"})
    await layered.plan("prod", "mine", phases={"x": phase("spare")})
    with pytest.raises(InvalidDefinition, match="there is no connection `spare`"):
        await layered.delete("base/connections/spare")
    await layered.delete("prod/plans/mine/phases/x")
    await layered.delete("base/connections/spare")
    assert await layered.held("prod/connections/spare") is None


async def test_a_plan_of_a_base_keeps_phases_that_an_heir_added() -> None:
    layered = await with_base()
    await layered.environment("prod", bases=["base"], values={"host": "db"})
    await layered.plan("base", "empty")

    message = Phase()
    from_data(phase(), message)
    await layered.in_unit(
        lambda unit: layered.catalog.create(unit, PHASES, "environments/prod/plans/empty", "more", message, ME)
    )
    with pytest.raises(FailedPrecondition, match="holds environments/prod/plans/empty/phases/more"):
        await layered.delete("base/plans/empty")


async def test_a_dry_run_is_checked_in_every_heir_and_keeps_nothing() -> None:
    layered = await with_base()
    await layered.environment("prod", bases=["base"], values={"host": "db"})
    before = await layered.versions("prod")

    def work(unit: Unit) -> None:

        base = layered.catalog.get(unit, ENVIRONMENTS, "environments/base")
        changed = Environment(name=base.name, is_template=True, parameters={"host": base.parameters["host"]})
        layered.catalog.update(unit, ENVIRONMENTS, changed, FieldMask(), ME, is_dry=True)
        changed.ClearField("parameters")
        layered.catalog.update(unit, ENVIRONMENTS, changed, FieldMask(), ME, is_dry=True)

    with pytest.raises(InvalidDefinition) as refused:
        await layered.store.transact(work)
    assert told(refused.value)["environments/prod: values.host"] == "there is no parameter `host`; none is declared yet"
    assert await layered.versions("prod") == before


async def test_a_template_may_lack_values_and_what_inherits_may_not() -> None:
    layered = await with_base()
    with pytest.raises(InvalidDefinition) as refused:
        await layered.environment("prod", bases=["base"])
    assert refused.value.problems[0].field == "environment.values.host"
    assert told(refused.value) == {
        "values.host": "is required: `base` declares `host` without a default, and no layer gives it a value"
    }
    with pytest.raises(FailedPrecondition, match="environments/base is a template, in which nothing runs"):
        await layered.in_unit(
            lambda unit: layered.catalog.usable(unit, CONNECTIONS, "environments/base/connections/legacy")
        )


async def test_one_entry_of_the_audit_trail_tells_what_an_environment_inherited() -> None:
    layered = await with_base()
    await layered.environment("prod", bases=["base"], values={"host": "db"})
    await layered.connection("base", "warehouse", duckdb={"path": "/w.duckdb"})
    entries = await layered.store.read(lambda unit: list(unit.audit.list(0, 100)))
    told_of = [(each.subject, each.detail) for each in entries if each.action == "inherit"]
    assert told_of == [
        ("environments/prod", ", ".join(EVERYTHING)),
        ("environments/prod", "connections/warehouse"),
    ]
