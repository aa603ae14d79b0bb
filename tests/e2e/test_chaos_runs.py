"""A Run that is deleted, or suspended, just before each write of the operator about it, so in every phase of its life."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from pymigrate.engine.ports.cluster import Object
from tests.e2e.chaos import ChaosScene, approval, changes_objects, held
from tests.kube_faults import Fault, Request

WRITES_MAX = 40
ENDED = {"cancelled", "succeeded"}


def is_of_run(request: Request) -> bool:
    """Whether the operator writes a Run, and no Event about it."""
    return changes_objects(request) and "/runs/" in request.path


async def interfere(scene: ChaosScene, at: int, act: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], bool]:
    """Has something done before a write passes on. Tells whether there was such a write."""
    loop = asyncio.get_running_loop()
    fault = Fault(first=lambda: asyncio.run_coroutine_threadsafe(act(), loop).result())
    scene.grounds.proxy.clear()
    rule = scene.grounds.proxy.rule(fault, matches=is_of_run, skip=at)
    return lambda: rule.hits > 0


async def test_a_run_that_is_deleted_at_any_write_goes_and_leaves_nothing_under_way(scene: ChaosScene) -> None:
    async with scene.operated():
        await scene.apply_world(orders=held())
        spec = {"plan": "p", "gateApprovals": [approval(await scene.get("Plan p"))]}
        for at in range(WRITES_MAX):
            name = f"Run doomed-{at}"
            was_met = await interfere(scene, at, lambda name=name: scene.delete(name))  # type: ignore[misc]  # bound at once
            await scene.apply(name, spec)
            await scene.until(name, lambda found: found is None or _is_ready(found))
            if not was_met():
                break
            await scene.until_gone(name)
        else:
            raise AssertionError("its life does not end")
    assert at > 2, "a life takes some writes"
    assert set(scene.runs().values()) <= ENDED
    assert set(scene.engine.begun.values()) <= {1}


async def test_a_run_that_is_suspended_at_any_write_stands_still_and_goes_on_as_one_run(scene: ChaosScene) -> None:
    lives: list[Object] = []
    async with scene.operated():
        await scene.apply_world(orders=held())
        spec = {"plan": "p", "gateApprovals": [approval(await scene.get("Plan p"))]}
        for at in range(WRITES_MAX):
            name = f"Run held-{at}"
            was_met = await interfere(scene, at, lambda name=name: scene.apply(name, {**spec, "suspend": True}))  # type: ignore[misc]  # bound at once
            await scene.apply(name, spec)
            await scene.until(name, lambda found: _is_ready(found) or _stands_still(found))
            await scene.apply(name, spec)
            lives.append(await scene.until_told(name, "Succeeded", status="True"))
            if not was_met():
                break
        else:
            raise AssertionError("its life does not end")
    assert at > 2, "a life takes some writes"
    scene.assert_one_run_each(*lives)


def _is_ready(found: Object | None) -> bool:
    return _is_told(found, "Ready")


def _stands_still(found: Object | None) -> bool:
    return _is_told(found, "Suspended") and bool((found or {})["spec"].get("suspend"))


def _is_told(found: Object | None, type_: str) -> bool:
    """Whether a condition holds of the newest generation."""
    conditions = ((found or {}).get("status") or {}).get("conditions", ())
    return any(
        each["type"] == type_
        and each["status"] == "True"
        and each["observedGeneration"] == (found or {})["metadata"]["generation"]
        for each in conditions
    )
