"""What the data plane needs of a transform: columns in, columns out; a batch in, a batch and the refused rows out.

A transform is deterministic, and blind to how rows are cut into batches: resuming a lane and verifying a dataset do its work again.
All calls block; they are made on one thread, one object a lane attempt.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

import pyarrow as pa

from pymigrate.engine.domain.types import ColumnInfo, ColumnType
from pymigrate.engine.ports.relations import SourceRelation


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


@dataclass(frozen=True, slots=True)
class CastTo:
    """A column's new type. `is_lenient`: a value that it does not hold becomes NULL rather than refusing its row."""

    type: ColumnType
    is_lenient: bool = False


@dataclass(frozen=True, slots=True)
class CastAll:
    """Other types, by the names of the columns."""

    columns: Mapping[str, CastTo]


class Missing(StrEnum):
    """What becomes of a row for which a lookup finds nothing."""

    REFUSE = "refuse"
    NULL = "null"
    DROP = "drop"


@dataclass(frozen=True, slots=True)
class Lookup:
    """Takes columns (new name → the relation's) from a relation of a connection, by keys (own column → the relation's)."""

    connection: str
    relation: SourceRelation
    keys: Mapping[str, str]
    columns: Mapping[str, str]
    missing: Missing = Missing.REFUSE


@dataclass(frozen=True, slots=True)
class Deduplicate:
    """Keeps the first of rows that are alike in these columns; in all of them where none is named."""

    columns: Sequence[str]


@dataclass(frozen=True, slots=True)
class Split:
    """Makes columns of a text's parts."""

    column: str
    separator: str
    into: Sequence[str]
    is_kept: bool = False


@dataclass(frozen=True, slots=True)
class Merge:
    """Makes a text of columns."""

    columns: Sequence[str]
    separator: str
    into: str
    is_kept: bool = False


class MaskMethod(StrEnum):
    """What takes a value's place."""

    HASH = "hash"
    TOKENISE = "tokenise"
    REDACT = "redact"


@dataclass(frozen=True, slots=True)
class Masked:
    """How a column is masked. `text` is what redaction puts there, empty for the usual one."""

    method: MaskMethod
    text: str = ""


@dataclass(frozen=True, slots=True)
class Mask:
    """Masks columns; `key` makes their pseudonyms, and is not shown."""

    columns: Mapping[str, Masked]
    key: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Plugin:
    """A transform that another package brings, with its settings."""

    name: str
    settings: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Python:
    """A function (`module:name`) that gives columns, in a process with limits."""

    function: str
    settings: Mapping[str, str]
    columns: Mapping[str, ColumnType]
    memory_bytes_max: int
    seconds_max: float


@dataclass(frozen=True, slots=True)
class Gate:
    """Refuses rows that the target's types would: NULL in a required column, and text with NUL where that is said."""

    required: Sequence[str] = ()
    refuses_nul: bool = False


TransformSpec = (
    Rename
    | CastAll
    | Filter
    | Derive
    | Select
    | Drop
    | Lookup
    | Deduplicate
    | Split
    | Merge
    | Mask
    | Plugin
    | Python
    | Gate
)


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


class TransformKind(Protocol):
    """What an entry point of the group `pymigrate.transforms` gives when it is called without arguments."""

    def bind(self, columns: Sequence[ColumnInfo], settings: Mapping[str, str]) -> Transform:
        """The transform over these columns. Raises InvalidDefinition with fields relative to the settings."""
        ...
