"""A SQLite file as the store opens it: locked, private, durable, of the right schema; and its errors in the engine's words.

SQLite before 3.51.3 (3.50.7 and 3.44.6 carry the fix) can corrupt a write-ahead log that one connection resets while another writes.
There is one connection here, which also checkpoints, so it can't happen; on an affected version the file is also held exclusively,
so that no other program's connection can bring it about.
"""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from sqlalchemy import Connection, create_engine, event
from sqlalchemy.exc import DBAPIError, StatementError
from sqlalchemy.pool import NullPool

from pymigrate.engine.adapters.store import schema
from pymigrate.engine.adapters.store.lock import StoreLock, make_private
from pymigrate.engine.domain.errors import FailedPrecondition, PyMigrateError, StoreUnavailable

BUSY_SECONDS = 5.0
STATEMENTS_CACHED = 256
WAL_PAGES_MAX = 1_000
WAL_KEPT_BYTES_MAX = 64 * 1024 * 1024
FULL_RETRY_SECONDS = 10.0
DAMAGED = frozenset({"SQLITE_CORRUPT", "SQLITE_NOTADB"})
PASSING = frozenset(
    {
        "SQLITE_BUSY",
        "SQLITE_CANTOPEN",
        "SQLITE_IOERR",
        "SQLITE_LOCKED",
        "SQLITE_NOMEM",
        "SQLITE_PERM",
        "SQLITE_PROTOCOL",
        "SQLITE_READONLY",
    }
)


def is_reset_safe(version: tuple[int, ...]) -> bool:
    """Whether a SQLite of this version resets a write-ahead log safely while others write."""
    return version >= (3, 51, 3) or (3, 50, 7) <= version < (3, 51) or (3, 44, 6) <= version < (3, 45)


@contextmanager
def opened(path: Path, on_upgrade: Callable[[str | None], None]) -> Iterator[Connection]:
    """The one connection to the file, for the calling thread; it closes at the end. Raises FailedPrecondition when another engine has
    the file or it is not a store of this version, StoreUnavailable when it can't be read right now."""
    path = path.resolve()
    lock = StoreLock(path)
    try:
        make_private(path)
        with _mapped_errors(), closing(_connect(path)) as driver:
            engine = create_engine("sqlite://", creator=lambda: driver, poolclass=NullPool, hide_parameters=True)
            event.listen(engine, "begin", _begin)
            with engine.connect() as connection:
                with connection.begin():
                    before = schema.upgrade(connection)
                if before != schema.HEAD:
                    on_upgrade(before)
                driver.execute("PRAGMA foreign_keys = 1")
                yield connection
    finally:
        lock.release()


@contextmanager
def reading(connection: Connection) -> Iterator[None]:
    """A transaction that can't write. Raises RuntimeError when it is tried."""
    with connection.begin() as transaction:
        connection.exec_driver_sql("PRAGMA query_only = 1")
        try:
            yield
        except DBAPIError as error:
            if getattr(error.orig, "sqlite_errorname", "") == "SQLITE_READONLY":
                raise RuntimeError("a unit that reads can't write: use transact") from error
            raise
        finally:
            connection.exec_driver_sql("PRAGMA query_only = 0")
            transaction.rollback()


def translated(error: BaseException) -> BaseException:
    """What a database error means to the engine; anything else is what it is. A statement's values never get into the message."""
    cause = error.orig if isinstance(error, StatementError) and error.orig is not None else error
    if not isinstance(cause, sqlite3.Error):
        return cause
    name = getattr(cause, "sqlite_errorname", type(cause).__name__)
    kind = "_".join(name.split("_")[:2])
    if kind == "SQLITE_FULL":
        message = "the disk with the engine's store is full: make room"
        return StoreUnavailable(message, retry_after_seconds=FULL_RETRY_SECONDS)
    if kind in PASSING:
        return StoreUnavailable(f"the engine's store can't be used right now: {cause} ({name})")
    if kind in DAMAGED:
        return FailedPrecondition(f"the engine's store is damaged or no database: {cause}; restore it from a backup")
    return PyMigrateError(f"the engine's store refused a statement: {cause} ({name})")


@contextmanager
def _mapped_errors() -> Iterator[None]:
    try:
        yield
    except (DBAPIError, sqlite3.Error) as error:
        raise translated(error) from error


def _connect(path: Path) -> sqlite3.Connection:
    driver = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, cached_statements=STATEMENTS_CACHED)
    try:
        _set_pragmas(driver)
    except BaseException:
        driver.close()
        raise
    return driver


def _begin(connection: Connection) -> None:
    """The driver would begin too late, and deferred: with a lock that fails in the middle instead of at the start."""
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _set_pragmas(driver: sqlite3.Connection) -> None:
    if not is_reset_safe(sqlite3.sqlite_version_info):
        driver.execute("PRAGMA locking_mode = EXCLUSIVE")
    (mode,) = driver.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise FailedPrecondition(
            f"the store's file system can't hold a write-ahead log (journal mode {mode}): use a local disk"
        )
    driver.execute("PRAGMA synchronous = FULL")
    driver.execute(f"PRAGMA wal_autocheckpoint = {WAL_PAGES_MAX}")
    driver.execute(f"PRAGMA journal_size_limit = {WAL_KEPT_BYTES_MAX}")
