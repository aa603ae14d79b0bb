"""PostgreSQL's changes as a column tells them that grows with each: rounds read what lies above the last one, less an overlap."""

from collections.abc import Callable, Iterator, Sequence
from itertools import count

from pymigrate.engine.adapters.connectors.growing_column import (
    EMPTY,
    SECONDS_DEFAULT,
    UNITS_DEFAULT,
    KeepsNothing,
    column_problems,
    gone,
    went_backwards,
)
from pymigrate.engine.adapters.connectors.postgres_capture import PostgresCapture, batch_of
from pymigrate.engine.adapters.connectors.postgres_connection import SETTINGS, connect
from pymigrate.engine.adapters.connectors.postgres_obstacles import Obstacles
from pymigrate.engine.adapters.connectors.postgres_reading import keep_raw, selected
from pymigrate.engine.adapters.connectors.target_statements import quote
from pymigrate.engine.domain.errors import Problem
from pymigrate.engine.domain.types import ColumnInfo
from pymigrate.engine.ports.capture import Changed, GrowingColumn, RowChanges, Start, no_changes
from pymigrate.engine.ports.connector import SystemSpec
from pymigrate.engine.ports.ranges import Position
from pymigrate.engine.ports.relations import SourceRelation

ROWS_AT_ONCE = 5_000
_TIMES = ("timestamp without time zone", "timestamp with time zone", "date")
_NUMBERS = ("smallint", "integer", "bigint", "numeric")


class PostgresColumnCapture(KeepsNothing, PostgresCapture):
    """See the port. A position is the highest value that was read, as text; empty for a table that had no row."""

    def __init__(self, system: SystemSpec, column: GrowingColumn) -> None:
        super().__init__(system)
        self._column = column
        self._numbers = count(1)

    def problems(self, relation: SourceRelation, key: Sequence[str]) -> Sequence[Problem]:
        """Of the column, and of what blocking writes needs."""
        table = self._relations.find(relation.relation)
        known = {column.name: column for column in self._relations.columns(table)}
        found = column_problems(
            relation, self._column, known, key, lambda each: _is_time(each.native_type) or _is_number(each.native_type)
        )
        return [*found, *Obstacles(self._query).of_owner(relation, table, self._relations.identifier(table))]

    def start(self, relation: SourceRelation, name: str, heed: Callable[[], None]) -> Start:
        """Nothing is made: the rows keep their changes themselves."""
        del name, heed
        return Start(self._highest(relation))

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
        table, end = self._relations.find(relation.relation), self._highest(relation)
        native = {column.name: column.native_type for column in self._relations.columns(table)}
        if missing := [name for name in (*(c.name for c in columns), self._column.name) if name not in native]:
            raise gone(relation, missing[0])
        columns = [ColumnInfo(c.name, c.type, c.is_required, native[c.name]) for c in columns]
        statement = f"SELECT {', '.join(map(selected, columns))} FROM {table.sql}".replace("%", "%%")
        if after != EMPTY:
            self._refuse_backward(relation, native[self._column.name], after, end)
            bound = f"{quote(self._column.name)} >= ".replace("%", "%%") + self._below(native[self._column.name])
            statement += f" WHERE {bound}"
        if self._reader is None:
            with self._translated():
                self._reader = connect(self._system)
                self._set(self._reader, SETTINGS)
        with (
            self._translated(),
            self._reader.transaction(),
            self._reader.cursor(f"pymigrate_rows_{next(self._numbers)}") as cursor,
        ):
            keep_raw(cursor)
            cursor.execute(statement.encode(), (after,) if after != EMPTY else None, binary=True)
            while rows := cursor.fetchmany(ROWS_AT_ONCE):
                batch = batch_of(relation.relation, columns, rows)
                yield Changed(RowChanges(batch.select(list(key)), batch), batch.num_rows, after, 0.0)
        yield Changed(no_changes(columns, key), 0, end, 0.0)

    def _highest(self, relation: SourceRelation) -> Position:
        table = self._relations.find(relation.relation)
        [(highest,)] = self._query(f"SELECT coalesce(max({quote(self._column.name)})::text, '') FROM {table.sql}")
        return Position(str(highest))

    def _refuse_backward(self, relation: SourceRelation, native: str, after: Position, end: Position) -> None:
        kind = native if _is_time(native) else "numeric"
        if end == EMPTY or self._query(
            f"SELECT 1 WHERE ?::{kind} < {self._below(native).replace('%s', '?')}", (end, after)
        ):
            raise went_backwards(relation, self._column, after, end)

    def _below(self, native: str) -> str:
        """Of a day the whole of it: what was written within the overlap has no more than that."""
        if _is_time(native):
            return f"(%s::{native} - make_interval(secs => {self._column.overlap or SECONDS_DEFAULT}))::{native}"
        return f"%s::numeric - {self._column.overlap or UNITS_DEFAULT}"


def _is_time(native: str) -> bool:
    return native.startswith((*_TIMES, "timestamp(")) and not native.endswith("[]")


def _is_number(native: str) -> bool:
    return native.startswith(_NUMBERS) and not native.endswith("[]")
