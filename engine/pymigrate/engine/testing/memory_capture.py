"""A database in memory as one that keeps what changes in it: a log with slots, a column that grows, and writes that are kept out."""

import json
from collections.abc import Callable, Iterator, Sequence

import pyarrow as pa

from pymigrate.engine.domain.errors import Problem, SourceChanged
from pymigrate.engine.domain.types import ColumnInfo
from pymigrate.engine.ports.arrow_types import arrow_schema
from pymigrate.engine.ports.capture import Changed, GrowingColumn, RowChanges, Start, no_changes
from pymigrate.engine.ports.ranges import Position
from pymigrate.engine.ports.relations import SourceRelation
from pymigrate.engine.testing.memory import MemoryDatabase, Row

CHANGES_AT_ONCE = 10
NOTHING = Position("")


class MemoryCapture:
    """See the port. By its log a position is the number of a commit; by a column the highest value that was read, as JSON."""

    def __init__(self, database: MemoryDatabase, column: GrowingColumn | None = None) -> None:
        self._database = database
        self._column = column

    def problems(self, relation: SourceRelation, key: Sequence[str]) -> Sequence[Problem]:
        """A key that is missing, or another one than the relation's, and a column that is not there."""
        found = self._database.relations[relation.relation]
        problems = []
        if not key or tuple(key) != found.key:
            problems.append(Problem("key", f"`{relation.relation}` tells changes by ({', '.join(found.key)})"))
        if self._column is not None and self._column.name not in {column.name for column in found.columns}:
            problems.append(Problem("catch_up.column.name", f"there is no column `{self._column.name}`"))
        return problems

    def start(self, relation: SourceRelation, name: str, heed: Callable[[], None]) -> Start:
        """A slot begins with the next commit."""
        heed()
        if self._column is not None:
            return Start(self._highest(relation.relation))
        with self._database.lock:
            return Start(Position(str(self._database.slots.setdefault(name, self._database.commits))))

    def present(self) -> Position:
        """The last commit."""
        return NOTHING if self._column is not None else Position(str(self._database.commits))

    def changes(
        self,
        relation: SourceRelation,
        columns: Sequence[ColumnInfo],
        key: Sequence[str],
        name: str,
        after: Position,
        until: Position,
    ) -> Iterator[Changed]:
        """A few commits at a time, or one round of the column."""
        if self._column is not None:
            yield from self._round(self._column, relation.relation, columns, key, after)
            return
        if self._database.slots.get(name, -1) > int(after) or name not in self._database.slots:
            raise SourceChanged(f"slot {name} does not keep what came after {after}")
        left = [each for each in self._database.log if int(after) < each.number <= int(until)]
        while left:
            end = left[min(CHANGES_AT_ONCE, len(left)) - 1].number
            taken = [each for each in left if each.number <= end]
            left = left[len(taken) :]
            net = {each.key: each.row for each in taken if each.relation == relation.relation}
            yield Changed(_changes(columns, key, net), len(net), Position(str(end)), 0.0)
        yield Changed(no_changes(columns, key), 0, until, 0.0)

    def confirm(self, name: str, position: Position) -> None:
        """A slot only goes forward."""
        if self._column is None:
            with self._database.lock:
                if name in self._database.slots:
                    self._database.slots[name] = max(self._database.slots[name], int(position))

    def rows(self, relation: SourceRelation) -> int:
        """Exact."""
        return self._database.relations[relation.relation].rows

    def block(self, relation: SourceRelation, name: str) -> None:
        """Nobody is in the middle of a write here."""
        with self._database.lock:
            self._database.blocks.setdefault(relation.relation, set()).add(name)

    def open(self, relation: SourceRelation, name: str) -> None:
        """Others may still keep writes out."""
        with self._database.lock:
            self._database.blocks.get(relation.relation, set()).discard(name)

    def stop(self, name: str) -> None:
        """The slot goes."""
        with self._database.lock:
            self._database.slots.pop(name, None)

    def close(self) -> None:
        """Nothing is open."""

    def _round(
        self, column: GrowingColumn, relation: str, columns: Sequence[ColumnInfo], key: Sequence[str], after: Position
    ) -> Iterator[Changed]:
        end, found = self._highest(relation), self._database.relations[relation]
        at = [each.name for each in found.columns].index(column.name)
        by_name = [[each.name for each in found.columns].index(name) for name in key]
        low = None if after == NOTHING else json.loads(after) - column.overlap
        rows = [row for row in self._database.read(relation) if low is None or row[at] >= low]
        while rows:
            part, rows = rows[:CHANGES_AT_ONCE], rows[CHANGES_AT_ONCE:]
            net: dict[Row, Row | None] = {tuple(row[place] for place in by_name): row for row in part}
            yield Changed(_changes(columns, key, net), len(net), after, 0.0)
        yield Changed(no_changes(columns, key), 0, end, 0.0)

    def _highest(self, relation: str) -> Position:
        found = self._database.relations[relation]
        at = [each.name for each in found.columns].index(self._column.name if self._column else "")
        values = [row[at] for row in self._database.read(relation)]
        return Position(json.dumps(max(values))) if values else NOTHING  # type: ignore[type-var]  # numbers


def _changes(columns: Sequence[ColumnInfo], key: Sequence[str], net: dict[Row, Row | None]) -> RowChanges:
    by_name = {column.name: column for column in columns}
    rows = [row for row in net.values() if row is not None]
    return RowChanges(_batch([by_name[name] for name in key], list(net)), _batch(columns, rows))


def _batch(columns: Sequence[ColumnInfo], rows: Sequence[Row]) -> pa.RecordBatch:
    schema = arrow_schema(columns)
    arrays = [pa.array([row[at] for row in rows], field.type) for at, field in enumerate(schema)]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)
