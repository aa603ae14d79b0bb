"""Routers of several engines on one PostgreSQL: each entry is told once, in one message of its group, whoever comes first."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from itertools import count

import pytest

from pymigrate.engine.adapters.clock import SystemClock
from pymigrate.engine.adapters.store.postgres import PostgresStore
from pymigrate.engine.application.caller import Surroundings
from pymigrate.engine.application.directories import Directories
from pymigrate.engine.application.notifications import Notifications
from pymigrate.engine.application.occurrences import Occurrences
from pymigrate.engine.application.work_bell import WorkBell
from pymigrate.engine.domain.delivery import DeliveryState
from pymigrate.engine.domain.errors import StaleWrite
from pymigrate.engine.testing.metrics import MemoryMetrics
from tests.unit.application.routed import Scene

EVENTS, AT_ONCE = 60, 4


@pytest.fixture
async def scene(postgres_database: str) -> AsyncIterator[Scene]:
    store = await PostgresStore.open(postgres_database, SystemClock(), random.Random(3))
    found = Scene(store)
    await found.begin()
    yield found
    await store.close()


def another_engine(scene: Scene, name: str) -> Notifications:
    """A router that knows nothing of the scene's own but the store."""
    numbers = count(1)
    return Notifications(
        scene.store,
        Directories(),
        Occurrences(),
        Surroundings(scene.clock, lambda: f"{name}-{next(numbers)}"),
        MemoryMetrics(),
        WorkBell(),
        WorkBell(),
        AT_ONCE,
    )


async def test_routers_beside_each_other_tell_each_entry_once_and_gather_in_one_message(scene: Scene) -> None:
    await scene.declare_engineers("ann", "ben")
    await scene.declare_rule(groupBy=["run"], groupIntervalSeconds=600)
    await scene.route()

    async def happen() -> None:
        for _ in range(EVENTS):
            await scene.happen("phase.failed")

    async def rendering() -> None:
        """Takes what waits out of waiting in between, as an engine does that renders."""
        for _ in range(EVENTS):
            with contextlib.suppress(StaleWrite):
                await scene.freeze()

    async def routing(router: Notifications) -> None:
        while not happening.done() or (await router.step()).is_more:
            await router.step()
            stepped.append(router)

    stepped: list[Notifications] = []
    happening = asyncio.create_task(happen())
    routers = [another_engine(scene, name) for name in ("a", "b", "c")]
    await asyncio.gather(happening, rendering(), *map(routing, routers))
    await scene.route()
    found = await scene.deliveries()
    told = [(each.stakeholder, entry) for each in found for entry in each.entries]
    assert len(told) == len(set(told)) == 2 * EVENTS
    assert set(stepped) == set(routers)
    assert sorted(each.stakeholder for each in found if each.state is DeliveryState.WAITING) == ["ann", "ben"]
