"""The operator's process killed with kill -9 at every write to the API, before the API hears of it and after it has done it: whoever starts
next comes to the same end, with one run and one writer a lane."""

import asyncio
import os

import pytest

from pymigrate.engine.ports.cluster import Object
from tests.e2e.chaos import ChaosScene, changes_objects, held, live
from tests.e2e.operators import OperatorProcess
from tests.kube_faults import Fault

DEATHS_MAX = 60
# By default every third write is taken, and one side after the other.
STEP = 1 if os.environ.get("PYMIGRATE_TEST_LONG") else 3
SIDES = ["before", "after"] if os.environ.get("PYMIGRATE_TEST_LONG") else ["alternating"]


class Incarnations:
    """One operator after the other. Each has a Lease of its own: the one before it is known to be dead, and nobody waits until that is
    seen by its Lease."""

    def __init__(self, scene: ChaosScene) -> None:
        environment = {"PYMIGRATE_OPERATOR_NAMESPACE": scene.namespace, "PYMIGRATE_OPERATOR_ENVIRONMENTS": "annotation"}
        self._operator = OperatorProcess(scene.engine.home, scene.kubeconfig(), environment, is_warm=True)
        self._started = 0

    async def start(self) -> None:
        self._started += 1
        self._operator.environment["PYMIGRATE_OPERATOR_LEASE"] = f"operator-{self._started}"
        await asyncio.to_thread(self._operator.start)

    def kill(self) -> None:
        self._operator.kill()


@pytest.mark.parametrize("side", SIDES)
async def test_an_operator_that_is_killed_at_any_write_leaves_one_run_that_the_next_brings_to_the_same_end(
    scene: ChaosScene, side: str
) -> None:
    operators, proxy = Incarnations(scene), scene.grounds.proxy
    await operators.start()
    lives: list[Object] = []
    try:
        await scene.apply_world(orders=held())
        for at in range(0, DEATHS_MAX, STEP):
            died, loop = asyncio.Event(), asyncio.get_running_loop()

            def die(died: asyncio.Event = died, loop: asyncio.AbstractEventLoop = loop) -> None:
                operators.kill()
                loop.call_soon_threadsafe(died.set)

            is_after = side == "after" or (side == "alternating" and len(lives) % 2 == 1)
            fault = Fault(then=die, closes_after=True) if is_after else Fault(first=die, closes_before=True)
            proxy.clear()
            rule = proxy.rule(fault, matches=changes_objects, skip=at)
            reviving = asyncio.ensure_future(revived(operators, died))
            lives.append(await live(scene, f"Run life-{at}"))
            reviving.cancel()
            await asyncio.gather(reviving, return_exceptions=True)
            if not rule.hits:
                break
        else:
            raise AssertionError("its life does not end")
    finally:
        operators.kill()
    assert at > 10, "a life takes some writes"
    scene.assert_one_run_each(*lives)


async def revived(operators: Incarnations, died: asyncio.Event) -> None:
    await died.wait()
    await operators.start()
