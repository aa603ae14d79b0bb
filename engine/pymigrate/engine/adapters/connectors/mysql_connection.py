"""A connection to a MySQL or MariaDB server: how it is opened, how statements are given to it, and what its errors mean.

Identifiers stand in double quotes (`ANSI_QUOTES`), so that statements are those of every other SQL system.
"""

import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BufferedReader
from typing import TYPE_CHECKING, Any

import pymysql
from pymysql.constants import CLIENT
from pymysql.cursors import Cursor

from pymigrate.engine.adapters.connectors.refused_logins import refused_login
from pymigrate.engine.adapters.connectors.target_dialect import Conflict
from pymigrate.engine.domain.errors import FailedPrecondition, SystemUnavailable
from pymigrate.engine.ports.connector import SystemSpec

if TYPE_CHECKING:
    _Driver = pymysql.Connection[Cursor]
else:
    _Driver = pymysql.Connection
CONNECT_SECONDS = 10
DEADLOCK = 1213
LOCK_TIMEOUT = 1205
# What a statement may fail with although nothing is wrong with it: the server or the way to it went away, or has no room just now.
_GONE = frozenset(
    {
        *(
            0,
            1021,
            1037,
            1038,
            1040,
            1041,
            1049,
            1053,
            1077,
            1079,
            1114,
            1129,
            1130,
            1152,
            1153,
            1154,
            1155,
            1156,
        ),
        *(
            1157,
            1158,
            1159,
            1160,
            1161,
            1180,
            1203,
            1226,
            1317,
            1927,
            1969,
            2002,
            2003,
            2006,
            2012,
            2013,
            2014,
            2026,
        ),
        *(2055, 3024, 3159, 4031, LOCK_TIMEOUT),
    }
)
# A login that is refused: the password, how it is sent, or that it has expired; the account is locked.
LOGIN_REFUSED = frozenset({1045, 1698, 1820, 1862, 3118, 3955, 4151})
_FORBIDDEN = frozenset({1044, 1142, 1143, 1227, 1290, 1370, 1792})


class Connection(_Driver):
    """The driver's connection, which also gives up its results undecoded."""

    server_version: str
    _rfile: BufferedReader
    _result: Any

    def stream(self, statement: str) -> BufferedReader:
        """What a statement's result is read from, after its columns. The driver would read an abandoned result to its end by itself, so it
        is not told of this one: read it to its end, or abandon the connection."""
        self.query(statement, unbuffered=True)
        self._result.unbuffered_active, self._result.has_next, self._result.connection = False, False, None
        self._result = None
        return self._rfile

    def abandon(self) -> None:
        """Closes it in the middle of whatever there is."""
        self._force_close()  # type: ignore[attr-defined]  # the stubs leave it out


def connect(system: SystemSpec, settings: Sequence[str] = ()) -> Connection:
    """A connection in autocommit mode, in UTC and UTF-8, with further settings as `name = value`. Raises the driver's errors."""
    options, host = system.options, system.options.get("host", "")
    connection = Connection(
        host=host,
        unix_socket=host if host.startswith("/") else None,
        port=int(options.get("port", "0")),
        database=options.get("database"),
        user=options.get("user"),
        # As bytes, since the driver takes a text for Latin-1.
        password=system.password.reveal().encode() if system.password else b"",
        charset="utf8mb4",
        connect_timeout=CONNECT_SECONDS,
        client_flag=CLIENT.FOUND_ROWS,
        autocommit=True,
        program_name="pymigrate",
        **_encryption(options.get("ssl_mode", "prefer")),
    )
    connection.query(f"SET SESSION {', '.join(['time_zone = ' + chr(39) + '+00:00' + chr(39), *settings])}")
    return connection


def is_mariadb(connection: Connection) -> bool:
    """Whether it is MariaDB rather than MySQL."""
    return "mariadb" in connection.server_version.lower()


def version(connection: Connection) -> str:
    """Such as `MariaDB 10.11.19` or `MySQL 8.0.36`."""
    number = connection.server_version.removeprefix("5.5.5-").partition("-")[0]
    return f"{'MariaDB' if is_mariadb(connection) else 'MySQL'} {number}"


def bound(connection: Connection, statement: str, parameters: Sequence[object]) -> str:
    """The statement with each `?` replaced by a value. Statements with parameters have no identifiers but PyMigrate's own."""
    if not parameters:
        return statement
    first, *rest = statement.split("?")
    values = map(connection.escape, parameters)
    return first + "".join(f"{value}{text}" for value, text in zip(values, rest, strict=True))


def said(error: pymysql.err.MySQLError) -> str:
    """What the server said, in short."""
    text = str(error.args[-1]) if error.args else ""
    return " ".join(text.split()) or "the connection is lost"


@contextmanager
def translated(system: SystemSpec) -> Iterator[None]:
    """MySQL's errors as PyMigrate's; those that say something of a row or of a statement are let through."""
    options = system.options
    where = (
        f"MySQL at {options.get('host', '')}:{options.get('port', '3306')}, database `{options.get('database', '')}`"
    )
    try:
        yield
    except (pymysql.err.OperationalError, pymysql.err.InterfaceError, pymysql.err.InternalError) as error:
        code, text = (int(error.args[0]) if error.args else 0), said(error)
        if system.password is not None and (password := system.password.reveal()):
            text = text.replace(password, "***")
        if code in LOGIN_REFUSED:
            raise refused_login(system, where, text) from error
        if code == DEADLOCK:
            raise Conflict(f"{where}: {text}") from error
        if code in _FORBIDDEN:
            raise FailedPrecondition(f"{where}: {text}: grant the connection's user what it needs there") from error
        if code in _GONE or isinstance(error, pymysql.err.InterfaceError):
            raise SystemUnavailable(f"{where} does not answer as it should: {text}; {_advice(code)}") from error
        raise
    except ssl.SSLError as error:
        raise SystemUnavailable(
            f"{where}: no encrypted connection: {error}; check the connection's ssl_mode"
        ) from error


def _advice(code: int) -> str:
    if code == 1049:
        return "check the connection's database"
    if code == LOCK_TIMEOUT:
        return "somebody holds a lock on what is wanted: end that, or try again later"
    return "check that it runs, that host and port are right, and that it lets this machine in"


def _encryption(mode: str) -> dict[str, Any]:
    """The driver's options for a mode. `prefer` is what it does by itself."""
    if mode == "disable":
        return {"ssl_disabled": True}
    if mode == "prefer":
        return {}
    context = ssl.create_default_context()
    # The certificates that servers make for themselves fail the strict check.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.check_hostname = mode == "verify-full"
    context.verify_mode = ssl.CERT_NONE if mode == "require" else ssl.CERT_REQUIRED
    return {"ssl": context}
