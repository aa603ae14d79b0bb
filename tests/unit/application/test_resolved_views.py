"""The resolved view tells for every value which layer it comes from, and which parameters are part of it."""

import pytest

from pymigrate.engine.application.overlaying import CannotOverride, join_path, split_path
from pymigrate.engine.domain.errors import InvalidDefinition, NotFound
from pymigrate.v1.environment_pb2 import ResolveEnvironmentRequest, ResolveEnvironmentResponse
from tests.unit.application.layered import Layered, phase, told, with_base


async def view(layered: Layered, environment: str, key: str = "", **paging: object) -> ResolveEnvironmentResponse:
    request = ResolveEnvironmentRequest(name=f"environments/{environment}", object=key, **paging)  # type: ignore[arg-type]
    return await layered.store.read(lambda unit: layered.catalog.resolve(unit, request))


async def fields(layered: Layered, environment: str, key: str) -> dict[str, tuple[str, str, list[str]]]:
    answer = await view(layered, environment, key)
    [found] = [each for each in answer.objects if each.name == f"environments/{environment}/{key}"]
    return {path: (each.value, each.layer, list(each.parameters)) for path, each in found.fields.items()}


async def test_every_value_has_one_origin() -> None:
    layered = await with_base()
    await layered.environment(
        "eu",
        bases=["base"],
        isTemplate=True,
        parameters={"domain": {}, "lanes": {"type": "integer", "defaultValue": "3"}},
        values={"host": "db.${domain}"},
        overrides={
            "connections/legacy": {
                "fields": {"lanesMax": "${lanes}", "labels": '{"team.name": "a", "at": "${domain}"}'}
            }
        },
    )
    await layered.environment(
        "prod",
        bases=["eu"],
        values={"domain": "example.org"},
        overrides={"connections/legacy": {"fields": {"labels.`team.name`": "b", "postgres.port": "6000"}}},
    )
    assert await fields(layered, "prod", "connections/legacy") == {
        "labels.at": ("example.org", "eu", ["domain"]),
        "labels.`team.name`": ("b", "prod", []),
        "lanes_max": ("3", "eu", ["lanes"]),
        "postgres.database": ("erp", "base", []),
        "postgres.host": ("db.example.org", "base", ["domain", "host"]),
        "postgres.port": ("6000", "prod", []),
        "postgres.user": ("reader", "base", []),
    }
    answer = await view(layered, "prod")
    assert list(answer.layers) == ["base", "eu", "prod"]
    parameters = {name: (each.value, each.layer, list(each.parameters)) for name, each in answer.parameters.items()}
    assert parameters == {
        "domain": ("example.org", "prod", []),
        "host": ("db.example.org", "eu", ["domain"]),
        "lanes": ("3", "", []),
        "port": ("5432", "", []),
    }


async def test_a_whole_message_in_the_one_shape_takes_the_place_of_what_was_there() -> None:
    layered = await with_base()
    whole = (
        '{"source": {"connection": "legacy", "relation": "o"}, "target": {"connection": "warehouse",'
        ' "relation": "o", "load_mode": "merge"}, "lanes": "${port}", "key": ["id"]}'
    )
    await layered.environment(
        "prod",
        bases=["base"],
        values={"host": "db", "port": "7"},
        overrides={"plans/p/phases/orders": {"fields": {"datasets.orders": whole, "downtimePolicy": "read_only"}}},
    )
    found = await fields(layered, "prod", "plans/p/phases/orders")
    assert found["datasets.orders.lanes"] == ("7", "prod", ["port"])
    assert found["datasets.orders.key"] == ('["id"]', "prod", [])
    assert found["datasets.orders.target.load_mode"] == ("merge", "prod", [])
    assert found["downtime_policy"] == ("read_only", "prod", [])
    assert found["department"] == ("sales", "base", [])


async def test_the_fields_of_a_policy_are_those_of_the_last_layer_that_sets_each() -> None:
    layered = Layered()
    await layered.environment("base", policy={"approvalsMin": 1, "approvers": ["a"]})
    await layered.environment("prod", bases=["base"], policy={"approvalsMin": 2})
    answer = await view(layered, "prod")
    assert {path: (each.value, each.layer) for path, each in answer.policy.items()} == {
        "approvals_min": ("2", "prod"),
        "approvers": ('["a"]', "base"),
    }


async def test_pages_and_parts_of_what_holds() -> None:
    layered = await with_base()
    await layered.environment("prod", bases=["base"], values={"host": "db"})
    first = await view(layered, "prod", page_size=2)
    rest = await view(layered, "prod", page_size=3, page_token=first.next_page_token)
    names = [each.name.split("/", 2)[2] for each in (*first.objects, *rest.objects)]
    assert names == await layered.names("prod")
    assert rest.next_page_token == ""
    below = await view(layered, "prod", "plans/p")
    assert [each.name.split("/", 2)[2] for each in below.objects] == ["plans/p", "plans/p/phases/orders"]
    with pytest.raises(NotFound, match="did you mean `connections/legacy`"):
        await view(layered, "prod", "connections/legcy")
    with pytest.raises(NotFound, match="did you mean `prod`"):
        await view(layered, "prd")
    with pytest.raises(InvalidDefinition, match="page_size"):
        await view(layered, "prod", page_size=-1)


@pytest.mark.parametrize("path", ["", ".", "a.", ".a", "a..b", "`a", "a`b`", "``", "a." + "b" * 1_000])
def test_what_is_no_path_is_refused(path: str) -> None:
    with pytest.raises(CannotOverride):
        split_path(path)


def test_a_path_is_written_as_it_is_read() -> None:
    for path in ("postgres.host", "labels.`team.name`", "datasets.a-b_c.key", "headers.`x y`.z"):
        assert join_path(split_path(path)) == path


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("datasets.orders.target.relation.deep", "x", "nothing lies below `datasets.orders.target.relation`"),
        ("datasets.orders.key.0", "x", "`key` is a list: write it whole, as JSON"),
        ("datasets.orders.key", "id", "must be written as JSON"),
        ("datasets.orders.key", '"id"', "must be a list, not text"),
        ("datasets.orders.key", "NaN", "must be written as JSON"),
        ("datasets.orders.verification", "most", "`most` is not one of"),
        ("datasets.orders.source", '{"relatoin": "x"}', "relatoin: there is no such field; did you mean `relation`?"),
        ("datasets.orders.declared.bytes_per_second", "fast", "must be a number, not text"),
        ("schedule.windows.w.days", '["mon", 1]', "[1]: must be text"),
        ("datasets.orders.transforms", "[" * 200 + "]" * 200, "must be a map"),
    ],
)
async def test_a_value_that_does_not_fit_is_refused_with_why(path: str, value: str, expected: str) -> None:
    layered = await with_base()
    key = "plans/p/phases/orders"
    with pytest.raises(InvalidDefinition) as refused:
        await layered.environment(
            "prod", bases=["base"], values={"host": "db"}, overrides={key: {"fields": {path: value}}}
        )
    assert expected in told(refused.value)[f"overrides.{key}.fields.{path}"]


async def test_taking_away_what_is_not_there_changes_nothing() -> None:
    layered = await with_base()
    cleared = ["datasets.more.key", "schedule", "datasets.orders.declared.rows"]
    await layered.environment(
        "prod",
        bases=["base"],
        values={"host": "db"},
        overrides={"plans/p/phases/orders": {"clearedFields": cleared}},
    )
    assert (await layered.held("prod/plans/p/phases/orders")).datasets.keys() == phase()["datasets"].keys()
