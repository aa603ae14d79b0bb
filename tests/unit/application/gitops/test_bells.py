"""Who asks for a pass while one is under way waits for the next, and a burst is one pass."""

import asyncio

import pytest

from pymigrate.engine.application.gitops.bells import Bells

NAME = "gitSources/warehouse"


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_burst_is_told_once_and_is_one_pass() -> None:
    bells: Bells[str] = Bells()
    told: list[str] = []
    bells.follow(told.append)
    for _ in range(100):
        bells.ring(NAME)
    assert told == [NAME]
    assert bells.is_rung(NAME)
    bells.begin(NAME)
    assert not bells.is_rung(NAME)
    bells.ring(NAME)
    assert told == [NAME, NAME]


async def test_who_asks_while_a_pass_is_under_way_gets_the_outcome_of_the_next() -> None:
    bells: Bells[str] = Bells()
    first = asyncio.ensure_future(bells.next(NAME))
    await settled()
    bells.begin(NAME)
    second, third = (asyncio.ensure_future(bells.next(NAME)) for _ in range(2))
    await settled()
    bells.end(NAME, "one")
    assert await first == "one"
    assert not second.done()
    bells.begin(NAME)
    bells.end(NAME, "two")
    assert [await second, await third] == ["two", "two"]


async def test_who_waits_is_told_why_a_pass_failed() -> None:
    bells: Bells[str] = Bells()
    waiting = asyncio.ensure_future(bells.next(NAME))
    await settled()
    bells.begin(NAME)
    bells.end(NAME, LookupError("away"))
    with pytest.raises(LookupError, match="away"):
        await waiting


async def test_a_waiter_that_goes_away_takes_nobody_else_along() -> None:
    bells: Bells[str] = Bells()
    leaving, staying = (asyncio.ensure_future(bells.next(NAME)) for _ in range(2))
    await settled()
    leaving.cancel()
    bells.begin(NAME)
    bells.end(NAME, "done")
    assert await staying == "done"


async def test_no_two_passes_of_a_source_are_under_way_at_once() -> None:
    bells: Bells[str] = Bells()
    bells.begin(NAME)
    assert bells.is_under_way(NAME)
    with pytest.raises(RuntimeError):
        bells.begin(NAME)
    bells.begin("gitSources/other")
    bells.end(NAME, "done")
    assert not bells.is_under_way(NAME)


async def test_who_waits_for_a_source_that_goes_is_told() -> None:
    bells: Bells[str] = Bells()
    waiting = asyncio.ensure_future(bells.next(NAME))
    await settled()
    bells.forget(NAME, LookupError("it is deleted"))
    with pytest.raises(LookupError, match="deleted"):
        await waiting
    bells.forget(NAME, LookupError("again"))
