"""Limits of callers: who asks for too much at once or too often waits, and nobody else does."""

import asyncio
import random
from collections.abc import AsyncIterator

import pytest
from google.protobuf.empty_pb2 import Empty

from pymigrate.engine.application.caller import Caller
from pymigrate.engine.domain.access import Grant, Role
from pymigrate.engine.domain.errors import CallTookTooLong, TooManyCalls
from pymigrate.engine.entrypoints.authorized import Door
from pymigrate.engine.entrypoints.call_limits import CALL_SECONDS_MAX, CallLimits, Limiting, LimitTerms
from pymigrate.engine.entrypoints.grpc.server import descriptors
from pymigrate.engine.entrypoints.identity import PRINCIPAL, note_caller
from pymigrate.engine.testing.clock import ManualClock
from pymigrate.engine.testing.virtual_loop import VirtualLoop, run_virtually
from pymigrate.v1 import kpi_pb2

KPIS = descriptors(["KpiService"])["KpiService"]
TERMS = LimitTerms(calls_max=2, streams_max=1, calls_per_second_max=4.0)


def may_all(_: Caller) -> tuple[Grant, ...]:
    return (Grant(Role.ADMIN),)


class Waiting:
    """Calls that last until they are let go."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()
        self.served = 0

    async def GetKpis(self, request: object, context: object) -> Empty:
        self.served += 1
        await self.go_on.wait()
        return Empty()

    async def WatchKpis(self, request: object, context: object) -> AsyncIterator[Empty]:
        self.served += 1
        yield Empty()
        await self.go_on.wait()

    GetDashboard = GetKpis
    WatchDashboard = WatchKpis


class Scene:
    def __init__(self) -> None:
        self.clock = ManualClock()
        self.behind = Waiting()
        guard = Limiting(CallLimits(TERMS, self.clock), may_all)
        self.front = Door(may_all, [guard]).wrapped({"KpiService": self.behind}, {"KpiService": KPIS})["KpiService"]

    async def call(self, principal: str) -> Empty:
        note_caller(Caller(principal))
        return await self.front.GetKpis(kpi_pb2.GetKpisRequest(), None)  # type: ignore[no-any-return]  # by descriptor

    async def watch(self, principal: str) -> AsyncIterator[Empty]:
        note_caller(Caller(principal))
        async for answer in self.front.WatchKpis(kpi_pb2.WatchKpisRequest(), None):
            yield answer

    async def begun(self, principal: str, calls: int) -> list[asyncio.Task[Empty]]:
        """So many calls under way."""
        found = [asyncio.create_task(self.call(principal)) for _ in range(calls)]
        await asyncio.sleep(0)
        return found


async def test_a_principal_has_no_more_calls_under_way_than_it_may() -> None:
    scene = Scene()
    under_way = await scene.begun("service/a", TERMS.calls_max)
    with pytest.raises(TooManyCalls, match="service/a has 2 calls under way"):
        await scene.call("service/a")
    scene.behind.go_on.set()
    assert await asyncio.gather(*under_way) == [Empty()] * TERMS.calls_max
    assert await scene.call("service/a") == Empty()


async def test_one_who_floods_keeps_nobody_else_away() -> None:
    scene = Scene()
    await scene.begun("service/a", TERMS.calls_max)
    scene.behind.go_on.set()
    assert await scene.call("service/b") == Empty()


async def test_streams_are_counted_apart_from_calls_and_until_they_are_left() -> None:
    scene = Scene()
    stream = scene.watch("service/a")
    assert await anext(stream) == Empty()
    with pytest.raises(TooManyCalls, match="1 streams under way"):
        await anext(scene.watch("service/a"))
    scene.behind.go_on.set()
    assert await scene.call("service/a") == Empty()
    assert [answer async for answer in stream] == []
    assert await anext(scene.watch("service/a")) == Empty()


async def test_one_who_calls_too_often_is_told_how_long_to_wait() -> None:
    scene = Scene()
    scene.behind.go_on.set()
    for _ in range(8):
        await scene.call("service/a")
    with pytest.raises(TooManyCalls, match="more than 4 times a second") as refused:
        await scene.call("service/a")
    assert refused.value.retry_after_seconds == pytest.approx(0.25)
    scene.clock.advance(refused.value.retry_after_seconds)
    assert await scene.call("service/a") == Empty()


async def test_a_refused_call_never_reaches_what_it_asked_for() -> None:
    scene = Scene()
    await scene.begun("service/a", TERMS.calls_max)
    with pytest.raises(TooManyCalls):
        await scene.call("service/a")
    assert scene.behind.served == TERMS.calls_max


async def test_whoever_has_the_engines_own_token_bounds_itself() -> None:
    scene = Scene()
    begun = await scene.begun(PRINCIPAL, 20)
    assert scene.behind.served == 20
    scene.behind.go_on.set()
    await asyncio.gather(*begun)


def test_a_call_that_nobody_gave_a_deadline_ends_all_the_same() -> None:
    async def main(loop: VirtualLoop) -> float:
        scene = Scene()
        with pytest.raises(CallTookTooLong):
            await scene.call("service/a")
        scene.behind.go_on.set()
        await scene.call("service/a")
        return loop.time()

    assert run_virtually(main, random.Random(1)) == pytest.approx(CALL_SECONDS_MAX)
