"""The loop of the router: woken or not, it goes on through failing stores and defects, and tells nothing twice."""

import asyncio
import contextlib
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeVar

import pytest

from pymigrate.engine.domain.delivery import DeliveryState
from pymigrate.engine.domain.errors import StaleWrite, StoreUnavailable
from pymigrate.engine.ports.store import Unit
from pymigrate.engine.testing.store import MemoryStore
from tests.unit.application.routed import Scene

Result = TypeVar("Result")
NEVER = datetime(9000, 1, 1, tzinfo=UTC)


class Failing(MemoryStore):
    """Fails units of work as it is told, before or after they are committed."""

    def __init__(self) -> None:
        super().__init__()
        self.before = 0
        self.after = 0
        self.error: Callable[[], Exception] = lambda: StoreUnavailable("the disk is full")

    async def transact(self, work: Callable[[Unit], Result]) -> Result:
        """Fails so often."""
        if self.before:
            self.before -= 1
            raise self.error()
        found = await super().transact(work)
        if self.after:
            self.after -= 1
            raise self.error()
        return found


async def routing(scene: Scene) -> "asyncio.Task[None]":
    return asyncio.create_task(scene.router.run_loop())


async def ended(task: "asyncio.Task[None]") -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_pass_that_fails_is_done_again_and_tells_nothing_twice(when: str) -> None:
    store = Failing()
    scene = Scene(store)
    await scene.begin()
    await scene.declare_engineers("ann")
    await scene.declare_rule(duplicateSeconds=60)
    await scene.route()
    await scene.happen("phase.failed", "phase.skipped", "phase.failed")
    setattr(store, when, 3)
    task = await routing(scene)
    await scene.clock.run_for(10)
    await ended(task)
    assert await scene.told() == [("failures", "ann", ["phase.failed"]), ("failures", "ann", ["phase.skipped"])]
    assert [each.duplicates for each in await scene.deliveries()] == [1, 0]


async def test_a_pass_that_others_wrote_into_is_done_again_at_once() -> None:
    store = Failing()
    scene = Scene(store)
    await scene.begin()
    await scene.declare_engineers("ann")
    await scene.declare_rule()
    await scene.route()
    await scene.happen("phase.failed")
    store.error = lambda: StaleWrite("it was rendered meanwhile")
    store.before = 5
    await scene.router.step()
    assert await scene.told() == [("failures", "ann", ["phase.failed"])]


async def test_the_loop_tells_of_what_happens_as_soon_as_the_bell_is_rung() -> None:
    scene = Scene()
    await scene.begin()
    await scene.declare_engineers("ann")
    await scene.declare_rule()
    task = await routing(scene)
    await scene.clock.run_for(1.3)
    await scene.happen("phase.failed")
    await scene.clock.run_for(0.1)
    assert await scene.told() == []
    scene.bell.ring()
    await scene.clock.run_for(0.0)
    assert len(await scene.told()) == 1
    await ended(task)


async def test_the_loop_looks_again_and_again_where_nobody_rings() -> None:
    scene = Scene()
    await scene.begin()
    await scene.declare_engineers("ann")
    await scene.declare_rule()
    task = await routing(scene)
    await scene.happen("phase.failed")
    await scene.clock.run_for(3)
    assert len(await scene.told()) == 1
    await ended(task)


class Poisoned(MemoryStore):
    """Can't store deliveries that tell of one entry."""

    poison = 0

    async def transact(self, work: Callable[[Unit], Result]) -> Result:
        """Raises where the work has made such a delivery."""

        def poisoned(unit: Unit) -> Result:
            found = work(unit)
            for delivery in unit.deliveries.due(NEVER, 1_000):
                if self.poison in delivery.entries:
                    raise RuntimeError("a defect")
            return found

        return await super().transact(poisoned)


async def test_an_entry_with_which_every_pass_fails_is_left_in_the_end_and_the_others_are_told() -> None:
    store = Poisoned()
    scene = Scene(store)
    await scene.begin()
    await scene.declare_engineers("ann")
    await scene.declare_rule()
    await scene.route()
    await scene.happen(*["phase.failed"] * 20)
    store.poison = (await scene.entries())[-10].id
    task = await routing(scene)
    await scene.clock.run_for(60)
    await ended(task)
    found = await scene.deliveries()
    assert len(found) == 20
    assert [each.entries for each in found if each.state is DeliveryState.UNDELIVERABLE] == [[store.poison]]
