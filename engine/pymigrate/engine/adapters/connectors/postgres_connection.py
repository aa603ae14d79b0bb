"""A connection to a PostgreSQL server: how it is opened, how statements are given to it, and what its errors mean."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import psycopg
from psycopg import errors
from psycopg.conninfo import make_conninfo
from psycopg.pq.abc import PGconn

from pymigrate.engine.adapters.connectors.refused_logins import POSTGRES_REFUSES, refused_login
from pymigrate.engine.adapters.connectors.target_dialect import Conflict
from pymigrate.engine.domain.errors import FailedPrecondition, SystemUnavailable
from pymigrate.engine.ports.connector import SystemSpec

CONNECT_SECONDS = 10
SILENCE_SECONDS = 30
# For reading: texts that can be cast back to what they came from, whatever the role's settings are; and rows that a policy hides are
# an error.
SETTINGS = {
    "client_encoding": "UTF8",
    "datestyle": "ISO, YMD",
    "intervalstyle": "postgres",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "row_security": "off",
    # The snapshot is kept by a session that has nothing to do while another reads under it.
    "idle_in_transaction_session_timeout": "0",
}


def connect(system: SystemSpec) -> psycopg.Connection:
    """A connection in autocommit mode, in UTC, that prepares no statements of its own accord. Raises CredentialsRefused, and the driver's
    errors."""
    try:
        return psycopg.connect(conninfo(system), autocommit=True, prepare_threshold=None)
    except psycopg.OperationalError as error:
        refuse_login(system, error.pgconn, str(error))
        raise


def refuse_login(system: SystemSpec, session: PGconn | None, said: str) -> None:
    """Raises CredentialsRefused where a server did not let the user in. libpq hands no SQLSTATE over for that (28P01, 28000), and servers
    speak many languages: where a password was asked for, a text that names the user and not the database is of the login, too."""
    user, database = (system.options.get(name, "") for name in ("user", "database"))
    is_asked = session is not None and session.used_password
    is_named = bool(user) and user in said and user != database and not (database and database in said)
    if POSTGRES_REFUSES.search(said) or (is_asked and is_named and "too many connections" not in said):
        where = f"PostgreSQL at {system.options.get('host', 'the local socket')}:{system.options.get('port', '5432')}"
        raise refused_login(system, where, said)


def conninfo(system: SystemSpec, settings: str = "") -> str:
    """libpq's parameters of a session as one text, the password among them; `settings` are the server's, as its command line takes them."""
    options = system.options
    parameters = {
        "host": options.get("host"),
        "port": options.get("port"),
        "dbname": options.get("database"),
        "user": options.get("user"),
        "password": system.password.reveal() if system.password else None,
        "sslmode": options.get("ssl_mode"),
        "connect_timeout": str(CONNECT_SECONDS),
        # A server that can't be reached any more is noticed within SILENCE_SECONDS, rather than waited for.
        "keepalives_idle": str(SILENCE_SECONDS // 3),
        "keepalives_interval": str(SILENCE_SECONDS // 6),
        "keepalives_count": "4",
        "tcp_user_timeout": str(SILENCE_SECONDS * 1000),
        "application_name": "pymigrate",
        # COPY carries UTF-8, whatever the database is encoded in: the server converts, or refuses.
        "client_encoding": "UTF8",
        "options": f"-c timezone=UTC {settings}".strip(),
    }
    return make_conninfo("", **{name: value for name, value in parameters.items() if value is not None})


def bound(statement: str, parameters: Sequence[object]) -> tuple[bytes, Sequence[object] | None]:
    """As the driver takes it. Statements with parameters have no identifiers but PyMigrate's own, and so no other `?` and no `%`."""
    return (statement.replace("?", "%s").encode(), parameters) if parameters else (statement.encode(), None)


def first_line(error: psycopg.Error) -> str:
    """What the server said, in short."""
    return (error.diag.message_primary or str(error)).splitlines()[0]


@contextmanager
def translated() -> Iterator[None]:
    """PostgreSQL's errors as PyMigrate's; those that a caller tells apart are let through."""
    try:
        yield
    except (errors.SerializationFailure, errors.DeadlockDetected) as error:
        raise Conflict(f"PostgreSQL: {first_line(error)}") from error
    except (errors.InsufficientPrivilege, errors.ReadOnlySqlTransaction) as error:
        raise FailedPrecondition(f"PostgreSQL: {first_line(error)}") from error
    except (psycopg.OperationalError, psycopg.InterfaceError) as error:
        raise SystemUnavailable(f"PostgreSQL: {first_line(error)}") from error
