"""What a SQL system brings to the protocol of a target: its transactions, types, catalogue and words."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TypeVar

import pyarrow as pa

from pymigrate.engine.adapters.connectors.target_inspection import Inspection
from pymigrate.engine.adapters.connectors.target_statements import Statements, Table, quote
from pymigrate.engine.domain.errors import Problem, SystemUnavailable
from pymigrate.engine.domain.types import ColumnInfo
from pymigrate.engine.ports.source import Piece
from pymigrate.engine.ports.staging import Staging, StagingId

ATTEMPTS_MAX = 50
Result = TypeVar("Result")


class Conflict(SystemUnavailable):
    """Two transactions met and this one lost; nothing of it remains, and it may be tried again."""


@dataclass(frozen=True, slots=True)
class Found:
    """A relation of the catalogue by its exact name; `kind` is `table`, or what it is instead."""

    table: Table
    kind: str


class SqlDialect(ABC):
    """A system's own part of a target in SQL."""

    statements: Statements
    name_bytes_max: int | None = None
    distinct = "IS DISTINCT FROM"
    folds_case = True
    names_rows = False
    tells_rows_apart = False
    unordered_kinds: frozenset[str] = frozenset({"json", "bytes", "uuid", "bool"})

    @abstractmethod
    def _transaction(self) -> AbstractContextManager[None]:
        """A writing transaction. Raises Conflict where it lost against another, SystemUnavailable where the system went away."""

    def _snapshot(self) -> AbstractContextManager[None]:
        """Reads that belong together, in one transaction where another's commit between two of them would make them fail."""
        return nullcontext()

    def _look(self, read: Callable[[], Result]) -> Result:
        """Such reads, again where they met a change that is under way; bounded."""
        for _ in range(ATTEMPTS_MAX - 1):
            try:
                with self._snapshot():
                    return read()
            except Conflict:
                self._wait()
        with self._snapshot():
            return read()

    @abstractmethod
    def _execute(self, statement: str, parameters: Sequence[object] = ()) -> int:
        """Executes one statement and gives the number of rows that it touched."""

    @abstractmethod
    def _query(self, statement: str, parameters: Sequence[object] = ()) -> list[tuple[object, ...]]:
        """All rows of a small result."""

    @abstractmethod
    def _wait(self) -> None:
        """Waits a moment after a conflict, until the other side may be through."""

    @abstractmethod
    def _locate(self, relation: str) -> Table:
        """The table that a relation's name stands for."""

    @abstractmethod
    def _find(self, table: Table) -> Found | None:
        """The catalogue's entry of that name, None without one."""

    @abstractmethod
    def _type_problems(self, staging: Staging) -> Iterator[Problem]:
        """Columns and names that the system can't hold."""

    @abstractmethod
    def _create(self, staging: Staging, table: Table) -> None:
        """Makes PyMigrate's relations and the staging table where they are missing, in the transaction that is open."""

    @abstractmethod
    def _has_own_relations(self) -> bool:
        """Whether checkpoint and journal exist yet."""

    @abstractmethod
    def _insert(self, staging: Staging, table: Table, batches: Sequence[pa.RecordBatch], row: int) -> None:
        """Appends the batches. Raises DataRefused naming column and row; `row` rows of the lane came before."""

    def _pass_in(self, staging: Staging, table: Table, pieces: Sequence[Piece], row: int) -> int:
        """Appends rows that come as bytes, and returns how many. Most systems take none."""
        raise NotImplementedError(f"{type(self).__name__} takes no rows as {staging.path}")

    @abstractmethod
    def _scan(self, staging: Staging, table: Table) -> Iterator[pa.RecordBatch]:
        """The table's rows as `arrow_schema(staging.columns)`, streamed, in batches of at most BATCH_ROWS_MAX."""

    @abstractmethod
    def _rename(self, table: Table, name: str) -> None:
        """Renames a table within its schema."""

    @abstractmethod
    def _identity(self, staging: StagingId, table: Table) -> str:
        """What tells this table from another of the same name and outlives a rename; empty where it is gone."""

    @abstractmethod
    def _fingerprint(self, table: Table) -> str:
        """What changes when a row does; two texts that do not begin alike, up to a `:`, are not comparable."""

    @property
    @abstractmethod
    def _inspection(self) -> Inspection:
        """Questions about keys and references, in the system's own words."""

    @abstractmethod
    def _columns(self, table: Table) -> list[str]:
        """The names of a table's columns."""

    def _before_swaps(self, swaps: Sequence[tuple[Staging, Found]]) -> None:
        """What else publication needs before any of these relations is replaced: locks, and what would be in the way."""
        del swaps

    def _after_swap(self, staging: Staging, table: Table, kept: Table | None) -> None:
        """What else it needs when the staging has its name, and what it replaced another one."""
        del staging, table, kept

    @abstractmethod
    def _is_constraint(self, error: BaseException) -> bool:
        """Whether the driver's error says that a row is forbidden by a constraint or a type."""

    @abstractmethod
    def _lock_for_merge(self, table: Table) -> None:
        """Keeps other writers of the table out until the transaction ends."""

    def _is_other(self, one: str, two: str) -> str:
        """Whether two values differ, where NULL is a value."""
        return f"{one} {self.distinct} {two}"

    def _fill(self, table: Table, rows: str) -> None:
        """Makes a table of PyMigrate's own with the rows of a SELECT."""
        self._execute(f"CREATE TABLE {table.sql} AS {rows}")

    def _drop(self, table: Table) -> None:
        """Drops it where it is there."""
        self._execute(f"DROP TABLE IF EXISTS {table.sql}")

    def _clear(self, table: Table) -> None:
        """Takes away what an earlier attempt left of a table that is about to be filled."""
        self._drop(table)

    def _update(self, table: Table, alias: str, values: Mapping[str, str], other: str, condition: str) -> None:
        """Sets columns (by their names as statements have them) of the rows that meet one of another FROM item."""
        changes = ", ".join(f"{name} = {value}" for name, value in values.items())
        self._execute(f"UPDATE {table.sql} AS {alias} SET {changes} FROM {other} WHERE {condition}")

    def _delete_keys(self, staging: Staging, table: Table, alias: str, rows: str) -> None:
        """Deletes the rows whose key is among those of a SELECT. `alias` says which table it is, as in `_same_key`."""
        del alias
        keys = ", ".join(map(quote, staging.key))
        self._execute(f"DELETE FROM {table.sql} WHERE ({keys}) IN ({rows})")

    def _same_key(self, staging: Staging, one: str, other: str) -> str:
        """Whether two rows have the same key. The alias `t` is of the relation itself, every other one of a table of PyMigrate's own."""
        return " AND ".join(f"{one}.{quote(name)} = {other}.{quote(name)}" for name in staging.key)

    def _compared(self, column: ColumnInfo, reference: str) -> str:
        """A column's value as it is compared with another of its type."""
        del column
        return reference

    def _ordered(self, column: ColumnInfo, reference: str) -> str:
        """A column's value as it is put in order with others of its type."""
        del column
        return reference

    def _row_names(self, table: Table) -> tuple[str, ...]:
        """What the system itself calls a row by while a transaction lasts (`names_rows`: it does); empty where it has no such words.
        Without them nothing is appended, and rows of a staging that have the same key are refused, unless `_tells_rows` says otherwise."""
        del table
        return ()

    def _tells_rows(self, table: Table | None) -> bool:
        """Whether one of several equal rows can be taken out of a table (None: of one that is to be made)."""
        return bool(self._row_names(table)) if table else self.names_rows

    def _row_text(self, columns: Sequence[str], alias: str) -> str:
        """A text that is the same for two rows when their columns are: each value with its length before it."""
        texts = [self._inspection.text(f"{alias}.{quote(name)}") for name in columns]
        lengths = [self._inspection.text(f"length({text})") for text in texts]
        parts = [f"coalesce({length} || ':' || {text}, '-')" for length, text in zip(lengths, texts, strict=True)]
        return " || ".join(parts)

    def _appended_text(self, table: Table, alias: str) -> str:
        """The text of a whole row of a table that is appended to; with what else tells it from an older row, where the system keeps
        that (`tells_rows_apart`)."""
        return self._row_text(self._columns(table), alias)

    def _append_rows(self, staging: Staging, source: Table, target: Table, noted: Table) -> None:
        """Adds the rows of one table to another, and notes each text of them with how often it was added (`content`, `appended`, and 0
        for `present`). Here for systems that give every new row a greater name than all before."""
        [name] = self._row_names(target)
        [(last,)] = self._query(f"SELECT max({name}) FROM {target.sql}")
        columns = ", ".join(quote(column.name) for column in staging.columns)
        self._execute(f"INSERT INTO {target.sql} ({columns}) SELECT {columns} FROM {source.sql}")
        self._note_rows(target, noted, "" if last is None else f"WHERE {name} > {last}")

    def _staged_value(self, staging: Staging, column: ColumnInfo) -> str:
        """A column of a table with PyMigrate's own types as the staging has it."""
        del staging
        return quote(column.name)

    def _note_rows(self, target: Table, noted: Table, condition: str) -> None:
        text = self._appended_text(target, "t")
        self._execute(
            f"INSERT INTO {noted.sql} SELECT content, count(*), 0 FROM (SELECT {text} AS content FROM {target.sql} t {condition}) q "
            "GROUP BY content"
        )
