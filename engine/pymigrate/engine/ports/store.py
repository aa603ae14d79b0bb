"""What the engine keeps: its only state. One unit of work is one transaction; it is committed whole or not at all.

A unit of work is a plain function over `Unit`: it runs on a thread of the store's, may run again after a conflict, and so touches
nothing but the unit. What a call raised it lets through: a database may have given the whole unit up by then. A call that returns None
found nothing; nothing here raises for that.
"""

import zlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeVar

from pymigrate.engine.domain.run import Entity, Run, RunAggregate, RunEvent
from pymigrate.engine.domain.run_states import RunState
from pymigrate.engine.ports.audit import AuditFilter, Found, Seals
from pymigrate.engine.ports.deliveries import Conditions, Deliveries, Incidents
from pymigrate.engine.ports.estimates import Estimates, Measures, Samples
from pymigrate.engine.ports.feed import OK, Feed, FeedEntry, Outbox
from pymigrate.engine.ports.figures import Figures
from pymigrate.engine.ports.git_records import GitRecords
from pymigrate.engine.ports.hosts import Hosts

Result = TypeVar("Result")
STATE_BITS = 32


@dataclass(frozen=True, slots=True)
class Resource:
    """A declared object. `kind` is its collection (`connections`), `parent` the name it lies under (empty at the top), `body` its
    message as it was declared and as the contract encodes it, `version` counts from 1 with every write. `resolved` is the message with the
    values of parameters in their places; empty where that is `body` itself."""

    name: str
    kind: str
    parent: str
    uid: str
    version: int
    body: bytes
    create_time: datetime
    update_time: datetime
    managed_by: str
    resolved: bytes = b""


def state_of(version: int, resolved: bytes) -> int:
    """A number that is another with every write of an object, and with every other value of its parameters; the version where there are
    none."""
    return version + ((zlib.crc32(resolved) + 1 << STATE_BITS) if resolved else 0)


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """Who did what to which object. `version` is the object's own where it counts its writes, `revision` the hash of the plan that a
    run froze. `sequence` is given by the store and grows; what happened in a run is numbered with everything else. `origin`, `method`,
    `request_id` and `trace_id` are those of the call that asked for it, and are stamped on by `application/audit/stamping`; the digests are
    SHA-256 of an object as it was declared before and after; `outcome` is OK, or the status that it was refused with. `chain`, `place` and
    `hash` are given by the store too."""

    time: datetime
    actor: str
    action: str
    subject: str
    version: int
    detail: str = ""
    revision: str = ""
    sequence: int = 0
    origin: str = ""
    method: str = ""
    request_id: str = ""
    trace_id: str = ""
    before_digest: str = ""
    after_digest: str = ""
    outcome: str = OK
    chain: str = ""
    place: int = 0
    hash: bytes = b""


def audit_entry(entry: FeedEntry) -> AuditEntry:
    """An entry of the stream as the audit trail shows it."""
    step = f"{entry.from_state} → {entry.to_state}" if entry.run else ""
    return AuditEntry(
        time=entry.time,
        actor=entry.actor,
        action=entry.type,
        subject=entry.subject,
        version=entry.version,
        detail=entry.detail or step,
        revision=entry.revision,
        sequence=entry.id,
        origin=entry.origin,
        method=entry.method,
        request_id=entry.request_id,
        trace_id=entry.trace_id,
        before_digest=entry.before_digest,
        after_digest=entry.after_digest,
        outcome=entry.outcome,
        chain=entry.chain,
        place=entry.place,
        hash=entry.hash,
    )


class ResourcesRead(Protocol):
    """Declared objects, as they are read."""

    def get(self, name: str) -> Resource | None:
        """The object of that name."""
        ...

    def get_all(self, names: Collection[str]) -> Sequence[Resource]:
        """Those of these names that there are, ordered by name."""
        ...

    def list(self, kind: str, parent: str, after: str, limit: int) -> Sequence[Resource]:
        """At most `limit` objects of a kind below a parent with a name above `after`, ordered by name."""
        ...

    def names(self, kind: str, parent: str) -> Sequence[str]:
        """The names of all objects of a kind below a parent, in order."""
        ...

    def states(self, kind: str, parent: str) -> Sequence[tuple[str, str, int]]:
        """Name, uid and state (see `state_of`) of all objects of a kind below a parent, ordered by name: what tells whether they are as
        they were, in a fraction of the time that reading them takes."""
        ...

    def owned(self, managed_by: str) -> Sequence[tuple[str, str, int]]:
        """Name, uid and state (see `state_of`) of everything that a side declares, of whatever kind, ordered by name."""
        ...

    def within(self, name: str) -> Sequence[Resource]:
        """Everything that lies below the name, at any depth, ordered by name."""
        ...

    def has_children(self, parent: str) -> bool:
        """Whether any object lies directly below the name."""
        ...


class Resources(ResourcesRead, Protocol):
    """Declared objects."""

    def insert(self, resource: Resource) -> None:
        """Raises AlreadyExists."""
        ...

    def update(self, resource: Resource, expected_version: int) -> None:
        """Replaces it. Raises StaleWrite unless the stored version is the expected one."""
        ...

    def delete(self, name: str, expected_version: int) -> None:
        """Raises StaleWrite unless the stored version is the expected one."""
        ...

    def insert_all(self, resources: Sequence[Resource]) -> None:
        """Many at once. Raises AlreadyExists."""
        ...


class Runs(Protocol):
    """Runs with their parts and what happened in them."""

    def insert(self, aggregate: RunAggregate, revision: bytes) -> None:
        """Stores a new run with all its parts and its frozen revision, and sets their versions to 1. Raises AlreadyExists for a
        name or key that is taken."""
        ...

    def load(self, name: str) -> RunAggregate | None:
        """A run with all its parts."""
        ...

    def load_all(self, names: Collection[str]) -> Sequence[RunAggregate]:
        """Those of these runs that there are, with all their parts, ordered by name: in as many reads as one takes."""
        ...

    def names_within(self, name: str, after: str, limit: int) -> Sequence[str]:
        """Names of at most `limit` runs below a name (empty: of all) that come after one, in order."""
        ...

    def get(self, name: str) -> Run | None:
        """A run alone."""
        ...

    def versions(self, names: Collection[str]) -> Mapping[str, int]:
        """The versions of those of these runs that there are, by name, in few reads: without what else is stored of them."""
        ...

    def revision(self, name: str) -> bytes | None:
        """The frozen revision of a run."""
        ...

    def set_revision(self, name: str, revision: bytes) -> None:
        """Replaces the frozen revision of a run; only what its check found may differ."""
        ...

    def by_key(self, plan: str, key: str) -> Run | None:
        """The run of a plan with that key."""
        ...

    def list(self, plan: str, before: tuple[datetime, str] | None, limit: int) -> Sequence[Run]:
        """At most `limit` runs of a plan, the newest first, older than `before` (create_time, name); `/-` at its end is any plan."""
        ...

    def newest(self, environment: str, after: str, limit: int) -> Sequence[Run]:
        """The newest runs (by create_time, name), without those that gave their keys up, of at most `limit` declared plans of an
        environment, named above `after`, by plan."""
        ...

    def standing(self, plan: str) -> Run | None:
        """The newest run of a plan (by create_time, name) that has not given its key up."""
        ...

    def names_in(self, states: Iterable[RunState]) -> Sequence[str]:
        """Names of all runs in one of the states, ordered by name."""
        ...

    def names_with_work(self) -> Sequence[str]:
        """Names of all runs, in whatever state, of which a task is pending or leased, ordered by name."""
        ...

    def names_to_seal(self, now: datetime, limit: int) -> Sequence[str]:
        """Names of at most `limit` runs whose `seal_time` is not after `now`, the earliest first."""
        ...

    def save(self, run: str, entities: Iterable[Entity]) -> None:
        """Writes each entity where the stored version is its own, inserts those of version 0, and adds one to each version.
        Raises StaleWrite; the caller then drops its aggregate and loads it again."""
        ...

    def append(self, run: str, events: Iterable[RunEvent]) -> None:
        """Adds events to the stream. Their sequences go on from the last without a gap; a taken one raises StaleWrite."""
        ...

    def events(self, run: str, after: int, limit: int) -> Sequence[RunEvent]:
        """At most `limit` events with a sequence above `after`, in order."""
        ...


class Requests(Protocol):
    """Answers to calls with a request id, so that a repeated call gets the first call's answer."""

    def get(self, method: str, request_id: str) -> tuple[bytes, bytes] | None:
        """Digest of the request and the answer as it was."""
        ...

    def put(self, method: str, request_id: str, request_digest: bytes, answer: bytes, now: datetime) -> None:
        """Keeps an answer."""
        ...

    def drop_before(self, time: datetime) -> int:
        """Forgets answers from before `time`; says how many."""
        ...


class Audit(Protocol):
    """Who did what: the stream as a person reads it."""

    def append(self, entry: AuditEntry) -> None:
        """Adds an entry to the stream; its sequence is given here."""
        ...

    def append_all(self, entries: Sequence[AuditEntry]) -> None:
        """Adds many at once, in order."""
        ...

    def list(self, after: int, limit: int) -> Sequence[AuditEntry]:
        """At most `limit` entries with a sequence above `after`, in order, those of runs among them. Where several write at once, a
        lower one may still come; who must miss none follows the feed."""
        ...

    def find(self, asked: AuditFilter, after: int, limit: int) -> Found:
        """At most `limit` entries that were asked for, with a sequence above `after`, in order. It looks at LOOKED_MAX at most, so that
        nobody waits long, and may have found fewer, or none, though there are more."""
        ...

    def about(self, subjects: Collection[str], limit: int) -> Sequence[AuditEntry]:
        """At most `limit` entries about exactly these subjects, the newest first; steps of runs are not among them."""
        ...


class Unit(Protocol):
    """One transaction over everything that the engine keeps."""

    @property
    def resources(self) -> Resources:
        """Declared objects."""
        ...

    @property
    def runs(self) -> Runs:
        """Runs."""
        ...

    @property
    def hosts(self) -> Hosts:
        """Worker hosts."""
        ...

    @property
    def requests(self) -> Requests:
        """Answers kept for repeated calls."""
        ...

    @property
    def measures(self) -> Measures:
        """What was measured of datasets."""
        ...

    @property
    def estimates(self) -> Estimates:
        """What was estimated for runs."""
        ...

    @property
    def samples(self) -> Samples:
        """How far estimates lay off."""
        ...

    @property
    def figures(self) -> Figures:
        """Figures of runs that have ended."""
        ...

    @property
    def audit(self) -> Audit:
        """Who did what."""
        ...

    @property
    def seals(self) -> Seals:
        """What proves the audit trail."""
        ...

    @property
    def feed(self) -> Feed:
        """Everything that happened."""
        ...

    @property
    def outbox(self) -> Outbox:
        """Everything that happened, for each consumer."""
        ...

    @property
    def deliveries(self) -> Deliveries:
        """Messages to people."""
        ...

    @property
    def incidents(self) -> Incidents:
        """What escalates."""
        ...

    @property
    def conditions(self) -> Conditions:
        """What is beyond a bound now."""
        ...

    @property
    def git_records(self) -> GitRecords:
        """Where Git sources stand, and their revisions."""
        ...


class Store(Protocol):
    """Where units of work are done."""

    async def transact(self, work: Callable[[Unit], Result]) -> Result:
        """Does the work in one transaction, durably committed when this returns. What `work` raises undoes it and is raised here.
        Raises StoreUnavailable where the store can't be reached: where that was while it committed, only reading tells what it holds."""
        ...

    async def read(self, work: Callable[[Unit], Result]) -> Result:
        """Does work that only reads, on one consistent state that holds everything committed before this call."""
        ...

    async def close(self) -> None:
        """Finishes what is under way and gives everything up. May be called again."""
        ...
