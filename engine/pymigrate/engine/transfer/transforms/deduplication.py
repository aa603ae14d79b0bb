"""Rows of which there are several: the first stays, in the order in which the source is read.

Which keys were seen is kept in a private SQLite file, so that memory stays bounded; a resumed lane fills it again by reading what it read
before. A dataset with this step is one lane: it holds for all its rows.
"""

import hashlib
import shutil
import sqlite3
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from pymigrate.engine.domain.errors import SystemUnavailable
from pymigrate.engine.domain.types import ColumnInfo
from pymigrate.engine.ports.transform import Deduplicate, Outcome
from pymigrate.engine.transfer.transforms.problems import raise_if_any, unknown

CACHE_KIBIBYTES = 32_768


class DeduplicateStep:
    """See the port. Rows are alike when the values of the columns are, bit by bit; NULL is like NULL."""

    is_stateful = True

    def __init__(self, given: Sequence[ColumnInfo], columns: Sequence[str]) -> None:
        self.columns = tuple(given)
        self.origins = {column.name: column.name for column in given}
        self._names = list(columns)
        self._seen: sqlite3.Connection | None = None
        self._folder: Path | None = None

    def apply(self, batch: pa.RecordBatch) -> Outcome:
        """The rows whose key was not seen before."""
        keys = zip(*(batch.column(name).to_pylist() for name in self._names), strict=True)
        try:
            seen = self._opened()
            rows = [row for row, key in enumerate(keys) if self._is_new(seen, key)]
        except sqlite3.Error as error:
            raise SystemUnavailable(
                f"the keys seen by `deduplicate` can't be kept in {self._folder}: {error}"
            ) from error
        taken = pa.array(rows, pa.int64())
        return Outcome(batch.take(taken), taken)

    def close(self) -> None:
        """Deletes what was kept."""
        if self._seen is not None:
            self._seen.close()
            self._seen = None
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def _is_new(self, seen: sqlite3.Connection, key: Sequence[object]) -> bool:
        digest = hashlib.sha256(repr(key).encode()).digest()
        return seen.execute("INSERT OR IGNORE INTO seen VALUES (?)", (digest,)).rowcount == 1

    def _opened(self) -> sqlite3.Connection:
        if self._seen is None:
            self._folder = Path(tempfile.mkdtemp(prefix="pymigrate-"))
            # No other process reads it and no crash outlives it: it needs no journal, and is one transaction to its end.
            self._seen = sqlite3.connect(self._folder / "seen.db", isolation_level=None, check_same_thread=False)
            self._seen.execute("PRAGMA journal_mode = OFF")
            self._seen.execute("PRAGMA synchronous = OFF")
            self._seen.execute(f"PRAGMA cache_size = -{CACHE_KIBIBYTES}")
            self._seen.execute("CREATE TABLE seen (key BLOB PRIMARY KEY) WITHOUT ROWID")
            self._seen.execute("BEGIN")
        return self._seen


def bind_deduplicate(spec: Deduplicate, given: Sequence[ColumnInfo]) -> DeduplicateStep:
    """By all columns where none is named. Raises InvalidDefinition for columns that are not there."""
    raise_if_any(unknown("deduplicate.columns", spec.columns, given))
    return DeduplicateStep(given, spec.columns or [column.name for column in given])
