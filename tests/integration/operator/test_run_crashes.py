"""The life of a Run while its operator dies at every write to the API, and while the API fails at random: one run, the same end, nothing
left behind, and generations that only grow."""

import asyncio
import random
from dataclasses import dataclass, field

import pytest

from pymigrate.engine.domain.errors import PyMigrateError
from pymigrate.engine.entrypoints.operator.objects import RESOURCE_TYPES
from pymigrate.engine.ports.cluster import ClusterBusy, ClusterUnavailable, ObjectConflict
from pymigrate.engine.testing.cluster_faults import ClusterCall
from pymigrate.v1 import run_pb2
from tests.integration.engine.served import ServedEngine
from tests.integration.operator.operated import Scene
from tests.integration.operator.run_scenes import engine_runs, held, run_name, scenery

RUNS = RESOURCE_TYPES["Run"]
DEATHS_MAX = 40
SEEDS = range(6)
FAULTS_MAX = 25
FAULT_SHARE = 0.5


async def live(scene: Scene, name: str) -> str:
    """From its making through a pause and an approval to its success, and away; the name of its run."""
    await scene.apply(name, {"plan": "p"})
    await scene.until_told(name, "ApprovalRequired", "Stalled")
    await scene.apply(name, {"plan": "p", "suspend": True})
    await scene.until_told(name, "Suspended", "Suspended")
    found = await scene.get(name)
    approval = {"phase": "orders", "gate": "sign_off", "planHash": found["status"]["planHash"]}
    await scene.apply(name, {"plan": "p", "gateApprovals": [approval]})
    await scene.until_told(name, "Succeeded", status="True")
    await scene.delete(name)
    await scene.until_gone(name)
    return run_name(found)


def is_of_operator(call: ClusterCall) -> bool:
    """Whether it writes to a Run what no person would."""
    return call.is_write and call.kind == RUNS and call.verb == "patch" and "spec" not in (call.body or {})


@dataclass
class Told:
    """The generations that were told of each resource, in order."""

    generations: dict[str, list[int]] = field(default_factory=dict)

    async def __call__(self, call: ClusterCall) -> None:
        told = ((call.body or {}).get("status") or {}).get("observedGeneration")
        if call.kind == RUNS and call.subresource == "status" and told is not None:
            self.generations.setdefault(call.name, []).append(told)

    def assert_grew(self) -> None:
        assert self.generations
        assert all(told == sorted(told) for told in self.generations.values())


async def assert_one_run_each(scene: Scene, names: list[str]) -> None:
    """Each life had one run, which succeeded."""
    assert sorted(await engine_runs(scene)) == sorted(names)
    for name in names:
        assert (await scene.engine.get_run(name)).state == run_pb2.RUN_STATE_SUCCEEDED


@pytest.mark.parametrize("is_after", [False, True])
async def test_an_operator_that_dies_at_any_write_leaves_a_run_that_the_next_brings_to_the_same_end(
    served: ServedEngine, is_after: bool
) -> None:
    async with scenery(served, orders=held()) as scene:
        told, names = Told(), []
        scene.cluster.faults.after.append(told)
        hooks = scene.cluster.faults.after if is_after else scene.cluster.faults.before
        for at in range(1, DEATHS_MAX):
            reached, writes = asyncio.Event(), 0

            async def die(call: ClusterCall, at: int = at, reached: asyncio.Event = reached) -> None:
                nonlocal writes
                writes += is_of_operator(call)
                if writes == at and not reached.is_set():
                    reached.set()
                    await asyncio.Event().wait()  # nobody hears of it any more

            async def revive(reached: asyncio.Event = reached) -> None:
                await reached.wait()
                await scene.kill()
                scene.start()

            hooks.append(die)
            reviving = asyncio.ensure_future(revive())
            names.append(await live(scene, f"Run e/life-{at}"))
            hooks.remove(die)
            if not reached.is_set():
                reviving.cancel()
                await asyncio.gather(reviving, return_exceptions=True)
                break
            await reviving
        else:
            raise AssertionError("its life does not end")
        assert at > 6, "a life takes some writes"
        told.assert_grew()
        await assert_one_run_each(scene, names)


@pytest.mark.parametrize("seed", SEEDS)
async def test_an_api_that_fails_at_random_changes_nothing_of_how_a_run_ends(served: ServedEngine, seed: int) -> None:
    rng = random.Random(seed)
    left = FAULTS_MAX

    async def fail(call: ClusterCall) -> None:
        nonlocal left
        if is_of_operator(call) and left and rng.random() < FAULT_SHARE:
            left -= 1
            raise rng.choice(FAULTS)

    async with scenery(served, orders=held()) as scene:
        told = Told()
        faults = scene.cluster.faults
        faults.after.append(told)
        (faults.after if seed % 2 else faults.before).append(fail)
        name = await live(scene, "Run e/first")
        assert left < FAULTS_MAX
        told.assert_grew()
        await assert_one_run_each(scene, [name])


FAULTS: list[PyMigrateError] = [
    ObjectConflict("somebody was faster"),
    ClusterUnavailable("the connection was reset"),
    ClusterBusy("have patience", retry_after_seconds=0.05),
]
