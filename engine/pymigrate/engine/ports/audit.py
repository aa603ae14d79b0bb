"""What is asked of the audit trail, and what proves it: chains, the seals over their heads, and the bases that retention leaves.

The trail itself is the feed; `ports/store.Audit` appends to it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from pymigrate.engine.domain.audit_chain import Head, Seal, Written
from pymigrate.engine.ports.feed import FeedEntry

# Entries that one search looks at: the store's only writer waits no longer than that takes.
LOOKED_MAX = 5_000


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """What entries are asked for; all that is set must hold. `environment` is `environments/{environment}`, `subject` a name that stands
    for itself and everything below it; a step of a run lies below its run. `action` is the first word of what was done, or all of it."""

    environment: str = ""
    subject: str = ""
    principal: str = ""
    action: str = ""
    outcome: str = ""
    start: datetime | None = None
    end: datetime | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """What a search found, and the sequence that the next one goes on behind. `is_end`: there is nothing behind that now."""

    entries: Sequence[FeedEntry]
    last: int
    is_end: bool


@dataclass(frozen=True, slots=True)
class Passed:
    """A stretch of the stream: its entries in the feed's order, and the cursor behind the last."""

    entries: Sequence[Written]
    position: str


@dataclass(frozen=True, slots=True)
class Moved:
    """The heads of the chains in a stretch of the stream, as they stand at its end, and the cursor there. `count` is how many entries it
    has, also those that are in no chain."""

    heads: Sequence[Head]
    position: str
    count: int


class Seals(Protocol):
    """The chains of the trail, and what was sealed of them. Cursors are those of the feed, and the feed's order is one in which every chain
    is in its own: whatever is behind an entry in its chain is behind it here."""

    def last(self) -> Seal | None:
        """The newest seal."""
        ...

    def list(self, after: int, limit: int) -> Sequence[Seal]:
        """At most `limit` seals with a number above `after`, in order."""
        ...

    def heads(self, number: int) -> Sequence[Head]:
        """The heads and bases that a seal holds."""
        ...

    def add(self, seal: Seal, heads: Sequence[Head]) -> None:
        """Adds the next seal. Raises StaleWrite where its number is taken or not the next."""
        ...

    def moved(self, position: str, limit: int) -> Moved:
        """What has moved in at most `limit` entries behind a cursor, all of whose transactions are over."""
        ...

    def passed(self, position: str, until: str, limit: int) -> Passed:
        """At most `limit` entries behind a cursor and not behind `until`; empty: all whose transactions are over."""
        ...

    def bases(self) -> Sequence[Head]:
        """The last link of each chain that is gone, ordered by chain. That of the chain UNLINKED has as its place how many entries there
        are that are in no chain."""
        ...

    def removable(self, position: str, until: str, before: datetime, limit: int) -> Passed:
        """At most `limit` entries behind a cursor and not behind `until`, that happened before a time, of runs that have ended or of none,
        which every consumer of the outbox is done with; the last link of a chain is none of them. The position is behind all that were
        looked at, LOOKED_MAX at most; where it is the given one, nothing so old is left."""
        ...

    def remove(self, bases: Sequence[Head], sequences: Sequence[int]) -> None:
        """Takes entries away and keeps the bases that the rest of their chains begins with; the store refuses what no base covers."""
        ...
