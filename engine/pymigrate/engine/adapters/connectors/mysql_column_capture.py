"""What changes in MySQL and MariaDB, as a column tells that grows with each change, and writes that triggers refuse.

Each round reads under a snapshot of its own. A trigger is made under the table's metadata lock, which waits for every transaction
that has used the table; it is committed by itself, holds for everybody, and outlives hosts and engines.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from decimal import Decimal

import pymysql

from pymigrate.engine.adapters.connectors.growing_column import (
    EMPTY,
    EVENTS,
    KeepsNothing,
    column_problems,
    gone,
    kept_out,
    moment_bound,
    number_bound,
    went_backwards,
)
from pymigrate.engine.adapters.connectors.mysql_catalog import MysqlCatalog
from pymigrate.engine.adapters.connectors.mysql_connection import DEADLOCK, LOCK_TIMEOUT, bound, connect, translated
from pymigrate.engine.adapters.connectors.mysql_obstacles import MysqlObstacles
from pymigrate.engine.adapters.connectors.mysql_relations import MysqlRelations
from pymigrate.engine.adapters.connectors.mysql_source import SETTINGS, MysqlSource
from pymigrate.engine.adapters.connectors.mysql_types import parse
from pymigrate.engine.adapters.connectors.target_statements import Table, quote, split_relation
from pymigrate.engine.domain.errors import Problem, SystemUnavailable
from pymigrate.engine.domain.types import ColumnInfo
from pymigrate.engine.ports.capture import Changed, GrowingColumn, RowChanges, Start, no_changes
from pymigrate.engine.ports.connector import SystemSpec
from pymigrate.engine.ports.ranges import Position
from pymigrate.engine.ports.relations import SourceRelation

LOCK_SECONDS = 5
MESSAGE_CHARACTERS_MAX = 128
TRIGGER_EXISTS = 1359
_NUMBERS = frozenset({"tinyint", "smallint", "mediumint", "int", "bigint", "decimal"})
_MOMENTS = frozenset({"date", "datetime", "timestamp"})


class MysqlColumnCapture(KeepsNothing):
    """See the port. A position is the highest value that was read, as text; empty for a table that had no row. `lock_seconds` is how long
    `block` waits for transactions that use the table before it gives up for now: whoever comes after it waits as well."""

    def __init__(self, system: SystemSpec, column: GrowingColumn, lock_seconds: int = LOCK_SECONDS) -> None:
        self._system = system
        self._column = column
        self._lock_seconds = lock_seconds
        self._database = system.options.get("database", "")
        with translated(system):
            self._connection = connect(
                system, (*SETTINGS, f"lock_wait_timeout = {lock_seconds}", f"innodb_lock_wait_timeout = {lock_seconds}")
            )
        self._catalog = MysqlCatalog(self._query)
        self._relations = MysqlRelations(self._catalog, self._database)

    def problems(self, relation: SourceRelation, key: Sequence[str]) -> Sequence[Problem]:
        """Of the column, and of what blocking writes needs."""
        table = self._relations.find(relation.relation)
        known = {column.name: column for column in self._catalog.columns(table)}
        found = column_problems(relation, self._column, known, key, _grows)
        return [*found, *MysqlObstacles(self._query).of(relation, table)]

    def start(self, relation: SourceRelation, name: str, heed: Callable[[], None]) -> Start:
        """Nothing is made: the rows keep their changes themselves."""
        del name, heed
        return Start(self._highest(self._relations.find(relation.relation)))

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
        table = self._relations.find(relation.relation)
        known = {column.name: column for column in self._catalog.columns(table)}
        if missing := [each for each in (*(c.name for c in columns), self._column.name) if each not in known]:
            raise gone(relation, missing[0])
        end = self._highest(table)
        condition = self._condition(relation, known[self._column.name], after, end)
        with closing(MysqlSource(self._system)) as source:
            for chunk in source.changed(relation, columns, condition):
                for batch in chunk.batches:
                    yield Changed(RowChanges(batch.select(list(key)), batch), batch.num_rows, after, 0.0)
        yield Changed(no_changes(columns, key), 0, end, 0.0)

    def rows(self, relation: SourceRelation) -> int:
        """Counted."""
        [(rows,)] = self._query(f"SELECT count(*) FROM {self._relations.find(relation.relation).sql}")
        return int(str(rows))

    def block(self, relation: SourceRelation, name: str) -> None:
        """A trigger for each of what can be done to rows. When the last of them is there, whoever wrote before it has ended."""
        table = self._relations.find(relation.relation)
        said = self._connection.escape(kept_out(relation, MESSAGE_CHARACTERS_MAX))
        made = {str(trigger) for (trigger,) in self._query(
            "SELECT TRIGGER_NAME FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = ?", (table.schema,)
        )}  # fmt: skip
        for mark, event in EVENTS.items():
            if f"{name}_{mark}" not in made:
                self._define(
                    relation,
                    f"CREATE TRIGGER {_trigger(table.schema, name, mark)} BEFORE {event} ON {table.sql} FOR EACH ROW "
                    f"SIGNAL SQLSTATE '25006' SET MESSAGE_TEXT = {said}, MYSQL_ERRNO = 1792",
                )

    def open(self, relation: SourceRelation, name: str) -> None:
        """Drops them. The table itself may be gone."""
        schema = split_relation(relation.relation, self._database).schema
        for mark in EVENTS:
            self._define(relation, f"DROP TRIGGER IF EXISTS {_trigger(schema, name, mark)}")

    def close(self) -> None:
        """Closes the connection."""
        if self._connection.open:
            self._connection.close()

    def _highest(self, table: Table) -> Position:
        [(highest,)] = self._query(
            f"SELECT COALESCE(CAST(MAX({quote(self._column.name)}) AS CHAR), '') FROM {table.sql}"
        )
        return Position(str(highest))

    def _condition(self, relation: SourceRelation, column: ColumnInfo, after: Position, end: Position) -> str:
        """What rows meet that are read again; empty for all. A zero date has nothing below it."""
        if after == EMPTY:
            return ""
        is_number = parse(column.native_type).word in _NUMBERS
        if is_number:
            low: str | None = number_bound(after, self._column.overlap)
        else:
            low = None if after.startswith("0000") else moment_bound(after, self._column.overlap)
        if low is None:
            return ""
        if end == EMPTY or (Decimal(end) < Decimal(low) if is_number else end < low):
            raise went_backwards(relation, self._column, after, end)
        return f"{quote(column.name)} >= {low if is_number else self._connection.escape(low)}"

    def _define(self, relation: SourceRelation, statement: str) -> None:
        try:
            with translated(self._system):
                self._run(statement)
        except pymysql.err.OperationalError as error:
            if error.args[0] != TRIGGER_EXISTS:
                raise
        except SystemUnavailable as error:
            if not isinstance(error.__cause__, pymysql.err.OperationalError) or error.__cause__.args[0] != LOCK_TIMEOUT:
                raise
            raise SystemUnavailable(
                f"{relation.relation}: a transaction that has used it goes on for more than {self._lock_seconds:g} s, and writes can't be "
                "blocked, or let in, before it ends: end it, or wait; it is tried again",
                field="source.relation",
            ) from error

    def _run(self, statement: str) -> None:
        try:
            self._connection.query(statement)
        except pymysql.err.OperationalError as error:
            if error.args[0] == DEADLOCK:
                raise SystemUnavailable(
                    "the definition met another one of the same table: it is tried again"
                ) from error
            raise

    def _query(self, statement: str, parameters: Sequence[object] = ()) -> list[tuple[object, ...]]:
        with translated(self._system), self._connection.cursor() as cursor:
            cursor.execute(bound(self._connection, statement, parameters))
            return list(cursor.fetchall())


def _grows(column: ColumnInfo) -> bool:
    return parse(column.native_type).word in _NUMBERS | _MOMENTS


def _trigger(schema: str, name: str, mark: str) -> str:
    return f"{quote(schema)}.{quote(f'{name}_{mark}')}"
