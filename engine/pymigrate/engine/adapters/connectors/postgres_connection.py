"""A connection to a PostgreSQL server: how it is opened, how statements are given to it, and what its errors mean."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import psycopg
from psycopg import errors

from pymigrate.engine.adapters.connectors.target_dialect import Conflict
from pymigrate.engine.domain.errors import FailedPrecondition, SystemUnavailable
from pymigrate.engine.ports.connector import SystemSpec

CONNECT_SECONDS = 10


def connect(system: SystemSpec) -> psycopg.Connection:
    """A connection in autocommit mode, in UTC, that prepares no statements of its own accord."""
    options = system.options
    return psycopg.connect(
        host=options.get("host"),
        port=options.get("port"),
        dbname=options.get("database"),
        user=options.get("user"),
        password=system.password.reveal() if system.password else None,
        sslmode=options.get("ssl_mode"),
        connect_timeout=CONNECT_SECONDS,
        application_name="pymigrate",
        # COPY carries UTF-8, whatever the database is encoded in: the server converts, or refuses.
        client_encoding="UTF8",
        options="-c timezone=UTC",
        autocommit=True,
        prepare_threshold=None,
    )


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
