"""A MySQL target's connection: statements on it, transactions, the lock of whoever publishes, and what its errors mean."""

import hashlib
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import pymysql

from pymigrate.engine.adapters.connectors.mysql_catalog import MysqlCatalog
from pymigrate.engine.adapters.connectors.mysql_connection import (
    Connection,
    bound,
    connect,
    is_mariadb,
    said,
    translated,
    version,
)
from pymigrate.engine.adapters.connectors.mysql_declaring import MysqlDeclaring
from pymigrate.engine.adapters.connectors.target_inspection import Inspection
from pymigrate.engine.adapters.connectors.target_statements import Table
from pymigrate.engine.domain.errors import InvalidDefinition, Problem, SystemUnavailable
from pymigrate.engine.ports.connector import SystemSpec

LOCK_SECONDS = 30
IDLE_SECONDS = 60
WAIT_SECONDS = 0.1
_MODES = (
    "ANSI_QUOTES,STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION,NO_AUTO_VALUE_ON_ZERO,NO_ZERO_DATE,NO_ZERO_IN_DATE,"
    "ERROR_FOR_DIVISION_BY_ZERO"
)


class MysqlSession(MysqlDeclaring):
    """What of a Target on MySQL reaches it. Opened when it is made, and again where the connection was lost."""

    def __init__(self, system: SystemSpec) -> None:
        self._system = system
        self._database = system.options.get("database", "")
        self._opened: Connection | None = None
        self._is_alone = False
        self._due: list[Table] | None = None
        self._pause = threading.Event()
        self._catalog = MysqlCatalog(self._query)
        self._version = version(self._connection)

    def close(self) -> None:
        """Closes the connection."""
        if self._opened is not None and self._opened.open:
            # A connection that is lost already has nothing left to close.
            with suppress(pymysql.err.Error):
                self._opened.close()
        self._opened = None

    @property
    def _connection(self) -> Connection:
        """The connection, opened again where it was lost; but not by somebody who has the lock, which went with it."""
        if self._opened is None or not self._opened.open:
            if self._is_alone:
                raise SystemUnavailable(
                    "the connection to MySQL was lost in the middle of a publication: it is settled the next time"
                )
            self._opened = self._connect()
        return self._opened

    def _connect(self) -> Connection:
        with translated(self._system):
            settings = [
                f"sql_mode = '{_MODES}'",
                f"lock_wait_timeout = {LOCK_SECONDS}",
                f"innodb_lock_wait_timeout = {LOCK_SECONDS}",
            ]
            connection = connect(self._system, [*settings, "net_write_timeout = 3600"])
            # Whoever is stopped in the middle of a transaction loses it, and with it the locks that a claim waits for.
            idle = "idle_transaction_timeout" if is_mariadb(connection) else "wait_timeout"
            connection.query(f"SET SESSION {idle} = {IDLE_SECONDS}")
            connection.query("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
            return connection

    @property
    def _inspection(self) -> Inspection:
        return Inspection(self._asked, lambda expression: f"CAST({expression} AS CHAR)")

    def _asked(self, statement: str) -> list[tuple[object, ...]]:
        try:
            return self._query(statement)
        except pymysql.err.MySQLError as error:
            problem = Problem("references", f"the columns can't be compared: {said(error)}")
            raise InvalidDefinition((problem,)) from error

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        connection = self._connection
        with translated(self._system):
            connection.begin()
            self._due = []
            try:
                yield
                connection.commit()
                due = self._due
            except BaseException:
                if connection.open:
                    # After a deadlock there is nothing left to roll back; a connection that is lost takes the transaction with it.
                    with suppress(pymysql.err.Error):
                        connection.rollback()
                raise
            finally:
                self._due = None
        for table in due:
            self._drop(table)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        name = f"pymigrate-{hashlib.sha256(self._database.encode()).hexdigest()[:32]}"
        [(got,)] = self._query("SELECT GET_LOCK(?, ?)", (name, LOCK_SECONDS))
        if got != 1:
            raise SystemUnavailable(f"somebody else publishes into the database `{self._database}`: it is tried again")
        self._is_alone = True
        try:
            yield
        finally:
            self._is_alone = False
            if self._opened is not None and self._opened.open:
                # Where it can't be given back it ends with the connection.
                with suppress(SystemUnavailable, pymysql.err.Error):
                    self._query("SELECT RELEASE_LOCK(?)", (name,))

    def _wait(self) -> None:
        self._pause.wait(WAIT_SECONDS)

    def _execute(self, statement: str, parameters: Sequence[object] = ()) -> int:
        connection = self._connection
        with translated(self._system):
            return connection.query(bound(connection, statement, parameters))

    def _query(self, statement: str, parameters: Sequence[object] = ()) -> list[tuple[object, ...]]:
        connection = self._connection
        with translated(self._system), connection.cursor() as cursor:
            cursor.execute(bound(connection, statement, parameters))
            return list(cursor.fetchall())
