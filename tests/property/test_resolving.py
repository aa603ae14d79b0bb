"""What holds in environments is told by their layers alone: whatever was written first, and however often.

The same declarations are written in any order that the engine takes; what is kept must be the same. It is held against a model that
knows nothing of the engine: dictionaries, the last layer's word on top.
"""

import asyncio
import random
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pymigrate.engine.application.catalog import Catalog
from pymigrate.engine.application.filling import leaves
from pymigrate.engine.application.overlaying import join_path
from pymigrate.engine.application.policies import policy_of
from pymigrate.engine.domain.layering import layers_of
from pymigrate.engine.ports.store import Unit
from pymigrate.v1.environment_pb2 import ResolveEnvironmentRequest
from pymigrate.v1.shape import to_data
from tests.unit.application.layered import Layered

NAMES = ["a", "b", "c", "d"]
OBJECTS = ["legacy", "spare"]
FIELDS = ("description", "lanesMax")


@st.composite
def worlds(draw: st.DrawFn) -> dict[str, dict[str, Any]]:
    """Environments with what each declares, a parameter's value, and what each says otherwise."""
    world: dict[str, dict[str, Any]] = {}
    for at, name in enumerate(NAMES):
        bases = draw(st.lists(st.sampled_from(NAMES[:at]), unique=True, max_size=2)) if at else []
        below = {base for each in bases for base in (*layers_of(each, {n: w["bases"] for n, w in world.items()}),)}
        known = sorted({key for base in below for key in world[base]["objects"]})
        free = [key for key in OBJECTS if key not in known]
        objects = {
            key: {"description": f"{name} ${{p}}", "lanesMax": at + 1}
            for key in sorted(draw(st.sets(st.sampled_from(free)) if free else st.just(set())))
        }
        has = sorted({*known, *objects})
        said = {
            key: draw(
                st.fixed_dictionaries(
                    {}, optional={"description": st.just(f"{name}: ${{p}}"), "lanesMax": st.just(str(10 + at))}
                )
            )
            for key in sorted(draw(st.sets(st.sampled_from(has)) if has else st.just(set())))
        }
        values = {"p": name} if draw(st.booleans()) else {}
        world[name] = {"bases": bases, "objects": objects, "said": said, "values": values}
    return world


def modelled(world: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """What each environment should have."""
    bases = {name: each["bases"] for name, each in world.items()}
    found: dict[str, dict[str, Any]] = {}
    for name in world:
        objects: dict[str, dict[str, Any]] = {}
        value = "0"
        for layer in layers_of(name, bases):
            objects |= {key: dict(each) for key, each in world[layer]["objects"].items()}
            for key, said in world[layer]["said"].items():
                if key in objects:
                    objects[key] |= said
            value = world[layer]["values"].get("p", value)
        found[name] = {
            key: {"description": each["description"].replace("${p}", value), "lanesMax": int(each["lanesMax"])}
            for key, each in objects.items()
        }
    return found


async def kept(world: dict[str, dict[str, Any]], seed: int, rounds: int) -> dict[str, dict[str, Any]]:
    """What the engine has after everything was written in some order, and again."""
    layered, rng = Layered(), random.Random(seed)
    for name in NAMES:
        await layered.environment(name, parameters={"p": {"defaultValue": "0"}})
    for _ in range(rounds):
        later = [(name, key) for name in NAMES for key in world[name]["objects"]]
        links = list(NAMES)
        rng.shuffle(later)
        rng.shuffle(links)
        for name, key in later:
            await layered.connection(name, key, sqlite={"path": "/x.db"}, **world[name]["objects"][key])
        for name in links:
            await layered.environment(
                name, parameters={"p": {"defaultValue": "0"}}, bases=world[name]["bases"], values=world[name]["values"]
            )
    for name in NAMES:  # in order: what is said otherwise must be there
        each = world[name]
        overrides = {f"connections/{key}": {"fields": said} for key, said in each["said"].items()}
        await layered.environment(
            name,
            parameters={"p": {"defaultValue": "0"}},
            bases=each["bases"],
            values=each["values"],
            overrides=overrides,
        )
    found: dict[str, dict[str, Any]] = {}
    for name in NAMES:
        keys = [key for key in await layered.names(name) if key.startswith("connections/")]
        held = {key.split("/")[1]: to_data(await layered.held(f"{name}/{key}")) for key in keys}
        found[name] = {key: {field: each[field] for field in FIELDS} for key, each in held.items()}
    return found


@settings(max_examples=60)
@given(worlds(), st.integers(0, 2**16), st.integers(1, 2))
def test_the_layers_alone_decide_what_holds(world: dict[str, dict[str, Any]], seed: int, rounds: int) -> None:
    assert asyncio.run(kept(world, seed, rounds)) == modelled(world)


SAID = {
    "approvalsMin": st.integers(0, 3),
    "approvers": st.lists(st.sampled_from(["a*", "b"]), max_size=2),
    "runners": st.lists(st.sampled_from(["c", "d*"]), max_size=2),
    "lanesMax": st.integers(0, 9),
    "verificationLevelMin": st.sampled_from(["count", "full"]),
    "schedule": st.fixed_dictionaries(
        {"timeZone": st.sampled_from(["Europe/Berlin", "UTC"])},
        optional={"windows": st.just({"night": {"start": "22:00", "end": "04:00"}})},
    ),
}


def policies_of(catalog: Catalog, name: str, unit: Unit) -> tuple[dict[str, str], dict[str, str]]:
    """The policy of an environment as it is shown, and as it binds."""
    shown = catalog.resolve(unit, ResolveEnvironmentRequest(name=f"environments/{name}")).policy
    binding = leaves(policy_of(unit, f"environments/{name}"))
    return {path: each.value for path, each in shown.items()}, {join_path(leaf.path): leaf.value for leaf in binding}


@settings(max_examples=40)
@given(
    st.lists(st.fixed_dictionaries({}, optional=SAID), min_size=4, max_size=4),
    st.lists(st.lists(st.integers(0, 2), max_size=2, unique=True), min_size=4, max_size=4),
)
def test_the_policy_that_is_shown_is_the_one_that_binds(policies: list[dict[str, Any]], bases: list[list[int]]) -> None:
    async def both() -> list[tuple[dict[str, str], dict[str, str]]]:
        layered = Layered()
        for at, name in enumerate(NAMES):
            below = [NAMES[each] for each in bases[at] if each < at]
            await layered.environment(name, bases=below, policy=policies[at])
        return [await layered.in_unit(partial(policies_of, layered.catalog, name)) for name in NAMES]

    for shown, binding in asyncio.run(both()):
        assert shown == binding


def test_a_model_that_takes_layers_in_another_order_is_told_apart() -> None:
    world = {
        "a": {"bases": [], "objects": {"legacy": {"description": "a", "lanesMax": 1}}, "said": {}, "values": {}},
        "b": {"bases": ["a"], "objects": {}, "said": {"legacy": {"lanesMax": "11"}}, "values": {}},
        "c": {"bases": ["a"], "objects": {}, "said": {"legacy": {"lanesMax": "12"}}, "values": {}},
        "d": {"bases": ["b", "c"], "objects": {}, "said": {}, "values": {}},
    }
    assert asyncio.run(kept(world, 1, 1)) == modelled(world)
    world["d"]["bases"] = ["c", "b"]
    with pytest.raises(AssertionError):
        assert asyncio.run(kept(world | {"d": world["d"] | {"bases": ["b", "c"]}}, 1, 1)) == modelled(world)


def test_a_model_that_forgets_what_an_environment_says_of_its_own_is_told_apart() -> None:
    own = {"bases": [], "objects": {"legacy": {"description": "a", "lanesMax": 1}}, "values": {}}
    heir = {"bases": ["a"], "objects": {}, "said": {}, "values": {}}
    world = {"a": own | {"said": {"legacy": {"lanesMax": "11"}}}, "b": heir, "c": heir, "d": heir}
    assert asyncio.run(kept(world, 1, 2)) == modelled(world)
    with pytest.raises(AssertionError):
        assert asyncio.run(kept(world, 1, 2)) == modelled(world | {"a": own | {"said": {}}})
