"""PostgreSQL's changes by logical decoding: what a slot keeps, read through SQL, and writes that a trigger refuses.

Two connections: one that streams what the slot gives, and one for everything else. A value that the log does not carry is looked up: what
the row holds now is at least as new, and every later change of it comes after.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import psycopg
import pyarrow as pa
from psycopg import errors

from pymigrate.engine.adapters.connectors.postgres_connection import SETTINGS, connect, first_line
from pymigrate.engine.adapters.connectors.postgres_obstacles import Obstacles
from pymigrate.engine.adapters.connectors.postgres_pgoutput import Net, PgOutput, Texts, Unsent
from pymigrate.engine.adapters.connectors.postgres_reading import keep_raw, selected, to_array
from pymigrate.engine.adapters.connectors.postgres_relations import DEFAULT_SCHEMA, PostgresRelations
from pymigrate.engine.adapters.connectors.postgres_slot import PostgresSlot, lost, lsn, spelled
from pymigrate.engine.adapters.connectors.source_values import Unreadable
from pymigrate.engine.adapters.connectors.target_statements import Table, quote, split_relation
from pymigrate.engine.domain.errors import DataRefused, FailedPrecondition, Problem, SourceChanged, SystemUnavailable
from pymigrate.engine.domain.types import ColumnInfo
from pymigrate.engine.ports.arrow_types import arrow_schema
from pymigrate.engine.ports.capture import Changed, RowChanges, Start
from pymigrate.engine.ports.connector import SystemSpec
from pymigrate.engine.ports.ranges import Position
from pymigrate.engine.ports.relations import SourceRelation

CHANGES_AT_ONCE = 50_000
FETCHED_AT_ONCE = 2_000
LOCK_SECONDS = 5.0
NUMBER = "__pymigrate_number"
SOURCE_FIELD = "source.connection"
_TREE = (
    "WITH RECURSIVE tree (oid) AS (SELECT ?::oid UNION ALL SELECT i.inhrelid FROM pg_inherits AS i JOIN tree ON i.inhparent = tree.oid) "
    "SELECT n.nspname::text, c.relname::text FROM tree JOIN pg_class AS c ON c.oid = tree.oid "
    "JOIN pg_namespace AS n ON n.oid = c.relnamespace ORDER BY c.oid"
)


class PostgresCapture:
    """See the port. `lock_seconds` is how long `block` waits for transactions that write before it gives up for now: whoever
    comes after it waits as well."""

    def __init__(self, system: SystemSpec, lock_seconds: float = LOCK_SECONDS) -> None:
        self._system = system
        self._lock_seconds = lock_seconds
        self._reader: psycopg.Connection | None = None
        with self._translated():
            self._connection = connect(system)
            self._set(
                self._connection, {**SETTINGS, "lock_timeout": f"{lock_seconds * 1000:.0f}", "synchronous_commit": "on"}
            )
        self._relations = PostgresRelations(self._query)

    def problems(self, relation: SourceRelation, key: Sequence[str]) -> Sequence[Problem]:
        """Of the server, the role and the table."""
        table = self._relations.find(relation.relation)
        return list(Obstacles(self._query).of(relation, table, self._relations.identifier(table), key))

    def start(self, relation: SourceRelation, name: str, heed: Callable[[], None]) -> Start:
        """Makes publication and slot."""
        with self._translated():
            return self._slot(name).make(self._relations.find(relation.relation).sql, heed)

    def present(self) -> Position:
        """What is written to disk: a commit is acknowledged only then."""
        [(position,)] = self._query("SELECT pg_current_wal_flush_lsn()::text")
        return Position(str(position))

    def changes(
        self,
        relation: SourceRelation,
        columns: Sequence[ColumnInfo],
        key: Sequence[str],
        name: str,
        after: Position,
        until: Position,
    ) -> Iterator[Changed]:
        """Stretches of whole transactions, but for those that are too large to be held at once."""
        table = self._relations.find(relation.relation)
        native = {column.name: column.native_type for column in self._relations.columns(table)}
        if missing := [column.name for column in columns if column.name not in native]:
            raise SourceChanged(
                f"{relation.relation}: column `{missing[0]}` is gone since the run was started: retry the run",
                field=f"source.columns.{missing[0]}",
            )
        rows = Rows(
            relation.relation,
            table,
            [ColumnInfo(c.name, c.type, c.is_required, native[c.name]) for c in columns],
            key,
            self._fetch,
        )
        self._slot(name).check(after)
        end = lsn(after)
        while end < lsn(until):
            output = PgOutput(relation.relation, (table.schema, table.name), [c.name for c in columns], key, end)
            is_any, committed = False, 0.0
            for message in self._peek(name, until):
                is_any = True
                if (commit := output.take(message)) is not None:
                    end, committed = max(end, commit.end), commit.seconds
                if output.net.is_full:
                    yield self._changed(rows, output.hand_over(), end, committed)
            if not is_any:
                end = lsn(until)
            yield self._changed(rows, output.hand_over(), end, committed)

    def confirm(self, name: str, position: Position) -> None:
        """Advances the slot."""
        self._query("SELECT pg_replication_slot_advance(?, ?::pg_lsn)", (name, position))

    def rows(self, relation: SourceRelation) -> int:
        """Counted."""
        [(rows,)] = self._query(f"SELECT count(*) FROM {self._relations.find(relation.relation).sql}")
        return int(str(rows))

    def block(self, relation: SourceRelation, name: str) -> None:
        """A trigger on the table and every part of it. Making it waits for all who have written and not yet ended; it outlives crashes."""
        table = self._relations.find(relation.relation)
        tables = [Table(str(s), str(t)) for s, t in self._query(_TREE, (self._relations.identifier(table),))]
        function, trigger = f"{quote(table.schema)}.{quote(name)}()", quote(name)
        said = f"{relation.relation} is being moved, or has moved: PyMigrate keeps writes out until the run is rolled back".replace(
            "'", "''"
        )
        with self._translated():
            try:
                with self._connection.transaction():
                    if self._is_blocked(table, name):
                        return
                    self._query(f"LOCK TABLE {', '.join(each.sql for each in tables)} IN SHARE ROW EXCLUSIVE MODE")
                    self._query(
                        f"CREATE FUNCTION {function} RETURNS trigger LANGUAGE plpgsql AS "
                        f"$block$ BEGIN RAISE EXCEPTION USING MESSAGE = '{said}', ERRCODE = 'read_only_sql_transaction'; END $block$"
                    )
                    for each in tables:
                        self._query(
                            f"CREATE TRIGGER {trigger} BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON {each.sql} "
                            f"FOR EACH STATEMENT EXECUTE FUNCTION {function}"
                        )
                        self._query(f"ALTER TABLE {each.sql} ENABLE ALWAYS TRIGGER {trigger}")
            except errors.LockNotAvailable as error:
                raise SystemUnavailable(
                    f"{relation.relation}: a transaction that has written to it goes on for more than {self._lock_seconds:g} s, and "
                    "writes can't be blocked before it ends: end it, or wait; it is tried again",
                    field="source.relation",
                ) from error

    def open(self, relation: SourceRelation, name: str) -> None:
        """Drops the function, and the triggers with it. The table itself may be gone."""
        schema = split_relation(relation.relation, DEFAULT_SCHEMA).schema
        try:
            self._query(f"DROP FUNCTION IF EXISTS {quote(schema)}.{quote(name)}() CASCADE")
        except errors.LockNotAvailable as error:
            raise SystemUnavailable(
                f"{relation.relation}: a transaction that reads it goes on for more than {self._lock_seconds:g} s, and writes can't be let "
                "in before it ends: end it, or wait; it is tried again",
                field=SOURCE_FIELD,
            ) from error

    def stop(self, name: str) -> None:
        """Drops slot and publication."""
        with self._translated():
            self._slot(name).drop()

    def close(self) -> None:
        """Closes both connections."""
        self._connection.close()
        if self._reader is not None:
            self._reader.close()

    def _is_blocked(self, table: Table, name: str) -> bool:
        statement = "SELECT 1 FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace WHERE n.nspname = ? AND p.proname = ?"
        return bool(self._query(statement, (table.schema, name)))

    def _changed(self, rows: "Rows", net: Net, end: int, committed: float) -> Changed:
        [(now,)] = self._query("SELECT extract(epoch FROM clock_timestamp())::float8")
        lag = max(0.0, float(str(now)) - committed) if committed else 0.0
        return Changed(rows.changes(net), net.count, spelled(end), lag)

    def _peek(self, name: str, until: Position) -> Iterator[bytes]:
        """The slot's messages, as they are asked for: the server holds them meanwhile, on disk where they are many."""
        if self._reader is None:
            with self._translated():
                self._reader = connect(self._system)
                self._set(self._reader, SETTINGS)
        with self._translated(), self._reader.transaction(), self._reader.cursor("pymigrate_changes") as cursor:
            cursor.itersize = FETCHED_AT_ONCE
            try:
                cursor.execute(
                    "SELECT data FROM pg_logical_slot_peek_binary_changes(%s, %s::pg_lsn, %s, 'proto_version', '1', "
                    "'publication_names', %s)",
                    (name, until, CHANGES_AT_ONCE, quote(name)),
                )
                for (data,) in cursor:
                    yield bytes(data)
            except (errors.ObjectNotInPrerequisiteState, errors.UndefinedObject) as error:
                raise lost(name, error) from error

    def _slot(self, name: str) -> PostgresSlot:
        return PostgresSlot(self._system, name, self._query)

    def _fetch(self, statement: str, parameters: Sequence[object]) -> list[tuple[object, ...]]:
        """Values in the form in which a source reads them."""
        with self._translated(), self._connection.cursor() as cursor:
            keep_raw(cursor)
            return cursor.execute(statement.encode(), parameters, binary=True).fetchall()

    def _query(self, statement: str, parameters: Sequence[object] = ()) -> list[tuple[object, ...]]:
        with self._translated():
            cursor = self._connection.execute(
                statement.replace("?", "%s").encode() if parameters else statement.encode(), parameters or None
            )
            return cursor.fetchall() if cursor.description is not None else []

    def _set(self, connection: psycopg.Connection, settings: dict[str, str]) -> None:
        calls = ", ".join("set_config(%s, %s, false)" for _ in settings)
        connection.execute(f"SELECT {calls}".encode(), [text for pair in settings.items() for text in pair])

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """PostgreSQL's errors as PyMigrate's; those that a caller tells apart are let through."""
        try:
            yield
        except (
            errors.LockNotAvailable,
            errors.ObjectInUse,
            errors.UndefinedObject,
            errors.DuplicateObject,
            errors.ObjectNotInPrerequisiteState,
        ):
            raise
        except errors.InsufficientPrivilege as error:
            raise FailedPrecondition(
                f"PostgreSQL: {first_line(error)}: to follow the table the connection's user must own it, and have the "
                "attribute REPLICATION",
                field=SOURCE_FIELD,
            ) from error
        except (psycopg.OperationalError, psycopg.InterfaceError) as error:
            said = first_line(error)
            if self._system.password is not None:
                said = said.replace(self._system.password.reveal(), "***")
            raise SystemUnavailable(f"PostgreSQL: {said}", field=SOURCE_FIELD) from error
        except psycopg.DataError as error:
            raise DataRefused(f"PostgreSQL: {first_line(error)}") from error


class Rows:
    """Makes batches of what changes come to. Texts go back to the server that spelled them, so that they are read by the same reader as
    the rows that are copied."""

    def __init__(
        self,
        relation: str,
        table: Table,
        columns: Sequence[ColumnInfo],
        key: Sequence[str],
        fetch: Callable[[str, Sequence[object]], list[tuple[object, ...]]],
    ) -> None:
        self._relation = relation
        self._table = table
        self._columns = columns
        by_name = {column.name: column for column in columns}
        self._key = [by_name[name] for name in key]
        self._fetch = fetch

    def changes(self, net: Net) -> RowChanges:
        """Raises DataRefused."""
        keys = self._read(self._key, list(net.entries))
        told = self._read(self._columns, [row for row in net.entries.values() if isinstance(row, tuple)])
        sought = self._look_up([key for key, row in net.entries.items() if isinstance(row, Unsent)])
        rows = pa.Table.from_batches([told, sought]).combine_chunks().to_batches()
        return RowChanges(keys, rows[0] if rows else told, net.is_emptied)

    def _read(self, columns: Sequence[ColumnInfo], texts: Sequence[Texts]) -> pa.RecordBatch:
        if not texts:
            return batch_of(self._relation, columns, [])
        names = ", ".join(quote(column.name) for column in columns)
        arrays = ", ".join("%s::text[]" for _ in columns)
        values = ", ".join(f"{quote(c.name)}::{c.native_type} AS {quote(c.name)}" for c in columns)
        statement = (
            f"SELECT {', '.join(map(selected, columns))} FROM (SELECT {NUMBER}, {values} "
            f"FROM unnest(%ARRAYS%) WITH ORDINALITY AS told ({names}, {NUMBER})) AS told ORDER BY {NUMBER}"
        )
        statement = statement.replace("%ARRAYS%", "\0").replace("%", "%%").replace("\0", arrays)
        return batch_of(
            self._relation, columns, self._fetch(statement, [list(column) for column in zip(*texts, strict=True)])
        )

    def _look_up(self, keys: Sequence[Texts]) -> pa.RecordBatch:
        """The rows as they are now; those that are gone by now go with a later change."""
        if not keys:
            return batch_of(self._relation, self._columns, [])
        names = ", ".join(quote(column.name) for column in self._key)
        arrays = ", ".join("%s::text[]" for _ in self._key)
        values = ", ".join(f"{quote(c.name)}::{c.native_type}" for c in self._key)
        statement = (
            f"SELECT {', '.join(map(selected, self._columns))} FROM {self._table.sql} WHERE ({names}) IN "
            f"(SELECT {values} FROM unnest(%ARRAYS%) AS told ({names}))"
        )
        statement = statement.replace("%ARRAYS%", "\0").replace("%", "%%").replace("\0", arrays)
        return batch_of(
            self._relation, self._columns, self._fetch(statement, [list(column) for column in zip(*keys, strict=True)])
        )


def batch_of(relation: str, columns: Sequence[ColumnInfo], rows: Sequence[tuple[object, ...]]) -> pa.RecordBatch:
    """Rows as a source's cursor gives them, as a batch. Raises DataRefused."""
    schema = arrow_schema(columns)
    if not rows:
        return pa.RecordBatch.from_pylist([], schema=schema)
    arrays = []
    for column, values in zip(columns, zip(*rows, strict=True), strict=True):
        try:
            arrays.append(to_array(column, values))
        except Unreadable as error:
            raise DataRefused(
                f"{relation}, column `{column.name}`, a changed row: {error}", field=f"source.columns.{column.name}"
            ) from error
    return pa.RecordBatch.from_arrays(arrays, schema=schema)
