"""What proves the audit trail, in its tables: the chains as they are read to be sealed and verified, seals, and bases."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Text,
    and_,
    bindparam,
    case,
    delete,
    func,
    insert,
    or_,
    type_coerce,
)
from sqlalchemy import select as sql_select
from sqlalchemy.orm import aliased
from sqlmodel import col, select

from pymigrate.engine.adapters.store.audit_tables import AuditBaseRow, AuditSealHeadRow, AuditSealRow
from pymigrate.engine.adapters.store.feed import SqlFeed
from pymigrate.engine.adapters.store.feed_tables import FeedClaimRow, FeedConsumerRow, FeedEntryRow
from pymigrate.engine.adapters.store.reading import read_all, read_first
from pymigrate.engine.adapters.store.run_tables import RunRow
from pymigrate.engine.domain.audit_chain import UNLINKED, Head, Seal, Written
from pymigrate.engine.domain.errors import StaleWrite
from pymigrate.engine.domain.run_states import RUN_ENDED
from pymigrate.engine.ports.audit import LOOKED_MAX, Moved, Passed
from pymigrate.engine.ports.feed import OK, Position, read_position

_row = FeedEntryRow
_number, _run, _sequence, _hash = col(_row.id), col(_row.run), col(_row.sequence), col(_row.hash)
_chain, _place, _transaction = col(_row.chain), col(_row.place), col(_row.xid)
_is_unlinked = _hash.is_(None)
# A step has no chain and place of its own, and what is none has no sequence: where that is otherwise, nothing hashes to what is there.
_CHAIN = case((_is_unlinked, UNLINKED), else_=func.coalesce(_chain, _run, UNLINKED))
_PLACE = case(
    (_is_unlinked, 0), (and_(_run.is_(None), _sequence.is_not(None)), -1), else_=func.coalesce(_place, _sequence, 0)
)


def _text(column: Any) -> ColumnElement[str]:
    return func.coalesce(type_coerce(column, Text), "")


# In the order of Written.
_WRITTEN: list[Any] = [
    *(_number, type_coerce(col(_row.time), BigInteger), col(_row.version), _PLACE, _CHAIN),
    *(col(_row.actor), _text(_row.origin), col(_row.type), col(_row.subject), _text(_row.method), _text(_run)),
    *(
        col(_row.revision),
        col(_row.from_state),
        col(_row.to_state),
        _text(_row.before_digest),
        _text(_row.after_digest),
    ),
    *(col(_row.detail), _text(_row.failure), func.coalesce(col(_row.outcome), OK), _text(_row.request_id)),
    *(_text(_row.trace_id), func.coalesce(_hash, b"")),
]
_INSERT_SEAL, _INSERT_HEAD, _INSERT_BASE = insert(AuditSealRow), insert(AuditSealHeadRow), insert(AuditBaseRow)
_DELETE_BASE = delete(AuditBaseRow).where(col(AuditBaseRow.chain) == bindparam("of_chain"))
_DELETE_ENTRY = delete(FeedEntryRow).where(_number == bindparam("of_entry"))


class SqlSeals:
    """The chains and what was sealed of them."""

    def __init__(self, connection: Connection, feed: SqlFeed) -> None:
        self._connection = connection
        self._feed = feed

    def last(self) -> Seal | None:
        """The newest seal."""
        newest = select(AuditSealRow).order_by(col(AuditSealRow.number).desc()).limit(1)
        row = read_first(self._connection, newest)
        return None if row is None else row.to_domain()

    def list(self, after: int, limit: int) -> Sequence[Seal]:
        """A page, in order."""
        number = col(AuditSealRow.number)
        statement = select(AuditSealRow).where(number > after).order_by(number).limit(limit)
        return [row.to_domain() for row in read_all(self._connection, statement)]

    def heads(self, number: int) -> Sequence[Head]:
        """What a seal holds."""
        statement = select(AuditSealHeadRow).where(AuditSealHeadRow.seal == number)
        statement = statement.order_by(col(AuditSealHeadRow.is_base), col(AuditSealHeadRow.chain))
        return [row.to_domain() for row in read_all(self._connection, statement)]

    def add(self, seal: Seal, heads: Sequence[Head]) -> None:
        """Raises StaleWrite."""
        last = self.last()
        if seal.number != (last.number if last else 0) + 1:
            raise StaleWrite(f"seal {seal.number} is not the next one: read the last again")
        # Of two engines that add the same number the database refuses one, whose unit is done again and sees the other's.
        self._connection.execute(_INSERT_SEAL, AuditSealRow.from_domain(seal))
        if heads:
            self._connection.execute(
                _INSERT_HEAD,
                [
                    {"seal": seal.number, "is_base": h.is_base, "chain": h.chain, "place": h.place, "hash": h.hash}
                    for h in heads
                ],
            )

    def moved(self, position: str, limit: int) -> Moved:
        """The last link of each chain in a stretch."""
        columns = sql_select(_number, _transaction, _CHAIN, _PLACE, _hash)
        behind = columns.where(*self._feed.is_behind(read_position(position)), *self._feed.is_over())
        rows = self._connection.execute(behind.order_by(*self._feed.order()).limit(limit)).all()
        heads: dict[str, Head] = {}
        for _, _, chain, place, digest in rows:
            if digest is not None and (chain not in heads or heads[chain].place < place):
                heads[chain] = Head(chain, place, digest)
        end = str(Position(rows[-1][1], rows[-1][0])) if rows else position
        return Moved([heads[chain] for chain in sorted(heads)], end, len(rows))

    def passed(self, position: str, until: str, limit: int) -> Passed:
        """A stretch."""
        statement = sql_select(*_WRITTEN).where(*self._feed.is_behind(read_position(position)), *self._feed.is_over())
        if until:
            statement = statement.where(*self._feed.is_reached(read_position(until)))
        rows = self._connection.execute(statement.order_by(*self._feed.order()).limit(limit))
        return self._passed(list(map(Written._make, rows)), position)

    def bases(self) -> Sequence[Head]:
        """By chain."""
        statement = select(AuditBaseRow).order_by(col(AuditBaseRow.chain))
        return [row.to_domain() for row in read_all(self._connection, statement)]

    def removable(self, position: str, until: str, before: datetime, limit: int) -> Passed:
        """A stretch of what nobody needs any more."""
        end = self._old_until(position, until, before)
        if end == position:
            return Passed([], position)
        is_claimed = sql_select(col(FeedClaimRow.entry)).where(col(FeedClaimRow.entry) == _number).exists()
        is_open = or_(col(RunRow.state).not_in(sorted(RUN_ENDED)), col(RunRow.seal_time).is_not(None))
        is_of_open_run = sql_select(col(RunRow.name)).where(col(RunRow.name) == _run, is_open).exists()
        later = aliased(FeedEntryRow)
        is_followed = [
            sql_select(col(later.id)).where(col(later.run) == _run, col(later.sequence) > _sequence).exists(),
            sql_select(col(later.id)).where(col(later.chain) == _chain, col(later.place) > _place).exists(),
            and_(_run.is_(None), _chain.is_(None)),
        ]
        statement = sql_select(*_WRITTEN).where(
            *self._feed.is_behind(read_position(position)),
            *(self._feed.is_reached(place)[0] for place in (read_position(end), *self._consumers())),
            col(_row.time) < before,
            ~is_claimed,
            ~is_of_open_run,
            or_(*is_followed),
        )
        rows = self._connection.execute(statement.order_by(*self._feed.order()).limit(limit))
        found = list(map(Written._make, rows))
        return self._passed(found, position) if len(found) == limit else Passed(found, end)

    def _old_until(self, position: str, until: str, before: datetime) -> str:
        """The place of the last entry behind a position that is as old, of those that may be looked at."""
        columns = sql_select(_transaction, _number, col(_row.time)).where(
            *self._feed.is_behind(read_position(position)), *self._feed.is_reached(read_position(until))
        )
        rows = self._connection.execute(columns.order_by(*self._feed.order()).limit(LOOKED_MAX))
        end = position
        for xid, number, time in rows:
            if time >= before:
                break
            end = str(Position(xid, number or 0))
        return end

    def remove(self, bases: Sequence[Head], sequences: Sequence[int]) -> None:
        """The bases first: without them the table lets nothing go."""
        if bases:
            self._connection.execute(_DELETE_BASE, [{"of_chain": base.chain} for base in bases])
            rows = [{"chain": base.chain, "place": base.place, "hash": base.hash} for base in bases]
            self._connection.execute(_INSERT_BASE, rows)
        if sequences:
            self._connection.execute(_DELETE_ENTRY, [{"of_entry": number} for number in sequences])

    def _consumers(self) -> Sequence[Position]:
        rows = read_all(self._connection, select(FeedConsumerRow))
        return [Position(row.xid, row.entry) for row in rows]

    def _passed(self, entries: Sequence[Written], position: str) -> Passed:
        if not entries:
            return Passed(entries, position)
        last = entries[-1].sequence
        xid = self._connection.execute(sql_select(_transaction).where(_number == last)).scalar_one()
        return Passed(entries, str(Position(xid, last)))
