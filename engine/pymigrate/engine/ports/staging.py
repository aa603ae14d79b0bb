"""A dataset's place in a target before publication: what it is to become, how far its lanes have got, and what its checks find."""

from dataclasses import dataclass
from enum import StrEnum
from typing import NewType

from pymigrate.engine.domain.paths import CopyPath
from pymigrate.engine.domain.schema import UNDECLARED, TableSchema
from pymigrate.engine.domain.types import ColumnInfo
from pymigrate.engine.ports.file_formats import CsvFormat
from pymigrate.engine.ports.ranges import Position

StagingId = NewType("StagingId", str)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """How far a lane has got in the target: the truth. `checksum` is the running digest with its function's name, empty at the start."""

    chunks: int = 0
    rows: int = 0
    bytes: int = 0
    position: Position | None = None
    checksum: str = ""
    source_state: str = ""


class Delivery(StrEnum):
    """How often a row arrives when hosts, engines and connections die on the way."""

    EXACTLY_ONCE = "exactly_once"
    AT_LEAST_ONCE = "at_least_once"


class MergePolicy(StrEnum):
    """What becomes of a row whose key the target holds with other content. Equal rows are no conflict.

    LATEST: the row with the greater value in the staging's `order_column` wins, and a value wins over NULL; QUARANTINE: the row that
    comes is set aside. Both decide also between rows of one staging, which have no first and last: the others refuse those."""

    FAIL = "fail"
    KEEP_EXISTING = "keep_existing"
    OVERWRITE = "overwrite"
    LATEST = "latest"
    QUARANTINE = "quarantine"


@dataclass(frozen=True, slots=True)
class Staging:
    """A dataset's place in a target before publication. `id` tells it from every other: letters, digits and `_`, at most 40.

    With `merge` its rows are merged by key into what the relation holds, rather than taking its place; with `is_append` they are added
    to it. `path` is how they come, which may decide on the columns' native types; `csv` is how records that pass as CSV are
    written. `schema` is what the relation is given beside columns and key. `ending` is that of a files target's parts, such as `csv.gz`;
    empty: `parquet`.
    """

    id: StagingId
    relation: str
    columns: tuple[ColumnInfo, ...]
    key: tuple[str, ...] = ()
    is_replace: bool = False
    merge: MergePolicy | None = None
    path: CopyPath = CopyPath.ARROW
    is_append: bool = False
    order_column: str = ""
    schema: TableSchema = UNDECLARED
    csv: CsvFormat | None = None
    ending: str = ""

    @property
    def is_addition(self) -> bool:
        """Whether the relation keeps what it holds."""
        return self.is_append or self.merge is not None


@dataclass(frozen=True, slots=True)
class TableDdl:
    """What a target is given: statements in the order in which they take effect, by the relation's final name, and notes on what the
    source declares and it is not given, and on what changes in the table that is replaced."""

    statements: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ReferenceCheck:
    """Columns of the staging that refer to columns of another relation of the same target."""

    columns: tuple[str, ...]
    relation: str
    relation_columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Dangling:
    """Staged rows that refer to nothing (NULLs do not count), the distinct values and at most 10 of them as text."""

    rows: int
    values: int
    examples: tuple[str, ...]
