"""Everything that happens, as one stream of entries: what happened in runs, and who did what.

An entry is written in the transaction of the change that it tells of. The stream is the audit trail, what watchers resume from, and what
the consumers of the outbox are given.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from pymigrate.engine.domain.audit_chain import Written, failure_text, microseconds_of
from pymigrate.engine.domain.errors import InvalidDefinition, Problem
from pymigrate.engine.domain.run import Failure

CURSOR_DIGITS_MAX = 18
BEFORE_ALL = -(10**18)
CLAIMS_MAX = 1_000
# The outcome of what had its effect; any other is the status that it was refused with.
OK = "OK"


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """A place in the stream: behind the entry `entry`, which was written by transaction `transaction`. Transactions of databases with
    many writers become visible in another order than they number their entries, so that the number alone is no place."""

    transaction: int = BEFORE_ALL
    entry: int = 0

    def __str__(self) -> str:
        return f"{self.transaction}.{self.entry}" if self != START else ""


START = Position()


def read_position(cursor: str) -> Position:
    """The place that a cursor stands for; an empty one is the start. Raises InvalidDefinition for one that the feed never gave."""
    if not cursor:
        return START
    transaction, separator, entry = cursor.partition(".")
    parts = (transaction.removeprefix("-"), entry)
    if not separator or not all(
        each.isascii() and each.isdecimal() and len(each) <= CURSOR_DIGITS_MAX for each in parts
    ):
        raise InvalidDefinition(
            (Problem("cursor", "is none that the feed gave: leave it empty to begin at the start"),)
        )
    return Position(int(transaction), int(entry))


def lost_place() -> InvalidDefinition:
    """What a cursor is refused with that lies ahead of everything: what it was given with is not in this store any more."""
    return InvalidDefinition((Problem("cursor", "is of a later state than the store's: begin at the start again"),))


@dataclass(frozen=True, slots=True)
class FeedEntry:
    """An entry of the stream. One of a run (`run` is its name, `sequence` the event's) tells a step from one state to another; any
    other (`run` is empty) tells what `actor` did to a declared object or asked of a run, with the action as its `type`. It is the link
    `place` of `chain`, which is the run of a run's entry, and has its `hash`; what was written before there were chains has none."""

    id: int
    position: str
    time: datetime
    type: str
    subject: str
    actor: str
    run: str = ""
    sequence: int = 0
    from_state: str = ""
    to_state: str = ""
    failure: Failure | None = None
    version: int = 0
    revision: str = ""
    detail: str = ""
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


def as_written(entry: FeedEntry) -> Written:
    """An entry as its hash is computed."""
    return Written(
        sequence=entry.id,
        time_microseconds=microseconds_of(entry.time),
        version=entry.version,
        place=entry.place,
        chain=entry.chain,
        principal=entry.actor,
        origin=entry.origin,
        action=entry.type,
        subject=entry.subject,
        method=entry.method,
        run=entry.run,
        revision=entry.revision,
        from_state=entry.from_state,
        to_state=entry.to_state,
        before_digest=entry.before_digest,
        after_digest=entry.after_digest,
        detail=entry.detail,
        failure=failure_text(entry.failure),
        outcome=entry.outcome,
        request_id=entry.request_id,
        trace_id=entry.trace_id,
        hash=entry.hash,
    )


@dataclass(frozen=True, slots=True)
class Claim:
    """An entry that a consumer was given; `attempt` counts from 1 how often."""

    entry: FeedEntry
    attempt: int


class Feed(Protocol):
    """The stream as those follow it who remember their place themselves. Every entry comes exactly once to whoever goes on from the
    cursor that came with the one before."""

    def after(self, cursor: str, limit: int) -> tuple[Sequence[FeedEntry], str]:
        """At most `limit` entries behind the cursor, and the cursor to go on from. An entry may be held back for as long as an older
        transaction is under way. Raises InvalidDefinition for a cursor that the feed never gave, or gave before the store was set back
        to a backup."""
        ...

    def end(self) -> str:
        """The cursor behind everything that `after` would give now."""
        ...

    def get(self, ids: Collection[int]) -> Sequence[FeedEntry]:
        """Those of these entries that there are, ordered by number."""
        ...


class Outbox(Protocol):
    """The stream as the consumers get it whose place the store keeps. A consumer, known by its name, is given each entry at least
    once: one that is not done before its lease ends is given again, to whoever asks in the consumer's name."""

    def begin(self, consumer: str, cursor: str) -> None:
        """An unknown consumer begins behind the cursor; a known one stays where it is. Without this, it begins at the start."""
        ...

    def claim(self, consumer: str, limit: int, now: datetime, until: datetime) -> Sequence[Claim]:
        """At most `limit` entries, the consumer's until `until`: first those whose lease has ended, then new ones in order. No more
        than CLAIMS_MAX are out at once; until some are done there is nothing new."""
        ...

    def done(self, consumer: str, ids: Iterable[int]) -> None:
        """The consumer never gets these again. What it does not hold is left alone."""
        ...

    def release(self, consumer: str, ids: Iterable[int], until: datetime) -> None:
        """The consumer gets these again from `until` on, as it failed with them or gives them up."""
        ...
