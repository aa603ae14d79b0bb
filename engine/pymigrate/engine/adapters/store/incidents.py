"""Incidents that escalate, and conditions that hold, within a unit of work."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Connection, Index, Text, bindparam, delete, func, insert, select, text, update
from sqlalchemy.exc import IntegrityError
from sqlmodel import Field

from pymigrate.engine.adapters.store.asked import asked, asking
from pymigrate.engine.adapters.store.columns import NAME, Instant, Numbers
from pymigrate.engine.adapters.store.tables import Table
from pymigrate.engine.adapters.store.turns import Turn
from pymigrate.engine.adapters.store.versions import Versions
from pymigrate.engine.domain.delivery import Condition, Incident
from pymigrate.engine.domain.errors import AlreadyExists, StaleWrite

IS_OPEN = text("next_time IS NOT NULL")
HAS_ENDED = text("next_time IS NULL")


class IncidentRow(Table, table=True):
    """An incident."""

    __tablename__ = "incident"
    __table_args__ = (
        Index(None, "next_time", "id", sqlite_where=IS_OPEN, postgresql_where=IS_OPEN),
        Index(None, "thread", "open_time", "id", sqlite_where=IS_OPEN, postgresql_where=IS_OPEN),
        Index(None, "open_time", "id", sqlite_where=HAS_ENDED, postgresql_where=HAS_ENDED),
    )

    id: str = Field(primary_key=True, sa_type=NAME)
    environment: str = Field(sa_type=NAME)
    rule: str = Field(sa_type=NAME)
    thread: str = Field(sa_type=NAME)
    open_time: datetime = Field(sa_type=Instant)
    entries: list[int] = Field(sa_type=Numbers)
    step: int = Field(sa_type=BigInteger)
    next_time: datetime | None = Field(sa_type=Instant)
    acknowledge_time: datetime | None = Field(sa_type=Instant)
    acknowledger: str = Field(sa_type=Text)
    version: int = Field(sa_type=BigInteger)


class ConditionRow(Table, table=True):
    """A condition."""

    __tablename__ = "condition"

    environment: str = Field(primary_key=True, sa_type=NAME)
    rule: str = Field(primary_key=True, sa_type=NAME)
    subject: str = Field(primary_key=True, sa_type=NAME)
    since: datetime = Field(sa_type=Instant)
    told_time: datetime | None = Field(sa_type=Instant)
    version: int = Field(sa_type=BigInteger)


_INCIDENTS = IncidentRow.metadata.tables[str(IncidentRow.__tablename__)]
_CONDITIONS = ConditionRow.metadata.tables[str(ConditionRow.__tablename__)]
_i, _k = _INCIDENTS.c, _CONDITIONS.c
_asked = asked()
_WHOLE = select(*(_i[each.name] for each in fields(Incident)))
_GET = _WHOLE.where(_i.id == bindparam("incident"))
_OPEN_OF = _WHOLE.where(_i.thread.in_(select(_asked.c.value)), IS_OPEN).order_by(_i.open_time, _i.id)
_TAKEN = select(_i.id).where(_i.id.in_(select(_asked.c.value))).limit(1)
_INSERT = insert(_INCIDENTS)
_UPDATE = (
    update(_INCIDENTS)
    .where(_i.id == bindparam("stored_id"), _i.version == bindparam("stored_version"))
    .values({column.name: bindparam(column.name) for column in _i if column.name != "id"})
)
_DUE = _WHOLE.where(_i.next_time <= bindparam("now")).order_by(_i.next_time, _i.id).limit(bindparam("limit"))
_NEXT_TIME = select(func.min(_i.next_time)).where(IS_OPEN)
_OLD = (
    select(_i.id)
    .where(HAS_ENDED, _i.open_time < bindparam("before"))
    .order_by(_i.open_time, _i.id)
    .limit(bindparam("limit"))
)
_PURGE = delete(_INCIDENTS).where(_i.id.in_(select(_asked.c.value)))

_KEYS = ("environment", "rule", "subject")
_ALL_CONDITIONS = select(*(_k[each.name] for each in fields(Condition))).order_by(*(_k[key] for key in _KEYS))
_is_condition = tuple(_k[key] == bindparam(f"stored_{key}") for key in _KEYS)
_INSERT_CONDITION = insert(_CONDITIONS)
_UPDATE_CONDITION = (
    update(_CONDITIONS)
    .where(*_is_condition, _k.version == bindparam("stored_version"))
    .values({name: bindparam(name) for name in ("since", "told_time", "version")})
)
_DELETE_CONDITION = delete(_CONDITIONS).where(*_is_condition)


class SqlIncidents:
    """Incidents in their table."""

    def __init__(self, connection: Connection, versions: Versions, turn: Turn) -> None:
        self._connection = connection
        self._versions = versions
        self._turn = turn

    def get(self, incident: str) -> Incident | None:
        """The incident of that id."""
        row = self._connection.execute(_GET, {"incident": incident}).first()
        return None if row is None else Incident(*row)

    def open_of(self, threads: Collection[str]) -> Mapping[str, Incident]:
        """The one of each thread that is under way."""
        rows = self._connection.execute(_OPEN_OF, asking(threads)) if threads else ()
        return {incident.thread: incident for incident in (Incident(*row) for row in rows)}

    def insert(self, incidents: Iterable[Incident]) -> None:
        """Raises AlreadyExists. Whoever opens one has looked for one that is open, as whoever makes a delivery has: in turn."""
        opened = list(incidents)
        if not opened:
            return
        self._turn.take()
        ids = [each.id for each in opened]
        taken = self._connection.execute(_TAKEN, asking(ids)).scalars().first()
        if taken is not None or len(set(ids)) < len(ids):
            raise AlreadyExists(f"the incident {taken or min(ids)} exists already")
        self._connection.execute(_INSERT, [asdict(each) | {"version": 1} for each in opened])
        for each in opened:
            self._versions.set(each, 1)

    def save(self, incidents: Iterable[Incident]) -> None:
        """Raises StaleWrite."""
        changed = list({id(each): each for each in incidents}.values())
        if not changed:
            return
        rows = [_changes(each) for each in changed]
        if self._connection.execute(_UPDATE, rows).rowcount != len(changed):
            which = changed[0].id if len(changed) == 1 else f"one of {len(changed)}"
            raise StaleWrite(f"the incident {which} was changed or deleted in between: read it again")
        for each in changed:
            self._versions.set(each, each.version + 1)

    def due(self, now: datetime, limit: int) -> Sequence[Incident]:
        """Those whose next step is due, the earliest first."""
        return [Incident(*row) for row in self._connection.execute(_DUE, {"now": now, "limit": limit})]

    def next_time(self) -> datetime | None:
        """When the next step is due."""
        found: datetime | None = self._connection.execute(_NEXT_TIME).scalar_one()
        return found

    def purge(self, before: datetime, limit: int) -> int:
        """Forgets old ones that have ended."""
        old = self._connection.execute(_OLD, {"before": before, "limit": limit}).scalars().all()
        return self._connection.execute(_PURGE, asking(old)).rowcount if old else 0


class SqlConditions:
    """Conditions in their table."""

    def __init__(self, connection: Connection, versions: Versions) -> None:
        self._connection = connection
        self._versions = versions

    def all(self) -> Sequence[Condition]:
        """All, in order."""
        return [Condition(*row) for row in self._connection.execute(_ALL_CONDITIONS)]

    def put(self, condition: Condition) -> None:
        """Raises StaleWrite."""
        values = asdict(condition) | {"version": condition.version + 1}
        if condition.version == 0:
            try:
                self._connection.execute(_INSERT_CONDITION, values)
            except IntegrityError as error:
                raise _stale(condition) from error
        else:
            values = {f"stored_{key}": values.pop(key) for key in _KEYS} | values
            values["stored_version"] = condition.version
            if self._connection.execute(_UPDATE_CONDITION, values).rowcount != 1:
                raise _stale(condition)
        self._versions.set(condition, condition.version + 1)

    def delete(self, condition: Condition) -> None:
        """Forgets it."""
        self._connection.execute(_DELETE_CONDITION, {f"stored_{key}": getattr(condition, key) for key in _KEYS})


def _changes(incident: Incident) -> dict[str, Any]:
    values = asdict(incident) | {"version": incident.version + 1, "stored_version": incident.version}
    values["stored_id"] = values.pop("id")
    return values


def _stale(condition: Condition) -> StaleWrite:
    return StaleWrite(f"the condition of {condition.rule} on {condition.subject} was changed: read it again")
