"""A target's connection by SQLAlchemy: statements of the protocol on it, transactions, and what its errors mean."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError

from pymigrate.engine.adapters.connectors.alchemy_declaring import AlchemyDeclaring
from pymigrate.engine.adapters.connectors.alchemy_source import translation
from pymigrate.engine.adapters.connectors.target_dialect import Conflict

WAIT_SECONDS = 0.05
BUSY_SECONDS = 30
TRIED_AGAIN = frozenset({"40001", "40P01"})


class AlchemySession(AlchemyDeclaring):
    """What of a Target by SQLAlchemy reaches it. Opened when it is made, and again where the connection was lost."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._dialect = engine.dialect
        self._is_sqlite = engine.dialect.name == "sqlite"
        self.distinct = "IS NOT" if self._is_sqlite else "IS DISTINCT FROM"
        self._pause = threading.Event()
        self._is_ready = False
        self._opened: Connection | None = None
        self._depth = 0
        self._connection()

    def close(self) -> None:
        """Closes the connection."""
        if self._opened is not None:
            self._opened.close()
            self._opened = None
        self._engine.dispose()

    def _connection(self) -> Connection:
        """The connection, opened again where it was lost. Statements outside of a transaction commit by themselves."""
        if self._opened is None or self._opened.closed or self._opened.invalidated:
            with self._translated():
                self._opened = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
                if self._is_sqlite:
                    for pragma in (
                        f"busy_timeout = {BUSY_SECONDS * 1000}",
                        "foreign_keys = OFF",
                        "legacy_alter_table = ON",
                    ):
                        self._opened.exec_driver_sql(f"PRAGMA {pragma}")
        return self._opened

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            state = getattr(error.orig, "sqlstate", None) or getattr(error.orig, "pgcode", None)
            if state in TRIED_AGAIN:
                raise Conflict(f"{self._dialect.name}: {error.orig}") from error
            if isinstance(error, IntegrityError):
                raise
            raise translation(error) from error
        except SQLAlchemyError as error:
            raise translation(error) from error

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """By the statements themselves, since some drivers begin none before DDL."""
        with self._translated():
            connection = self._connection()
            connection.exec_driver_sql("BEGIN IMMEDIATE" if self._is_sqlite else "BEGIN")
            try:
                yield
                connection.exec_driver_sql("COMMIT")
            except BaseException:
                self._give_up(connection)
                raise

    def _give_up(self, connection: Connection) -> None:
        """Takes the transaction back; a connection that can't do even that is given up with it."""
        try:
            if not connection.invalidated:
                connection.exec_driver_sql("ROLLBACK")
        except SQLAlchemyError:
            connection.invalidate()

    def _wait(self) -> None:
        self._pause.wait(WAIT_SECONDS)

    def _execute(self, statement: str, parameters: Sequence[object] = ()) -> int:
        with self._translated():
            return self._run(statement, parameters).rowcount

    def _query(self, statement: str, parameters: Sequence[object] = ()) -> list[tuple[object, ...]]:
        with self._translated():
            return [tuple(row) for row in self._run(statement, parameters).fetchall()]

    def _run(self, statement: str, parameters: Sequence[object]) -> "sa.CursorResult[Any]":
        """Statements with parameters have no identifiers but PyMigrate's own, and so no other `?` and no `:`."""
        if not parameters:
            return self._connection().exec_driver_sql(statement, execution_options={"no_parameters": True})
        named = {f"p{at}": value for at, value in enumerate(parameters)}
        pieces = statement.split("?")
        text = "".join(f"{piece}:p{at}" for at, piece in enumerate(pieces[:-1])) + pieces[-1]
        return self._connection().execute(sa.text(text), named)
