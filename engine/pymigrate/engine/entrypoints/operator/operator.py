"""The operator at work, while it leads: mirrors of custom resources, first words, passes, what happens to runs, Events; and its end."""

import asyncio
import random
from collections.abc import Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import structlog

from pymigrate.engine.application.clusters.mirror import Mirror
from pymigrate.engine.application.clusters.work_queue import Worked, WorkQueue
from pymigrate.engine.entrypoints.custom_resources import RUN
from pymigrate.engine.entrypoints.operator.declared import PLAN, Declared
from pymigrate.engine.entrypoints.operator.definition_batches import DOCUMENTS_MAX, DefinitionBatches
from pymigrate.engine.entrypoints.operator.dependents import Dependents, plan_place
from pymigrate.engine.entrypoints.operator.engine import EngineCalls
from pymigrate.engine.entrypoints.operator.finalizing import Finalizing
from pymigrate.engine.entrypoints.operator.first_words import FirstWords, needs_first_word
from pymigrate.engine.entrypoints.operator.happenings import Happenings
from pymigrate.engine.entrypoints.operator.objects import (
    RESOURCE_TYPES,
    EnvironmentRule,
    Key,
    environment_of_object,
    is_just_held,
    key_of,
    shape_of,
    uid_of,
)
from pymigrate.engine.entrypoints.operator.reconciling import Reconciler, Reconciling
from pymigrate.engine.entrypoints.operator.run_stream import RunStream
from pymigrate.engine.entrypoints.operator.shares import Shares
from pymigrate.engine.entrypoints.operator.status_writing import StatusWriter
from pymigrate.engine.entrypoints.operator.waking import WAKE_SECONDS, Waking
from pymigrate.engine.ports.clock import Clock
from pymigrate.engine.ports.cluster import Cluster, Object

log = structlog.get_logger(__name__)
FIRST_WORKERS = 32
RETRY_SHARE = 4
RETRY_WORKERS_MAX = 16  # what fails for ever asks the engine again and again: no more of it at once
# Passes over what is declared share their calls, so that many of them cost the engine no more than few.
DECLARED_WORKERS = DOCUMENTS_MAX * RETRY_SHARE // (RETRY_SHARE - 1)
# How long a pass lets first words go before it: together they would be slower than one after the other, as they share the API's and the
# engine's processors.
FIRST_SECONDS_MAX = 2.0
DRAIN_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class OperatorOptions:
    """`namespace`: the only one that is looked at; empty: all. `workers`: passes over Runs at once."""

    rule: EnvironmentRule = EnvironmentRule.NAMESPACE
    namespace: str = ""
    workers: int = 256


@dataclass(frozen=True, slots=True)
class Parts:
    """What reconcilers are made of."""

    cluster: Cluster
    engine: EngineCalls
    finalizing: Finalizing
    dependents: Dependents
    plan_dependents: Dependents
    runs: RunStream
    clock: Clock
    rng: random.Random
    rule: EnvironmentRule
    note: Callable[[Key, Object], None]
    read: Callable[[Key], Object | None]


BuildRuns = Callable[[Parts], Reconciler]


class Operator:
    """Works once. `cluster` and `engine` refuse to write without the leadership. `build_runs` makes what reconciles Runs."""

    def __init__(
        self,
        cluster: Cluster,
        engine: EngineCalls,
        clock: Clock,
        rng: random.Random,
        options: OperatorOptions,
        build_runs: BuildRuns | None = None,
        on_worked: Callable[[Key, Worked], None] = lambda _, __: None,
    ) -> None:
        self._clock = clock
        self._options = options
        self._shapes: dict[Key, tuple[Any, ...]] = {}
        self.happenings = Happenings(cluster, clock)
        self.dependents = Dependents()
        self.plan_dependents = Dependents()
        self.batches = DefinitionBatches(engine, clock)
        self.waking = Waking(self.dependents, self._later, self._plans)
        self.runs = RunStream(engine, clock, rng, self._again, self._engine_back, self.waking.wake)
        self.writer = StatusWriter(cluster, clock, self.note, self.happenings.turned)
        self._finalizing = Finalizing(cluster, self.note)
        self.reconcilers = self._reconcilers(cluster, engine, rng, build_runs)
        self._passes = Reconciling(cluster, self.writer, self.reconcilers, rng, self.read, self.note)
        self.queue = Shares(*(self._share(workers, rng, on_worked) for workers in (options.workers, DECLARED_WORKERS)))
        self._first_words = FirstWords(self.writer, self.read, self.queue.add)
        self.first: WorkQueue[Key] = WorkQueue(
            clock,
            rng,
            self._first_words.work,
            workers=FIRST_WORKERS,
            retry_workers=FIRST_WORKERS // RETRY_SHARE,
        )
        self.mirrors: Mapping[str, Mirror] = {
            word: Mirror(
                cluster,
                RESOURCE_TYPES[word],
                clock,
                rng,
                namespace=options.namespace,
                on_change=self._heard(word),
                on_back=self._cluster_back,
            )
            for word in self.reconcilers
        }

    def read(self, key: Key) -> Object | None:
        """An object as it was last heard of."""
        return self.mirrors[key.word].get(key.namespace, key.name)

    def note(self, key: Key, written: Object) -> None:
        """An object as the pass under way has written or read it, which goes on with that: no other pass is needed for it."""
        if key in self._shapes:
            self._shapes[key] = shape_of(written)
        self.mirrors[key.word].note(written)
        self._plan_told(key)

    async def run(self, ending: asyncio.Event) -> None:
        """Works until `ending` is set, then takes nothing more and ends what is under way, within DRAIN_SECONDS."""
        works: list[Coroutine[Any, Any, None]] = [
            *(mirror.run() for mirror in self.mirrors.values()),
            self.first.run(),
            *(each.run() for each in self.queue.queues),
            self.runs.run(),
            self.happenings.run(),
        ]
        tasks = [asyncio.ensure_future(each) for each in works]
        ended = asyncio.ensure_future(_set(ending))
        log.info("operator.working", namespace=self._options.namespace or "all", environments=self._options.rule)
        try:
            await asyncio.wait((*tasks, ended), return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                if task.done():
                    task.result()  # none of them ends by itself
            await self._drain()
        finally:
            for task in (*tasks, ended):
                task.cancel()
            await asyncio.gather(*tasks, ended, return_exceptions=True)
            await self.batches.close()

    def _share(self, workers: int, rng: random.Random, on_worked: Callable[[Key, Worked], None]) -> WorkQueue[Key]:
        """A queue with so many workers, some of them for what failed."""
        retry_workers = max(1, min(RETRY_WORKERS_MAX, workers // RETRY_SHARE))
        return WorkQueue(
            self._clock,
            rng,
            self._work,
            workers=max(1, workers - retry_workers),
            retry_workers=retry_workers,
            on_worked=on_worked,
        )

    async def _work(self, key: Key) -> float | None:
        """A pass, after the first words about everything that was seen until now."""
        if self.first.running or len(self.first):
            told = asyncio.ensure_future(self.first.drained())
            limit = asyncio.ensure_future(self._clock.sleep(FIRST_SECONDS_MAX))
            try:
                await asyncio.wait((told, limit), return_when=asyncio.FIRST_COMPLETED)
            finally:
                for each in (told, limit):
                    each.cancel()
                await asyncio.gather(told, limit, return_exceptions=True)
        return await self._passes.work(key)

    async def _drain(self) -> None:
        log.info("operator.draining", under_way=self.queue.running + self.first.running)
        for queue in (self.first, self.queue):
            queue.stop_taking()
        drained = asyncio.gather(self.first.drained(), self.queue.drained())
        limit = asyncio.ensure_future(self._clock.sleep(DRAIN_SECONDS))
        await asyncio.wait((drained, limit), return_when=asyncio.FIRST_COMPLETED)
        for each in (drained, limit):
            each.cancel()
        await asyncio.gather(drained, limit, return_exceptions=True)

    def _plan_told(self, key: Key) -> None:
        """Runs that wait for a resource which declares their plan have it in their own status where that stands."""
        if key.word == PLAN:
            for run in self.plan_dependents.of(plan_place(key.namespace, key.name)):
                self.queue.add_after(run, WAKE_SECONDS)

    def _heard(self, word: str) -> Callable[[str, str, Object | None], None]:
        def on_change(namespace: str, name: str, found: Object | None) -> None:
            key = Key(word, namespace, name)
            if found is None:
                self._gone(key)
                return
            if word != RUN:
                self._declared.heard(key, found)
            shape = shape_of(found)
            if (before := self._shapes.get(key)) == shape:
                return  # a status was written, most often by ourselves
            if word == RUN:
                if before is not None and before[0] != shape[0]:
                    self.runs.forget(before[0])
                self.runs.note(key, uid_of(found))
            self._shapes[key] = shape
            if before is not None and is_just_held(before, shape):
                return  # the watch was faster than the answer to our own write
            (self.first if needs_first_word(found) else self.queue).add(key)

        return on_change

    def _gone(self, key: Key) -> None:
        if (shape := self._shapes.pop(key, None)) is not None and key.word == RUN:
            self.runs.forget(shape[0])
        self._plan_told(key)
        self.queue.add(key)

    def _again(self, key: Key) -> None:
        self.queue.add(key)

    def _later(self, key: Key, seconds: float) -> None:
        self.queue.add_after(key, seconds)

    def _engine_back(self) -> None:
        """What failed since it was away is tried at once."""
        self.queue.hurry()

    def _cluster_back(self) -> None:
        """What failed since the API was away is tried at once."""
        for queue in (self.first, self.queue):
            queue.hurry()

    def _plans(self, environment: str) -> Iterator[Key]:
        for found in self.mirrors[PLAN].objects():
            if environment_of_object(PLAN, found, self._options.rule) == environment:
                yield key_of(PLAN, found)

    def _reconcilers(
        self, cluster: Cluster, engine: EngineCalls, rng: random.Random, build_runs: BuildRuns | None
    ) -> Mapping[str, Reconciler]:
        declared = self._declared = Declared(
            engine,
            self.batches,
            self._finalizing,
            self.dependents,
            self._options.rule,
            self.waking.wake,
            self._again,
            self.waking.hash_turned,
        )
        found: dict[str, Reconciler] = {word: declared for word in RESOURCE_TYPES if word != RUN}
        if build_runs is not None:
            parts = Parts(
                cluster,
                engine,
                self._finalizing,
                self.dependents,
                self.plan_dependents,
                self.runs,
                self._clock,
                rng,
                self._options.rule,
                self.note,
                self.read,
            )
            found[RUN] = build_runs(parts)
        return found


async def _set(event: asyncio.Event) -> None:
    await event.wait()
