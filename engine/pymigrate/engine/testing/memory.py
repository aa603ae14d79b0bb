"""A database in memory, with transactions for real: what the fake source reads and the fake target writes."""

import itertools
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import pyarrow as pa

from pymigrate.engine.domain.types import ColumnInfo
from pymigrate.engine.ports.arrow_types import arrow_schema
from pymigrate.engine.ports.staging import Checkpoint
from pymigrate.engine.testing.faults import Faults

_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class MemoryRelation:
    """A relation as it stands; every write makes another one. `identity` stays until it is dropped, `version` counts all writes."""

    columns: tuple[ColumnInfo, ...]
    key: tuple[str, ...] = ()
    batches: tuple[pa.RecordBatch, ...] = ()
    identity: int = field(default_factory=lambda: next(_numbers))
    version: int = field(default_factory=lambda: next(_numbers))

    @property
    def rows(self) -> int:
        """How many rows it holds."""
        return sum(batch.num_rows for batch in self.batches)

    def table(self) -> pa.Table:
        """All rows."""
        return pa.Table.from_batches(self.batches, schema=arrow_schema(self.columns))

    def holding(self, batches: Sequence[pa.RecordBatch]) -> "MemoryRelation":
        """The same relation with other rows."""
        return MemoryRelation(self.columns, self.key, tuple(batches), self.identity)


@dataclass(frozen=True, slots=True)
class MemoryLane:
    """A lane's checkpoint and fence."""

    checkpoint: Checkpoint = field(default_factory=Checkpoint)
    fence: int = 0


Row = tuple[object, ...]


class KeptOut(Exception):
    """A capture lets nobody write."""


@dataclass(frozen=True, slots=True)
class MemoryChange:
    """What a commit made of the row of a key: the row as it is since, None where it went."""

    number: int
    relation: str
    key: Row
    row: Row | None


@dataclass(frozen=True, slots=True)
class MemoryMerge:
    """What a merge wrote: the staging, the keys that were inserted and, by key, the rows that were overwritten, as they were before."""

    staged: MemoryRelation
    inserted: frozenset[Row]
    overwritten: Mapping[Row, Row]
    conflicts: int
    is_made: bool


@dataclass(frozen=True, slots=True)
class MemoryAppend:
    """What was appended: the staging, how often each row of it was added, and how often it was there then."""

    staged: MemoryRelation
    added: Mapping[Row, int]
    present: Mapping[Row, int]
    is_made: bool
    number: int = field(default_factory=lambda: next(_numbers))


@dataclass(frozen=True, slots=True)
class MemoryPublication:
    """A journal row: what was published under which name, and what it replaced. `is_undone` shuts late hosts out."""

    relation: str
    is_undone: bool = False
    identity: int = 0
    version: int = 0
    kept: MemoryRelation | None = None
    merge: MemoryMerge | None = None
    append: MemoryAppend | None = None
    is_sealed: bool = False


@dataclass
class MemoryDatabase:
    """Everything by name. Values are immutable, so that a transaction which fails is undone by putting the dictionaries back. `slots` are
    the commits up to which captures of the log are done, `blocks` who keeps writes out of a relation."""

    relations: dict[str, MemoryRelation] = field(default_factory=dict)
    staged: dict[str, MemoryRelation] = field(default_factory=dict)
    lanes: dict[tuple[str, str], MemoryLane] = field(default_factory=dict)
    publications: dict[str, MemoryPublication] = field(default_factory=dict)
    conflicts: dict[str, tuple[tuple[Row, Row], ...]] = field(default_factory=dict)
    faults: Faults = field(default_factory=Faults)
    has_state: bool = True
    commits: int = 0
    log: list[MemoryChange] = field(default_factory=list)
    slots: dict[str, int] = field(default_factory=dict)
    blocks: dict[str, set[str]] = field(default_factory=dict)
    lock: threading.RLock = field(default_factory=threading.RLock)

    @contextmanager
    def transaction(self, step: str) -> Iterator[None]:
        """All of it or nothing. A fault planned after the step is raised when it has taken effect: the outcome is unknown."""
        number = self.faults.before(step)
        with self.lock:
            before = (dict(self.relations), dict(self.staged), dict(self.lanes), dict(self.publications))
            try:
                yield
            except BaseException:
                self.relations, self.staged, self.lanes, self.publications = before
                raise
        self.faults.after(step, number)

    def put(
        self,
        relation: str,
        columns: Sequence[ColumnInfo],
        rows: Sequence[Sequence[object]],
        key: tuple[str, ...] = (),
    ) -> None:
        """Makes a relation, or gives it other rows, as somebody else would."""
        schema = arrow_schema(columns)
        arrays = [pa.array([row[at] for row in rows], column.type) for at, column in enumerate(schema)]
        batch = pa.RecordBatch.from_arrays(arrays, schema=schema)
        with self.lock:
            known = self.relations.get(relation)
            fresh = MemoryRelation(tuple(columns), key, (batch,))
            self.relations[relation] = fresh if known is None else known.holding((batch,))

    def write(self, relation: str, rows: Sequence[Row], gone: Sequence[Row] = ()) -> None:
        """Takes the rows of keys out and then puts rows in by their key, in one logged commit. Raises KeptOut."""
        with self.lock:
            if self.blocks.get(relation):
                raise KeptOut(f"{relation} is kept as it is by {sorted(self.blocks[relation])}")
            found = self.relations[relation]
            at = [[column.name for column in found.columns].index(name) for name in found.key]
            current = {tuple(row[place] for place in at): row for row in self.read(relation)}
            self.commits += 1
            for key in gone:
                current.pop(key, None)
                self.log.append(MemoryChange(self.commits, relation, key, None))
            for row in rows:
                key = tuple(row[place] for place in at)
                current[key] = row
                self.log.append(MemoryChange(self.commits, relation, key, row))
            self.put(relation, found.columns, list(current.values()))

    def read(self, relation: str) -> list[tuple[object, ...]]:
        """Its rows, in order."""
        return [tuple(row.values()) for row in self.relations[relation].table().to_pylist()]
