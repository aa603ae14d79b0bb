"""What the data plane needs from a system: read a relation in order, and write one exactly once.

Arrow record batches are the common currency. A position says how far a relation has been read, in the source's own words; only the
source that made it reads it. All calls block; they are made on a worker host's threads, one object a thread.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NewType, Protocol, runtime_checkable

import pyarrow as pa

from pymigrate.engine.domain.paths import CopyPath
from pymigrate.engine.domain.schema import UNDECLARED, TableSchema
from pymigrate.engine.domain.types import ColumnInfo, ColumnType
from pymigrate.engine.ports.secrets import Secret

Position = NewType("Position", str)
StagingId = NewType("StagingId", str)
Piece = bytes
UNKNOWN = -1


@dataclass(frozen=True, slots=True)
class SystemSpec:
    """How to reach a system: its kind (`sqlite`, `duckdb`, `postgres`, `mysql`, `files`, `http`, `iceberg`), the connection's name, and the
    kind's settings.

    Keys of `options`: sqlite and duckdb `path`; files `root`; postgres and mysql `host`, `port`, `database`, `user`, `ssl_mode`; http
    `base_url`, `requests_per_second_max`, `timeout_seconds`, `retries_max`, `ca_file`, and `header.<name>`, here or in `secrets`; iceberg
    `catalog_path`, `warehouse`, `catalog_name`; sqlalchemy `url`.
    """

    kind: str
    name: str
    options: Mapping[str, str]
    password: Secret | None = None
    secrets: Mapping[str, Secret] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CsvFormat:
    """RFC 4180 text with a header line. Unquoted fields equal to one of `null_values` are NULL."""

    delimiter: str = ","
    null_values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class JsonLinesFormat:
    """One JSON object a line. JSON's null, an absent field and strings equal to one of `null_values` are NULL."""

    null_values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ParquetFormat:
    """Apache Parquet."""


FileFormat = CsvFormat | JsonLinesFormat | ParquetFormat


@dataclass(frozen=True, slots=True)
class PageNumberPaging:
    """Numbered pages, up to the first that is empty. `size` is asked for where `size_parameter` is not empty."""

    parameter: str = "page"
    size_parameter: str = ""
    size: int = 100
    first_page: int = 1


@dataclass(frozen=True, slots=True)
class OffsetPaging:
    """Pages that begin after so many records, up to the first that is empty."""

    parameter: str = "offset"
    limit_parameter: str = "limit"
    limit: int = 100


@dataclass(frozen=True, slots=True)
class CursorPaging:
    """Pages that hold the next one's cursor at `next`; without a parameter for it, its address."""

    next: str
    parameter: str = ""


@dataclass(frozen=True, slots=True)
class LinkHeaderPaging:
    """Pages with the next one's address in a `Link` header, as RFC 8288 has it."""


Paging = PageNumberPaging | OffsetPaging | CursorPaging | LinkHeaderPaging


@dataclass(frozen=True, slots=True)
class HttpJsonFormat:
    """Answers in JSON. `records` and `total` are places in them: JSON pointers, or names with dots between. Without paging one answer
    holds everything."""

    records: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict)
    paging: Paging | None = None
    total: str = ""
    null_values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SourceRange:
    """A part of a relation: the rows after one position, up to and including another. None: from its start, to its end."""

    after: Position | None = None
    until: Position | None = None

    def text(self) -> str:
        """The range as a text that `parse_range` reads; empty for everything."""
        return "" if self == EVERYTHING else json.dumps([self.after, self.until])


EVERYTHING = SourceRange()


def parse_range(text: str) -> SourceRange:
    """The range of a text."""
    if not text:
        return EVERYTHING
    after, until = json.loads(text)
    return SourceRange(after, until)


def ranges_between(ends: Sequence[Position]) -> tuple[SourceRange, ...]:
    """The ranges that these positions divide a relation into, in order."""
    return tuple(SourceRange(after, until) for after, until in zip((None, *ends), (*ends, None), strict=True))


@dataclass(frozen=True, slots=True)
class SourceRelation:
    """A relation to read, or the part of it that `range` names. `columns` overrides or supplies types by name; `chunk_bytes` is what a
    chunk holds at about."""

    relation: str
    format: FileFormat | HttpJsonFormat | None = None
    columns: Mapping[str, ColumnType] = field(default_factory=dict)
    key: tuple[str, ...] = ()
    chunk_bytes: int = 20_000_000
    range: SourceRange = EVERYTHING


@dataclass(frozen=True, slots=True)
class RelationInfo:
    """What a relation looks like: columns in order, its own key, its size (`UNKNOWN` where the system does not tell), and what else it
    declares."""

    relation: str
    columns: tuple[ColumnInfo, ...]
    key: tuple[str, ...] = ()
    rows: int = UNKNOWN
    bytes: int = UNKNOWN
    is_exact_rows: bool = False
    schema: TableSchema = UNDECLARED


@dataclass(frozen=True, slots=True)
class RefusedRow:
    """A row that does not go on. `row` is its number in the lane's range of the source, from 1; `content` is the row as JSON text,
    without what is to be masked; `column` is empty where no single one is to blame."""

    row: int
    column: str
    reason: str
    content: str


@dataclass(frozen=True, slots=True)
class SourceChunk:
    """A piece of a relation, read in order. `end` is the position after its last row; `bytes` are bytes of source data. `pieces` are
    the same rows as a path's own bytes, where it passes any; a path that decodes nothing has no batches, and whoever reads it for a
    copy adds the `digest` of its pieces. `refused` are rows that the dataset's transforms refused; a chunk of which nothing else is left
    has no batches either."""

    batches: tuple[pa.RecordBatch, ...]
    rows: int
    bytes: int
    end: Position
    pieces: tuple[Piece, ...] = ()
    digest: int = 0
    refused: tuple[RefusedRow, ...] = ()


@dataclass(frozen=True, slots=True)
class RowsDigest:
    """Rows in short: how many, and the sum of their hashes modulo 2^64. Equal bits make equal hashes, whichever server computes them."""

    rows: int
    total: int


class Source(Protocol):
    """A system opened for reading, under one snapshot where it can give one."""

    def version(self) -> str:
        """Name and version of the system, such as `SQLite 3.40.1`."""
        ...

    def relations(self, glob: str, limit: int) -> Sequence[RelationInfo]:
        """At most `limit` relations whose name matches `glob` (`*` for all), ordered by name."""
        ...

    def describe(self, relation: SourceRelation) -> RelationInfo:
        """The relation with the types that `chunks` will yield. Raises SourceMissing with the nearest existing name, and
        InvalidDefinition with the field (`source.columns.x`, `key`) when a declared column or key does not exist."""
        ...

    def state(self, relation: SourceRelation) -> str:
        """A token that changes whenever the relation's content may have; empty where the system can't give one."""
        ...

    def split(self, relation: SourceRelation, parts: int) -> Sequence[SourceRange]:
        """At most `parts` ranges of about the same size that together hold every row once, in order; a single one, of everything,
        where the relation can't be split without a doubt. Raises what `describe` raises."""
        ...

    def chunks(
        self, relation: SourceRelation, columns: Sequence[ColumnInfo], after: Position | None
    ) -> Iterator[SourceChunk]:
        """Everything of the relation's range after `after` (None: from the range's start), in an order that is the same whenever the
        content is the same. Batches have exactly `columns`, in order, as `arrow_schema(columns)`. An empty relation yields nothing.
        Raises DataRefused naming relation, column and row for a value that does not fit its column's type; never rounds or cuts."""
        ...

    def close(self) -> None:
        """Gives up the snapshot and everything that is open. May be called again."""
        ...


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


class Target(Protocol):
    """A system opened for writing. Everything below is idempotent and safe to call again after a crash at any instruction.

    Beside the staged data a target keeps, in itself, its checkpoints (one a lane, with its fence) and a journal of publications.
    """

    def version(self) -> str:
        """Name and version of the system."""
        ...

    def relations(self, glob: str, limit: int) -> Sequence[RelationInfo]:
        """At most `limit` relations whose name matches `glob`, ordered by name, without PyMigrate's own."""
        ...

    def rows(self, relation: str) -> int | None:
        """Exact number of rows of a published relation; None when it does not exist."""
        ...

    def check(self, staging: Staging) -> None:
        """Raises InvalidDefinition (fields `target.relation`, ...) or DataRefused when the target can't hold the columns."""
        ...

    def prepare(self, staging: Staging) -> None:
        """Makes the staging relation and the checkpoint and journal relations where they are missing."""
        ...

    def claim(self, staging: Staging, lane: str, fence: int) -> Checkpoint:
        """Takes the lane for `fence` and returns how far it got. Raises FenceLost unless `fence` is higher than every one before."""
        ...

    def checkpoint(self, staging: Staging, lane: str) -> tuple[Checkpoint, int]:
        """How far the lane got, and its fence, read fresh: for a commit whose outcome is unknown."""
        ...

    def commit(
        self,
        staging: Staging,
        lane: str,
        fence: int,
        before: Checkpoint,
        after: Checkpoint,
        batches: Sequence[pa.RecordBatch],
    ) -> None:
        """Rows and the step from `before` to `after` in one transaction. Raises FenceLost, with nothing written, unless the lane
        stands at `before.chunks` under `fence`."""
        ...

    def reset(self, staging: Staging, lane: str, fence: int) -> None:
        """Empties the staging and puts the lane back to its start, in one transaction under `fence`."""
        ...

    def read_staging(self, staging: Staging) -> Iterator[pa.RecordBatch]:
        """Every staged row (after publication: every published row), as `arrow_schema(staging.columns)`, in any order."""
        ...

    def count_staging(self, staging: Staging) -> int:
        """Exact number of staged rows (after publication: published rows)."""
        ...

    def duplicate_keys(self, staging: Staging) -> tuple[int, tuple[str, ...]]:
        """How many key values occur more than once or hold a NULL, and at most 10 of them as text. Of a merge only those count that
        its policy can't settle: equal rows are one."""
        ...

    def dangling(self, staging: Staging, reference: ReferenceCheck) -> Dangling:
        """The staged rows whose reference finds nothing. A missing relation is InvalidDefinition."""
        ...

    def publish(self, stagings: Sequence[Staging]) -> None:
        """Puts every staging in its relation's place, or adds its rows to it, in one transaction where the target has them; keeps what
        was there, and journals the way back. Already published ones stay as they are. Raises TargetOccupied when a relation holds rows
        and is neither replaced nor added to, and MergeConflict, with nothing written but the conflicts themselves."""
        ...

    def conflicts(self, staging: Staging) -> int:
        """Keys of a published merge that the relation, or the staging itself, held with other content."""
        ...

    def prepare_publication(self, stagings: Sequence[Staging], key: str) -> bool:
        """Does everything that a publication does but its end, so that it outlives a crash of the target and can then only succeed.
        `key` tells it from every other. Prepared or published already is True; False, with nothing done, where the target has no
        two-phase commit. Raises what `publish` raises."""
        ...

    def commit_publication(self, stagings: Sequence[Staging], key: str) -> None:
        """Ends what was prepared; ended already is fine. Raises FailedPrecondition when nothing is prepared under the key."""
        ...

    def abort_publication(self, key: str) -> None:
        """Gives up what was prepared; nothing prepared is fine."""
        ...

    def rollback(self, stagings: Sequence[Staging]) -> None:
        """Drops what is only staged, puts back what publication replaced, and takes merged and appended rows out again. Raises
        CannotUndo, touching nothing, when a published relation or row no longer is what was published, and for what is sealed."""
        ...

    def seal(self, stagings: Sequence[Staging]) -> None:
        """Drops what publication kept for the way back, for good. What is not published stays as it is; sealed already is fine."""
        ...

    def close(self) -> None:
        """Gives up everything that is open. May be called again."""
        ...


@runtime_checkable
class PassingSource(Protocol):
    """What a Source may have on top: rows as bytes that some targets take as they are."""

    def offers(self, relation: SourceRelation) -> Mapping[CopyPath, str]:
        """The paths beside `arrow` that it knows, each with an empty text, or with why it can't be taken for this relation."""
        ...

    def passing_split(self, relation: SourceRelation, path: CopyPath, parts: int) -> Sequence[SourceRange]:
        """As `Source.split`, in positions of the path's own."""
        ...

    def passing_chunks(
        self, relation: SourceRelation, columns: Sequence[ColumnInfo], path: CopyPath, after: Position | None
    ) -> Iterator[SourceChunk]:
        """As `Source.chunks`, with pieces. Chunks end at the same places whenever the relation is stored the same."""
        ...


@runtime_checkable
class SettingApart(Protocol):
    """What a Target may have on top: rows that are refused go into a staging of their own in the same transaction."""

    def commit_apart(
        self,
        staging: Staging,
        lane: str,
        fence: int,
        before: Checkpoint,
        after: Checkpoint,
        batches: Sequence[pa.RecordBatch],
        apart: Staging,
        refused: Sequence[pa.RecordBatch],
    ) -> None:
        """As `Target.commit`, with rows for `apart`, which is prepared, published, rolled back and sealed like any staging, and has no
        lanes of its own."""
        ...

    def reset_apart(self, staging: Staging, lane: str, fence: int, apart: Staging) -> None:
        """As `Target.reset`, and empties `apart` too."""
        ...


@runtime_checkable
class Rereading(Protocol):
    """What a Source has on top whose chunks hold fewer rows than were read for them."""

    def reread(
        self, relation: SourceRelation, columns: Sequence[ColumnInfo], until: Position
    ) -> tuple[Iterator[SourceChunk], Iterator[SourceChunk]]:
        """The chunks of as many of the source's rows as had been read at a position, from the start of the range, and then those that
        follow; read in this order. The first end at `until` itself only where the rows are what they were."""
        ...


@runtime_checkable
class PassingTarget(Protocol):
    """What a Target may have on top: it takes rows as bytes."""

    def takes(self, staging: Staging) -> Mapping[CopyPath, str]:
        """The paths beside `arrow` that it knows, each with an empty text, or with why it can't be taken for this staging."""
        ...

    def commit_passed(
        self,
        staging: Staging,
        lane: str,
        fence: int,
        before: Checkpoint,
        after: Checkpoint,
        pieces: Sequence[bytes],
    ) -> None:
        """As `Target.commit`, with the pieces of one chunk of the staging's path. Raises DataRefused also where it counts other rows
        than the checkpoints."""
        ...


@runtime_checkable
class Digesting(Protocol):
    """What sources and targets may have that hash their own rows, exactly to the bit and alike."""

    def digest(self, relation: SourceRelation, columns: Sequence[ColumnInfo], share: int) -> RowsDigest:
        """Of all rows of a source's relation, or of those of every `share`th value of its key."""
        ...


@runtime_checkable
class DigestingTarget(Protocol):
    """The counterpart of Digesting."""

    def digest(self, staging: Staging, share: int) -> RowsDigest:
        """Of the staged rows (after publication: the published ones), or of those of every `share`th value of the key."""
        ...


@runtime_checkable
class Declaring(Protocol):
    """What a Target may have on top: it tells what it declares for a relation."""

    def ddl(self, staging: Staging) -> TableDdl:
        """What a publication would declare as things stand. Changes nothing."""
        ...

    def schema_notes(self, staging: Staging) -> Sequence[str]:
        """What of a published staging's declarations could not be made, and what was not taken over from the table it replaced."""
        ...


@runtime_checkable
class Repairing(Protocol):
    """What a Target may have on top: rows of a staging can be exchanged."""

    def repair(
        self,
        staging: Staging,
        lane: str,
        fence: int,
        before: Checkpoint,
        after: Checkpoint,
        surplus: Sequence[pa.RecordBatch],
        missing: Sequence[pa.RecordBatch],
    ) -> None:
        """Takes the surplus rows out, each as often as it is given, puts the missing ones in, and makes the lane's step from `before` to
        `after`: in one transaction where the target has them; otherwise a crash leaves a part done, and the step not. Raises FenceLost,
        with nothing changed, unless the lane stands at `before.chunks` under `fence`, and FailedPrecondition where a surplus row is not
        there so often, or rows can't be told apart."""
        ...


@runtime_checkable
class Guaranteeing(Protocol):
    """What a Target has that knows what it guarantees; of one without it no more than `at_least_once` is told."""

    def delivery(self, staging: Staging) -> Delivery:
        """How often each row of the staging arrives, whatever dies on the way."""
        ...


class Connector(Protocol):
    """One kind of system."""

    kind: str

    def open_source(self, system: SystemSpec) -> Source:
        """Opens it for reading. Raises SourceMissing (a file that is not there) or SystemUnavailable."""
        ...

    def open_target(self, system: SystemSpec) -> Target:
        """Opens it for writing, and makes it where it is a file that is missing. Raises SystemUnavailable."""
        ...


@runtime_checkable
class MemoryLimited(Protocol):
    """What a Connector may have on top whose systems live in this process and take memory of it."""

    def limit_memory(self, bytes_max: int) -> None:
        """From now on everything that it has open takes so much together, at about."""
        ...


_ARROW: Mapping[str, pa.DataType] = {
    "bool": pa.bool_(),
    "int16": pa.int16(),
    "int32": pa.int32(),
    "int64": pa.int64(),
    "uint64": pa.uint64(),
    "float32": pa.float32(),
    "float64": pa.float64(),
    "string": pa.string(),
    "bytes": pa.binary(),
    "date": pa.date32(),
    "time": pa.time64("us"),
    "timestamp": pa.timestamp("us"),
    "timestamptz": pa.timestamp("us", tz="UTC"),
    "json": pa.string(),
    "uuid": pa.string(),
}


def arrow_type(column: ColumnType) -> pa.DataType:
    """The Arrow type that carries a column type; json and uuid travel as text, uuid in lower case with dashes."""
    if column.kind == "decimal":
        return pa.decimal128(column.precision, column.scale)
    return _ARROW[column.kind]


def arrow_schema(columns: Sequence[ColumnInfo]) -> pa.Schema:
    """The schema of batches with these columns; all fields are nullable in Arrow, NOT NULL is checked where it is declared."""
    return pa.schema([pa.field(column.name, arrow_type(column.type)) for column in columns])
