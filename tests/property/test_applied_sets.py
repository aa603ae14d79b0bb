"""A set of definitions is applied whole, whatever its order: what is kept hangs on the set alone, and then nothing differs from it."""

import asyncio
import random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.application.gitops.applied import DELETE, Scene, changes, phase

Set = dict[str, Any]
ENVIRONMENTS = ["base", "dev", "prod"]


@st.composite
def sets(draw: st.DrawFn) -> Set:
    """Environments that inherit or not, and some of everything in them, which may not fit together."""
    found: Set = {}
    for name in ENVIRONMENTS:
        spec: Set = {"parameters": {"zone": {"defaultValue": name}}}
        if name != "base" and draw(st.booleans()):
            spec["bases"] = ["base"]
        objects = draw(st.sets(st.sampled_from(["connection", "department", "plan", "rule", "second"])))
        if "bases" in spec:
            objects = set()  # what it would inherit it does not declare, and what it does has another name
            found[f"Department {name}/own"] = {"owner": "${zone}"}
        key = f"{name}/"
        if "connection" in objects:
            for each in ("legacy", "warehouse"):
                found[f"Connection {key}{each}"] = {"sqlite": {"path": f"/${{zone}}/{each}.db"}}
            if draw(st.booleans()):
                said = {"fields": {"lanesMax": str(draw(st.integers(1, 3)))}}
                spec["overrides"] = {"connections/legacy": said}
        if "department" in objects:
            found[f"Department {key}sales"] = {"users": draw(st.integers(-1, 3).filter(lambda n: n != 0))}
        if "plan" in objects:
            phases = {"orders": phase(), "more": phase("more", dependencies=["orders"])}
            chosen = draw(st.sampled_from([["orders"], ["orders", "more"], ["more"]]))
            found[f"Plan {key}p"] = {"phases": {each: phases[each] for each in chosen}}
        if "second" in objects:
            found[f"Plan {key}q"] = {"dependencies": ["p"], "phases": {"third": phase("third")}}
        if "rule" in objects:
            found[f"AlertRule {key}all"] = {"severity": "error"}
        found[f"Environment {name}"] = spec
    return found


def shuffled(given: Set, seed: int) -> Set:
    """The same set in another order."""
    items = list(given.items())
    random.Random(seed).shuffle(items)
    return dict(items)


async def held(scene: Scene) -> dict[str, tuple[bytes, bytes, str]]:
    """What is declared and what holds, without the numbers that tell writes apart."""
    return {name: (each.body, each.resolved, each.managed_by) for name, each in (await scene.stored()).items()}


@given(first=sets(), second=sets(), seed=st.integers(0, 1_000))
def test_what_is_kept_hangs_on_the_set_alone_and_applying_it_again_changes_nothing(
    first: Set, second: Set, seed: int
) -> None:
    async def work() -> None:
        one, other = Scene(), Scene()
        await one.apply(first, prune_policy=DELETE)
        before, audited = await one.stored(), await one.audited()
        told = await one.look(second, prune_policy=DELETE)
        assert await one.stored() == before
        applied = await one.apply(second, prune_policy=DELETE)
        assert changes(applied) == changes(told)
        if applied.problems:
            assert (await one.stored(), await one.audited()) == (before, audited)
            return
        again = await one.apply(shuffled(second, seed), prune_policy=DELETE)
        assert (list(again.problems), again.is_empty, again.unchanged_count) == ([], True, len(second))
        kept = {name for name, action in changes(applied).items() if action == "keep"}
        assert changes(again) == dict.fromkeys(kept, "keep")
        assert all(each.plan_hash == each.plan_hash_before for each in again.plans)
        if kept:
            return  # what is declared still needs it, and would lack it elsewhere
        straight = await other.apply(shuffled(second, seed), prune_policy=DELETE)
        assert list(straight.problems) == []
        assert await held(one) == await held(other)
        assert {each.plan: each.plan_hash for each in straight.plans} == {
            each.plan: each.plan_hash for each in again.plans
        }

    asyncio.run(work())


@given(given=sets(), seed=st.integers(0, 1_000))
def test_the_same_problems_are_found_in_whatever_order(given: Set, seed: int) -> None:
    async def work() -> None:
        told = [
            {(each.name, each.path, each.description) for each in (await Scene().look(order)).problems}
            for order in (given, shuffled(given, seed))
        ]
        assert told[0] == told[1]

    asyncio.run(work())
