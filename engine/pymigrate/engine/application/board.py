"""The runs under way: one decision core each, and what the store holds of it, changed together or not at all."""

import asyncio
import random
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TypeVar

import structlog

from pymigrate.engine.application.active_runs import ActiveRun, keep_renewals
from pymigrate.engine.application.changes import Change, Changes, whole
from pymigrate.engine.application.run_places import run_log_fields
from pymigrate.engine.domain.errors import EngineUnavailable, NotFound
from pymigrate.engine.domain.happenings import Begun, CoreEvent, Progressed
from pymigrate.engine.domain.names import no_run
from pymigrate.engine.domain.orchestration import RunCore
from pymigrate.engine.domain.run import Entity, RunAggregate, RunEvent
from pymigrate.engine.domain.run_states import RUN_ENDED, RunState
from pymigrate.engine.ports.clock import Clock
from pymigrate.engine.ports.store import AuditEntry, Store, Unit
from pymigrate.v1 import run_pb2

log = structlog.get_logger(__name__)
IDLE_CORES_MAX = 64
ADDED_KEPT_MAX = 10_000
Seen = TypeVar("Seen")


class Board:
    """Every run that has not ended, and the few ended ones that were looked at last."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        rng: random.Random,
        core: Callable[[RunAggregate, random.Random], RunCore] = RunCore,
    ) -> None:
        self._core = core
        self._store = store
        self._clock = clock
        self._rng = rng
        self._runs: dict[str, ActiveRun] = {}
        self._loading = asyncio.Lock()
        self._on_work: list[Callable[[], None]] = []
        self._commits: set[asyncio.Task[None]] = set()
        self._added: deque[str] = deque(maxlen=ADDED_KEPT_MAX)
        self.changes = Changes()

    def on_work(self, callback: Callable[[], None]) -> None:
        """Calls back whenever there may be work that was not there before."""
        self._on_work.append(callback)

    def active(self) -> Iterator[RunCore]:
        """The cores of all runs in memory that have not ended, or for which something is still to be done, ordered by name."""
        # Whoever goes through them may wait in between, and runs that have ended may be forgotten meanwhile.
        for active in [self._runs[name] for name in sorted(self._runs)]:
            if active.is_live:
                yield active.core

    def take_added(self) -> list[str]:
        """The runs that were added since the last call, whether or not they have ended meanwhile; at most the newest 10,000."""
        added = list(self._added)
        self._added.clear()
        return added

    def core(self, name: str) -> RunCore | None:
        """The core of a run in memory of which something is still to be done."""
        active = self._runs.get(name)
        return active.core if active is not None and active.is_live else None

    async def restore(self) -> list[str]:
        """Takes over the runs that an engine left unfinished; their names."""
        names = await self._store.read(_unfinished)
        for name in names:
            await self.apply(name, Begun())
        return names

    async def catch_up(self) -> list[str]:
        """Takes over what reached the store behind this engine's back: the last commit of the engine that it followed may come after
        it has looked. The names of the runs that were behind."""
        held = [core.run.name for core in self.active()]

        def look(unit: Unit) -> dict[str, int]:
            return dict(sorted(unit.runs.versions({*held, *_unfinished(unit)}).items()))

        behind = []
        for name, version in (await self._store.read(look)).items():
            known = self._runs.get(name)
            is_doubtful = known is not None and known.is_doubtful
            if known is not None and not is_doubtful and known.core.run.version >= version:
                continue
            async with self._locked(name) as active:
                if known is not None and not is_doubtful and active.core.run.version >= version:
                    continue  # it was this engine's own commit, which was not done yet
                if not is_doubtful:
                    await self._reload(name, active)
            log.warning("run.caught_up", run=name)
            await self.apply(name, Begun())
            behind.append(name)
        return behind

    async def add(self, aggregate: RunAggregate, revision: bytes, audit: AuditEntry) -> RunCore:
        """Stores a new run and begins it, in one transaction."""
        core = self._core(aggregate, self._rng)
        core.apply(Begun(), self._clock.now())
        _, events = core.take()

        def insert(unit: Unit) -> None:
            unit.runs.insert(aggregate, revision)
            unit.runs.append(aggregate.run.name, events)
            unit.audit.append(replace(audit, revision=aggregate.run.plan_hash))

        await self._store.transact(insert)
        self._added.append(aggregate.run.name)
        self.changes.tell(whole(aggregate, self._clock.now(), events))
        # Whoever looked at it since it was stored has loaded it: theirs is as good, and watched perhaps.
        active = self._runs.setdefault(aggregate.run.name, ActiveRun(core))
        active.revision = active.revision or run_pb2.PlanRevision.FromString(revision)
        self._tell_work()
        return active.core

    async def apply(
        self, name: str, event: CoreEvent, audit: AuditEntry | None = None, revision: bytes | None = None
    ) -> bool:
        """Takes in an event and stores what follows, in one transaction: the revision too, if the event changed anything. Returns what
        the core returned; raises what it raised, with nothing changed."""
        async with self._locked(name) as active:
            core, now = active.core, self._clock.now()
            accepted = core.apply(event, now)
            entities, events = core.take()
            if not entities and audit is None:
                return accepted

            def save(unit: Unit) -> None:
                unit.runs.save(name, entities)
                unit.runs.append(name, events)
                if revision is not None and accepted:
                    unit.runs.set_revision(name, revision)
                if audit is not None:
                    unit.audit.append(replace(audit, revision=core.run.plan_hash))

            await self._store.transact(save)
            self.changes.tell(Change(name, now, entities, events))
            if revision is not None:
                active.revision = None
            for moment in events:
                log.info(
                    moment.type,
                    subject=moment.subject,
                    before=moment.from_state,
                    after=moment.to_state,
                    **run_log_fields(core.run),
                )
        if events:
            self._tell_work()
        return accepted

    async def report(self, name: str, event: Progressed) -> bool:
        """`apply` for a lane's progress: what many lanes of a run report while one commit is under way goes into the next one together."""
        active = await self._require(name)
        answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        active.reports.append((event, answer))
        if len(active.reports) == 1:
            commit = asyncio.get_running_loop().create_task(self._commit_reports(name, active))
            self._commits.add(commit)
            commit.add_done_callback(self._commits.discard)
        return await answer

    async def _commit_reports(self, name: str, reported: ActiveRun) -> None:
        batch: list[tuple[Progressed, asyncio.Future[bool]]] = []
        try:
            async with self._locked(name) as active:
                batch, reported.reports = reported.reports, []
                now = self._clock.now()
                accepted = [active.core.apply(event, now) for event, _ in batch]
                entities, events = active.core.take()
                if entities:
                    await self._store.transact(lambda unit: _save(unit, name, entities, events))
                    self.changes.tell(Change(name, now, entities, events))
        except BaseException as error:
            if not batch:
                batch, reported.reports = reported.reports, []
            told = error if isinstance(error, Exception) else EngineUnavailable("the engine ends")
            for _, answer in batch:
                if not answer.done():
                    answer.set_exception(told)
            if not isinstance(error, Exception):
                raise
        else:
            for (_, answer), is_accepted in zip(batch, accepted, strict=True):
                if not answer.done():
                    answer.set_result(is_accepted)

    async def view(self, name: str, look: Callable[[RunAggregate], Seen]) -> Seen:
        """What `look` makes of a run as last stored: never of a change that is still being committed. Raises NotFound."""
        async with self._locked(name) as active:
            return look(active.core.aggregate)

    async def views(self, names: Sequence[str], look: Callable[[RunAggregate], Seen]) -> list[Seen]:
        """`view` of those of several runs that there are, in their order; those that are not in memory are read together, and not kept."""
        cold, seen = {name for name in names if name not in self._runs}, []
        found = await self._store.read(lambda unit: unit.runs.load_all(cold)) if cold else ()
        stored = {aggregate.run.name: aggregate for aggregate in found}
        for name in names:
            if name in self._runs or name not in cold:
                seen.append(await self.view(name, look))
            elif name in stored:
                seen.append(look(stored[name]))
        return seen

    async def revision(self, name: str) -> run_pb2.PlanRevision:
        """The frozen revision of a run. Raises NotFound."""
        active = await self._require(name)
        if active.revision is None:
            stored = await self._store.read(lambda unit: unit.runs.revision(name))
            active.revision = run_pb2.PlanRevision.FromString(stored or b"")
        return active.revision

    @asynccontextmanager
    async def _locked(self, name: str) -> AsyncIterator[ActiveRun]:
        active = await self._require(name)
        async with active.lock:
            if active.is_doubtful:
                await self._reload(name, active)
            try:
                yield active
            except BaseException:
                active.is_doubtful = True
                await self._reload(name, active)
                raise

    async def _reload(self, name: str, active: ActiveRun) -> None:
        """What memory and store hold may differ now: the store is right. Where it does not answer either, the next one asks again."""
        stored = await self._store.read(lambda unit: unit.runs.load(name))
        if stored is not None:
            active.core, before = self._core(stored, self._rng), active.core
            keep_renewals(before, active.core)
            # The change may have been stored, and nobody else tells it.
            self.changes.tell(whole(stored, self._clock.now()))
        active.is_doubtful = False

    async def _require(self, name: str) -> ActiveRun:
        async with self._loading:
            if name not in self._runs:
                stored = await self._store.read(lambda unit: unit.runs.load(name))
                if stored is None:
                    raise NotFound(no_run(name), field="name")
                self._forget_idle()
                self.changes.tell(whole(stored, self._clock.now(), is_look=True))
                return self._runs.setdefault(name, ActiveRun(self._core(stored, self._rng)))
            return self._runs[name]

    def _forget_idle(self) -> None:
        idle = [n for n, run in self._runs.items() if not run.is_live]
        for name in idle[: max(0, len(idle) - IDLE_CORES_MAX + 1)]:
            if not self._runs[name].lock.locked():
                del self._runs[name]

    def _tell_work(self) -> None:
        for callback in self._on_work:
            callback()


def _save(unit: Unit, name: str, entities: Iterable[Entity], events: Iterable[RunEvent]) -> None:
    unit.runs.save(name, entities)
    unit.runs.append(name, events)


def _unfinished(unit: Unit) -> list[str]:
    unfinished = [state for state in RunState if state not in RUN_ENDED]
    return sorted({*unit.runs.names_in(unfinished), *unit.runs.names_with_work()})
