"""Dispatchers as the engine keeps them: real processes, started when there is something to send by, and started again."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from pymigrate.engine.adapters.clock import SystemClock
from pymigrate.engine.adapters.executors.dispatchers import LocalDispatchers
from pymigrate.engine.application.caller import random_id
from pymigrate.engine.domain.delivery import DeliveryState
from tests.integration.dispatcher.served import ALLOWED, ServedDispatch, hook
from tests.sinks import HttpSink

Wait = Callable[[Callable[[], bool]], Awaitable[None]]


async def until(condition: Callable[[], bool]) -> None:
    """Waits for something that other processes do."""
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 (nothing tells this process)
            await asyncio.sleep(0.02)


@pytest.fixture
async def dispatchers(engine: ServedDispatch) -> AsyncIterator[LocalDispatchers]:
    """One is kept; none runs afterwards."""

    async def is_needed() -> bool:
        return await asyncio.to_thread(engine.do, engine.deliveries.is_needed())

    async def on_lost(name: str) -> bool:
        return await asyncio.to_thread(engine.do, engine.deliveries.lost(name))

    kept = LocalDispatchers(engine.home, 1, SystemClock(), random_id, is_needed, on_lost, ALLOWED)
    keeping = asyncio.create_task(kept.run_loop())
    yield kept
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)
    await kept.close()
    assert kept.pids == []


async def test_none_runs_before_a_channel_is_declared_and_one_does_then(
    engine: ServedDispatch, dispatchers: LocalDispatchers, sink: HttpSink
) -> None:
    await asyncio.sleep(0)
    assert dispatchers.pids == []
    await asyncio.to_thread(engine.declare, hook=hook(sink.url))
    await until(lambda: len(dispatchers.pids) == 1)
    await asyncio.to_thread(engine.make, "hook", "", 3)
    found = await asyncio.to_thread(engine.wait, range(1, 4), "accepted")
    assert {each.state for each in found} == {DeliveryState.ACCEPTED}
    log = engine.home / "logs" / "dispatcher-1.log"
    assert "dispatcher.started" in log.read_text()
    assert log.stat().st_mode & 0o777 == 0o600


async def test_one_that_was_killed_is_started_again_and_what_it_had_is_sent(
    engine: ServedDispatch, dispatchers: LocalDispatchers, sink: HttpSink
) -> None:
    await asyncio.to_thread(engine.declare, hook=hook(sink.url))
    for start in (1, 101, 201):
        await asyncio.to_thread(engine.make, "hook", "", 20, start)
        await until(lambda start=start: len(sink.asked) > 20 * (start // 100))  # type: ignore[misc]
        (pid,) = dispatchers.pids
        os.kill(pid, signal.SIGKILL)
        await until(lambda pid=pid: dispatchers.pids not in ([], [pid]))  # type: ignore[misc]
    numbers = [*range(1, 21), *range(101, 121), *range(201, 221)]
    found = await asyncio.to_thread(engine.wait, numbers, "accepted")
    assert {posted.headers["idempotency-key"] for posted in sink.taken} == {each.key for each in found}


async def test_they_are_told_to_end_and_do(
    engine: ServedDispatch, dispatchers: LocalDispatchers, sink: HttpSink
) -> None:
    await asyncio.to_thread(engine.declare, hook=hook(sink.url))
    await until(lambda: len(dispatchers.pids) == 1)
    log = engine.home / "logs" / "dispatcher-1.log"
    await until(lambda: "dispatcher.started" in log.read_text())
    await dispatchers.close()
    assert "dispatcher.stopped" in log.read_text()
