"""Runs while the API fails as APIs do: each weather leaves the same end, one run, and one writer a lane."""

import asyncio
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise

import pytest

from pymigrate.engine.adapters.clock import SystemClock
from pymigrate.engine.adapters.kubernetes.cluster import WATCH_SECONDS
from tests.e2e.chaos import ChaosScene, changes_objects, held, live
from tests.kube_faults import Fault, Request, said

BURST, CHANGES = 50, 30
STORM_SHARE = 0.7
PATIENCE_SECONDS = 2.0


def is_watch(request: Request) -> bool:
    return request.is_watch


def is_of_run(request: Request) -> bool:
    return changes_objects(request) and "/runs/" in request.path


@dataclass(frozen=True, slots=True)
class Weather:
    """What befalls which requests, and how many of them."""

    fault: Fault
    matches: Callable[[Request], bool]
    times: int
    watch_seconds: int = WATCH_SECONDS


WEATHERS: Mapping[str, Weather] = {
    "watches are too old": Weather(Fault(status=410, body=said(410, "Expired", "too old")), is_watch, 60),
    "watches are silent": Weather(Fault(is_silent=True), is_watch, 15, 2),
    "watches are split": Weather(Fault(split=(1, 7, 300)), is_watch, 1_000, 5),
    "watches are late": Weather(Fault(lag_seconds=0.4), is_watch, 1_000, 5),
    "watches tell old things again": Weather(Fault(repeats=20), is_watch, 1_000, 1),
    "writes meet others": Weather(Fault(status=409, body=said(409, "Conflict", "was changed")), changes_objects, 40),
    "writes fail": Weather(
        Fault(status=500, body=said(500, "InternalError", "etcdserver: timeout")), changes_objects, 25
    ),
    "everything fails": Weather(Fault(status=503, body=said(503, "ServiceUnavailable", "away")), lambda _: True, 80),
    "writes are cut off before": Weather(Fault(closes_before=True), changes_objects, 25),
    "writes are cut off after they were done": Weather(Fault(closes_after=True), changes_objects, 25),
}


@pytest.mark.parametrize("name", WEATHERS)
async def test_a_run_comes_to_its_end_where(scene: ChaosScene, name: str) -> None:
    weather = WEATHERS[name]
    rule = scene.grounds.proxy.rule(weather.fault, matches=weather.matches, times=weather.times)
    async with scene.operated(watch_seconds=weather.watch_seconds):
        await scene.apply_world(orders=held())
        lived = await live(scene, "Run first")
    assert rule.hits > 5
    scene.assert_one_run_each(lived)


async def test_the_patience_that_the_api_asks_for_is_had(scene: ChaosScene) -> None:
    clock = SystemClock()
    tries: list[float] = []

    def noted(request: Request) -> bool:
        if is_of_run(request):
            tries.append(clock.monotonic())
        return is_of_run(request)

    async with scene.operated():
        await scene.apply_world()
        refusal = Fault(
            status=429, fields={"Retry-After": f"{PATIENCE_SECONDS:g}"}, body=said(429, "TooManyRequests", "slower")
        )
        rule = scene.grounds.proxy.rule(refusal, matches=noted, times=2)
        await scene.apply("Run first", {"plan": "p"})
        found = await scene.until_told("Run first", "Succeeded", status="True")
    assert rule.hits == 2
    assert all(later - earlier >= PATIENCE_SECONDS for earlier, later in list(pairwise(tries))[:2])
    scene.assert_one_run_each(found)


async def test_a_burst_of_runs_outlives_an_api_server_that_is_killed_amid_it(scene: ChaosScene) -> None:
    server, loop = scene.grounds.server, asyncio.get_running_loop()
    died = asyncio.Event()

    def kill() -> None:
        server.api_server.kill()
        loop.call_soon_threadsafe(died.set)

    async with scene.operated():
        await scene.apply_world()
        rule = scene.grounds.proxy.rule(Fault(then=kill), matches=is_of_run, skip=BURST)
        names = [f"Run burst-{number}" for number in range(BURST)]
        applying = asyncio.gather(*(scene.apply(name, {"plan": "p"}) for name in names))
        await asyncio.wait_for(died.wait(), 60)
        await asyncio.to_thread(server.api_server.start)
        await applying
        found = [await scene.until_told(name, "Succeeded", status="True") for name in names]
    assert rule.hits == 1
    scene.assert_one_run_each(*found)


async def test_the_newest_of_many_changes_is_told_in_the_end_of_a_storm_of_conflicts(scene: ChaosScene) -> None:
    conflict, rng = Fault(status=409, body=said(409, "Conflict", "was changed")), random.Random(7)

    def is_hit(request: Request) -> bool:
        return changes_objects(request) and rng.random() < STORM_SHARE

    async with scene.operated():
        rule = scene.grounds.proxy.rule(conflict, matches=is_hit, times=60)
        await scene.apply_world()
        for users in range(1, CHANGES):
            await scene.apply("Department sales", {"users": users})
        found = await scene.until_told("Department sales", "Applied", status="True")
    assert rule.hits > 20
    assert found["metadata"]["generation"] == CHANGES
