"""What the data plane needs of a transform: columns in, columns out; a batch in, a batch and the refused rows out.

A transform is deterministic, and blind to how rows are cut into batches: resuming a lane and verifying a dataset do its work again.
All calls block; they are made on one thread, one object a lane attempt.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import pyarrow as pa

from pymigrate.engine.domain.types import ColumnInfo, ColumnType


@dataclass(frozen=True, slots=True)
class Rename:
    """New names by the names that columns have."""

    names: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Filter:
    """Keeps the rows for which the condition, in SQL, is true."""

    condition: str


@dataclass(frozen=True, slots=True)
class Derived:
    """A computed column: an expression in SQL, and the type that holds its values exactly."""

    expression: str
    type: ColumnType


@dataclass(frozen=True, slots=True)
class Derive:
    """Adds computed columns, or puts them in the place of those of their name."""

    columns: Mapping[str, Derived]


@dataclass(frozen=True, slots=True)
class Select:
    """Keeps these columns, in this order."""

    columns: Sequence[str]


@dataclass(frozen=True, slots=True)
class Drop:
    """Leaves these columns out."""

    columns: Sequence[str]


TransformSpec = Rename | Filter | Derive | Select | Drop


@dataclass(frozen=True, slots=True)
class Refusal:
    """A row that a transform can't take: its number in the batch that was given, from 0, the column where one is to blame, and why.
    The reason holds no value of the row."""

    row: int
    column: str
    reason: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a batch. `rows` says from which row of the given batch each row of `batch` comes; None: from each one, in order."""

    batch: pa.RecordBatch
    rows: pa.Int64Array | None = None
    refusals: tuple[Refusal, ...] = ()


class Transform(Protocol):
    """A transform bound to the columns that it is given."""

    @property
    def columns(self) -> tuple[ColumnInfo, ...]:
        """The columns of what `apply` returns."""
        ...

    @property
    def origins(self) -> Mapping[str, str]:
        """By its name, the given column whose values a column has, where it has them unchanged."""
        ...

    @property
    def is_stateful(self) -> bool:
        """Whether what becomes of a row depends on rows before it. Such a dataset is copied by one lane, from its start."""
        ...

    def apply(self, batch: pa.RecordBatch) -> Outcome:
        """The batch as it goes on. Raises DataRefused where no single row is to blame."""
        ...

    def close(self) -> None:
        """Gives up everything that is open. May be called again."""
        ...


@dataclass(frozen=True, slots=True)
class TransformColumns:
    """What a transform makes of columns."""

    columns: tuple[ColumnInfo, ...]
    origins: Mapping[str, str] = field(default_factory=dict)
