"""The stream of the store in memory: appended to, followed, read as the audit trail, handed to consumers; all of it journalled."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from pymigrate.engine.domain.run import Run, RunEvent
from pymigrate.engine.ports.feed import CLAIMS_MAX, Claim, FeedEntry, Position, lost_place, read_position
from pymigrate.engine.ports.store import AuditEntry, audit_entry
from pymigrate.engine.testing.journal import Journal

Entries = dict[int, FeedEntry]


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


def append_event(feed: Entries, journal: Journal, run: Run, event: RunEvent) -> None:
    """Adds what happened in a run."""
    number = len(feed) + 1
    entry = FeedEntry(
        id=number,
        position=str(Position(0, number)),
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
    journal.put(feed, number, entry)


class MemoryAudit:
    """The stream as the audit trail."""

    def __init__(self, feed: Entries, journal: Journal) -> None:
        self._feed = feed
        self._journal = journal

    def append(self, entry: AuditEntry) -> None:
        """Adds what somebody did."""
        number = len(self._feed) + 1
        kept = FeedEntry(
            id=number,
            position=str(Position(0, number)),
            time=entry.time,
            type=entry.action,
            subject=entry.subject,
            actor=entry.actor,
            version=entry.version,
            revision=entry.revision,
            detail=entry.detail,
        )
        self._journal.put(self._feed, number, kept)

    def append_all(self, entries: Sequence[AuditEntry]) -> None:
        """Adds entries, in order."""
        for entry in entries:
            self.append(entry)

    def list(self, after: int, limit: int) -> Sequence[AuditEntry]:
        """A page, in order."""
        return [audit_entry(entry) for entry in _behind(self._feed, after, limit)]


class MemoryFeed:
    """The stream. Entries are numbered from 1 without a gap."""

    def __init__(self, feed: Entries) -> None:
        self._feed = feed

    def after(self, cursor: str, limit: int) -> tuple[Sequence[FeedEntry], str]:
        """A page, and the cursor behind it."""
        place = read_position(cursor)
        entries = self.behind(place.entry, limit)
        if place.entry > len(self._feed):
            raise lost_place()
        return entries, entries[-1].position if entries else cursor

    def end(self) -> str:
        """The cursor behind the last entry."""
        return self._feed[len(self._feed)].position if self._feed else ""

    def get(self, ids: Collection[int]) -> Sequence[FeedEntry]:
        """Those that there are, in order."""
        return [self._feed[number] for number in sorted(set(ids)) if number in self._feed]

    def behind(self, number: int, limit: int) -> list[FeedEntry]:
        """At most `limit` entries behind a number."""
        return _behind(self._feed, number, limit)


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


def _behind(feed: Entries, number: int, limit: int) -> list[FeedEntry]:
    first = max(number, 0) + 1
    return [feed[each] for each in range(first, min(len(feed), first + max(limit, 0) - 1) + 1)]
