"""The stream of the store in memory: appended to, followed, read as the audit trail, handed to consumers; all of it journalled."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import islice

from pymigrate.engine.domain.audit_chain import NOTHING, Head, Seal, link_hash
from pymigrate.engine.domain.run import Run, RunEvent
from pymigrate.engine.ports.audit import LOOKED_MAX, AuditFilter, Found
from pymigrate.engine.ports.feed import (
    CLAIMS_MAX,
    Claim,
    FeedEntry,
    Position,
    as_written,
    lost_place,
    read_position,
)
from pymigrate.engine.ports.store import AuditEntry, audit_entry
from pymigrate.engine.testing.journal import Journal

# The chain of what is no step of a run.
WRITER = "writers/0"


@dataclass(frozen=True, slots=True)
class Lease:
    """How long a consumer has an entry, and how often it was given it."""

    until: datetime
    attempts: int


@dataclass(frozen=True, slots=True)
class Consumer:
    """How far a consumer has come, and what it has not done yet."""

    place: int
    leases: dict[int, Lease] = field(default_factory=dict)


@dataclass(slots=True)
class Stream:
    """The entries by their numbers, which count from 1; those that retention took; the chains' heads; what proves them."""

    entries: dict[int, FeedEntry] = field(default_factory=dict)
    removed: dict[int, bool] = field(default_factory=dict)
    heads: dict[str, Head] = field(default_factory=dict)
    bases: dict[str, Head] = field(default_factory=dict)
    seals: dict[int, tuple[Seal, tuple[Head, ...]]] = field(default_factory=dict)

    @property
    def last(self) -> int:
        """The last number that was given."""
        return len(self.entries) + len(self.removed)

    def behind(self, number: int, limit: int) -> list[FeedEntry]:
        """At most `limit` entries behind a number."""
        there = (self.entries[each] for each in range(max(number, 0) + 1, self.last + 1) if each in self.entries)
        return list(islice(there, max(limit, 0)))

    def add(self, journal: Journal, chain: str, entry: FeedEntry) -> None:
        """Adds an entry, numbered and linked."""
        number, head = self.last + 1, self.heads.get(chain, Head(chain, 0, NOTHING))
        placed = replace(entry, id=number, position=str(Position(0, number)), chain=chain, place=head.place + 1)
        linked = replace(placed, hash=link_hash(head.hash, as_written(placed)))
        journal.put(self.entries, number, linked)
        journal.put(self.heads, chain, Head(chain, linked.place, linked.hash))


def append_event(stream: Stream, journal: Journal, run: Run, event: RunEvent) -> None:
    """Adds what happened in a run."""
    entry = FeedEntry(
        id=0,
        position="",
        time=event.time,
        type=event.type,
        subject=event.subject,
        actor=event.actor,
        run=run.name,
        sequence=event.sequence,
        from_state=event.from_state,
        to_state=event.to_state,
        failure=event.failure,
        revision=run.plan_hash,
    )
    stream.add(journal, run.name, entry)


class MemoryAudit:
    """The stream as the audit trail."""

    def __init__(self, stream: Stream, journal: Journal) -> None:
        self._stream = stream
        self._journal = journal

    def append(self, entry: AuditEntry) -> None:
        """Adds what somebody did."""
        kept = FeedEntry(
            id=0,
            position="",
            time=entry.time,
            type=entry.action,
            subject=entry.subject,
            actor=entry.actor,
            version=entry.version,
            revision=entry.revision,
            detail=entry.detail,
            origin=entry.origin,
            method=entry.method,
            request_id=entry.request_id,
            trace_id=entry.trace_id,
            before_digest=entry.before_digest,
            after_digest=entry.after_digest,
            outcome=entry.outcome,
        )
        self._stream.add(self._journal, WRITER, kept)

    def append_all(self, entries: Sequence[AuditEntry]) -> None:
        """Adds entries, in order."""
        for entry in entries:
            self.append(entry)

    def list(self, after: int, limit: int) -> Sequence[AuditEntry]:
        """A page, in order."""
        return [audit_entry(entry) for entry in self._stream.behind(after, limit)]

    def find(self, asked: AuditFilter, after: int, limit: int) -> Found:
        """What was asked for of a window."""
        window = self._stream.behind(after, LOOKED_MAX)
        found = [entry for entry in window if _is_asked(asked, entry)][:limit]
        if not window:
            return Found([], after, is_end=True)
        if len(found) == limit and limit:
            return Found(found, found[-1].id, is_end=False)
        return Found(found, window[-1].id, is_end=len(window) < LOOKED_MAX)

    def about(self, subjects: Collection[str], limit: int) -> Sequence[AuditEntry]:
        """The newest about these subjects."""
        found = [each for _, each in sorted(self._stream.entries.items()) if each.subject in subjects and not each.run]
        return [audit_entry(entry) for entry in found[::-1][:limit]]


def _is_asked(asked: AuditFilter, entry: FeedEntry) -> bool:
    for name in filter(None, (asked.environment, asked.subject)):
        if not any(each == name or each.startswith(f"{name}/") for each in (entry.subject, entry.run)):
            return False
    return (
        asked.principal in ("", entry.actor)
        and asked.action in ("", entry.type, entry.type.partition(" ")[0])
        and asked.outcome in ("", entry.outcome)
        and (asked.start is None or entry.time >= asked.start)
        and (asked.end is None or entry.time < asked.end)
    )


class MemoryFeed:
    """The stream, as it is followed."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def after(self, cursor: str, limit: int) -> tuple[Sequence[FeedEntry], str]:
        """A page, and the cursor behind it."""
        place = read_position(cursor)
        entries = self.behind(place.entry, limit)
        if place.entry > self._stream.last:
            raise lost_place()
        return entries, entries[-1].position if entries else cursor

    def end(self) -> str:
        """The cursor behind the last entry."""
        return str(Position(0, self._stream.last)) if self._stream.last else ""

    def get(self, ids: Collection[int]) -> Sequence[FeedEntry]:
        """Those that there are, in order."""
        entries = self._stream.entries
        return [entries[number] for number in sorted(set(ids)) if number in entries]

    def behind(self, number: int, limit: int) -> list[FeedEntry]:
        """At most `limit` entries behind a number."""
        return self._stream.behind(number, limit)


class MemoryOutbox:
    """What each consumer has been given."""

    def __init__(self, consumers: dict[str, Consumer], feed: MemoryFeed, journal: Journal) -> None:
        self._consumers = consumers
        self._feed = feed
        self._journal = journal

    def begin(self, consumer: str, cursor: str) -> None:
        """Where an unknown consumer begins."""
        place = read_position(cursor).entry
        if consumer not in self._consumers:
            self._journal.put(self._consumers, consumer, Consumer(place))

    def claim(self, consumer: str, limit: int, now: datetime, until: datetime) -> Sequence[Claim]:
        """Entries whose lease has ended, then new ones."""
        known = self._consumers.get(consumer, Consumer(0))
        ended = sorted((lease.until, number) for number, lease in known.leases.items() if lease.until <= now)
        leases = dict(known.leases)
        claims: list[Claim] = []
        for _, number in ended[: max(limit, 0)]:
            leases[number] = Lease(until, leases[number].attempts + 1)
            claims.extend(Claim(entry, leases[number].attempts) for entry in self._feed.behind(number - 1, 1))
        fresh = self._feed.behind(known.place, min(limit - len(claims), CLAIMS_MAX - len(leases)))
        leases.update((entry.id, Lease(until, 1)) for entry in fresh)
        place = fresh[-1].id if fresh else known.place
        self._journal.put(self._consumers, consumer, Consumer(place, leases))
        return [*claims, *(Claim(entry, 1) for entry in fresh)]

    def done(self, consumer: str, ids: Iterable[int]) -> None:
        """Forgets the leases."""
        gone = frozenset(ids)
        if known := self._consumers.get(consumer):
            left = {number: lease for number, lease in known.leases.items() if number not in gone}
            self._journal.put(self._consumers, consumer, Consumer(known.place, left))

    def release(self, consumer: str, ids: Iterable[int], until: datetime) -> None:
        """Lets the leases end at `until`."""
        if known := self._consumers.get(consumer):
            ending = {number: Lease(until, known.leases[number].attempts) for number in ids if number in known.leases}
            self._journal.put(self._consumers, consumer, Consumer(known.place, known.leases | ending))
