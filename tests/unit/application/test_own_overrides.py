"""An environment says otherwise of what it declares itself, so that the same definitions lie in every environment."""

import pytest

from pymigrate.engine.application.kinds import CONNECTIONS
from pymigrate.engine.domain.errors import InvalidDefinition
from pymigrate.engine.ports.store import Unit
from pymigrate.v1.environment_pb2 import ResolvedValue, ResolveEnvironmentRequest
from tests.unit.application.layered import Layered, phase, told

LEGACY = {"postgres": {"host": "db", "database": "erp", "user": "reader"}, "lanesMax": 4}


async def with_legacy() -> Layered:
    """An environment with a connection and what a plan of one phase needs."""
    layered = Layered()
    await layered.environment("prod")
    await layered.department("prod", "sales")
    await layered.connection("prod", "legacy", **LEGACY)
    await layered.connection("prod", "warehouse", duckdb={"path": "/w.duckdb"})
    await layered.plan("prod", "p", phases={"orders": phase()})
    return layered


def saying(**fields: str) -> dict[str, object]:
    """Overrides of the connection."""
    return {"connections/legacy": {"fields": {name.replace("__", "."): value for name, value in fields.items()}}}


async def test_what_holds_is_what_the_environment_says_and_what_is_declared_stays() -> None:
    layered = await with_legacy()
    before = await layered.versions("prod")
    await layered.environment("prod", overrides=saying(postgres__host="db.prod", lanesMax="9"))
    held = await layered.held("prod/connections/legacy")
    assert (held.postgres.host, held.postgres.user, held.lanes_max) == ("db.prod", "reader", 9)

    def declared(unit: Unit) -> str:
        return layered.catalog.get(unit, CONNECTIONS, held.name).postgres.host

    assert await layered.store.read(declared) == "db"
    assert await layered.versions("prod") == before  # nobody wrote it


async def test_it_holds_for_what_is_written_later_too_with_parameters_and_goes_with_the_override() -> None:
    layered = await with_legacy()
    parameters = {"host": {"defaultValue": "db.${zone}"}, "zone": {"defaultValue": "eu"}}
    await layered.environment("prod", parameters=parameters, overrides=saying(postgres__host="${host}.org"))
    await layered.connection("prod", "legacy", **LEGACY, description="in ${zone}")
    held = await layered.held("prod/connections/legacy")
    assert (held.postgres.host, held.description) == ("db.eu.org", "in eu")
    await layered.environment("prod", parameters=parameters, values={"zone": "us"}, overrides=saying(lanesMax="2"))
    held = await layered.held("prod/connections/legacy")
    assert (held.postgres.host, held.description, held.lanes_max) == ("db", "in us", 2)
    await layered.environment("prod", parameters=parameters)
    assert (await layered.held("prod/connections/legacy")).lanes_max == 4


async def test_phases_of_plans_are_overridden_in_what_runs_and_the_plan_has_another_hash() -> None:
    layered = await with_legacy()
    before = await layered.store.read(lambda unit: layered.plans.get(unit, "environments/prod/plans/p"))
    key = "plans/p/phases/orders"
    await layered.environment("prod", overrides={key: {"fields": {"datasets.orders.lanes": "7"}}})
    after = await layered.store.read(lambda unit: layered.plans.get(unit, "environments/prod/plans/p"))
    assert after.plan_hash != before.plan_hash
    assert after.phases["orders"].datasets["orders"].lanes == 0
    assert (await layered.held(f"prod/{key}")).datasets["orders"].lanes == 7
    await layered.plan("prod", "p", phases={"orders": phase("legacy", "orders", priority=3)})
    held = await layered.held(f"prod/{key}")
    assert (held.datasets["orders"].lanes, held.priority) == (7, 3)


async def test_what_inherits_has_it_too_and_says_otherwise_of_that() -> None:
    layered = await with_legacy()
    await layered.environment("prod", overrides=saying(postgres__host="db.prod", lanesMax="9"))
    await layered.environment("heir", bases=["prod"], overrides=saying(lanesMax="1"))
    held = await layered.held("heir/connections/legacy")
    assert (held.postgres.host, held.lanes_max) == ("db.prod", 1)
    await layered.environment("prod", overrides=saying(postgres__host="other"))
    held = await layered.held("heir/connections/legacy")
    assert (held.postgres.host, held.lanes_max) == ("other", 1)


async def test_an_override_that_does_not_fit_refuses_the_environment_and_the_object() -> None:
    layered = await with_legacy()
    with pytest.raises(InvalidDefinition) as refused:
        await layered.environment("prod", overrides=saying(postgres__hots="x", lanesMax="many"))
    place = "overrides.connections/legacy.fields"
    assert told(refused.value) == {
        f"{place}.postgres.hots": "there is no field `hots`; did you mean `host`?",
        f"{place}.lanesMax": "must be a whole number, not text",
    }
    await layered.environment("prod", overrides=saying(postgres__host="db.prod"))
    with pytest.raises(InvalidDefinition) as refused:
        await layered.connection("prod", "legacy", sqlite={"path": "/x"})
    assert "environments/prod: overrides.connections/legacy.fields.postgres.host" in told(refused.value) or (
        "connection.sqlite" in told(refused.value)
    )


async def test_what_holds_is_checked_and_not_only_what_is_declared() -> None:
    layered = await with_legacy()
    key = "plans/p/phases/orders"
    with pytest.raises(InvalidDefinition) as refused:
        await layered.environment("prod", overrides={key: {"fields": {"department": "hr"}}})
    assert told(refused.value)[f"{key}.department"].startswith("there is no department `hr`")


async def test_what_it_declares_it_does_not_leave_out_nor_speaks_of_what_it_does_not_have() -> None:
    layered = await with_legacy()
    with pytest.raises(InvalidDefinition) as refused:
        await layered.environment("prod", overrides={"connections/legacy": {"isExcluded": True}})
    assert told(refused.value)["overrides.connections/legacy"] == (
        "is declared by this environment itself, and no base has it: drop it there, or is_excluded"
    )
    with pytest.raises(InvalidDefinition) as refused:
        await layered.environment("prod", overrides={"connections/legcy": {"fields": {"lanesMax": "1"}}})
    assert told(refused.value)["overrides.connections/legcy"] == (
        "neither this environment nor a base has it; did you mean `connections/legacy`?"
    )


async def test_what_it_speaks_of_is_not_deleted_beneath_it() -> None:
    layered = await with_legacy()
    await layered.connection("prod", "spare", sqlite={"path": "/s"})
    await layered.environment("prod", overrides={"connections/spare": {"fields": {"lanesMax": "1"}}})
    with pytest.raises(InvalidDefinition) as refused:
        await layered.delete("prod/connections/spare")
    assert told(refused.value)["overrides.connections/spare"].startswith("neither this environment nor a base has it")


async def test_a_connection_that_becomes_another_kind_of_system_becomes_another_connection() -> None:
    layered = await with_legacy()
    uid, version = (await layered.versions("prod"))["connections/legacy"]
    said = {"clearedFields": ["postgres"], "fields": {"sqlite.path": "/test.db"}}
    await layered.environment("prod", overrides={"connections/legacy": said})
    assert (await layered.held("prod/connections/legacy")).sqlite.path == "/test.db"
    other, same = (await layered.versions("prod"))["connections/legacy"]
    assert other != uid
    assert same == version


async def test_where_a_value_comes_from_tells_an_override_of_ones_own_from_a_declaration() -> None:
    layered = await with_legacy()
    parameters = {"zone": {"defaultValue": "eu"}}
    await layered.environment("prod", parameters=parameters, overrides=saying(postgres__host="db.${zone}"))
    request = ResolveEnvironmentRequest(name="environments/prod", object="connections/legacy")
    found = await layered.store.read(lambda unit: layered.catalog.resolve(unit, request))
    (legacy,) = found.objects
    assert legacy.layer == "prod"
    assert legacy.fields["postgres.host"] == ResolvedValue(
        value="db.eu", layer="prod", parameters=["zone"], is_override=True
    )
    assert legacy.fields["postgres.user"] == ResolvedValue(value="reader", layer="prod")
