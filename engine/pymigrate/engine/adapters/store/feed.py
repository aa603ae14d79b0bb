"""The stream within a unit of work: appending to it, following it, reading it as the audit trail, and handing it to consumers.

On PostgreSQL a place is the writing transaction and the number, and only what lies below the oldest transaction under way is given:
rows become visible in another order than they are numbered. On SQLite one transaction follows the other, and the number is the place.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, bindparam, delete, func, insert, or_, select, tuple_, update
from sqlalchemy.exc import IntegrityError
from sqlmodel import col
from sqlmodel import select as select_row

from pymigrate.engine.adapters.store.feed_tables import FeedClaimRow, FeedConsumerRow, FeedEntryRow
from pymigrate.engine.adapters.store.links import WriterChain, event_hashes
from pymigrate.engine.adapters.store.reading import read_all, read_first
from pymigrate.engine.adapters.store.run_tables import RunRow
from pymigrate.engine.adapters.store.transactions import OldestTransaction, WritingTransaction
from pymigrate.engine.domain.errors import StaleWrite
from pymigrate.engine.domain.run import RunEvent
from pymigrate.engine.ports.audit import LOOKED_MAX, AuditFilter, Found
from pymigrate.engine.ports.feed import CLAIMS_MAX, OK, START, Claim, FeedEntry, Position, lost_place, read_position
from pymigrate.engine.ports.store import AuditEntry, audit_entry

_number, _transaction = col(FeedEntryRow.id), col(FeedEntryRow.xid)
# Inline: nobody asks for the number, so the database need not send it.
_INSERT_ENTRY = insert(FeedEntryRow).values(xid=WritingTransaction()).inline()
_INSERT_CONSUMER = insert(FeedConsumerRow)
_MOVE_CONSUMER = update(FeedConsumerRow).where(col(FeedConsumerRow.name) == bindparam("consumer"))
_INSERT_CLAIM = insert(FeedClaimRow)
_IS_CLAIM = (
    col(FeedClaimRow.consumer) == bindparam("of_consumer"),
    col(FeedClaimRow.entry) == bindparam("of_entry"),
)
_RENEW_CLAIM = (
    update(FeedClaimRow).where(*_IS_CLAIM).values(until=bindparam("until"), attempts=FeedClaimRow.attempts + 1)
)
_RELEASE_CLAIM = update(FeedClaimRow).where(*_IS_CLAIM)
_DELETE_CLAIM = delete(FeedClaimRow).where(*_IS_CLAIM)
_OF_RUN = col(FeedEntryRow.run) == bindparam("of_run")
_LAST_EVENT = select(
    col(RunRow.plan_hash),
    select(func.max(FeedEntryRow.sequence)).where(_OF_RUN).scalar_subquery(),
    select(col(FeedEntryRow.hash))
    .where(_OF_RUN)
    .order_by(col(FeedEntryRow.sequence).desc())
    .limit(1)
    .scalar_subquery(),
).where(col(RunRow.name) == bindparam("of_run"))


def append_events(connection: Connection, run: str, events: Sequence[RunEvent]) -> None:
    """Adds events of a run. Raises StaleWrite where there is no such run, or they do not go on from its last one."""
    if not events:
        return
    known = connection.execute(_LAST_EVENT, {"of_run": run}).first()
    if known is None:
        raise StaleWrite(f"there is no {run} any more")
    plan_hash, last, digest = known
    for place, event in enumerate(events, start=(last or 0) + 1):
        if event.sequence != place:
            raise StaleWrite(f"event {event.sequence} of {run} is not the next one: load the run again")
    try:
        hashes = event_hashes(run, plan_hash, digest, events)
        rows = [FeedEntryRow.from_event(run, plan_hash, *each) for each in zip(events, hashes, strict=True)]
        connection.execute(_INSERT_ENTRY, rows if len(rows) > 1 else rows[0])
    except IntegrityError as error:
        raise StaleWrite(f"the events of {run} were continued in between: load the run again") from error


class SqlAudit:
    """The stream as the audit trail."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._chain = WriterChain(connection)

    def append(self, entry: AuditEntry) -> None:
        """Adds an entry; the database gives its sequence."""
        self._connection.execute(_INSERT_ENTRY, FeedEntryRow.from_audit(entry, self._chain.link(entry)))

    def append_all(self, entries: Sequence[AuditEntry]) -> None:
        """Adds entries; the database gives their sequences, which follow their order."""
        if entries:
            rows = [FeedEntryRow.from_audit(entry, self._chain.link(entry)) for entry in entries]
            self._connection.execute(_INSERT_ENTRY, rows)

    def list(self, after: int, limit: int) -> Sequence[AuditEntry]:
        """A page, in order."""
        rows = read_all(
            self._connection, select_row(FeedEntryRow).where(_number > after).order_by(_number).limit(limit)
        )
        return [audit_entry(row.to_domain()) for row in rows]

    def find(self, asked: AuditFilter, after: int, limit: int) -> Found:
        """What was asked for of a window, so that nothing takes longer than that."""
        window = select(_number).where(_number > after).order_by(_number).limit(LOOKED_MAX).subquery()
        looked, last = self._connection.execute(select(func.count(), func.max(window.c.id))).one()
        if not looked:
            return Found([], after, is_end=True)
        statement = select_row(FeedEntryRow).where(_number > after, _number <= last, *_conditions(asked))
        rows = read_all(self._connection, statement.order_by(_number).limit(limit))
        found = [row.to_domain() for row in rows]
        if len(found) == limit and limit:
            return Found(found, found[-1].id, is_end=False)
        return Found(found, last, is_end=looked < LOOKED_MAX)

    def about(self, subjects: Collection[str], limit: int) -> Sequence[AuditEntry]:
        """The newest about these subjects."""
        if not subjects:
            return []
        is_about = col(FeedEntryRow.subject).in_(sorted(set(subjects))), col(FeedEntryRow.run).is_(None)
        statement = select_row(FeedEntryRow).where(*is_about).order_by(_number.desc()).limit(limit)
        return [audit_entry(row.to_domain()) for row in read_all(self._connection, statement)]


def _conditions(asked: AuditFilter) -> Iterator[ColumnElement[bool]]:
    subject, run, kind = col(FeedEntryRow.subject), col(FeedEntryRow.run), col(FeedEntryRow.type)
    for name in filter(None, (asked.environment, asked.subject)):
        yield or_(*(or_(each == name, _begins(each, f"{name}/")) for each in (subject, run)))
    if asked.principal:
        yield col(FeedEntryRow.actor) == asked.principal
    if asked.action:
        yield or_(kind == asked.action, _begins(kind, f"{asked.action} "))
    if asked.outcome:
        yield func.coalesce(col(FeedEntryRow.outcome), OK) == asked.outcome
    if asked.start is not None:
        yield col(FeedEntryRow.time) >= asked.start
    if asked.end is not None:
        yield col(FeedEntryRow.time) < asked.end


def _begins(column: Any, text: str) -> ColumnElement[bool]:
    """LIKE would not tell upper from lower case everywhere."""
    return func.substr(column, 1, len(text)) == text


class SqlFeed:
    """The stream in its table."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._has_many_writers = connection.dialect.name == "postgresql"

    def after(self, cursor: str, limit: int) -> tuple[Sequence[FeedEntry], str]:
        """A page, and the cursor behind it."""
        place = read_position(cursor)
        entries = self.behind(place, limit)
        if not entries and place != START:
            self._require_known(place)
        return entries, entries[-1].position if entries else cursor

    def end(self) -> str:
        """The cursor behind everything that `after` would give now."""
        statement = select_row(FeedEntryRow).where(*self.is_over()).order_by(*(c.desc() for c in self.order())).limit(1)
        last = read_first(self._connection, statement)
        return str(START) if last is None else last.to_domain().position

    def get(self, ids: Collection[int]) -> Sequence[FeedEntry]:
        """Those that there are, in order."""
        statement = select_row(FeedEntryRow).where(_number.in_(sorted(set(ids)))).order_by(_number)
        return [row.to_domain() for row in read_all(self._connection, statement)]

    def behind(self, place: Position, limit: int) -> list[FeedEntry]:
        """At most `limit` entries behind a place."""
        statement = select_row(FeedEntryRow).where(*self.is_behind(place), *self.is_over())
        statement = statement.order_by(*self.order()).limit(limit)
        return [row.to_domain() for row in read_all(self._connection, statement)]

    def order(self) -> tuple[Any, ...]:
        """What the stream is ordered by."""
        return (_transaction, _number) if self._has_many_writers else (_number,)

    def is_over(self) -> tuple[ColumnElement[bool], ...]:
        """What holds for entries whose transactions are over, and all before them too."""
        return (_transaction < OldestTransaction(),) if self._has_many_writers else ()

    def is_behind(self, place: Position) -> tuple[ColumnElement[bool], ...]:
        """What holds for entries behind a place."""
        if self._has_many_writers:
            return (tuple_(_transaction, _number) > tuple_(place.transaction, place.entry),)
        return (_number > place.entry,)

    def is_reached(self, place: Position) -> tuple[ColumnElement[bool], ...]:
        """What holds for all others."""
        if self._has_many_writers:
            return (tuple_(_transaction, _number) <= tuple_(place.transaction, place.entry),)
        return (_number <= place.entry,)

    def _require_known(self, place: Position) -> None:
        """Raises InvalidDefinition for a place that lies ahead: the store was set back to a backup since, and has gone other ways."""
        if self._has_many_writers:
            oldest: int = self._connection.execute(select(OldestTransaction())).scalar_one()
            is_ahead = place.transaction >= oldest
        else:
            is_ahead = place.entry > (read_first(self._connection, select_row(func.max(_number))) or 0)
        if is_ahead:
            raise lost_place()


class SqlOutbox:
    """What each consumer has been given, in its tables. A consumer's row orders those who ask in its name."""

    def __init__(self, connection: Connection, feed: SqlFeed) -> None:
        self._connection = connection
        self._feed = feed

    def begin(self, consumer: str, cursor: str) -> None:
        """Where an unknown consumer begins."""
        place = read_position(cursor)
        if self._place(consumer) is None:
            self._add(consumer, place)

    def claim(self, consumer: str, limit: int, now: datetime, until: datetime) -> Sequence[Claim]:
        """Entries whose lease has ended, then new ones."""
        place = self._place(consumer)
        if place is None:
            place = START
            self._add(consumer, place)
        claims = self._reclaim(consumer, limit, now, until)
        room = min(limit - len(claims), CLAIMS_MAX - self._held(consumer))
        fresh = self._feed.behind(place, room) if room > 0 else []
        if fresh:
            last = read_position(fresh[-1].position)
            self._connection.execute(
                _MOVE_CONSUMER, {"consumer": consumer, "xid": last.transaction, "entry": last.entry}
            )
            rows = [{"consumer": consumer, "entry": entry.id, "until": until, "attempts": 1} for entry in fresh]
            self._connection.execute(_INSERT_CLAIM, rows)
        return [*claims, *(Claim(entry, 1) for entry in fresh)]

    def done(self, consumer: str, ids: Iterable[int]) -> None:
        """Forgets the claims."""
        if keys := _keys(consumer, ids):
            self._connection.execute(_DELETE_CLAIM, keys)

    def release(self, consumer: str, ids: Iterable[int], until: datetime) -> None:
        """Lets the claims end at `until`."""
        if keys := [key | {"until": until} for key in _keys(consumer, ids)]:
            self._connection.execute(_RELEASE_CLAIM, keys)

    def _reclaim(self, consumer: str, limit: int, now: datetime, until: datetime) -> list[Claim]:
        ended = (
            select_row(FeedClaimRow)
            .where(FeedClaimRow.consumer == consumer, FeedClaimRow.until <= now)
            .order_by(col(FeedClaimRow.until), col(FeedClaimRow.entry))
            .limit(max(limit, 0))
        )
        attempts = {row.entry: row.attempts + 1 for row in read_all(self._connection, ended)}
        if not attempts:
            return []
        keys = [key | {"until": until} for key in _keys(consumer, attempts)]
        self._connection.execute(_RENEW_CLAIM, keys)
        rows = read_all(self._connection, select_row(FeedEntryRow).where(_number.in_(attempts)))
        entries = {row.id: row.to_domain() for row in rows}
        return [Claim(entries[number], attempt) for number, attempt in attempts.items()]

    def _held(self, consumer: str) -> int:
        return read_first(self._connection, select_row(func.count()).where(FeedClaimRow.consumer == consumer)) or 0

    def _place(self, consumer: str) -> Position | None:
        row = read_first(
            self._connection, select_row(FeedConsumerRow).where(FeedConsumerRow.name == consumer).with_for_update()
        )
        return None if row is None else Position(row.xid, row.entry)

    def _add(self, consumer: str, place: Position) -> None:
        self._connection.execute(_INSERT_CONSUMER, {"name": consumer, "xid": place.transaction, "entry": place.entry})


def _keys(consumer: str, ids: Iterable[int]) -> list[dict[str, Any]]:
    return [{"of_consumer": consumer, "of_entry": number} for number in ids]
