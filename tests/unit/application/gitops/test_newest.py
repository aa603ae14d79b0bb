"""What is told in the background: the newest of each thing, as often as it takes, and nobody waits for it."""

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from pymigrate.engine.application.gitops.newest import (
    AGAIN_SECONDS_MAX,
    AT_ONCE_MAX,
    REFUSED_TRIES_MAX,
    TRIES_MAX,
    WAITING_MAX,
    Newest,
)
from pymigrate.engine.domain.errors import GitHostRefused, GitHostUnavailable
from pymigrate.engine.testing.clock import ManualClock


class Scene:
    """Work that notes what it was given, and fails or waits as a test says."""

    def __init__(self, settle_seconds: float = 0.0) -> None:
        self.clock = ManualClock()
        self.done: list[tuple[str, int]] = []
        self.tried: list[float] = []
        self.failures: Iterator[Exception] = iter(())
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.newest: Newest[str, int] = Newest("test", self._work, self.clock, random.Random(1), settle_seconds)

    async def _work(self, key: str, value: int) -> None:
        self.tried.append(self.clock.monotonic())
        await self.go_on.wait()
        if (failure := next(self.failures, None)) is not None:
            raise failure
        self.done.append((key, value))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """The loop, as long as it is needed."""
        loop = asyncio.create_task(self.newest.run_loop())
        yield
        loop.cancel()
        await asyncio.gather(loop, return_exceptions=True)


async def test_what_is_put_is_told_at_once() -> None:
    scene = Scene()
    async with scene.running():
        scene.newest.put("a", 1)
        await scene.clock.run_for(0)
    assert scene.done == [("a", 1)]


async def test_of_a_burst_only_the_newest_is_told() -> None:
    scene = Scene(settle_seconds=0.5)
    async with scene.running():
        for value in range(10):
            scene.newest.put("a", value)
            await scene.clock.run_for(0.1)
        scene.newest.put("b", 1)
        await scene.clock.run_for(1)
    assert scene.done == [("a", 9), ("b", 1)]


async def test_what_comes_while_the_one_before_is_told_is_told_after_it() -> None:
    scene = Scene()
    async with scene.running():
        scene.go_on.clear()
        scene.newest.put("a", 1)
        await scene.clock.run_for(0)
        scene.newest.put("a", 2)
        scene.newest.put("a", 3)
        await scene.clock.run_for(0)
        scene.go_on.set()
        await scene.clock.run_for(0)
    assert scene.done == [("a", 1), ("a", 3)]


async def test_what_is_dropped_is_not_told() -> None:
    scene = Scene(settle_seconds=0.5)
    async with scene.running():
        scene.newest.put("a", 1)
        scene.newest.drop("a")
        await scene.clock.run_for(1)
    assert scene.done == []
    assert len(scene.newest) == 0


async def test_whoever_is_away_is_told_later_and_ever_less_often() -> None:
    scene = Scene()
    scene.failures = iter([GitHostUnavailable("away", retry_after_seconds=1.0)] * 3)
    async with scene.running():
        scene.newest.put("a", 1)
        await scene.clock.run_for(100)
    assert scene.done == [("a", 1)]
    pauses = [after - before for before, after in zip(scene.tried, scene.tried[1:], strict=False)]
    assert [5 <= pauses[0] < 6.5, 10 <= pauses[1] < 13, 20 <= pauses[2] < 26] == [True] * 3


async def test_a_host_that_asks_for_patience_has_it() -> None:
    scene = Scene()
    scene.failures = iter([GitHostUnavailable("wait", retry_after_seconds=1_800.0)])
    async with scene.running():
        scene.newest.put("a", 1)
        await scene.clock.run_for(1_799)
        assert len(scene.tried) == 1
        await scene.clock.run_for(600)
    assert scene.done == [("a", 1)]


@pytest.mark.parametrize(
    ("failure", "tries"),
    [(GitHostUnavailable("away"), TRIES_MAX), (GitHostRefused("no"), REFUSED_TRIES_MAX)],
)
async def test_it_is_given_up_at_some_time(failure: Exception, tries: int) -> None:
    scene = Scene()
    scene.failures = iter([failure] * 100)
    async with scene.running():
        scene.newest.put("a", 1)
        await scene.clock.run_for(TRIES_MAX * AGAIN_SECONDS_MAX * 2)
    assert len(scene.tried) == tries
    assert len(scene.newest) == 0


async def test_a_failure_does_not_bring_back_what_is_old() -> None:
    scene = Scene()
    scene.failures = iter([GitHostUnavailable("away")])
    async with scene.running():
        scene.go_on.clear()
        scene.newest.put("a", 1)
        await scene.clock.run_for(0)
        scene.newest.put("a", 2)
        scene.go_on.set()
        await scene.clock.run_for(60)
    assert scene.done == [("a", 2)]


async def test_a_fault_of_ours_ends_nothing_but_itself() -> None:
    scene = Scene()
    scene.failures = iter([ZeroDivisionError()])
    async with scene.running():
        scene.newest.put("a", 1)
        await scene.clock.run_for(0)
        scene.newest.put("b", 2)
        await scene.clock.run_for(0)
    assert scene.done == [("b", 2)]


async def test_so_many_are_told_at_once_and_one_that_hangs_delays_no_other() -> None:
    scene = Scene()
    async with scene.running():
        scene.go_on.clear()
        for number in range(10):
            scene.newest.put(str(number), number)
        await scene.clock.run_for(0)
        assert len(scene.tried) == AT_ONCE_MAX
        scene.go_on.set()
        await scene.clock.run_for(0)
    assert len(scene.done) == 10


async def test_of_too_many_the_oldest_is_dropped() -> None:
    scene = Scene(settle_seconds=1)
    for number in range(WAITING_MAX + 10):
        scene.newest.put(str(number), number)
    assert len(scene.newest) == WAITING_MAX


async def test_the_end_of_the_loop_ends_what_is_under_way() -> None:
    scene = Scene()
    async with scene.running():
        scene.go_on.clear()
        scene.newest.put("a", 1)
        await scene.clock.run_for(0)
    assert (scene.done, len(scene.newest)) == ([], 0)
