"""A fake connector: sources and targets in memory, with fences, snapshots and transactions for real, and faults on demand.

It passes the same contract suites as the real ones. `MemoryConnector.databases` is what a test prepares and looks into.
"""

import fnmatch
import json
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Sequence

import pyarrow as pa

from pymigrate.engine.domain.errors import InvalidDefinition, Problem, SourceMissing
from pymigrate.engine.domain.names import nearest
from pymigrate.engine.domain.types import ColumnInfo
from pymigrate.engine.ports.connector import SystemSpec
from pymigrate.engine.ports.ranges import Position, SourceRange, ranges_between
from pymigrate.engine.ports.relations import RelationInfo, SourceRelation
from pymigrate.engine.ports.source import Source, SourceChunk
from pymigrate.engine.ports.target import Target
from pymigrate.engine.testing.memory import MemoryDatabase, MemoryRelation
from pymigrate.engine.testing.memory_target import MemoryTarget

VERSION = "Memory 1.0"
ROW_BYTES = 10


class MemoryConnector:
    """Opens databases of this process by their connection's name."""

    kind = "memory"

    def __init__(self) -> None:
        self.databases: dict[str, MemoryDatabase] = defaultdict(MemoryDatabase)

    def open_source(self, system: SystemSpec) -> Source:
        """A snapshot of the database as it is now."""
        database = self.databases[system.name]
        database.faults.before("open_source")
        return MemorySource(database)

    def open_target(self, system: SystemSpec) -> Target:
        """Another handle on the database."""
        database = self.databases[system.name]
        database.faults.before("open_target")
        return MemoryTarget(database)


class MemorySource:
    """A snapshot. A chunk holds `chunk_bytes` at ten bytes a row; a position is the number of rows before it, or the key of the last one of
    a relation that has a key."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database
        with database.lock:
            self._relations = dict(database.relations)
        self.is_closed = False

    def is_sessionless(self) -> bool:
        """There is the snapshot."""
        return False

    def hand_over(self, heir: Source) -> bool:
        """The snapshot."""
        if not isinstance(heir, MemorySource):
            return False
        self._database.faults.before("hand_over")
        heir._relations = self._relations  # noqa: SLF001 (of its own kind)
        return True

    def version(self) -> str:
        """Always the same."""
        return VERSION

    def relations(self, glob: str, limit: int) -> Sequence[RelationInfo]:
        """By name."""
        names = [name for name in sorted(self._relations) if fnmatch.fnmatchcase(name, glob)]
        return [_info(name, self._relations[name]) for name in names[:limit]]

    def describe(self, relation: SourceRelation) -> RelationInfo:
        """Columns as they are, or as they are overridden. Raises SourceMissing and InvalidDefinition."""
        self._database.faults.before("describe")
        info = _info(relation.relation, self._find(relation))
        names = [column.name for column in info.columns]
        problems = [
            Problem(path, f"`{relation.relation}` has no column `{name}`")
            for path, name in (
                *((f"source.columns.{name}", name) for name in relation.columns),
                *(("key", name) for name in relation.key),
            )
            if name not in names
        ]
        if problems:
            raise InvalidDefinition(tuple(problems))
        columns = tuple(
            ColumnInfo(column.name, relation.columns.get(column.name, column.type), column.is_required)
            for column in info.columns
        )
        return RelationInfo(info.relation, columns, info.key, info.rows, info.bytes, is_exact_rows=True)

    def state(self, relation: SourceRelation) -> str:
        """Changes with every write, whenever it happened: this much the snapshot does not hide. Empty where the database has none."""
        self._database.faults.before("state")
        found = self._database.relations.get(relation.relation)
        return f"v{found.version}" if found is not None and self._database.has_state else ""

    def chunks(
        self, relation: SourceRelation, columns: Sequence[ColumnInfo], after: Position | None
    ) -> Iterator[SourceChunk]:
        """Rows in the order in which they were written, or of their key."""
        table, keys = _ordered(self._find(relation))
        table = table.select([column.name for column in columns])
        step = max(1, relation.chunk_bytes // ROW_BYTES)
        first = after or relation.range.after
        start = _rows_up_to(keys, first) if first is not None else 0
        end = _rows_up_to(keys, relation.range.until) if relation.range.until is not None else table.num_rows
        while start < min(end, table.num_rows):
            self._database.faults.before("read")
            part = table.slice(start, min(step, end - start))
            start += part.num_rows
            yield SourceChunk(
                tuple(part.combine_chunks().to_batches()),
                part.num_rows,
                part.num_rows * ROW_BYTES,
                _place(keys, start),
            )

    def split(self, relation: SourceRelation, parts: int) -> Sequence[SourceRange]:
        """By the number of rows."""
        found = self._find(relation)
        ends = sorted({found.rows * number // parts for number in range(1, parts)} - {0, found.rows})
        _, keys = _ordered(found)
        return ranges_between([_place(keys, end) for end in ends])

    def close(self) -> None:
        """Notes it."""
        self.is_closed = True

    def _find(self, relation: SourceRelation) -> MemoryRelation:
        found = self._relations.get(relation.relation)
        if found is None:
            told = f"there is no relation `{relation.relation}`{nearest(relation.relation, self._relations)}"
            raise SourceMissing(told, field="source.relation")
        return found


Keys = list[tuple[object, ...]] | None


def _ordered(relation: MemoryRelation) -> tuple[pa.Table, Keys]:
    """The rows in order, and their keys where the relation has one."""
    table = relation.table()
    if not relation.key:
        return table, None
    keys = list(zip(*(table.column(name).to_pylist() for name in relation.key), strict=True))
    order = sorted(range(len(keys)), key=keys.__getitem__)
    return table.take(order), [keys[at] for at in order]


def _rows_up_to(keys: Keys, position: Position) -> int:
    return int(position) if keys is None else bisect_right(keys, tuple(json.loads(position)))


def _place(keys: Keys, rows: int) -> Position:
    return Position(str(rows) if keys is None else json.dumps(keys[rows - 1]))


def _info(name: str, relation: MemoryRelation) -> RelationInfo:
    rows = relation.rows
    return RelationInfo(name, relation.columns, relation.key, rows, rows * ROW_BYTES, is_exact_rows=True)
