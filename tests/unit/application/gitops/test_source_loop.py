"""Passes of many sources: at their intervals, at once when somebody asks, with a slow remote in nobody's way."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from pymigrate.engine.application.gitops.git_source_kinds import GIT_SOURCES
from pymigrate.engine.domain.errors import EngineUnavailable, NotFound, RepositoryUnavailable
from pymigrate.engine.ports.metric_families import GIT_APPLY_AGE, GIT_DRIFT, GIT_FETCH_AGE, GIT_PASSES, GIT_UNMET
from pymigrate.engine.ports.repository import Reference, Remote
from pymigrate.engine.testing.repositories import MemoryHosted, MemoryRepositories, MemoryRepository
from tests.unit.application.gitops.sourced import ENVIRONMENT, ME, NAME, Sourced, department


@asynccontextmanager
async def running(scene: Sourced) -> AsyncIterator[None]:
    """With the loop at work."""
    task = asyncio.create_task(scene.loop.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def begun(**fields: Any) -> Sourced:
    scene = Sourced()
    scene.push({"env.yaml": ENVIRONMENT})
    await scene.declare(**fields)
    return scene


async def test_a_source_is_passed_at_its_interval() -> None:
    scene = await begun(intervalSeconds=10)
    async with running(scene):
        await scene.clock.run_for(100)
        assert 9 <= scene.copy().asked["find"] <= 13
        sha = scene.push({"b.yaml": department("sales")})
        await scene.clock.run_for(11.5)
    assert (await scene.status()).applied_commit == sha


async def test_a_ring_makes_it_come_at_once_and_a_burst_is_one_pass() -> None:
    scene = await begun(intervalSeconds=3_600)
    async with running(scene):
        await scene.clock.run_for(5)
        asked = scene.copy().asked["find"]
        sha = scene.push({"b.yaml": department("sales")})
        for _ in range(100):
            scene.bells.ring(NAME)
        await scene.clock.run_for(0.1)
        assert scene.copy().asked["find"] == asked + 1
    assert (await scene.status()).applied_commit == sha


async def test_after_failures_it_comes_less_often_and_a_ring_comes_at_once() -> None:
    scene = await begun(intervalSeconds=10)
    async with running(scene):
        await scene.clock.run_for(5)
        scene.hosted.failure = RepositoryUnavailable("away")
        await scene.clock.run_for(600)
        asked = scene.copy().asked["find"]
        assert asked < 12
        scene.hosted.failure = None
        scene.bells.ring(NAME)
        await scene.clock.run_for(0.1)
        assert scene.copy().asked["find"] == asked + 1
    assert (await scene.conditions())["Ready"] == "READY"


async def test_a_call_waits_for_a_pass_that_begins_after_it() -> None:
    scene = await begun(intervalSeconds=3_600)
    async with running(scene):
        await scene.clock.run_for(5)
        sha = scene.push({"b.yaml": department("sales")})
        waiting = asyncio.create_task(scene.sources.sync(NAME, ME, is_dry=False))
        await scene.clock.run_for(0.1)
        revision = await waiting
    assert (revision.commit, revision.actor) == (sha, "me")


async def test_a_call_is_told_what_is_wrong_with_the_repository() -> None:
    scene = await begun(intervalSeconds=3_600)
    scene.hosted.failure = RepositoryUnavailable("git.example.com does not answer")
    async with running(scene):
        waiting = asyncio.create_task(scene.sources.sync(NAME, ME, is_dry=False))
        await scene.clock.run_for(1)
        with pytest.raises(RepositoryUnavailable, match="does not answer"):
            await waiting


class SlowRepository(MemoryRepository):
    """Answers when a test lets it."""

    def __init__(self, inner: MemoryRepository, gate: asyncio.Event) -> None:
        self.__dict__.update(inner.__dict__)
        self._gate = gate

    async def find(self, remote: Remote, reference: Reference) -> str:
        """Waits first."""
        await self._gate.wait()
        return await super().find(remote, reference)


class SlowRepositories(MemoryRepositories):
    """Those of sources at one url are slow."""

    gate: asyncio.Event

    def of(self, uid: str) -> MemoryRepository:
        """The copy."""
        return SlowRepository(super().of(uid), self.gate) if uid in self.slow else super().of(uid)

    slow: set[str]


async def test_a_slow_remote_delays_no_other_source() -> None:
    repositories = SlowRepositories()
    repositories.gate, repositories.slow = asyncio.Event(), set()
    scene = Sourced(repositories=repositories)
    repositories.hosted["https://slow.example.com/x"] = MemoryHosted()
    repositories.hosted["https://slow.example.com/x"].commit({"x": "y"})
    scene.push({"env.yaml": ENVIRONMENT})
    for at in range(8):
        slow = await scene.declare(f"slow{at}", url="https://slow.example.com/x", environment="")
        repositories.slow.add(slow.uid)
    await scene.declare("quick", intervalSeconds=10)
    async with running(scene):
        await scene.clock.run_for(60)
        status = await scene.status("gitSources/quick")
        quick = await scene.store.read(lambda unit: scene.catalog.get(unit, GIT_SOURCES, "gitSources/quick").uid)
        assert status.applied_commit == scene.hosted.branches["main"]
        assert repositories.copies[quick].asked["find"] >= 4
        repositories.gate.set()
        await scene.clock.run_for(60)
    for at in range(8):
        assert (await scene.status(f"gitSources/slow{at}")).seen_commit != ""


async def test_a_thousand_sources_are_held_and_write_nothing_where_nothing_changes() -> None:
    scene = Sourced()
    scene.push({"x.txt": "y"})
    for at in range(1_000):
        await scene.declare(f"s{at}", environment="", intervalSeconds=600)
    async with running(scene):
        await scene.clock.run_for(100)
        found = await scene.store.read(lambda unit: [each[0] for each in unit.resources.states("gitSources", "")])
        for name in (found[0], found[500], found[-1]):
            assert (await scene.conditions(name))["Ready"] == "READY"
        writes = scene.store.writes
        await scene.clock.run_for(660)
        assert scene.store.writes == writes
    assert all(each.asked["find"] >= 2 for each in scene.repositories.copies.values())


async def test_a_source_that_is_deleted_is_passed_no_more_and_who_waits_is_told() -> None:
    scene = await begun(intervalSeconds=10)
    async with running(scene):
        await scene.clock.run_for(5)
        await scene.sources.delete(NAME, "", ME)
        assert scene.repositories.copies == {}
        waiting = asyncio.create_task(scene.bells.next(NAME))
        await scene.clock.run_for(5)
        with pytest.raises(NotFound):
            await waiting
        await scene.clock.run_for(60)
        assert scene.repositories.copies == {}


async def test_passes_under_way_end_with_the_engine() -> None:
    repositories = SlowRepositories()
    repositories.gate, repositories.slow = asyncio.Event(), set()
    scene = Sourced(repositories=repositories)
    scene.push({"env.yaml": ENVIRONMENT})
    repositories.slow.add((await scene.declare()).uid)
    async with running(scene):
        waiting = asyncio.create_task(scene.bells.next(NAME))
        await scene.clock.run_for(1)
    with pytest.raises(EngineUnavailable):
        await waiting


async def test_metrics_tell_passes_ages_drift_and_what_does_not_hold() -> None:
    scene = await begun(intervalSeconds=10)
    async with running(scene):
        await scene.clock.run_for(5)
        labels = ("prod", "warehouse")
        assert scene.metrics.values[GIT_PASSES][*labels, "applied"] == 1
        scene.hosted.failure = RepositoryUnavailable("away")
        await scene.clock.run_for(20)
        read = scene.metrics.read("git_sources")
    assert scene.metrics.values[GIT_PASSES][*labels, "failed"] >= 1
    assert read[GIT_FETCH_AGE.name][labels] > 10
    assert read[GIT_APPLY_AGE.name][labels] > 10
    assert read[GIT_DRIFT.name][labels] == 0
    assert read[GIT_UNMET.name] == {
        (*labels, "Ready", "REPOSITORY_UNAVAILABLE"): 1,
        (*labels, "Available", "REPOSITORY_UNAVAILABLE"): 1,
    }
