"""Links of the audit trail as they are written: an event is linked to the one before it in its run, any other entry in the chain of its
writer.

SQLite has one writer, and so one chain. Of PostgreSQL each connection has one for itself, held by a lock of the session, so that nobody
waits for anybody; whoever connects later goes on with a chain that was let go.
"""

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import Connection, bindparam, select, text
from sqlmodel import col

from pymigrate.engine.adapters.store.columns import to_microseconds
from pymigrate.engine.adapters.store.feed_tables import FeedEntryRow
from pymigrate.engine.domain.audit_chain import NOTHING, Head, Written, failure_text, link_hash
from pymigrate.engine.domain.errors import StoreUnavailable
from pymigrate.engine.domain.run import RunEvent
from pymigrate.engine.ports.feed import OK
from pymigrate.engine.ports.store import AuditEntry

WRITERS_MAX = 1_024
WRITER_LOCK = 0x70796D61
_HELD = "audit chain"
_LAST_LINK = (
    select(col(FeedEntryRow.place), col(FeedEntryRow.hash))
    .where(col(FeedEntryRow.chain) == bindparam("of_chain"))
    .order_by(col(FeedEntryRow.place).desc())
    .limit(1)
)
# The first that nobody holds: rows are made and tried one after the other, and no more of them than are needed.
_TAKE_CHAIN = text("SELECT n FROM generate_series(0, :last) AS n WHERE pg_try_advisory_lock(:lock, n) LIMIT 1")


def event_hashes(run: str, revision: str, previous: bytes | None, events: Sequence[RunEvent]) -> list[bytes]:
    """The hashes of events that go on from one with the hash `previous`; None where that is in no chain."""
    last = previous or NOTHING
    hashes = []
    for event in events:
        last = link_hash(last, _event_as_written(run, revision, event))
        hashes.append(last)
    return hashes


class WriterChain:
    """The chain of a unit's connection, as it stands in the unit's transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._head: Head | None = None

    def link(self, entry: AuditEntry) -> Head:
        """What the entry is in the chain; the next one goes on from it. Raises StoreUnavailable where all chains are held."""
        if self._head is None:
            self._head = self._last()
        chain, place = self._head.chain, self._head.place + 1
        digest = link_hash(self._head.hash, _as_written(replace(entry, chain=chain, place=place)))
        self._head = Head(chain, place, digest)
        return self._head

    def _last(self) -> Head:
        chain = self._chain()
        last = self._connection.execute(_LAST_LINK, {"of_chain": chain}).first()
        return Head(chain, 0, NOTHING) if last is None else Head(chain, last[0] or 0, last[1] or NOTHING)

    def _chain(self) -> str:
        if self._connection.dialect.name != "postgresql":
            return _writer(0)
        # The dictionary belongs to the session of the database, as its locks do.
        held = self._connection.info
        if _HELD not in held:
            asked = {"last": WRITERS_MAX - 1, "lock": WRITER_LOCK}
            number = self._connection.execute(_TAKE_CHAIN, asked).scalar_one_or_none()
            if number is None:
                raise StoreUnavailable(f"more than {WRITERS_MAX} connections write to the store at once")
            held[_HELD] = _writer(number)
        return str(held[_HELD])


def _writer(number: int) -> str:
    return f"writers/{number}"


def _as_written(entry: AuditEntry) -> Written:
    return Written(
        sequence=0,
        time_microseconds=to_microseconds(entry.time),
        version=entry.version,
        place=entry.place,
        chain=entry.chain,
        principal=entry.actor,
        origin=entry.origin,
        action=entry.action,
        subject=entry.subject,
        method=entry.method,
        run="",
        revision=entry.revision,
        from_state="",
        to_state="",
        before_digest=entry.before_digest,
        after_digest=entry.after_digest,
        detail=entry.detail,
        failure="",
        outcome=entry.outcome,
        request_id=entry.request_id,
        trace_id=entry.trace_id,
        hash=b"",
    )


def _event_as_written(run: str, revision: str, event: RunEvent) -> Written:
    return Written(
        sequence=0,
        time_microseconds=to_microseconds(event.time),
        version=0,
        place=event.sequence,
        chain=run,
        principal=event.actor,
        origin="",
        action=event.type,
        subject=event.subject,
        method="",
        run=run,
        revision=revision,
        from_state=event.from_state,
        to_state=event.to_state,
        before_digest="",
        after_digest="",
        detail="",
        failure=failure_text(event.failure),
        outcome=OK,
        request_id="",
        trace_id="",
        hash=b"",
    )
