"""Tables of what is declared and kept around the runs. A row crosses over with `to_domain` and `from_domain`, and goes no further.

Writing goes through Core statements, so `from_domain` gives their parameters rather than a row object.
"""

from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import BigInteger, Index, LargeBinary, MetaData, Text
from sqlmodel import Field, SQLModel

from pymigrate.engine.adapters.store.columns import NAME, Instant
from pymigrate.engine.ports.hosts import HostRecord
from pymigrate.engine.ports.store import Resource

METADATA = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class Table(SQLModel):
    """What every table of the store derives from."""

    metadata: ClassVar[MetaData] = METADATA


class ResourceRow(Table, table=True):
    """A declared object."""

    __tablename__ = "resource"
    __table_args__ = (Index(None, "parent", "kind", "name"), Index(None, "managed_by", "name"))

    name: str = Field(primary_key=True, sa_type=NAME)
    kind: str = Field(sa_type=NAME)
    parent: str = Field(sa_type=NAME)
    uid: str = Field(unique=True, sa_type=NAME)
    version: int = Field(sa_type=BigInteger)
    body: bytes = Field(sa_type=LargeBinary)
    create_time: datetime = Field(sa_type=Instant)
    update_time: datetime = Field(sa_type=Instant)
    managed_by: str = Field(sa_type=Text)
    resolved: bytes = Field(sa_type=LargeBinary)

    def to_domain(self) -> Resource:
        """The object as the port knows it."""
        return Resource(
            name=self.name,
            kind=self.kind,
            parent=self.parent,
            uid=self.uid,
            version=self.version,
            body=self.body,
            create_time=self.create_time,
            update_time=self.update_time,
            managed_by=self.managed_by,
            resolved=self.resolved,
        )

    @staticmethod
    def from_domain(resource: Resource) -> dict[str, Any]:
        """The row's values."""
        return {
            "name": resource.name,
            "kind": resource.kind,
            "parent": resource.parent,
            "uid": resource.uid,
            "version": resource.version,
            "body": resource.body,
            "create_time": resource.create_time,
            "update_time": resource.update_time,
            "managed_by": resource.managed_by,
            "resolved": resource.resolved,
        }


class HostRow(Table, table=True):
    """A worker host."""

    __tablename__ = "host"

    name: str = Field(primary_key=True, sa_type=NAME)
    affinity: str = Field(sa_type=Text)
    pid: int = Field(sa_type=BigInteger)
    pid_start_ticks: int = Field(sa_type=BigInteger)
    session: str = Field(sa_type=Text)
    heartbeat_time: datetime = Field(sa_type=Instant)
    workload: str = Field(sa_type=Text, sa_column_kwargs={"server_default": ""})

    def to_domain(self) -> HostRecord:
        """The host as the port knows it."""
        return HostRecord(
            name=self.name,
            affinity=self.affinity,
            pid=self.pid,
            pid_start_ticks=self.pid_start_ticks,
            session=self.session,
            heartbeat_time=self.heartbeat_time,
            workload=self.workload,
        )

    @staticmethod
    def from_domain(host: HostRecord) -> dict[str, Any]:
        """The row's values."""
        return {
            "name": host.name,
            "affinity": host.affinity,
            "pid": host.pid,
            "pid_start_ticks": host.pid_start_ticks,
            "session": host.session,
            "heartbeat_time": host.heartbeat_time,
            "workload": host.workload,
        }


class RequestRow(Table, table=True):
    """The answer to a call with a request id."""

    __tablename__ = "request"

    method: str = Field(primary_key=True, sa_type=NAME)
    request_id: str = Field(primary_key=True, sa_type=NAME)
    digest: bytes = Field(sa_type=LargeBinary)
    answer: bytes = Field(sa_type=LargeBinary)
    time: datetime = Field(index=True, sa_type=Instant)


class TurnRow(Table, table=True):
    """What writers take turns by, where many write at once: one row for whoever writes declared objects, one for whoever makes deliveries
    (see `turns`)."""

    __tablename__ = "turn"

    id: int = Field(primary_key=True, sa_type=BigInteger)
    taken: int = Field(sa_type=BigInteger)
