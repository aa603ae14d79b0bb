"""Typed reads on a unit's connection. Each read has a session of its own, so that no row is older than the unit's last write."""

from collections.abc import Sequence
from typing import TypeVar

from sqlalchemy import Connection
from sqlmodel import Session
from sqlmodel.sql.expression import SelectOfScalar

Row = TypeVar("Row")


def read_all(connection: Connection, statement: SelectOfScalar[Row]) -> Sequence[Row]:
    """All rows, apart from any session."""
    with Session(connection, autoflush=False, join_transaction_mode="rollback_only") as session:
        return session.exec(statement).all()


def read_first(connection: Connection, statement: SelectOfScalar[Row]) -> Row | None:
    """The first row, or None."""
    with Session(connection, autoflush=False, join_transaction_mode="rollback_only") as session:
        return session.exec(statement).first()
