"""A SQLite file as a target: a rollback journal, `BEGIN IMMEDIATE`, and the whole file waits for one writer at a time."""

import fnmatch
import hashlib
import marshal
import re
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa

from pymigrate.engine.adapters.connectors.sqlite_declaring import SqliteDeclaring
from pymigrate.engine.adapters.connectors.sqlite_types import column_type
from pymigrate.engine.adapters.connectors.sqlite_values import from_rows, to_rows
from pymigrate.engine.adapters.connectors.target_changes import ChangedTarget
from pymigrate.engine.adapters.connectors.target_dialect import Found
from pymigrate.engine.adapters.connectors.target_inspection import Inspection
from pymigrate.engine.adapters.connectors.target_statements import Statements, Table, is_own, quote
from pymigrate.engine.adapters.connectors.target_values import BATCH_ROWS_MAX
from pymigrate.engine.domain.errors import (
    DataRefused,
    FailedPrecondition,
    InvalidDefinition,
    Problem,
    SystemUnavailable,
)
from pymigrate.engine.domain.types import ColumnInfo
from pymigrate.engine.ports.connector import SystemSpec
from pymigrate.engine.ports.relations import RelationInfo
from pymigrate.engine.ports.staging import Staging, StagingId

BUSY_SECONDS = 30.0
OWN_PREFIX = "_pymigrate_"
ROWS_AT_ONCE = 8_192
_MARK = re.compile(r"/\* (PyMigrate \w+) \*/\)$")
_ROWIDS = ("rowid", "_rowid_", "oid")


class SqliteTarget(ChangedTarget, SqliteDeclaring):
    """See the port. A relation is a table's name; `main.` before it may be left out. Who meets another writer waits `busy_seconds`."""

    statements = Statements(f"{OWN_PREFIX}checkpoint", f"{OWN_PREFIX}publication")
    names_rows = True
    tells_rows_apart = True
    # Decimals and unsigned numbers are kept as text, which is in another order.
    unordered_kinds = SqliteDeclaring.unordered_kinds | {"decimal", "uint64"}
    distinct = "IS NOT"  # SQLite before 3.39 knows no other way to say it

    def __init__(self, system: SystemSpec, busy_seconds: float = BUSY_SECONDS) -> None:
        self._path = Path(system.options.get("path", ""))
        if not system.options.get("path") or not self._path.parent.is_dir() or self._path.is_dir():
            raise InvalidDefinition((Problem("path", f"`{self._path}` is no file in an existing folder"),))
        with self._translated():
            self._connection = sqlite3.connect(
                self._path, timeout=busy_seconds, isolation_level=None, check_same_thread=False
            )
            try:
                self._set_up()
            except BaseException:
                self._connection.close()
                raise
        self._is_ready = False

    def version(self) -> str:
        """Such as `SQLite 3.40.1`."""
        return f"SQLite {sqlite3.sqlite_version}"

    def relations(self, glob: str, limit: int) -> Sequence[RelationInfo]:
        """Tables and views with their exact numbers of rows."""
        names = [
            str(name)
            for (name,) in self._query("SELECT name FROM sqlite_master WHERE type IN ('table', 'view') ORDER BY 1")
        ]
        theirs = [name for name in names if not (is_own(name) or name.startswith((OWN_PREFIX, "sqlite_")))]
        matching = [name for name in theirs if fnmatch.fnmatchcase(name, glob)][:limit]
        return [
            RelationInfo(name, self._describe(name), rows=self._count(Table("", name)), is_exact_rows=True)
            for name in matching
        ]

    def close(self) -> None:
        """Closes the connection."""
        self._connection.close()

    def _set_up(self) -> None:
        [(mode,)] = self._query("PRAGMA journal_mode = DELETE")
        if mode != "delete":
            raise SystemUnavailable(
                f"the SQLite file {self._path} is in {mode} mode and in use: close what uses it first"
            )
        self._execute("PRAGMA synchronous = FULL")
        self._execute("PRAGMA foreign_keys = OFF")
        # A rename leaves alone what views, triggers and foreign keys say: they go on to mean the name, not the table.
        self._execute("PRAGMA legacy_alter_table = ON")

    @property
    def _inspection(self) -> Inspection:
        return Inspection(self._query, lambda expression: f"CAST({expression} AS TEXT)")

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            if "not a database" in str(error) or "malformed" in str(error):
                problem = Problem("path", f"`{self._path}` is not a SQLite database, or is damaged: {error}")
                raise InvalidDefinition((problem,)) from error
            raise SystemUnavailable(f"the SQLite file {self._path}: {error}") from error

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._translated():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def _wait(self) -> None:
        """SQLite waits by itself, for BUSY_SECONDS, before it gives up."""

    def _execute(self, statement: str, parameters: Sequence[object] = ()) -> int:
        with self._translated():
            return self._connection.execute(statement, tuple(parameters)).rowcount

    def _query(self, statement: str, parameters: Sequence[object] = ()) -> list[tuple[object, ...]]:
        with self._translated():
            return self._connection.execute(statement, tuple(parameters)).fetchall()

    def _locate(self, relation: str) -> Table:
        return Table("", relation.removeprefix("main."))

    def _find(self, table: Table) -> Found | None:
        found = self._query(
            "SELECT name, type FROM sqlite_master WHERE type IN ('table', 'view') AND name = ? COLLATE NOCASE",
            (table.name,),
        )
        return Found(Table("", str(found[0][0])), str(found[0][1])) if found else None

    def _type_problems(self, staging: Staging) -> Iterator[Problem]:
        name = self._locate(staging.relation).name.lower()
        if name.startswith(("sqlite_", OWN_PREFIX)):
            yield Problem(
                "target.relation", f"`{staging.relation}` is a name that SQLite or PyMigrate keeps for itself"
            )
        if {column.name.lower() for column in staging.columns} >= set(_ROWIDS):
            yield Problem(
                "source.columns", "columns named rowid, _rowid_ and oid together leave SQLite no name for its own"
            )

    def _has_own_relations(self) -> bool:
        self._is_ready = self._is_ready or self._find(Table("", f"{OWN_PREFIX}publication")) is not None
        return self._is_ready

    def _create(self, staging: Staging, table: Table) -> None:
        for statement in self.statements.create:
            self._execute(statement)
        if self._find(table) is None:
            statement = self._create_statement(staging, table).removesuffix(")")
            self._execute(f"{statement} /* PyMigrate {staging.id} */)")

    def _insert(self, staging: Staging, table: Table, batches: Sequence[pa.RecordBatch], row: int) -> None:
        statement = f"INSERT INTO {table.sql} VALUES ({', '.join('?' * len(staging.columns))})"
        for batch in batches:
            with self._translated():
                self._connection.executemany(statement, to_rows(staging, batch, row))
            row += batch.num_rows

    def _scan(self, staging: Staging, table: Table) -> Iterator[pa.RecordBatch]:
        """Page by page, so that a reader that pauses holds no lock."""
        rowid = self._rowid(table)
        columns = ", ".join(quote(column.name) for column in staging.columns)
        page = f"SELECT {columns}, {rowid} FROM {table.sql} WHERE {rowid} > ? ORDER BY {rowid} LIMIT {BATCH_ROWS_MAX}"
        last: object = -(2**63)
        while rows := self._query(page, (last,)):
            last = rows[-1][-1]
            yield from_rows(staging, [row[:-1] for row in rows])

    def _rowid(self, table: Table) -> str:
        if (name := self._free_rowid(table)) is None:
            raise FailedPrecondition(f"{table.name} has columns in place of every name of its rowid")
        return name

    def _free_rowid(self, table: Table) -> str | None:
        taken = {name.lower() for name in self._columns(table)}
        return next((name for name in _ROWIDS if name not in taken), None)

    def _row_names(self, table: Table) -> tuple[str, ...]:
        """The rowid; a table WITHOUT ROWID has none."""
        if (name := self._free_rowid(table)) is None:
            return ()
        try:
            self._connection.execute(f"SELECT {name} FROM {table.sql} LIMIT 0")
        except sqlite3.OperationalError:
            return ()
        return (name,)

    def _row_text(self, columns: Sequence[str], alias: str) -> str:
        """Values as SQLite itself spells them, with their kind."""
        return " || ',' || ".join(f"quote({alias}.{quote(name)})" for name in columns)

    def _appended_text(self, table: Table, alias: str) -> str:
        """With the rowid: a row that is deleted and written again has another, or is the same to everybody."""
        [name] = self._row_names(table)
        return f"{alias}.{name} || ' ' || {super()._appended_text(table, alias)}"

    def _append_rows(self, staging: Staging, source: Table, target: Table, noted: Table) -> None:
        """Where a column is the rowid, new rows have the values that they come with."""
        alias = self._rowid_column(target)
        given = [column.name for column in staging.columns if column.name.lower() == alias.lower()]
        if not given:
            super()._append_rows(staging, source, target, noted)
            return
        columns, [name] = ", ".join(quote(column.name) for column in staging.columns), given
        if self._query(f"SELECT 1 FROM {source.sql} WHERE {quote(name)} IS NULL LIMIT 1"):
            raise DataRefused(f"{staging.relation}: NULL in `{name}`, which is the table's INTEGER PRIMARY KEY")
        self._execute(f"INSERT INTO {target.sql} ({columns}) SELECT {columns} FROM {source.sql}")
        self._note_rows(target, noted, f"WHERE {quote(name)} IN (SELECT {quote(name)} FROM {source.sql})")

    def _rowid_column(self, table: Table) -> str:
        """The column that is the rowid under another name; empty without one. Any other primary key has an index of its own."""
        keys = [
            (str(name), str(declared)) for _, name, declared, _, _, at in
            self._query(f"PRAGMA table_info({quote(table.name)})") if at
        ]  # fmt: skip
        indexes = self._query(f"PRAGMA index_list({quote(table.name)})")
        is_alias = len(keys) == 1 and keys[0][1].upper() == "INTEGER" and all(index[3] != "pk" for index in indexes)
        return keys[0][0] if is_alias else ""

    def _rename(self, table: Table, name: str) -> None:
        self._execute(f"ALTER TABLE {table.sql} RENAME TO {quote(name)}")

    def _lock_for_merge(self, table: Table) -> None:
        """Nothing: the transaction has the file to itself."""

    def _is_constraint(self, error: BaseException) -> bool:
        return isinstance(error, sqlite3.IntegrityError)

    def _identity(self, staging: StagingId, table: Table) -> str:
        """The comment at the end of the table's own definition, which SQLite keeps word for word."""
        found = self._query(
            "SELECT sql FROM sqlite_master WHERE type = 'table' AND name = ? COLLATE NOCASE", (table.name,)
        )
        mark = _MARK.search(str(found[0][0])) if found else None
        return mark[1] if mark else ""

    def _fingerprint(self, table: Table) -> str:
        """A hash over the rows as they are stored, in their order, which VACUUM keeps. Marshal's second version is the last one without
        references, which depend on how objects are shared in memory."""
        columns = ", ".join(quote(name) for name in self._columns(table))
        digest = hashlib.blake2b(digest_size=16)
        with self._translated():
            cursor = self._connection.execute(f"SELECT {columns} FROM {table.sql} ORDER BY {self._rowid(table)}")
            while rows := cursor.fetchmany(ROWS_AT_ONCE):
                digest.update(marshal.dumps(rows, 2))
        return f"blake2b:{digest.hexdigest()}"

    def _columns(self, table: Table) -> list[str]:
        return [column.name for column in self._describe(table.name)]

    def _describe(self, name: str) -> tuple[ColumnInfo, ...]:
        found = self._query(f"PRAGMA table_info({quote(name)})")
        return tuple(
            ColumnInfo(str(column), column_type(str(declared)), bool(required), str(declared))
            for _, column, declared, required, *_ in found
        )
