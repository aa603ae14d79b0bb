"""Passes of all sources: each at its interval, or at once when somebody asks, a few of them at the same time."""

import asyncio
import random
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import structlog

from pymigrate.engine.application.gitops.bells import Bells
from pymigrate.engine.application.gitops.git_source_kinds import COLLECTION, sources_in
from pymigrate.engine.application.gitops.pass_outcomes import Outcome
from pymigrate.engine.application.gitops.passes import Passes
from pymigrate.engine.application.gitops.sources import Wishes
from pymigrate.engine.domain.errors import EngineUnavailable, NotFound, PyMigrateError, RepositoryUnavailable
from pymigrate.engine.domain.git_names import host_of
from pymigrate.engine.domain.git_passes import (
    INTERVAL_SECONDS_DEFAULT,
    PASSES_AT_ONCE_MAX,
    SLOW_SECONDS,
    Schedule,
    first_due,
    next_begun,
    sleep_seconds,
)
from pymigrate.engine.ports.clock import Clock
from pymigrate.engine.ports.metric_families import (
    GIT_APPLY_AGE,
    GIT_DRIFT,
    GIT_FETCH_AGE,
    GIT_PASS_DURATION,
    GIT_PASSES,
    GIT_UNMET,
)
from pymigrate.engine.ports.metrics import Metrics, Reading
from pymigrate.engine.ports.store import Store, Unit
from pymigrate.v1 import git_source_pb2

log = structlog.get_logger(__name__)
LOOK_SECONDS = 2.0


@dataclass(slots=True)
class _Source:
    """What is known of one."""

    uid: str
    environment: str
    since: float


@dataclass(slots=True)
class GitSourceLoop:
    """One for each engine. Whoever rings a source's bell wakes it."""

    store: Store
    passes: Passes
    bells: Bells[Outcome]
    wishes: Wishes
    clock: Clock
    rng: random.Random
    metrics: Metrics
    at_once_max: int = PASSES_AT_ONCE_MAX
    _schedules: dict[str, Schedule] = field(default_factory=dict)
    _sources: dict[str, _Source] = field(default_factory=dict)
    _states: list[tuple[str, str, int]] = field(default_factory=list)
    _under_way: dict[str, "asyncio.Task[None]"] = field(default_factory=dict)
    _slow_hosts: set[str] = field(default_factory=set)
    _woken: asyncio.Event = field(default_factory=asyncio.Event)
    _rung: set[str] = field(default_factory=set)
    _looked: float = 0.0
    _is_begun: bool = False

    def __post_init__(self) -> None:
        self.bells.follow(self._ring)
        self.metrics.collect("git_sources", self._read)

    async def run(self) -> None:
        """Passes until it is cancelled; those under way end with it, and git's processes with them."""
        try:
            while True:
                try:
                    await self.step()
                except PyMigrateError as error:  # the store does not answer: it is asked again
                    log.warning("git_sources.failed", reason=error.reason, error=error.message)
                await self._rest()
        finally:
            await self.close()

    async def step(self) -> None:
        """Looks which sources there are where that is due, and begins what is due."""
        now = self.clock.monotonic()
        unknown = self._rung - self._schedules.keys()
        if unknown or not self._is_begun or now - self._looked >= LOOK_SECONDS:
            await self._look(now)
        for name in sorted(self._rung):
            if name in self._schedules:
                self._schedules[name] = self._schedules[name].rung()
            elif not self.bells.is_under_way(name):
                self.bells.forget(name, NotFound(f"there is no {name}", field="name"))
        self._rung.clear()
        while begun := next_begun(self._schedules, self._under_way, self._slow_hosts, now, self.at_once_max):
            self._schedules[begun] = self._schedules[begun].begun()
            self.bells.begin(begun)
            self._under_way[begun] = asyncio.create_task(self._pass(begun), name=f"pass of {begun}")

    async def close(self) -> None:
        """Ends the passes that are under way."""
        ending = list(self._under_way.values())
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)

    async def idle(self) -> None:
        """Returns when no pass is under way: for tests that step."""
        while self._under_way:
            await asyncio.gather(*self._under_way.values())

    def _ring(self, name: str) -> None:
        self._rung.add(name)
        self._woken.set()

    async def _rest(self) -> None:
        """Until somebody asks, a pass ends, or one is due."""
        now = self.clock.monotonic()
        longest = sleep_seconds(self._schedules, self._under_way, self._slow_hosts, now, LOOK_SECONDS, self.at_once_max)
        waiting = asyncio.create_task(self._woken.wait())
        sleeping = asyncio.ensure_future(self.clock.sleep(max(longest, 0.0)))
        try:
            await asyncio.wait((waiting, sleeping), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (waiting, sleeping):
                task.cancel()
            await asyncio.gather(waiting, sleeping, return_exceptions=True)
        self._woken.clear()

    async def _look(self, now: float) -> None:
        """Takes in which sources there are, where any has come, gone or been changed."""
        states = list(await self.store.read(lambda unit: unit.resources.states(COLLECTION, "")))
        self._looked = now
        if states == self._states and self._is_begun:
            return
        found = await self.store.read(_sources)
        gone = self._schedules.keys() - {source.name for source in found}
        for name in gone - self._under_way.keys():
            uid = self._sources[name].uid
            self._forget(name)
            await self.passes.forget(uid)
        for source in found:
            self._take_in(source, now, len(found))
        self._states, self._is_begun = states, True

    def _take_in(self, source: git_source_pb2.GitSource, now: float, count: int) -> None:
        interval = float(source.interval_seconds or INTERVAL_SECONDS_DEFAULT)
        host, known = host_of(source.url), self._schedules.get(source.name)
        if known is None or self._sources[source.name].uid != source.uid:
            # At the start there may be many; one that was declared since then is looked at at once.
            due = now if self._is_begun else first_due(now, interval, self.rng.random(), count)
            self._schedules[source.name] = Schedule(interval, due, host)
            self._sources[source.name] = _Source(source.uid, source.environment, now)
            return
        due = min(known.due, now + interval)
        self._schedules[source.name] = replace(known, interval_seconds=interval, host=host, due=due)
        self._sources[source.name].environment = source.environment

    def _forget(self, name: str) -> None:
        self._schedules.pop(name, None)
        self._sources.pop(name, None)
        self.metrics.forget(GIT_PASSES, "source", name.rpartition("/")[2])

    async def _pass(self, name: str) -> None:
        began, wish = self.clock.monotonic(), self.wishes.take(name)
        outcome: Outcome | BaseException = EngineUnavailable("the engine ends")
        try:
            outcome = await self.passes.run(name, wish)
        except NotFound as error:
            outcome = error
        except PyMigrateError as error:
            log.warning("git_source.pass_failed", source=name, reason=error.reason, error=error.message)
            outcome = error
        except Exception as error:
            log.exception("git_source.pass_broken", source=name, error=type(error).__name__)
            outcome = error
        finally:
            self._end(name, outcome, self.clock.monotonic() - began)

    def _end(self, name: str, outcome: Outcome | BaseException, seconds: float) -> None:
        now = self.clock.monotonic()
        self._under_way.pop(name, None)
        self.bells.end(name, outcome)
        self._woken.set()
        schedule, source = self._schedules.get(name), self._sources.get(name)
        if isinstance(outcome, NotFound):
            self._forget(name)
            return
        if schedule is None or source is None:
            return
        is_well, result, error = False, "failed", outcome if isinstance(outcome, BaseException) else None
        if isinstance(outcome, Outcome):
            is_well, result, error = outcome.is_well, outcome.result, outcome.error
        self._schedules[name] = schedule.after(now, self.rng.random(), is_well=is_well)
        is_slow = seconds >= SLOW_SECONDS or isinstance(error, RepositoryUnavailable)
        (self._slow_hosts.add if is_slow else self._slow_hosts.discard)(schedule.host)
        self.metrics.add(GIT_PASSES, (source.environment, name.rpartition("/")[2], result))
        self.metrics.observe(GIT_PASS_DURATION, (source.environment, result), seconds)

    def _read(self) -> Iterator[Reading]:
        """Ages, drift and conditions as they are now."""
        now = self.clock.monotonic()
        fetches, applies, drift, unmet = [], [], [], []
        for name, source in sorted(self._sources.items()):
            labels = (source.environment, name.rpartition("/")[2])
            status = self.passes.known_status(source.uid)
            fetched, applied = self.passes.ages_seconds(source.uid)
            fetches.append((labels, fetched if fetched >= 0 else now - source.since))
            applies.append((labels, applied if applied >= 0 else now - source.since))
            drift.append((labels, float(len(status.drift))))
            unmet += [((*labels, each.type, each.reason), 1.0) for each in status.conditions if not each.is_met]
        yield Reading(GIT_FETCH_AGE, fetches)
        yield Reading(GIT_APPLY_AGE, applies)
        yield Reading(GIT_DRIFT, drift)
        yield Reading(GIT_UNMET, unmet)


def _sources(unit: Unit) -> list[git_source_pb2.GitSource]:
    return list(sources_in(unit))
