"""Tables of the stream: what happened in runs and who did what, and how far each consumer of the outbox has come.

An event of a run, its outbox row and its audit entry are one row here, so that none of them is ever there without the others.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Index, LargeBinary, Text, text
from sqlmodel import Field, UniqueConstraint

from pymigrate.engine.adapters.store.columns import COUNTER, NAME, Instant, Reason
from pymigrate.engine.adapters.store.tables import Table
from pymigrate.engine.domain.audit_chain import Head
from pymigrate.engine.domain.run import Failure, RunEvent
from pymigrate.engine.ports.feed import OK, FeedEntry, Position
from pymigrate.engine.ports.store import AuditEntry

_IS_LINKED, _IS_NO_STEP = text("chain IS NOT NULL"), text("run IS NULL")


class FeedEntryRow(Table, table=True):
    """An entry. The database counts `id` and never gives a number twice; `xid` is the transaction that wrote it, 0 where there is one
    writer. `run` and `sequence` are those of an event, and null for any other entry. An event's chain is its run and its place there its
    sequence, so that `chain` and `place` are those of any other entry, and null for an event; `hash` is null for what is in no chain."""

    __tablename__ = "feed_entry"
    __table_args__ = (
        UniqueConstraint("run", "sequence"),
        Index(None, "xid", "id").ddl_if(dialect="postgresql"),
        Index(None, "chain", "place", unique=True, sqlite_where=_IS_LINKED, postgresql_where=_IS_LINKED),
        Index(None, "subject", "id", sqlite_where=_IS_NO_STEP, postgresql_where=_IS_NO_STEP),
        {"sqlite_autoincrement": True},
    )

    id: int | None = Field(default=None, primary_key=True, sa_type=COUNTER)
    xid: int = Field(sa_type=BigInteger)
    time: datetime = Field(sa_type=Instant)
    type: str = Field(sa_type=Text)
    subject: str = Field(sa_type=Text)
    actor: str = Field(sa_type=Text)
    run: str | None = Field(foreign_key="run.name", sa_type=NAME)
    sequence: int | None = Field(sa_type=BigInteger)
    from_state: str = Field(sa_type=Text)
    to_state: str = Field(sa_type=Text)
    failure: Failure | None = Field(sa_type=Reason, nullable=True)
    version: int = Field(sa_type=BigInteger)
    revision: str = Field(sa_type=Text)
    detail: str = Field(sa_type=Text)
    origin: str | None = Field(sa_type=Text)
    method: str | None = Field(sa_type=Text)
    request_id: str | None = Field(sa_type=Text)
    trace_id: str | None = Field(sa_type=Text)
    before_digest: str | None = Field(sa_type=Text)
    after_digest: str | None = Field(sa_type=Text)
    outcome: str | None = Field(sa_type=Text)
    chain: str | None = Field(sa_type=NAME)
    place: int | None = Field(sa_type=BigInteger)
    hash: bytes | None = Field(sa_type=LargeBinary)

    def to_domain(self) -> FeedEntry:
        """The entry as the port knows it."""
        number = self.id or 0
        return FeedEntry(
            id=number,
            position=str(Position(self.xid, number)),
            time=self.time,
            type=self.type,
            subject=self.subject,
            actor=self.actor,
            run=self.run or "",
            sequence=self.sequence or 0,
            from_state=self.from_state,
            to_state=self.to_state,
            failure=self.failure,
            version=self.version,
            revision=self.revision,
            detail=self.detail,
            origin=self.origin or "",
            method=self.method or "",
            request_id=self.request_id or "",
            trace_id=self.trace_id or "",
            before_digest=self.before_digest or "",
            after_digest=self.after_digest or "",
            outcome=self.outcome or OK,
            chain=(self.chain or self.run or "") if self.hash else "",
            place=(self.place or self.sequence or 0) if self.hash else 0,
            hash=self.hash or b"",
        )

    def to_event(self) -> RunEvent:
        """The event as the core knows it."""
        return RunEvent(
            sequence=self.sequence or 0,
            time=self.time,
            type=self.type,
            subject=self.subject,
            from_state=self.from_state,
            to_state=self.to_state,
            actor=self.actor,
            failure=self.failure,
        )

    @staticmethod
    def from_event(run: str, revision: str, event: RunEvent, digest: bytes) -> dict[str, Any]:
        """The row's values, but for the number and the transaction. `digest` is the link's hash."""
        return {
            "time": event.time,
            "type": event.type,
            "subject": event.subject,
            "actor": event.actor,
            "run": run,
            "sequence": event.sequence,
            "from_state": event.from_state,
            "to_state": event.to_state,
            "failure": event.failure,
            "version": 0,
            "revision": revision,
            "detail": "",
            "hash": digest,
        }

    @staticmethod
    def from_audit(entry: AuditEntry, link: Head) -> dict[str, Any]:
        """The row's values, but for the number and the transaction. `link` is what it is in its chain."""
        return {
            "time": entry.time,
            "type": entry.action,
            "subject": entry.subject,
            "actor": entry.actor,
            "run": None,
            "sequence": None,
            "from_state": "",
            "to_state": "",
            "failure": None,
            "version": entry.version,
            "revision": entry.revision,
            "detail": entry.detail,
            "origin": entry.origin or None,
            "method": entry.method or None,
            "request_id": entry.request_id or None,
            "trace_id": entry.trace_id or None,
            "before_digest": entry.before_digest or None,
            "after_digest": entry.after_digest or None,
            "outcome": None if entry.outcome == OK else entry.outcome,
            "chain": link.chain,
            "place": link.place,
            "hash": link.hash,
        }


class FeedConsumerRow(Table, table=True):
    """A consumer of the outbox: the place in the stream up to which it was given everything."""

    __tablename__ = "feed_consumer"

    name: str = Field(primary_key=True, sa_type=NAME)
    xid: int = Field(sa_type=BigInteger)
    entry: int = Field(sa_type=BigInteger)


class FeedClaimRow(Table, table=True):
    """An entry that a consumer was given and has not done yet."""

    __tablename__ = "feed_claim"
    __table_args__ = (Index(None, "consumer", "until"),)

    consumer: str = Field(primary_key=True, foreign_key="feed_consumer.name", sa_type=NAME)
    entry: int = Field(primary_key=True, foreign_key="feed_entry.id", sa_type=BigInteger)
    until: datetime = Field(sa_type=Instant)
    attempts: int = Field(sa_type=BigInteger)
