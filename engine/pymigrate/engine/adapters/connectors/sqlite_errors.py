"""What SQLite's errors mean to whoever reads a file."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pymigrate.engine.domain.errors import FailedPrecondition, PyMigrateError, SourceMissing, SystemUnavailable

PRIMARY_CODE = 0xFF  # of an error's code; the rest are its details


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """SQLite's errors in reading the file as PyMigrate's."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        raise translation(path, error) from error


def translation(path: Path, error: sqlite3.DatabaseError) -> PyMigrateError:
    """Whether there is no database, or something in it that can't be evaluated, or the file can't be read at the moment."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & PRIMARY_CODE
    if code in {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT}:
        return SourceMissing(f"{path} is not a SQLite database, or is damaged: {error}", field="source.connection")
    if code in {sqlite3.SQLITE_ERROR, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_TOOBIG}:
        return FailedPrecondition(
            f"SQLite can't evaluate what is read from {path}: {error}: mend the view or the table"
        )
    return SystemUnavailable(f"the SQLite file {path} can't be read: {error}")
