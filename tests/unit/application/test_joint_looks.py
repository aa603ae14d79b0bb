"""Looks that many ask for at once: never older than the question, made once for all who asked before they began."""

import asyncio

import pytest

from pymigrate.engine.application.joint_looks import GATHER_SECONDS, Begin, JointLooks
from pymigrate.engine.domain.errors import EngineUnavailable
from pymigrate.engine.testing.clock import ManualClock


class Looks:
    """Looks at a number that grows, each of which goes on until the test lets it end."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.joint = JointLooks(self.clock)
        self.world = 0
        self.begun = 0
        self.given_up = 0
        self.turn = asyncio.Event()
        self.turn.set()
        self._ends: list[asyncio.Event] = []

    async def _make(self, begin: Begin) -> int:
        await self.turn.wait()
        begin()
        self.begun += 1
        seen, end = self.world, asyncio.Event()
        self._ends.append(end)
        try:
            await end.wait()
        except asyncio.CancelledError:
            self.given_up += 1
            raise
        return seen

    def ask(self, key: str = "it") -> "asyncio.Task[int]":
        """Somebody asks."""
        return asyncio.ensure_future(self.joint.look(key, self._make))

    async def go_on(self, seconds: float = 0.0) -> None:
        """Everybody acts."""
        await self.clock.run_for(seconds)

    async def end(self, *numbers: int) -> None:
        """These looks end, counted from 0."""
        for number in numbers:
            self._ends[number].set()
        await self.go_on()


async def test_those_who_ask_before_it_began_are_told_by_one_look() -> None:
    looks = Looks()
    asked = [looks.ask() for _ in range(100)]
    await looks.go_on()
    await looks.end(0)
    assert [task.result() for task in asked] == [0] * 100
    assert looks.begun == 1


async def test_who_asks_while_it_is_under_way_is_told_by_the_next_one() -> None:
    looks = Looks()
    early = looks.ask()
    await looks.go_on()
    looks.world = 1
    late = [looks.ask() for _ in range(10)]
    await looks.go_on()
    assert looks.begun == 1
    await looks.end(0)
    assert (early.result(), looks.begun) == (0, 2)
    await looks.end(1)
    assert [task.result() for task in late] == [1] * 10


async def test_one_that_waits_for_its_turn_gathers_those_who_ask_until_it_begins() -> None:
    looks = Looks()
    looks.turn.clear()
    first = looks.ask()
    await looks.go_on(GATHER_SECONDS)
    looks.world = 1
    second = looks.ask()
    await looks.go_on(GATHER_SECONDS)
    looks.turn.set()
    await looks.go_on()
    looks.world = 2
    late = looks.ask()
    await looks.end(0)
    assert (first.result(), second.result(), looks.begun) == (1, 1, 2)
    await looks.end(1)
    assert late.result() == 2


async def test_what_fails_before_it_begins_is_no_look_of_those_who_ask_then() -> None:
    joint = JointLooks(ManualClock())

    async def fail(begin: Begin) -> int:
        raise EngineUnavailable("nobody comes")

    async def answer(begin: Begin) -> int:
        begin()
        return 7

    with pytest.raises(EngineUnavailable):
        await joint.look("it", fail)
    assert await joint.look("it", answer) == 7


async def test_one_that_does_not_end_holds_the_next_one_up_no_longer_than_a_moment() -> None:
    looks = Looks()
    hanging = looks.ask()
    await looks.go_on()
    late = looks.ask()
    await looks.go_on(GATHER_SECONDS - 0.01)
    assert looks.begun == 1
    await looks.go_on(0.01)
    assert looks.begun == 2
    await looks.end(1)
    assert late.done()
    assert not hanging.done()
    await looks.end(0)
    assert hanging.done()


async def test_other_things_are_looked_at_by_themselves() -> None:
    looks = Looks()
    one, other = looks.ask("one"), looks.ask("other")
    await looks.go_on()
    await looks.end(0, 1)
    assert (looks.begun, one.result(), other.result()) == (2, 0, 0)


async def test_whoever_goes_leaves_the_others_their_look_and_the_last_one_gives_it_up() -> None:
    looks = Looks()
    asked = [looks.ask() for _ in range(3)]
    await looks.go_on()
    for task in asked[:2]:
        task.cancel()
    await looks.go_on()
    assert looks.given_up == 0
    asked[2].cancel()
    await looks.go_on()
    assert looks.given_up == 1


async def test_one_that_is_given_up_before_it_began_is_none_of_those_who_ask_then() -> None:
    looks = Looks()
    first = looks.ask()
    await looks.go_on()
    gone = looks.ask()
    await looks.go_on()
    gone.cancel()
    await asyncio.sleep(0)
    late = looks.ask()
    await looks.go_on()
    await looks.end(0)
    await looks.end(1)
    assert (first.result(), late.result(), looks.begun) == (0, 0, 2)


async def test_what_it_raises_is_raised_to_all_and_the_next_one_is_tried_anew() -> None:
    joint = JointLooks(ManualClock())

    async def fail(begin: Begin) -> int:
        begin()
        raise EngineUnavailable("nobody answers")

    async def answer(begin: Begin) -> int:
        begin()
        return 7

    for found in await asyncio.gather(*(joint.look("it", fail) for _ in range(3)), return_exceptions=True):
        assert isinstance(found, EngineUnavailable)
    with pytest.raises(EngineUnavailable):
        await joint.look("it", fail)
    assert await joint.look("it", answer) == 7
