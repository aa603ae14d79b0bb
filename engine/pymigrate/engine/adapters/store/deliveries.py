"""Deliveries within a unit of work. Hundreds are written at once, so whatever takes many is one statement with many parameters, and
whoever looks for work looks into one index for each severity, the gravest first."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, and_, bindparam, delete, func, insert, or_, select, union_all, update

from pymigrate.engine.adapters.store import delivery_sums
from pymigrate.engine.adapters.store.asked import asked, asking
from pymigrate.engine.adapters.store.delivery_tables import (
    HAS_ENDED,
    HAS_TRY_TIME,
    IS_OF_INCIDENT,
    IS_OVERDUE,
    IS_WAITING,
    SHORT_FIELDS,
    DeliveryRow,
    columns_of,
    delivery_of,
    values_of,
)
from pymigrate.engine.adapters.store.turns import Turn
from pymigrate.engine.adapters.store.versions import Versions
from pymigrate.engine.domain.delivery import Delivery, DeliveryState
from pymigrate.engine.domain.errors import AlreadyExists, StaleWrite
from pymigrate.engine.domain.notices import Severity
from pymigrate.engine.ports.deliveries import WRITTEN_ONCE, DeliveryFilter, DeliveryStanding, DeliveryTally

_TABLE = DeliveryRow.metadata.tables[str(DeliveryRow.__tablename__)]
_c = _TABLE.c
_NEVER_UPDATED = frozenset({"name", "is_overdue_told", *WRITTEN_ONCE})
_GRAVEST_FIRST = tuple(sorted(Severity, reverse=True))
_TRIED_STATES = (DeliveryState.PENDING, DeliveryState.SENDING)
_BY_AGE = (_c.create_time, _c.name)

_INSERT = insert(_TABLE).values(is_overdue_told=False)
_UPDATE = (
    update(_TABLE)
    .where(_c.name == bindparam("stored_name"), _c.version == bindparam("stored_version"))
    .values({column.name: bindparam(column.name) for column in _c if column.name not in _NEVER_UPDATED})
)
_WHOLE = select(*columns_of())
_asked = asked()
_is_asked = select(_asked.c.value)
_GET_ALL = _WHOLE.where(_c.name.in_(_is_asked)).order_by(_c.name)
_TAKEN_KEYS = select(_c.key).where(_c.key.in_(_is_asked))
_TAKEN_NAMES = select(_c.name).where(_c.name.in_(_is_asked))
_of_thread = _TABLE.alias("of_thread")
_OF_THREAD_BY_AGE = (
    select(_of_thread.c.name)
    .where(_of_thread.c.thread == _asked.c.value)
    .order_by(_of_thread.c.create_time.desc(), _of_thread.c.name.desc())
    .limit(1)
)
_NEWEST_NAMES = func.coalesce(
    _OF_THREAD_BY_AGE.where(IS_WAITING).scalar_subquery(), _OF_THREAD_BY_AGE.scalar_subquery()
)
_NEWEST = _WHOLE.where(_c.name.in_(select(_NEWEST_NAMES).select_from(_asked)))
_DUE = (
    _WHOLE.where(IS_WAITING, _c.severity == bindparam("severity"), _c.due_time <= bindparam("now"))
    .order_by(_c.due_time, _c.name)
    .limit(bindparam("limit"))
)
_IS_OF_CHANNEL = (_c.environment == bindparam("environment"), _c.channel == bindparam("channel"))
_CLAIMABLE = (
    _WHOLE.where(
        *_IS_OF_CHANNEL,
        HAS_TRY_TIME,
        _c.state == bindparam("state"),
        _c.severity == bindparam("severity"),
        _c.try_time <= bindparam("now"),
    )
    .order_by(_c.try_time, _c.name)
    .limit(bindparam("limit"))
)
_CHANNELS_WITH_WORK = (
    select(_c.environment, _c.channel)
    .where(_c.try_time <= bindparam("now"))
    .distinct()
    .order_by(_c.environment, _c.channel)
)
_IN_SENDING = (
    select(func.count())
    .select_from(_TABLE)
    .where(*_IS_OF_CHANNEL, _c.state == DeliveryState.SENDING, _c.try_time > bindparam("now"))
)
_TRIED_SINCE = select(func.count()).select_from(_TABLE).where(*_IS_OF_CHANNEL, _c.last_try_time >= bindparam("time"))
_told = (
    _c.environment == bindparam("environment"),
    _c.rule == bindparam("rule"),
    _c.escalation == 0,
    _c.stakeholder.in_(_is_asked),
)
_addressed = select(_c.stakeholder, _c.address)
_frozen = union_all(
    _addressed.where(*_told, IS_WAITING), _addressed.where(*_told, _c.frozen_time >= bindparam("time"))
).subquery()
_address = (_frozen.c.stakeholder, _frozen.c.address)
_FROZEN_SINCE = select(*_address, func.count()).group_by(*_address)
_least_times = union_all(
    select(func.min(_c.try_time).label("time")).where(HAS_TRY_TIME),
    *(select(func.min(_c.due_time)).where(IS_WAITING, _c.severity == int(severity)) for severity in Severity),
).subquery()
_NEXT_TIME = select(func.min(_least_times.c.time))
_LIST = select(*columns_of(SHORT_FIELDS)).order_by(*(each.desc() for each in _BY_AGE)).limit(bindparam("limit"))
_OF_INCIDENT = _WHOLE.where(_c.incident == bindparam("incident"), IS_OF_INCIDENT).order_by(*_BY_AGE)
_OVERDUE = (
    _WHOLE.where(IS_OVERDUE, _c.overdue_time <= bindparam("now"))
    .order_by(_c.overdue_time, _c.name)
    .limit(bindparam("limit"))
)
_NOTE_OVERDUE = update(_TABLE).where(_c.name.in_(_is_asked)).values(is_overdue_told=True)
_OLD = (
    select(_c.name).where(HAS_ENDED, _c.create_time < bindparam("before")).order_by(*_BY_AGE).limit(bindparam("limit"))
)
_PURGE = delete(_TABLE).where(_c.name.in_(_is_asked))


class SqlDeliveries:
    """Deliveries in their table."""

    def __init__(self, connection: Connection, versions: Versions, turn: Turn) -> None:
        self._connection = connection
        self._versions = versions
        self._turn = turn

    def get(self, name: str) -> Delivery | None:
        """The delivery of that name."""
        found = self.get_all([name])
        return found[0] if found else None

    def get_all(self, names: Collection[str]) -> Sequence[Delivery]:
        """Those that there are, by name."""
        return self._read(_GET_ALL, asking(names)) if names else []

    def insert(self, deliveries: Iterable[Delivery]) -> None:
        """Leaves out what has a key that is taken. Raises AlreadyExists for a taken name."""
        fresh = {each.key: each for each in reversed(list(deliveries))}  # of several with one key, the first
        if not fresh:
            return
        self._turn.take()
        for key in self._connection.execute(_TAKEN_KEYS, asking(fresh)).scalars():
            del fresh[key]
        made = list(reversed(fresh.values()))
        names = [each.name for each in made]
        taken = self._connection.execute(_TAKEN_NAMES, asking(names)).scalars().first()
        if taken is not None or len(set(names)) < len(names):
            raise AlreadyExists(f"{taken or 'one of the deliveries'} exists already", field="name")
        if made:
            self._connection.execute(_INSERT, [values_of(each, 1) for each in made])
        for each in made:
            self._versions.set(each, 1)

    def save(self, deliveries: Iterable[Delivery]) -> None:
        """Raises StaleWrite."""
        changed = list({id(each): each for each in deliveries}.values())
        if not changed:
            return
        rows = [_changes(each) for each in changed]
        if self._connection.execute(_UPDATE, rows).rowcount != len(changed):
            which = changed[0].name if len(changed) == 1 else f"one of {len(changed)} deliveries"
            raise StaleWrite(f"{which} was changed or deleted in between: read it again")
        for each in changed:
            self._versions.set(each, each.version + 1)

    def newest(self, threads: Collection[str]) -> Mapping[str, Delivery]:
        """The newest of each thread: for each one look at the end of its part of the index."""
        found = self._read(_NEWEST, asking(threads)) if threads else []
        return {each.thread: each for each in found}

    def due(self, now: datetime, limit: int) -> Sequence[Delivery]:
        """Waiting ones whose time has come, the gravest first."""
        found: list[Delivery] = []
        for severity in _GRAVEST_FIRST:
            if len(found) < limit:
                asked_for = {"severity": int(severity), "now": now, "limit": limit - len(found)}
                found += self._read(_DUE, asked_for)
        return found

    def claimable(self, channel: str, environment: str, now: datetime, limit: int) -> Sequence[Delivery]:
        """Those of a channel that may be tried, the gravest first."""
        asked_for = {"environment": environment, "channel": channel, "now": now, "limit": limit}
        found: list[Delivery] = []
        for severity in _GRAVEST_FIRST:
            if len(found) < limit:
                alike: list[Delivery] = []
                for state in _TRIED_STATES:
                    alike += self._read(_CLAIMABLE, asked_for | {"severity": int(severity), "state": state})
                found += sorted(alike, key=_by_try_time)[: limit - len(found)]
        return found

    def channels_with_work(self, now: datetime) -> Sequence[tuple[str, str]]:
        """Environments and channels for which something may be tried."""
        return [
            (environment, channel)
            for environment, channel in self._connection.execute(_CHANNELS_WITH_WORK, {"now": now})
        ]

    def in_sending(self, environment: str, channel: str, now: datetime) -> int:
        """How many are with a dispatcher."""
        return self._count(_IN_SENDING, {"environment": environment, "channel": channel, "now": now})

    def tried_since(self, environment: str, channel: str, time: datetime) -> int:
        """How many were claimed since."""
        return self._count(_TRIED_SINCE, {"environment": environment, "channel": channel, "time": time})

    def frozen_since(
        self, environment: str, rule: str, addresses: Collection[tuple[str, str]], time: datetime
    ) -> Mapping[tuple[str, str], int]:
        """How many of a rule were frozen since, or wait to be, for each address."""
        wanted = frozenset(addresses)
        if not rule or not wanted:
            return {}
        asked_for = {"environment": environment, "rule": rule, "time": time}
        rows = self._connection.execute(_FROZEN_SINCE, asked_for | asking(stakeholder for stakeholder, _ in wanted))
        counts = {(stakeholder, address): count for stakeholder, address, count in rows}
        return {each: count for each, count in counts.items() if each in wanted}

    def next_time(self) -> datetime | None:
        """When something is next to be done."""
        found: datetime | None = self._connection.execute(_NEXT_TIME).scalar_one()
        return found

    def list(self, only: DeliveryFilter, before: tuple[datetime, str] | None, limit: int) -> Sequence[Delivery]:
        """A page, the newest first."""
        statement = _LIST.where(_c.environment == only.environment)
        for column, value in ((_c.stakeholder, only.stakeholder), (_c.rule, only.rule), (_c.run, only.run)):
            if value:
                statement = statement.where(column == value)
        if only.state is not None:
            statement = statement.where(_c.state == only.state)
        if before is not None:
            time, last = before
            is_older = or_(_c.create_time < time, _c.name < last)
            statement = statement.where(and_(_c.create_time <= time, is_older))
        rows = self._connection.execute(statement, {"limit": limit})
        return [delivery_of(row, SHORT_FIELDS) for row in rows]

    def of_incident(self, incident: str) -> Sequence[Delivery]:
        """Those of an incident, in order."""
        return self._read(_OF_INCIDENT, {"incident": incident})

    def tallies(self, environment: str, since: datetime, now: datetime) -> Sequence[DeliveryTally]:
        """What became of those that became due within a window."""
        return delivery_sums.tallies(self._connection, environment, since, now)

    def standing(self, environment: str) -> Sequence[DeliveryStanding]:
        """How many are to be sent still, and how many were given up."""
        return delivery_sums.standing(self._connection, environment)

    def overdue(self, now: datetime, limit: int) -> Sequence[Delivery]:
        """What was not confirmed in time, the earliest first."""
        return self._read(_OVERDUE, {"now": now, "limit": limit})

    def note_overdue(self, names: Collection[str]) -> None:
        """That was told."""
        if names:
            self._connection.execute(_NOTE_OVERDUE, asking(names))

    def purge(self, before: datetime, limit: int) -> int:
        """Forgets old ones that have ended."""
        old = self._connection.execute(_OLD, {"before": before, "limit": limit}).scalars().all()
        return self._connection.execute(_PURGE, asking(old)).rowcount if old else 0

    def _read(self, statement: Select[Any], asked_for: Mapping[str, Any]) -> Sequence[Delivery]:
        return [delivery_of(row) for row in self._connection.execute(statement, asked_for)]

    def _count(self, statement: Select[Any], asked_for: Mapping[str, Any]) -> int:
        found: int = self._connection.execute(statement, asked_for).scalar_one()
        return found


def _changes(delivery: Delivery) -> dict[str, Any]:
    values = values_of(delivery, delivery.version + 1)
    for name in WRITTEN_ONCE:
        del values[name]
    values["stored_name"] = values.pop("name")
    values["stored_version"] = delivery.version
    return values


def _by_try_time(delivery: Delivery) -> tuple[Any, str]:
    is_sending = delivery.state == DeliveryState.SENDING
    return delivery.lease_until if is_sending else delivery.next_try_time, delivery.name
