"""Tables of what proves the audit trail: seals, the heads that each holds, and the bases that the chains begin with."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, LargeBinary
from sqlmodel import Field

from pymigrate.engine.adapters.store.columns import NAME, Instant
from pymigrate.engine.adapters.store.tables import Table
from pymigrate.engine.domain.audit_chain import Head, Seal
from pymigrate.engine.ports.feed import Position, read_position


class AuditSealRow(Table, table=True):
    """A seal. `xid` and `entry` are the place in the stream up to which it sealed."""

    __tablename__ = "audit_seal"

    number: int = Field(primary_key=True, sa_type=BigInteger, sa_column_kwargs={"autoincrement": False})
    time: datetime = Field(sa_type=Instant)
    head_count: int = Field(sa_type=BigInteger)
    root: bytes = Field(sa_type=LargeBinary)
    previous: bytes = Field(sa_type=LargeBinary)
    signature: bytes = Field(sa_type=LargeBinary)
    key_id: bytes = Field(sa_type=LargeBinary)
    xid: int = Field(sa_type=BigInteger)
    entry: int = Field(sa_type=BigInteger)

    def to_domain(self) -> Seal:
        """The seal as the core knows it."""
        return Seal(
            number=self.number,
            time=self.time,
            head_count=self.head_count,
            root=self.root,
            previous=self.previous,
            signature=self.signature,
            key_id=self.key_id,
            position=str(Position(self.xid, self.entry)),
        )

    @staticmethod
    def from_domain(seal: Seal) -> dict[str, Any]:
        """The row's values."""
        place = read_position(seal.position)
        return {
            "number": seal.number,
            "time": seal.time,
            "head_count": seal.head_count,
            "root": seal.root,
            "previous": seal.previous,
            "signature": seal.signature,
            "key_id": seal.key_id,
            "xid": place.transaction,
            "entry": place.entry,
        }


class AuditSealHeadRow(Table, table=True):
    """A head or a base in a seal."""

    __tablename__ = "audit_seal_head"

    seal: int = Field(primary_key=True, foreign_key="audit_seal.number", sa_type=BigInteger)
    is_base: bool = Field(primary_key=True)
    chain: str = Field(primary_key=True, sa_type=NAME)
    place: int = Field(sa_type=BigInteger)
    hash: bytes = Field(sa_type=LargeBinary)

    def to_domain(self) -> Head:
        """The head as the core knows it."""
        return Head(self.chain, self.place, self.hash, self.is_base)


class AuditBaseRow(Table, table=True):
    """The last link of a chain that is gone."""

    __tablename__ = "audit_base"

    chain: str = Field(primary_key=True, sa_type=NAME)
    place: int = Field(sa_type=BigInteger)
    hash: bytes = Field(sa_type=LargeBinary)

    def to_domain(self) -> Head:
        """The base as the core knows it."""
        return Head(self.chain, self.place, self.hash, is_base=True)
