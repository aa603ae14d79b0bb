"""What changes in a SQLite table, as a column tells that grows with each change, and writes that triggers refuse.

SQLite keeps any value in any column, so that it is the values that must have one order: numbers, or moments in ISO 8601. The file has
one writer at a time: whoever has the right to write has nobody before it that is not done.
"""

import json
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from pymigrate.engine.adapters.connectors.growing_column import (
    EMPTY,
    EVENTS,
    FIELD,
    KeepsNothing,
    column_problems,
    gone,
    kept_out,
    moment_bound,
    number_bound,
    went_backwards,
)
from pymigrate.engine.adapters.connectors.source_values import missing
from pymigrate.engine.adapters.connectors.sqlite_source import SqliteSource
from pymigrate.engine.adapters.connectors.sqlite_types import column_type
from pymigrate.engine.adapters.connectors.target_statements import quote
from pymigrate.engine.domain.errors import FailedPrecondition, Problem, SourceChanged, SourceMissing, SystemUnavailable
from pymigrate.engine.domain.types import ColumnInfo
from pymigrate.engine.ports.capture import Changed, GrowingColumn, RowChanges, Start, no_changes
from pymigrate.engine.ports.connector import SystemSpec
from pymigrate.engine.ports.ranges import Position
from pymigrate.engine.ports.relations import SourceRelation

LOCK_SECONDS = 5.0
_NUMBERS = frozenset({"integer", "real"})
_DAY = "[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]"
_TIME = "[0-9][0-9]:[0-9][0-9]:[0-9][0-9]"
# How the rows of a text column are written: a day, or a moment with a space or a T in it, and no other zone than UTC's.
_FORM = (
    f"CASE WHEN typeof(c) <> 'text' THEN typeof(c) WHEN c GLOB '{_DAY}' THEN 'day' "
    f"WHEN substr(c, 20) GLOB '*[-+][0-9]*' AND substr(c, 20) NOT GLOB '*+00:00' THEN 'moment of another zone' "
    f"WHEN c GLOB '{_DAY} {_TIME}*' THEN 'moment with a space' WHEN c GLOB '{_DAY}T{_TIME}*' THEN 'moment with a T' "
    "ELSE 'text that is no moment' END"
)
_ORDERED = frozenset({"integer", "real", "day", "moment with a space", "moment with a T"})


class SqliteColumnCapture(KeepsNothing):
    """See the port. A position is the highest value that was read, as JSON; empty for a table that had no row. `lock_seconds` is how long
    `block` waits for who writes before it gives up for now."""

    def __init__(self, system: SystemSpec, column: GrowingColumn, lock_seconds: float = LOCK_SECONDS) -> None:
        self._system = system
        self._column = column
        self._path = Path(system.options["path"])
        if not self._path.is_file():
            raise SourceMissing(f"there is no SQLite file {self._path}", field="source.connection")
        with self._translated():
            self._connection = sqlite3.connect(
                f"{self._path.absolute().as_uri()}?mode=rw", uri=True, timeout=lock_seconds, isolation_level=None,
                check_same_thread=False,
            )  # fmt: skip

    def problems(self, relation: SourceRelation, key: Sequence[str]) -> Sequence[Problem]:
        """Of the column and its values, of the table, and of what blocking writes needs."""
        table = self._table(relation)
        known = self._columns(table)
        found = list(column_problems(relation, self._column, known, key, lambda column: True))
        if not any(problem.field == FIELD for problem in found):
            found += self._value_problems(relation, table)
        [(kind, sql)] = self._query("SELECT type, sql FROM sqlite_master WHERE name = ?", (table,))
        if kind != "table" or "VIRTUAL" in str(sql).upper().split()[:2]:
            what = f"`{relation.relation}` is no table of its own, and writes to it can't be blocked"
            found.append(Problem("source.relation", f"{what}: name the tables that it shows"))
        [(journal,)] = self._query("PRAGMA journal_mode")
        if journal != "wal":
            found.append(Problem(
                "source.connection", f"the file has the journal mode `{journal}`, in which nobody can commit while it is read: PRAGMA "
                "journal_mode = WAL lets writers go on, or choose another downtime policy"
            ))  # fmt: skip
        if not (os.access(self._path, os.W_OK) and os.access(self._path.parent, os.W_OK)):
            text = f"the worker host may not write to {self._path} and its folder, and so can't block writes in the end"
            found.append(Problem("source.connection", text))
        return found

    def start(self, relation: SourceRelation, name: str, heed: Callable[[], None]) -> Start:
        """Nothing is made: the rows keep their changes themselves."""
        del name, heed
        return Start(self._highest(relation, self._table(relation)))

    def changes(
        self,
        relation: SourceRelation,
        columns: Sequence[ColumnInfo],
        key: Sequence[str],
        name: str,
        after: Position,
        until: Position,
    ) -> Iterator[Changed]:
        """One pass over what lies above the position, less the overlap."""
        del name, until
        table = self._table(relation)
        known = self._columns(table)
        if lost := [each for each in (*(c.name for c in columns), self._column.name) if each not in known]:
            raise gone(relation, lost[0])
        end = self._highest(relation, table)
        low = self._low(relation, after, end)
        with closing(SqliteSource(self._system)) as source:
            for chunk in source.changed(relation, columns, self._column.name, low):
                for batch in chunk.batches:
                    yield Changed(RowChanges(batch.select(list(key)), batch), batch.num_rows, after, 0.0)
        yield Changed(no_changes(columns, key), 0, end, 0.0)

    def rows(self, relation: SourceRelation) -> int:
        """Counted."""
        [(rows,)] = self._query(f"SELECT count(*) FROM {quote(self._table(relation))}")
        return int(str(rows))

    def block(self, relation: SourceRelation, name: str) -> None:
        """A trigger for each of what can be done to rows, in one transaction, which begins when whoever writes has ended."""
        table, said = quote(self._table(relation)), kept_out(relation).replace("'", "''")
        self._define([
            f"CREATE TRIGGER IF NOT EXISTS {quote(f'{name}_{mark}')} BEFORE {event} ON {table} BEGIN SELECT RAISE(ABORT, '{said}'); END"
            for mark, event in EVENTS.items()
        ])  # fmt: skip

    def open(self, relation: SourceRelation, name: str) -> None:
        """Drops them. The table itself may be gone."""
        del relation
        self._define([f"DROP TRIGGER IF EXISTS {quote(f'{name}_{mark}')}" for mark in EVENTS])

    def close(self) -> None:
        """Closes the file."""
        self._connection.close()

    def _value_problems(self, relation: SourceRelation, table: str) -> Iterator[Problem]:
        forms = [str(form) for (form,) in self._query(
            f"SELECT DISTINCT {_FORM} FROM (SELECT {quote(self._column.name)} AS c FROM {quote(table)})"
        )]  # fmt: skip
        is_ordered = set(forms) <= _NUMBERS or (len(forms) == 1 and set(forms) <= _ORDERED)
        if not is_ordered:
            yield Problem(
                FIELD,
                f"`{self._column.name}` of `{relation.relation}` holds {', '.join(sorted(forms))}, which have no order that grows: name a "
                "column of numbers, of days such as 2024-01-31, or of moments such as 2024-01-31 10:00:00, all of one form and in UTC",
            )

    def _table(self, relation: SourceRelation) -> str:
        name = relation.relation.removeprefix("main.")
        known = [str(each) for (each,) in self._query("SELECT name FROM sqlite_master WHERE type IN ('table', 'view')")]
        if name not in known:
            raise missing(relation.relation, known)
        return name

    def _columns(self, table: str) -> dict[str, ColumnInfo]:
        """A rowid by another name, and the key of a table without one, hold no NULL whatever is declared."""
        found = self._query('SELECT name, type, "notnull", pk FROM pragma_table_xinfo(?)', (table,))
        [(has_no_rowid,)] = self._query("SELECT wr FROM pragma_table_list WHERE schema = 'main' AND name = ?", (table,))
        keys = sum(1 for *_, place in found if place)
        return {
            str(name): ColumnInfo(
                str(name),
                column_type(str(kind)),
                bool(required) or bool(place and (has_no_rowid or (keys == 1 and str(kind).upper() == "INTEGER"))),
                str(kind),
            )
            for name, kind, required, place in found
        }

    def _highest(self, relation: SourceRelation, table: str) -> Position:
        [(highest,)] = self._query(f"SELECT max({quote(self._column.name)}) FROM {quote(table)}")
        if isinstance(highest, bytes):
            raise SourceChanged(
                f"{relation.relation}: `{self._column.name}` holds a blob, which has no order", field=FIELD
            )
        return EMPTY if highest is None else Position(json.dumps(highest))

    def _low(self, relation: SourceRelation, after: Position, end: Position) -> object:
        """From where on rows are read again; None: all of them."""
        if after == EMPTY:
            return None
        before, now = json.loads(after), json.loads(end) if end != EMPTY else None
        if now is None or isinstance(before, str) != isinstance(now, str):
            raise went_backwards(relation, self._column, str(before), "" if now is None else str(now))
        try:
            low = (
                moment_bound(before, self._column.overlap)
                if isinstance(before, str)
                else json.loads(number_bound(str(before), self._column.overlap))
            )
        except ValueError as error:
            raise SourceChanged(f"{relation.relation}, column `{self._column.name}`: {error}", field=FIELD) from error
        if low is not None and now < low:
            raise went_backwards(relation, self._column, str(before), str(now))
        return low

    def _define(self, statements: Sequence[str]) -> None:
        with self._translated():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                for statement in statements:
                    self._connection.execute(statement)
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def _query(self, statement: str, parameters: Sequence[object] = ()) -> list[tuple[object, ...]]:
        with self._translated():
            return self._connection.execute(statement, tuple(parameters)).fetchall()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """SQLite's errors as PyMigrate's."""
        try:
            yield
        except sqlite3.OperationalError as error:
            code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
            if code in {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH, sqlite3.SQLITE_ERROR}:
                raise FailedPrecondition(f"the SQLite file {self._path}: {error}", field="source.connection") from error
            raise SystemUnavailable(
                f"the SQLite file {self._path} is not at hand: {error}; whoever writes to it for long holds this up; it is tried again",
                field="source.connection",
            ) from error
        except sqlite3.DatabaseError as error:
            raise FailedPrecondition(f"the SQLite file {self._path}: {error}", field="source.connection") from error
