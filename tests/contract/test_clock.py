"""What every clock keeps to, on the machine's and on the one that tests move; and how that one is moved."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from pymigrate.engine.adapters.clock import SystemClock, ThreadClock
from pymigrate.engine.ports.clock import BlockingClock, Clock
from pymigrate.engine.testing.clock import START, HastyClock, ManualClock


@pytest.fixture(params=[SystemClock, ManualClock])
def clock(request: pytest.FixtureRequest) -> Clock:
    made: Clock = request.param()
    return made


def test_now_is_aware_and_in_utc(clock: Clock) -> None:
    assert clock.now().utcoffset() == timedelta(0)
    assert clock.now() > datetime(2025, 1, 1, tzinfo=UTC)


def test_monotonic_never_goes_back(clock: Clock) -> None:
    readings = [clock.monotonic() for _ in range(100)]
    assert readings == sorted(readings)


@pytest.mark.parametrize("seconds", [0.0, -1.0])
async def test_a_sleep_of_nothing_lets_the_others_go_first(clock: Clock, seconds: float) -> None:
    order: list[str] = []

    async def go() -> None:
        order.append("other")

    other = asyncio.ensure_future(go())
    await clock.sleep(seconds)
    order.append("sleeper")
    await other
    assert order == ["other", "sleeper"]


async def test_the_machines_clock_sleeps_until_the_time_has_come() -> None:
    clock = SystemClock()
    began = clock.monotonic()
    await clock.sleep(0.01)
    assert clock.monotonic() - began >= 0.01


async def test_a_manual_clock_wakes_whoever_is_due() -> None:
    clock = ManualClock()
    woken: list[tuple[float, float]] = []

    async def sleep(seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append((seconds, clock.monotonic()))

    sleeping = [asyncio.ensure_future(sleep(seconds)) for seconds in (3, 1, 2)]
    await asyncio.sleep(0)
    assert clock.sleepers == 3
    clock.advance(2)
    await asyncio.wait(sleeping, return_when=asyncio.FIRST_COMPLETED)
    assert woken == [(1, 2.0), (2, 2.0)]
    assert clock.sleepers == 1
    assert clock.now() == START + timedelta(seconds=2)
    await clock.run_for(1)
    assert woken[-1] == (3, 3.0)


async def test_a_loop_that_sleeps_comes_round_as_often_as_it_would() -> None:
    clock = ManualClock()
    rounds: list[float] = []

    async def loop() -> None:
        while True:
            await clock.sleep(0.5)
            rounds.append(clock.monotonic())

    looping = asyncio.ensure_future(loop())
    await clock.run_for(2)
    assert rounds == [0.5, 1.0, 1.5, 2.0]
    looping.cancel()
    await asyncio.gather(looping, return_exceptions=True)
    assert clock.sleepers == 0


def test_a_manual_clock_is_never_moved_back() -> None:
    with pytest.raises(ValueError, match="never moved back"):
        ManualClock().advance(-1)


@pytest.mark.parametrize("kind", [ThreadClock, HastyClock])
def test_a_thread_waits_until_the_time_has_come(kind: type[BlockingClock]) -> None:
    clock = kind()
    began, at = clock.monotonic(), clock.now()
    clock.wait(-1)
    clock.wait(0.01)
    assert clock.monotonic() - began >= 0.01
    assert clock.now() > at
    assert clock.now().utcoffset() == timedelta(0)
