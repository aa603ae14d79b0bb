"""Connections to the store's PostgreSQL: how they are made and set, how the schema is brought up to date, and errors in the engine's words.

Every transaction reads one snapshot (REPEATABLE READ), so a unit sees one state as it does on SQLite. Of two that change the same row the
later one is refused by the database and done again.
"""

import logging

import psycopg
import structlog
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, StatementError

from pymigrate.engine.adapters.store import schema
from pymigrate.engine.adapters.store.tables import METADATA
from pymigrate.engine.domain.errors import FailedPrecondition, PyMigrateError, StoreUnavailable
from pymigrate.engine.ports.feed import BEFORE_ALL

log = structlog.get_logger(__name__)
DRIVER = "postgresql+psycopg"
SCHEMES = ("postgresql", "postgres")
VERSION_MIN = 13  # the first with xid8
CONNECTIONS_MAX = 10
CONNECT_SECONDS = 10
POOL_WAIT_SECONDS = 30.0
LOCK_SECONDS = 15
STATEMENT_SECONDS = 60
IDLE_SECONDS = 60
FULL_RETRY_SECONDS = 10.0
MIGRATION_LOCK = 0x70796D69
APPLICATION = "pymigrate engine"
SESSION = """
    SELECT set_config('lock_timeout', %(lock)s, false), set_config('statement_timeout', %(statement)s, false),
        set_config('idle_in_transaction_session_timeout', %(idle)s, false),
        CASE WHEN current_setting('synchronous_commit') = 'off' THEN set_config('synchronous_commit', 'on', false) END
"""
_LAST = "(SELECT max(xid) FROM feed_entry)"
_IS_AHEAD = text(f"SELECT coalesce({_LAST} >= pg_snapshot_xmax(pg_current_snapshot())::text::bigint, false)")
# Everything keeps its order and comes before whatever this server will write.
_DATE_BACK_CONSUMERS = text(f"UPDATE feed_consumer SET xid = xid - {_LAST} - 1 WHERE xid > :start")
_DATE_BACK_SEALS = text(f"UPDATE audit_seal SET xid = xid - {_LAST} - 1 WHERE xid > :start")
_DATE_BACK_ENTRIES = text(f"UPDATE feed_entry SET xid = xid - {_LAST} - 1")
SERIALIZATION_FAILURE, DEADLOCK, UNIQUE_VIOLATION = "40001", "40P01", "23505"
READ_ONLY, DISK_FULL, NO_SUCH_DATABASE, NO_PRIVILEGE = "25006", "53100", "3D000", "42501"
PASSING_CLASSES = frozenset({"08", "53", "55", "57", "58"})
DENIED_CLASSES = frozenset({"28"})
DAMAGED_CLASSES = frozenset({"XX"})


def store_url(url: str, password: str) -> URL:
    """The driver's form of a store's URL. Raises FailedPrecondition for one that is none, without showing it."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise FailedPrecondition("the store's URL is none: write postgresql://user@host:5432/database") from None
    if parsed.drivername not in SCHEMES or not parsed.database:
        raise FailedPrecondition(
            f"a store at {parsed.render_as_string(hide_password=True)} is not known: write postgresql://user@host:5432/database"
        )
    if password:
        parsed = parsed.set(password=password)
    return parsed.set(drivername=DRIVER)


def connected(url: URL) -> Engine:
    """A pool of connections; none is made before it is needed."""
    engine = create_engine(
        url,
        isolation_level="REPEATABLE READ",
        pool_size=CONNECTIONS_MAX,
        max_overflow=0,
        pool_timeout=POOL_WAIT_SECONDS,
        hide_parameters=True,
        use_native_hstore=False,
        connect_args={"connect_timeout": CONNECT_SECONDS, "application_name": APPLICATION},
    )
    event.listen(engine, "connect", _set_session)
    _log_as_json()
    return engine


def prepare(engine: Engine) -> str | None:
    """Brings the schema up to date; the revision it had, if any. Of several engines that start at once one does it and the others
    wait. Raises FailedPrecondition for a schema that this version does not know, or a server that is too old."""
    with engine.connect().execution_options(isolation_level="READ COMMITTED") as connection, connection.begin():
        version = int((connection.dialect.server_version_info or (0,))[0])
        if version < VERSION_MIN:
            raise FailedPrecondition(f"the store's PostgreSQL is {version}: {VERSION_MIN} or newer is needed")
        if schema.stored_revision(connection) == schema.HEAD and not _is_of_another_server(connection):
            return schema.HEAD
        connection.execute(
            text("SELECT set_config('lock_timeout', '0', true), set_config('statement_timeout', '0', true)")
        )
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
        before = schema.upgrade(connection)
        if _is_of_another_server(connection):
            connection.execute(_DATE_BACK_CONSUMERS, {"start": BEFORE_ALL})
            connection.execute(_DATE_BACK_SEALS, {"start": BEFORE_ALL})
            connection.execute(_DATE_BACK_ENTRIES)
        return before


def _is_of_another_server(connection: Connection) -> bool:
    """Whether the stream was written by transactions that this server has not come to yet: it was restored from a dump."""
    return bool(connection.execute(_IS_AHEAD).scalar_one())


def take_turn(connection: Connection) -> None:
    """Waits for its turn among those that were refused before; the snapshot is taken afterwards, so nothing is missed in it."""
    connection.exec_driver_sql(f"LOCK TABLE {METADATA.tables['turn'].name} IN EXCLUSIVE MODE")


def state_of(error: BaseException) -> str:
    """The SQLSTATE behind an error; empty where there is none."""
    cause = error.orig if isinstance(error, StatementError) else error
    return (cause.sqlstate or "") if isinstance(cause, psycopg.Error) else ""


def is_conflict(error: BaseException) -> bool:
    """Whether another transaction was in the way, and the unit may simply be done again. A taken key that the unit did not expect is
    one that another transaction took meanwhile."""
    return state_of(error) in {SERIALIZATION_FAILURE, DEADLOCK, UNIQUE_VIOLATION}


def is_disconnect(error: BaseException) -> bool:
    """Whether the connection is gone."""
    return isinstance(error, DBAPIError) and error.connection_invalidated


def translated(error: BaseException, *, is_reading: bool = False) -> BaseException:
    """What a database error means to the engine; anything else is what it is. A statement's values never get into the message."""
    cause = error.orig if isinstance(error, StatementError) and error.orig is not None else error
    if not isinstance(cause, psycopg.Error):
        return cause
    state = cause.sqlstate or ""
    said = cause.diag.message_primary or str(cause).strip() or type(cause).__name__
    if state == READ_ONLY and is_reading:
        return RuntimeError("a unit that reads can't write: use transact")
    if state == DISK_FULL:
        message = "the disk with the engine's store is full: make room"
        return StoreUnavailable(message, retry_after_seconds=FULL_RETRY_SECONDS)
    if state[:2] in DENIED_CLASSES or state in {NO_SUCH_DATABASE, NO_PRIVILEGE}:
        return FailedPrecondition(f"the engine's store refuses the engine: {said} ({state})")
    if state[:2] in DAMAGED_CLASSES:
        return FailedPrecondition(f"the engine's store is damaged: {said} ({state}); restore it from a backup")
    if (
        state[:2] in PASSING_CLASSES
        or state == READ_ONLY
        or (not state and isinstance(cause, psycopg.OperationalError))
    ):
        return StoreUnavailable(f"the engine's store can't be used right now: {said}")
    return PyMigrateError(f"the engine's store refused a statement: {said} ({state or type(cause).__name__})")


class _JsonLines(logging.Handler):
    """What the driver logs, as the process logs everything: it remarks on what failed with an error that is raised anyway."""

    def emit(self, record: logging.LogRecord) -> None:
        log.debug("store.remark", message=record.getMessage())


def _log_as_json() -> None:
    logger = logging.getLogger(psycopg.__name__)
    if not any(isinstance(handler, _JsonLines) for handler in logger.handlers):
        logger.addHandler(_JsonLines(logging.WARNING))
        logger.propagate = False


def _set_session(driver: psycopg.Connection, _: object) -> None:
    values = {"lock": f"{LOCK_SECONDS}s", "statement": f"{STATEMENT_SECONDS}s", "idle": f"{IDLE_SECONDS}s"}
    driver.execute(SESSION, values)
    driver.commit()
