"""A store in memory that behaves as the real ones do: whole units or nothing, compare-and-set, copies going in and coming out.

What a unit writes is journalled, so that an exception really undoes it, versions of entities included.
"""

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TypeVar

from pymigrate.engine.domain.errors import AlreadyExists, EngineUnavailable, StaleWrite
from pymigrate.engine.domain.run import DatasetRun, Entity, Lane, PhaseRun, Run, RunAggregate, RunEvent, Task
from pymigrate.engine.domain.run_keys import is_given_up
from pymigrate.engine.domain.run_states import RunState
from pymigrate.engine.ports.hosts import HostRecord
from pymigrate.engine.ports.store import Resource, Unit, state_of
from pymigrate.engine.testing.deliveries import MemoryDeliveries
from pymigrate.engine.testing.estimates import MemoryEstimates, MemoryMeasures, MemorySamples
from pymigrate.engine.testing.feed import MemoryAudit, MemoryFeed, MemoryOutbox, append_event
from pymigrate.engine.testing.figures import MemoryFigures
from pymigrate.engine.testing.git_records import MemoryGitRecords
from pymigrate.engine.testing.incidents import MemoryConditions, MemoryIncidents
from pymigrate.engine.testing.journal import Journal
from pymigrate.engine.testing.seals import MemorySeals
from pymigrate.engine.testing.store_tables import Tables, copied, is_open, key_of

Result = TypeVar("Result")
ALL_PLANS = "/-"


class _Resources:
    def __init__(self, tables: Tables, journal: Journal) -> None:
        self._resources = tables.resources
        self._journal = journal

    def get(self, name: str) -> Resource | None:
        return self._resources.get(name)

    def get_all(self, names: Collection[str]) -> Sequence[Resource]:
        return [self._resources[name] for name in sorted(set(names)) if name in self._resources]

    def list(self, kind: str, parent: str, after: str, limit: int) -> Sequence[Resource]:
        found = [r for r in self._resources.values() if (r.kind, r.parent) == (kind, parent) and r.name > after]
        return sorted(found, key=lambda resource: resource.name)[:limit]

    def names(self, kind: str, parent: str) -> Sequence[str]:
        return sorted(r.name for r in self._resources.values() if (r.kind, r.parent) == (kind, parent))

    def states(self, kind: str, parent: str) -> Sequence[tuple[str, str, int]]:
        found = [r for r in self._resources.values() if (r.kind, r.parent) == (kind, parent)]
        return sorted((r.name, r.uid, state_of(r.version, r.resolved)) for r in found)

    def owned(self, managed_by: str) -> Sequence[tuple[str, str, int]]:
        found = [r for r in self._resources.values() if r.managed_by == managed_by]
        return sorted((r.name, r.uid, state_of(r.version, r.resolved)) for r in found)

    def within(self, name: str) -> Sequence[Resource]:
        found = [resource for resource in self._resources.values() if resource.name.startswith(f"{name}/")]
        return sorted(found, key=lambda resource: resource.name)

    def has_children(self, parent: str) -> bool:
        return any(resource.parent == parent for resource in self._resources.values())

    def insert(self, resource: Resource) -> None:
        if resource.name in self._resources:
            raise AlreadyExists(f"{resource.name} exists already", field="name")
        self._require_unique(resource)
        self._journal.put(self._resources, resource.name, resource)

    def update(self, resource: Resource, expected_version: int) -> None:
        self._require_version(resource.name, expected_version)
        self._require_unique(resource)
        self._journal.put(self._resources, resource.name, resource)

    def delete(self, name: str, expected_version: int) -> None:
        self._require_version(name, expected_version)
        self._journal.drop(self._resources, name)

    def insert_all(self, resources: Sequence[Resource]) -> None:
        for each in resources:
            self.insert(each)

    def _require_unique(self, resource: Resource) -> None:
        for other in self._resources.values():
            if other.uid == resource.uid and other.name != resource.name:
                raise AlreadyExists(f"the uid of {resource.name} is taken", field="uid")

    def _require_version(self, name: str, expected_version: int) -> None:
        stored = self._resources.get(name)
        if stored is None or stored.version != expected_version:
            raise StaleWrite(f"{name} was changed or deleted in between: read it again", field="etag")


class _Runs:
    def __init__(self, tables: Tables, journal: Journal) -> None:
        self._tables = tables
        self._journal = journal

    def insert(self, aggregate: RunAggregate, revision: bytes) -> None:
        run = aggregate.run
        if run.name in self._tables.runs or self.by_key(run.plan, run.key) is not None:
            raise AlreadyExists(f"{run.name} exists already, or its key {run.key} is taken in its plan", field="name")
        for group in (aggregate.phases, aggregate.datasets, aggregate.lanes, aggregate.tasks):
            for part in group.values():
                self._write(run.name, part, 1)
        self._write(run.name, run, 1)
        self._journal.put(self._tables.revisions, run.name, revision)

    def load(self, name: str) -> RunAggregate | None:
        if name not in self._tables.runs:
            return None
        aggregate = RunAggregate(copied(self._tables.runs[name]))
        parts = self._tables.parts.get(name, {})
        for key in sorted(parts):
            match copied(parts[key]):
                case PhaseRun() as phase:
                    aggregate.phases[phase.id] = phase
                case DatasetRun() as dataset:
                    aggregate.datasets[dataset.phase, dataset.id] = dataset
                case Lane() as lane:
                    aggregate.lanes[lane.id] = lane
                case Task() as task:
                    aggregate.tasks[task.id] = task
        return aggregate

    def load_all(self, names: Collection[str]) -> Sequence[RunAggregate]:
        found = (self.load(name) for name in sorted(set(names)))
        return [aggregate for aggregate in found if aggregate is not None]

    def names_within(self, name: str, after: str, limit: int) -> Sequence[str]:
        within = f"{name}/" if name else ""
        return sorted(each for each in self._tables.runs if each > after and each.startswith(within))[:limit]

    def get(self, name: str) -> Run | None:
        stored = self._tables.runs.get(name)
        return None if stored is None else copied(stored)

    def versions(self, names: Collection[str]) -> Mapping[str, int]:
        return {name: self._tables.runs[name].version for name in names if name in self._tables.runs}

    def revision(self, name: str) -> bytes | None:
        return self._tables.revisions.get(name)

    def set_revision(self, name: str, revision: bytes) -> None:
        if name not in self._tables.revisions:
            raise StaleWrite(f"there is no {name} any more")
        self._journal.put(self._tables.revisions, name, revision)

    def by_key(self, plan: str, key: str) -> Run | None:
        found = [run for run in self._tables.runs.values() if (run.plan, run.key) == (plan, key)]
        return copied(found[0]) if found else None

    def list(self, plan: str, before: tuple[datetime, str] | None, limit: int) -> Sequence[Run]:
        if plan.endswith(ALL_PLANS):
            found = [run for run in self._tables.runs.values() if run.plan.startswith(plan[:-1])]
        else:
            found = [run for run in self._tables.runs.values() if run.plan == plan]
        older = [run for run in found if before is None or (run.create_time, run.name) < before]
        older.sort(key=lambda run: (run.create_time, run.name), reverse=True)
        return [copied(run) for run in older[:limit]]

    def newest(self, environment: str, after: str, limit: int) -> Sequence[Run]:
        found: dict[str, Run] = {}
        for run in sorted(self._tables.runs.values(), key=lambda run: (run.plan, run.create_time, run.name)):
            plan = self._tables.resources.get(run.plan)
            if plan is None or is_given_up(run):
                continue
            if (plan.kind, plan.parent) == ("plans", environment) and plan.name > after:
                found[plan.name] = run
        return [copied(run) for run in list(found.values())[:limit]]

    def standing(self, plan: str) -> Run | None:
        found = [run for run in self._tables.runs.values() if run.plan == plan and not is_given_up(run)]
        newest = max(found, key=lambda run: (run.create_time, run.name), default=None)
        return None if newest is None else copied(newest)

    def names_in(self, states: Iterable[RunState]) -> Sequence[str]:
        wanted = frozenset(states)
        return sorted(run.name for run in self._tables.runs.values() if run.state in wanted)

    def names_with_work(self) -> Sequence[str]:
        return sorted(
            name for name, parts in self._tables.parts.items() if any(is_open(part) for part in parts.values())
        )

    def names_to_seal(self, now: datetime, limit: int) -> Sequence[str]:
        due = [
            (run.seal_time, run.name) for run in self._tables.runs.values() if run.seal_time and run.seal_time <= now
        ]
        return [name for _, name in sorted(due)[:limit]]

    def save(self, run: str, entities: Iterable[Entity]) -> None:
        for entity in entities:
            stored = self._stored(run, entity)
            is_new = entity.version == 0 and not isinstance(entity, Run)
            if run not in self._tables.runs or (
                stored is not None if is_new else stored is None or stored.version != entity.version
            ):
                raise StaleWrite(f"{'/'.join(key_of(entity))} of {run} was changed in between: load the run again")
            self._write(run, entity, entity.version + 1)

    def append(self, run: str, events: Iterable[RunEvent]) -> None:
        for event in events:
            kept = self._tables.events.setdefault(run, {})
            if run not in self._tables.runs or event.sequence != len(kept) + 1:
                raise StaleWrite(f"event {event.sequence} of {run} is not the next one: load the run again")
            self._journal.put(kept, event.sequence, event)
            append_event(self._tables.feed, self._journal, self._tables.runs[run], event)

    def events(self, run: str, after: int, limit: int) -> Sequence[RunEvent]:
        kept = self._tables.events.get(run, {})
        return [kept[sequence] for sequence in range(max(after, 0) + 1, min(len(kept), max(after, 0) + limit) + 1)]

    def _stored(self, run: str, entity: Entity) -> Entity | None:
        if isinstance(entity, Run):
            return self._tables.runs.get(entity.name)
        return self._tables.parts.get(run, {}).get(key_of(entity))

    def _write(self, run: str, entity: Entity, version: int) -> None:
        stored = copied(entity)
        stored.version = version
        if isinstance(stored, Run):
            self._journal.put(self._tables.runs, stored.name, stored)
        else:
            self._journal.put(self._tables.parts.setdefault(run, {}), key_of(stored), stored)
        self._journal.set_version(entity, version)


class _Hosts:
    def __init__(self, tables: Tables, journal: Journal) -> None:
        self._hosts = tables.hosts
        self._journal = journal

    def get(self, name: str) -> HostRecord | None:
        return self._hosts.get(name)

    def put(self, host: HostRecord) -> None:
        self._journal.put(self._hosts, host.name, host)

    def touch(self, name: str, heartbeat_time: datetime) -> None:
        if name in self._hosts:
            self._journal.put(self._hosts, name, replace(self._hosts[name], heartbeat_time=heartbeat_time))

    def delete(self, name: str) -> None:
        self._journal.drop(self._hosts, name)

    def list(self) -> Sequence[HostRecord]:
        return [self._hosts[name] for name in sorted(self._hosts)]


class _Requests:
    def __init__(self, tables: Tables, journal: Journal) -> None:
        self._requests = tables.requests
        self._journal = journal

    def get(self, method: str, request_id: str) -> tuple[bytes, bytes] | None:
        kept = self._requests.get((method, request_id))
        return None if kept is None else kept[:2]

    def put(self, method: str, request_id: str, request_digest: bytes, answer: bytes, now: datetime) -> None:
        if (method, request_id) in self._requests:
            raise AlreadyExists(f"the request id {request_id} has an answer already", field="request_id")
        self._journal.put(self._requests, (method, request_id), (request_digest, answer, now))

    def drop_before(self, time: datetime) -> int:
        old = [key for key, (_, _, kept) in self._requests.items() if kept < time]
        for key in old:
            self._journal.drop(self._requests, key)
        return len(old)


class _MemoryUnit:
    def __init__(self, tables: Tables, journal: Journal) -> None:
        self.resources = _Resources(tables, journal)
        self.runs = _Runs(tables, journal)
        self.hosts = _Hosts(tables, journal)
        self.requests = _Requests(tables, journal)
        self.measures = MemoryMeasures(tables, journal)
        self.estimates = MemoryEstimates(tables, journal)
        self.samples = MemorySamples(tables, journal)
        self.figures = MemoryFigures(tables, journal)
        self.feed = MemoryFeed(tables.feed)
        self.audit = MemoryAudit(tables.feed, journal)
        self.seals = MemorySeals(tables.feed, tables.runs, tables.consumers, journal)
        self.outbox = MemoryOutbox(tables.consumers, self.feed, journal)
        self.deliveries = MemoryDeliveries(tables, journal)
        self.incidents = MemoryIncidents(tables, journal)
        self.conditions = MemoryConditions(tables, journal)
        self.git_records = MemoryGitRecords(tables, journal)


class MemoryStore:
    """The Store port without a file. Units run one after the other, on the event loop's thread."""

    def __init__(self) -> None:
        self._tables = Tables()
        self._is_closed = False

    async def transact(self, work: Callable[[Unit], Result]) -> Result:
        """Does the work, or undoes what it did when it raises."""
        return await self._do(work, is_writable=True)

    async def read(self, work: Callable[[Unit], Result]) -> Result:
        """Does the work; one that writes gets a RuntimeError."""
        return await self._do(work, is_writable=False)

    async def close(self) -> None:
        """Refuses everything from now on."""
        self._is_closed = True

    async def _do(self, work: Callable[[Unit], Result], *, is_writable: bool) -> Result:
        if self._is_closed:
            raise EngineUnavailable("the store is closed: the engine is stopping")
        await asyncio.sleep(0)
        journal = Journal(is_writable)
        try:
            return work(_MemoryUnit(self._tables, journal))
        except BaseException:
            journal.undo()
            raise
