"""PostgreSQL's changes as a column tells them that grows with each: rounds read what lies above the last one, less an overlap."""

from collections.abc import Callable, Iterator, Sequence
from itertools import count

from pymigrate.engine.adapters.connectors.postgres_capture import PostgresCapture, batch_of
from pymigrate.engine.adapters.connectors.postgres_connection import connect
from pymigrate.engine.adapters.connectors.postgres_obstacles import Obstacles
from pymigrate.engine.adapters.connectors.postgres_reading import keep_raw, selected
from pymigrate.engine.adapters.connectors.postgres_source import SETTINGS
from pymigrate.engine.adapters.connectors.target_statements import quote
from pymigrate.engine.domain.errors import Problem, SourceChanged
from pymigrate.engine.domain.names import nearest
from pymigrate.engine.domain.types import ColumnInfo
from pymigrate.engine.ports.capture import Changed, GrowingColumn, RowChanges, Start
from pymigrate.engine.ports.connector import SystemSpec
from pymigrate.engine.ports.ranges import Position
from pymigrate.engine.ports.relations import SourceRelation

ROWS_AT_ONCE = 5_000
FIELD = "catch_up.column.name"
SECONDS_DEFAULT = 600
UNITS_DEFAULT = 100_000
_TIMES = ("timestamp without time zone", "timestamp with time zone", "date")
_NUMBERS = ("smallint", "integer", "bigint", "numeric")
EMPTY = Position("")


class PostgresColumnCapture(PostgresCapture):
    """See the port. A position is the highest value that was read, as text; empty for a table that had no row."""

    def __init__(self, system: SystemSpec, column: GrowingColumn) -> None:
        super().__init__(system)
        self._column = column
        self._numbers = count(1)

    def problems(self, relation: SourceRelation, key: Sequence[str]) -> Sequence[Problem]:
        """Of the column, and of what blocking writes needs."""
        table = self._relations.find(relation.relation)
        known = {column.name: column for column in self._relations.columns(table)}
        found, problems = known.get(self._column.name), list[Problem]()
        if found is None:
            text = f"`{relation.relation}` has no column `{self._column.name}`{nearest(self._column.name, known)}"
            problems.append(Problem(FIELD, text))
        elif not self._is_time(found.native_type) and not self._is_number(found.native_type):
            problems.append(Problem(FIELD, f"`{found.name}` is {found.native_type}: name a time, a date or a number"))
        elif not found.is_required:
            problems.append(
                Problem(FIELD, f"`{found.name}` may be NULL, and such rows would not be seen: declare it NOT NULL")
            )
        if not key:
            problems.append(Problem("key", f"`{relation.relation}` has no key: changed rows are found by it"))
        return [*problems, *Obstacles(self._query).of_owner(relation, table, self._relations.identifier(table))]

    def start(self, relation: SourceRelation, name: str, heed: Callable[[], None]) -> Start:
        """Nothing is made: the rows keep their changes themselves."""
        del name, heed
        return Start(self._highest(relation))

    def present(self) -> Position:
        """A column has no place of its own in the log: each round reads how far it is."""
        return EMPTY

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
            raise SourceChanged(
                f"{relation.relation}: column `{missing[0]}` is gone since the run was started: retry the run"
            )
        columns = [ColumnInfo(c.name, c.type, c.is_required, native[c.name]) for c in columns]
        statement = f"SELECT {', '.join(map(selected, columns))} FROM {table.sql}".replace("%", "%%")
        if after != EMPTY:
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
        nothing = batch_of(relation.relation, columns, [])
        yield Changed(RowChanges(nothing.select(list(key)), nothing), 0, end, 0.0)

    def confirm(self, name: str, position: Position) -> None:
        """Nothing is kept."""

    def stop(self, name: str) -> None:
        """Nothing is kept."""

    def _highest(self, relation: SourceRelation) -> Position:
        table = self._relations.find(relation.relation)
        [(highest,)] = self._query(f"SELECT coalesce(max({quote(self._column.name)})::text, '') FROM {table.sql}")
        return Position(str(highest))

    def _below(self, native: str) -> str:
        if self._is_time(native):
            return f"%s::{native} - make_interval(secs => {self._column.overlap or SECONDS_DEFAULT})"
        return f"%s::numeric - {self._column.overlap or UNITS_DEFAULT}"

    def _is_time(self, native: str) -> bool:
        return native.startswith((*_TIMES, "timestamp(")) and not native.endswith("[]")

    def _is_number(self, native: str) -> bool:
        return native.startswith(_NUMBERS) and not native.endswith("[]")
