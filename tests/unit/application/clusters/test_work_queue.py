"""The queue of keys: once each, never twice at a time, later and later while they fail, and without delay for the others."""

import asyncio
import itertools
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import pytest

from pymigrate.engine.application.clusters.work_queue import HURRY_SECONDS, Worked, WorkQueue
from pymigrate.engine.domain.errors import TemporaryError
from pymigrate.engine.testing.virtual_loop import VirtualClock, VirtualLoop, run_virtually

Work = Callable[[str], Awaitable[float | None]]


@dataclass
class Bench:
    """A queue that runs, and when each key was begun."""

    loop: VirtualLoop
    work: Work
    workers: int = 4
    retry_workers: int = 1
    begun: list[tuple[str, float]] = field(default_factory=list)
    worked: list[tuple[str, Worked]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.queue: WorkQueue[str] = WorkQueue(
            VirtualClock(self.loop),
            random.Random(1),
            self._do,
            workers=self.workers,
            retry_workers=self.retry_workers,
            on_worked=lambda key, worked: self.worked.append((key, worked)),
        )
        self.running = asyncio.ensure_future(self.queue.run())

    async def _do(self, key: str) -> float | None:
        self.begun.append((key, self.loop.time()))
        return await self.work(key)

    def times(self, key: str) -> list[float]:
        return [time for each, time in self.begun if each == key]

    async def close(self) -> None:
        self.running.cancel()
        await asyncio.gather(self.running, return_exceptions=True)
        assert self.loop.errors == []


def on_bench(
    scene: Callable[[Bench], Awaitable[None]], work: Work, *, workers: int = 4, retry_workers: int = 1
) -> Bench:
    async def main(loop: VirtualLoop) -> Bench:
        bench = Bench(loop, work, workers, retry_workers)
        await asyncio.sleep(0)
        await scene(bench)
        await bench.close()
        return bench

    return run_virtually(main, random.Random(1))


async def second(_: str) -> None:
    await asyncio.sleep(1)


async def fails(key: str) -> None:
    raise TemporaryError(f"{key} is not there", retry_after_seconds=0.0)


def test_a_key_that_is_added_often_before_it_is_begun_is_worked_on_once() -> None:
    async def scene(bench: Bench) -> None:
        for _ in range(5):
            bench.queue.add("a")
        await asyncio.sleep(10)

    assert on_bench(scene, second, workers=1).times("a") in ([0.0], [0.0, 1.0])


def test_a_key_that_is_added_while_it_is_worked_on_is_worked_on_once_more_after_it() -> None:
    async def scene(bench: Bench) -> None:
        bench.queue.add("a")
        await asyncio.sleep(0.5)
        bench.queue.add("a")
        bench.queue.add("a")
        await asyncio.sleep(10)

    assert on_bench(scene, second).times("a") == [0.0, 1.0]


def test_no_more_keys_are_worked_on_at_once_than_there_are_workers() -> None:
    async def scene(bench: Bench) -> None:
        for number in range(10):
            bench.queue.add(str(number))
        await asyncio.sleep(0.5)
        assert (bench.queue.running, len(bench.queue)) == (4, 6)
        await asyncio.sleep(10)

    assert sorted(time for _, time in on_bench(scene, second).begun) == [0.0] * 4 + [1.0] * 4 + [2.0] * 2


def test_what_fails_is_tried_again_after_twice_as_long_each_time_up_to_the_longest() -> None:
    async def scene(bench: Bench) -> None:
        bench.queue.add("a")
        await asyncio.sleep(1_000)

    times = on_bench(scene, fails).times("a")
    waits = [later - sooner for sooner, later in itertools.pairwise(times)]
    for number, wait in enumerate(waits):
        longest = min(60.0, 0.2 * 2**number)
        assert longest / 2 <= wait <= longest + 0.001
    assert len({round(wait, 3) for wait in waits[-5:]}) == 5, "there is jitter"


def test_a_key_that_came_through_has_its_failures_forgotten() -> None:
    outcomes = [True, True, True, False, True]

    async def work(key: str) -> None:
        if outcomes and outcomes.pop(0):
            await fails(key)

    async def scene(bench: Bench) -> None:
        bench.queue.add("a")
        await asyncio.sleep(50)
        assert bench.queue.failing == 0
        bench.queue.add("a")
        await asyncio.sleep(50)

    times = on_bench(scene, work).times("a")
    assert len(times) == 6
    assert times[4] == 50.0
    assert times[5] - times[4] <= 0.2


def test_a_failure_that_says_how_long_to_wait_is_not_tried_sooner() -> None:
    async def work(key: str) -> None:
        raise TemporaryError(key, retry_after_seconds=30.0)

    async def scene(bench: Bench) -> None:
        bench.queue.add("a")
        await asyncio.sleep(1)
        bench.queue.add("a")
        bench.queue.hurry()
        await asyncio.sleep(60)

    assert on_bench(scene, work).times("a") == pytest.approx([0.0, 30.0, 60.0], abs=0.001)


def test_a_failing_key_that_is_added_again_and_again_is_tried_once_a_second_at_most() -> None:
    async def scene(bench: Bench) -> None:
        bench.queue.add("a")
        for _ in range(1_000):
            await asyncio.sleep(0.1)
            bench.queue.add("a")

    times = on_bench(scene, fails).times("a")
    assert 95 <= len(times) <= 100 / HURRY_SECONDS + 10


def test_a_defect_in_the_work_on_one_key_ends_nothing_and_is_tried_again() -> None:
    async def work(key: str) -> None:
        if key == "bad":
            raise ZeroDivisionError

    async def scene(bench: Bench) -> None:
        bench.queue.add("bad")
        bench.queue.add("good")
        await asyncio.sleep(10)

    bench = on_bench(scene, work)
    assert len(bench.times("bad")) > 3
    assert bench.times("good") == [0.0]


def test_keys_that_fail_for_ever_hold_none_of_the_workers_of_those_that_do_not() -> None:
    async def work(key: str) -> None:
        if key.startswith("bad"):
            if key in seen:
                await asyncio.sleep(500)
            seen.add(key)
            await fails(key)

    async def scene(bench: Bench) -> None:
        for number in range(100):
            bench.queue.add(f"bad{number}")
        await asyncio.sleep(10)
        assert bench.queue.running == bench.retry_workers
        for number in range(100):
            bench.queue.add(f"good{number}")
        await asyncio.sleep(1)

    seen: set[str] = set()
    bench = on_bench(scene, work, workers=4, retry_workers=2)
    assert {time for key, time in bench.begun if key.startswith("good")} == {10.0}


def test_work_that_asks_to_look_again_is_done_again_then_and_not_because_of_an_earlier_pass() -> None:
    async def work(_: str) -> float:
        return 100.0

    async def scene(bench: Bench) -> None:
        bench.queue.add("a")
        await asyncio.sleep(60)
        bench.queue.add("a")
        await asyncio.sleep(130)

    assert on_bench(scene, work).times("a") == pytest.approx([0.0, 60.0, 160.0], abs=0.001)


def test_the_earliest_of_several_times_to_look_again_holds() -> None:
    async def work(_: str) -> None:
        return None

    async def scene(bench: Bench) -> None:
        for seconds in (30, 10, 20):
            bench.queue.add_after("a", seconds)
        bench.queue.add_after("b", 5)
        await asyncio.sleep(100)

    bench = on_bench(scene, work)
    assert bench.times("a") == pytest.approx([10.0], abs=0.001)
    assert bench.times("b") == pytest.approx([5.0], abs=0.001)


def test_a_hurried_queue_tries_what_failed_within_a_second() -> None:
    async def scene(bench: Bench) -> None:
        for number in range(20):
            bench.queue.add(str(number))
        await asyncio.sleep(1_000)
        bench.begun.clear()
        bench.queue.hurry()
        await asyncio.sleep(HURRY_SECONDS + 0.001)
        assert {key for key, _ in bench.begun} == {str(number) for number in range(20)}

    on_bench(scene, fails)


def test_times_that_hold_no_longer_take_no_room() -> None:
    async def work(_: str) -> None:
        return None

    async def scene(bench: Bench) -> None:
        for number in range(10_000):
            bench.queue.add_after("a", 100_000 - number)
        assert len(bench.queue._dues) < 100

    on_bench(scene, work)


def test_a_queue_that_takes_no_more_lets_what_is_under_way_end() -> None:
    async def scene(bench: Bench) -> None:
        bench.queue.add("a")
        await asyncio.sleep(0.5)
        bench.queue.stop_taking()
        bench.queue.add("b")
        await bench.queue.drained()
        assert bench.loop.time() == 1.0
        await asyncio.sleep(10)

    assert on_bench(scene, second).begun == [("a", 0.0)]


def test_how_long_keys_waited_and_took_is_told() -> None:
    async def scene(bench: Bench) -> None:
        bench.queue.add("a")
        bench.queue.add("b")
        await asyncio.sleep(10)

    bench = on_bench(scene, second, workers=1)
    assert bench.worked == [("a", Worked(0.0, 1.0, False)), ("b", Worked(1.0, 1.0, False))]


def test_a_key_whose_work_waited_for_something_that_was_given_up_is_tried_again() -> None:
    given_up = asyncio.CancelledError()
    tries = iter([given_up])

    async def work(_: str) -> None:
        if (error := next(tries, None)) is not None:
            raise error

    async def scene(bench: Bench) -> None:
        bench.queue.add("a")
        await VirtualClock(bench.loop).sleep(10.0)
        assert bench.queue.running == 0

    bench = on_bench(scene, work)
    assert len(bench.times("a")) == 2
    assert [worked.is_failed for _, worked in bench.worked] == [True, False]
