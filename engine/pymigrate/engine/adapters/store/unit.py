"""One unit of work over a database connection: what is declared, hosts and kept answers; the runs lie in `runs`, the stream in `feed`,
estimates in `estimates`, figures in `figures`, what is kept of notifications in `deliveries` and `incidents`, and of Git sources in
`git_records`.

Reads come through SQLModel, writes are Core statements made once. A unit neither begins nor commits; whoever made it does.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Connection, Select, bindparam, delete, insert, type_coerce, update
from sqlalchemy import select as sql_select
from sqlalchemy.exc import IntegrityError
from sqlmodel import col, select

from pymigrate.engine.adapters.store.columns import from_microseconds
from pymigrate.engine.adapters.store.deliveries import SqlDeliveries
from pymigrate.engine.adapters.store.estimates import SqlEstimates, SqlMeasures, SqlSamples
from pymigrate.engine.adapters.store.feed import SqlAudit, SqlFeed, SqlOutbox
from pymigrate.engine.adapters.store.figures import SqlFigures
from pymigrate.engine.adapters.store.git_records import SqlGitRecords
from pymigrate.engine.adapters.store.incidents import SqlConditions, SqlIncidents
from pymigrate.engine.adapters.store.reading import read_all, read_first
from pymigrate.engine.adapters.store.runs import SqlRuns
from pymigrate.engine.adapters.store.seals import SqlSeals
from pymigrate.engine.adapters.store.tables import HostRow, RequestRow, ResourceRow
from pymigrate.engine.adapters.store.turns import DELIVERIES, RESOURCES, Turn
from pymigrate.engine.adapters.store.versions import Versions
from pymigrate.engine.domain.errors import AlreadyExists, StaleWrite
from pymigrate.engine.ports.hosts import HostRecord
from pymigrate.engine.ports.store import Resource, state_of

_INSERT_RESOURCE = insert(ResourceRow)
_UPDATE_RESOURCE = update(ResourceRow).where(
    col(ResourceRow.name) == bindparam("stored_name"), col(ResourceRow.version) == bindparam("stored_version")
)
_DELETE_RESOURCE = delete(ResourceRow).where(
    col(ResourceRow.name) == bindparam("stored_name"), col(ResourceRow.version) == bindparam("stored_version")
)
_name, _parent, _kind = col(ResourceRow.name), col(ResourceRow.parent), col(ResourceRow.kind)
_times = [type_coerce(col(each), BigInteger) for each in (ResourceRow.create_time, ResourceRow.update_time)]
_COLUMNS: list[Any] = [
    *(_name, _kind, _parent, col(ResourceRow.uid), col(ResourceRow.version), col(ResourceRow.body)),
    *(*_times, col(ResourceRow.managed_by), col(ResourceRow.resolved)),
]
_RESOURCES: Select[Any] = sql_select(*_COLUMNS).order_by(_name)
# Made once: to make a statement takes longer than to have it answered.
_RESOURCE = _RESOURCES.where(_name == bindparam("name"))
_PAGE = _RESOURCES.where(_parent == bindparam("parent"), _kind == bindparam("kind"), _name > bindparam("after")).limit(
    bindparam("most")
)
_NAMES = sql_select(_name).where(_parent == bindparam("parent"), _kind == bindparam("kind")).order_by(_name)
_INSERT_HOST = insert(HostRow)
_TOUCH_HOST = update(HostRow).where(col(HostRow.name) == bindparam("stored_name"))
_DELETE_HOST = delete(HostRow).where(col(HostRow.name) == bindparam("stored_name"))
_INSERT_REQUEST = insert(RequestRow)
_DELETE_REQUESTS = delete(RequestRow).where(col(RequestRow.time) < bindparam("before"))


class _Times(dict[int, datetime]):
    """Datetimes by what is counted of them: what was written at once has one."""

    def __missing__(self, microseconds: int) -> datetime:
        self[microseconds] = found = from_microseconds(microseconds)
        return found


class SqlResources:
    """Declared objects in their table."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._turn = Turn(connection, RESOURCES)

    def get(self, name: str) -> Resource | None:
        """The object of that name."""
        return next(iter(self._all(_RESOURCE, name=name)), None)

    def get_all(self, names: Collection[str]) -> Sequence[Resource]:
        """Those that there are, by name."""
        return self._all(_RESOURCES.where(_name.in_(names))) if names else []

    def list(self, kind: str, parent: str, after: str, limit: int) -> Sequence[Resource]:
        """A page, ordered by name."""
        return self._all(_PAGE, parent=parent, kind=kind, after=after, most=limit)

    def names(self, kind: str, parent: str) -> Sequence[str]:
        """The names of all of a kind below a parent, in order."""
        return list(self._connection.execute(_NAMES, {"parent": parent, "kind": kind}).scalars())

    def states(self, kind: str, parent: str) -> Sequence[tuple[str, str, int]]:
        """Name, uid and state of all of a kind below a parent, by name."""
        columns = select(ResourceRow.name, ResourceRow.uid, ResourceRow.version, ResourceRow.resolved)
        statement = columns.where(ResourceRow.parent == parent, ResourceRow.kind == kind)
        rows = self._connection.execute(statement.order_by(col(ResourceRow.name)))
        return [(name, uid, state_of(version, resolved)) for name, uid, version, resolved in rows]

    def owned(self, managed_by: str) -> Sequence[tuple[str, str, int]]:
        """Name, uid and state of everything that a side declares, by name."""
        columns = select(ResourceRow.name, ResourceRow.uid, ResourceRow.version, ResourceRow.resolved)
        statement = columns.where(ResourceRow.managed_by == managed_by).order_by(col(ResourceRow.name))
        rows = self._connection.execute(statement)
        return [(name, uid, state_of(version, resolved)) for name, uid, version, resolved in rows]

    def within(self, name: str) -> Sequence[Resource]:
        """Everything below a name, by name: those between it with a slash and it with what comes after a slash."""
        return self._all(_RESOURCES.where(_name > f"{name}/", _name < f"{name}0"))

    def _all(self, statement: Select[Any], **parameters: object) -> Sequence[Resource]:
        """Rows, without a session, which takes as long again as the database."""
        times = _Times()
        return [
            Resource(name, kind, parent, uid, version, body, times[created], times[updated], managed_by, resolved)
            for name, kind, parent, uid, version, body, created, updated, managed_by, resolved in self._connection.execute(
                statement, parameters
            )
        ]

    def has_children(self, parent: str) -> bool:
        """Whether anything lies below."""
        return read_first(self._connection, select(ResourceRow.name).where(ResourceRow.parent == parent)) is not None

    def insert(self, resource: Resource) -> None:
        """Raises AlreadyExists."""
        self._turn.take()
        try:
            self._connection.execute(_INSERT_RESOURCE, ResourceRow.from_domain(resource))
        except IntegrityError as error:
            raise AlreadyExists(f"{resource.name} exists already", field="name") from error

    def update(self, resource: Resource, expected_version: int) -> None:
        """Raises StaleWrite."""
        self._turn.take()
        stored = {"stored_name": resource.name, "stored_version": expected_version}
        try:
            result = self._connection.execute(_UPDATE_RESOURCE, ResourceRow.from_domain(resource) | stored)
        except IntegrityError as error:
            raise AlreadyExists(f"the uid of {resource.name} is taken", field="uid") from error
        _require_one(result.rowcount, resource.name)

    def delete(self, name: str, expected_version: int) -> None:
        """Raises StaleWrite."""
        self._turn.take()
        stored = {"stored_name": name, "stored_version": expected_version}
        _require_one(self._connection.execute(_DELETE_RESOURCE, stored).rowcount, name)

    def insert_all(self, resources: Sequence[Resource]) -> None:
        """Raises AlreadyExists."""
        if not resources:
            return
        self._turn.take()
        try:
            self._connection.execute(_INSERT_RESOURCE, [ResourceRow.from_domain(each) for each in resources])
        except IntegrityError as error:
            raise AlreadyExists("one of the new objects exists already: try again", field="name") from error


def _require_one(rows: int, name: str) -> None:
    if rows != 1:
        raise StaleWrite(f"{name} was changed or deleted in between: read it again", field="etag")


class SqlHosts:
    """Worker hosts in their table."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def get(self, name: str) -> HostRecord | None:
        """The host of that name."""
        row = read_first(self._connection, select(HostRow).where(HostRow.name == name))
        return None if row is None else row.to_domain()

    def put(self, host: HostRecord) -> None:
        """Stores it in place of what had the name."""
        self.delete(host.name)
        self._connection.execute(_INSERT_HOST, HostRow.from_domain(host))

    def touch(self, name: str, heartbeat_time: datetime) -> None:
        """Notes that it called."""
        self._connection.execute(_TOUCH_HOST, {"stored_name": name, "heartbeat_time": heartbeat_time})

    def delete(self, name: str) -> None:
        """Forgets it."""
        self._connection.execute(_DELETE_HOST, {"stored_name": name})

    def list(self) -> Sequence[HostRecord]:
        """All hosts, ordered by name."""
        return [row.to_domain() for row in read_all(self._connection, select(HostRow).order_by(col(HostRow.name)))]


class SqlRequests:
    """Kept answers in their table."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def get(self, method: str, request_id: str) -> tuple[bytes, bytes] | None:
        """Digest and answer."""
        statement = select(RequestRow).where(RequestRow.method == method, RequestRow.request_id == request_id)
        row = read_first(self._connection, statement)
        return None if row is None else (row.digest, row.answer)

    def put(self, method: str, request_id: str, request_digest: bytes, answer: bytes, now: datetime) -> None:
        """Keeps an answer. Raises AlreadyExists where one is kept: the first answer stays the answer."""
        values = {"method": method, "request_id": request_id, "digest": request_digest, "answer": answer, "time": now}
        try:
            self._connection.execute(_INSERT_REQUEST, values)
        except IntegrityError as error:
            raise AlreadyExists(f"the request id {request_id} has an answer already", field="request_id") from error

    def drop_before(self, time: datetime) -> int:
        """Forgets answers from before `time`; says how many."""
        return self._connection.execute(_DELETE_REQUESTS, {"before": time}).rowcount


class SqlUnit:
    """One transaction over everything that the engine keeps, on a connection that is in one."""

    def __init__(self, connection: Connection) -> None:
        self.resources = SqlResources(connection)
        self._versions = Versions()
        self.runs = SqlRuns(connection, self._versions)
        self.hosts = SqlHosts(connection)
        self.requests = SqlRequests(connection)
        self.measures = SqlMeasures(connection)
        self.estimates = SqlEstimates(connection)
        self.samples = SqlSamples(connection)
        self.figures = SqlFigures(connection)
        self.audit = SqlAudit(connection)
        self.feed = SqlFeed(connection)
        self.seals = SqlSeals(connection, self.feed)
        self.outbox = SqlOutbox(connection, self.feed)
        turn = Turn(connection, DELIVERIES)
        self.deliveries = SqlDeliveries(connection, self._versions, turn)
        self.incidents = SqlIncidents(connection, self._versions, turn)
        self.conditions = SqlConditions(connection, self._versions)
        self.git_records = SqlGitRecords(connection)

    def forget(self) -> None:
        """Gives the caller's entities the versions back that they had: the transaction was undone."""
        self._versions.forget()
