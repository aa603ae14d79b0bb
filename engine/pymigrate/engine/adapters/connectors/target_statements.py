"""PyMigrate's own relations in a target, and the statements on them that SQL systems share, word for word.

The fence lives here. Claim and advance both change `writes`: DuckDB finds conflicts by column, and only where a value really
changes, so that without it a zombie's advance and a claim could both commit.
"""

from dataclasses import dataclass

from pymigrate.engine.ports.ranges import Position
from pymigrate.engine.ports.staging import Checkpoint, StagingId

SCHEMA = "pymigrate"
STAGING_MARK = "__pymigrate_"
KEPT_MARK = "__pymigrate_kept_"
MERGED_MARK = "__pymigrate_merged_"
APPENDED_MARK = "__pymigrate_appended_"
REPAIR_MARK = "__pymigrate_repair_"
CONFLICTS_MARK = "__pymigrate_conflicts_"
PUBLISHED = "published"
ROLLED_BACK = "rolled_back"
SEALED = "sealed"
MERGED = "merged"
APPENDED = "appended"


def quote(identifier: str) -> str:
    """The identifier in double quotes, as every SQL target takes it."""
    return '"' + identifier.replace('"', '""') + '"'


@dataclass(frozen=True, slots=True)
class Table:
    """A table or view by its exact name; `schema` is empty in a system without schemas."""

    schema: str
    name: str

    @property
    def sql(self) -> str:
        """The name as statements have it."""
        return f"{quote(self.schema)}.{quote(self.name)}" if self.schema else quote(self.name)


def split_relation(relation: str, default_schema: str) -> Table:
    """`schema.name` or `name` in the default schema. What follows the first dot is the name, with any further dots."""
    schema, dot, name = relation.partition(".")
    return Table(schema, name) if dot and schema and name else Table(default_schema, relation)


def join_relation(table: Table, default_schema: str) -> str:
    """The opposite of `split_relation`."""
    if table.schema != default_schema or "." in table.name:
        return f"{table.schema}.{table.name}"
    return table.name


def marked(name: str, mark: str, staging: StagingId, bytes_max: int | None) -> str:
    """The name with mark and staging id at its end; the name itself is cut to fit, which the id makes up for."""
    ending = f"{mark}{staging}"
    if bytes_max is not None:
        name = name.encode()[: bytes_max - len(ending.encode())].decode(errors="ignore")
    return name + ending


def is_own(name: str) -> bool:
    """Whether a table or view of this name is PyMigrate's."""
    return STAGING_MARK in name.lower()


def same_name(one: str, other: str) -> bool:
    """Whether a system that folds case takes both for the same; they fold ASCII letters alone."""
    return one.encode().lower() == other.encode().lower()


@dataclass(frozen=True, slots=True)
class Publication:
    """A journal row. With the identity `merged` or `appended` the relation was added to, and `kept` names what of it was changed.
    Otherwise `original` and `kept` are the replaced relation's name and the name it is kept under, empty without one;
    `identity`, `rows` and `fingerprint` tell whether what is published still is what was published."""

    state: str
    schema: str
    name: str
    original: str
    kept: str
    identity: str
    rows: int
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Statements:
    """The statements, for the names that a system gives to the two relations, and in its words. Parameters are `?`, in the order of the
    text."""

    checkpoint: str
    publication: str
    text: str = "TEXT"
    key_text: str = "TEXT"  # of what is part of a key
    where_there: str = "ON CONFLICT (staging, lane) DO NOTHING"
    options: str = ""

    @property
    def create(self) -> tuple[str, ...]:
        """Makes all relations where they are missing."""
        checkpoint = (
            f"CREATE TABLE IF NOT EXISTS {self.checkpoint} (staging {self.key_text} NOT NULL, "
            f"lane {self.key_text} NOT NULL, fence BIGINT NOT NULL, chunks BIGINT NOT NULL, "
            f"row_count BIGINT NOT NULL, byte_count BIGINT NOT NULL, position {self.text}, "
            f"checksum {self.text} NOT NULL, source_state {self.text} NOT NULL, writes BIGINT NOT NULL, "
            f"PRIMARY KEY (staging, lane)){self.options}"
        )
        publication = (
            f"CREATE TABLE IF NOT EXISTS {self.publication} (staging {self.key_text} NOT NULL PRIMARY KEY, state {self.text} NOT NULL, "
            f"schema_name {self.text} NOT NULL, table_name {self.text} NOT NULL, original {self.text} NOT NULL, kept {self.text} NOT NULL, "
            f"identity {self.text} NOT NULL, row_count BIGINT NOT NULL, fingerprint {self.text} NOT NULL){self.options}"
        )
        return checkpoint, publication, self.create_declarations

    @property
    def declaration(self) -> str:
        """The relation of what became of declarations, and of the statements that lead back."""
        return self.publication.replace("publication", "declaration")

    @property
    def create_declarations(self) -> str:
        """Makes it where it is missing; targets of older versions have none."""
        return (
            f"CREATE TABLE IF NOT EXISTS {self.declaration} (staging {self.key_text} NOT NULL, number BIGINT NOT NULL, "
            f"kind {self.text} NOT NULL, content {self.text} NOT NULL, PRIMARY KEY (staging, number)){self.options}"
        )

    @property
    def last_declaration(self) -> str:
        """The highest number of a staging: staging."""
        return f"SELECT coalesce(max(number), 0) FROM {self.declaration} WHERE staging = ?"

    @property
    def declare(self) -> str:
        """Adds one: staging, number, kind, content."""
        return f"INSERT INTO {self.declaration} VALUES (?, ?, ?, ?)"

    @property
    def declared(self) -> str:
        """Those of a kind in order: staging, kind."""
        return f"SELECT content FROM {self.declaration} WHERE staging = ? AND kind = ? ORDER BY number"

    @property
    def forget_declared(self) -> str:
        """Removes those of a kind: staging, kind."""
        return f"DELETE FROM {self.declaration} WHERE staging = ? AND kind = ?"

    @property
    def first(self) -> str:
        """Puts a lane at its start, where it is new: staging, lane."""
        return f"INSERT INTO {self.checkpoint} VALUES (?, ?, 0, 0, 0, 0, NULL, '', '', 0) {self.where_there}"

    @property
    def claim(self) -> str:
        """Takes the lane: fence, staging, lane, fence."""
        return (
            f"UPDATE {self.checkpoint} SET fence = ?, writes = writes + 1 WHERE staging = ? AND lane = ? AND fence < ?"
        )

    @property
    def advance(self) -> str:
        """A step of the lane under its fence: see `advance_parameters`."""
        return (
            f"UPDATE {self.checkpoint} SET chunks = ?, fence = ?, row_count = ?, byte_count = ?, position = ?, checksum = ?, "
            "source_state = ?, writes = writes + 1 WHERE staging = ? AND lane = ? AND chunks = ? AND fence = ?"
        )

    @property
    def read(self) -> str:
        """How far the lane got, and its fence: staging, lane."""
        return (
            "SELECT chunks, row_count, byte_count, position, checksum, source_state, fence "
            f"FROM {self.checkpoint} WHERE staging = ? AND lane = ?"
        )

    @property
    def other_rows(self) -> str:
        """Rows that other lanes have committed: staging, lane."""
        return f"SELECT coalesce(sum(row_count), 0) FROM {self.checkpoint} WHERE staging = ? AND lane <> ?"

    @property
    def touch(self) -> str:
        """Meets every commit of the staging that is under way: staging. Whichever comes second fails or waits."""
        return f"UPDATE {self.checkpoint} SET writes = writes + 1 WHERE staging = ?"

    @property
    def forget(self) -> str:
        """Removes the staging's lanes: staging. Comes after `touch`, since DuckDB lets a delete and an update of a row pass."""
        return f"DELETE FROM {self.checkpoint} WHERE staging = ?"

    @property
    def find_publication(self) -> str:
        """The journal row: staging."""
        return (
            "SELECT state, schema_name, table_name, original, kept, identity, row_count, fingerprint "
            f"FROM {self.publication} WHERE staging = ?"
        )

    @property
    def appends(self) -> str:
        """Every append to a relation, whatever became of it: schema, name."""
        return (
            f"SELECT state, kept, fingerprint FROM {self.publication} "
            f"WHERE identity = '{APPENDED}' AND schema_name = ? AND table_name = ?"
        )

    @property
    def journal(self) -> str:
        """A journal row: staging, then the fields of Publication."""
        return f"INSERT INTO {self.publication} VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"

    @property
    def unjournal(self) -> str:
        """Removes the journal row of a publication that was undone: staging."""
        return f"DELETE FROM {self.publication} WHERE staging = ? AND state = '{ROLLED_BACK}'"

    @property
    def journal_rollback(self) -> str:
        """The journal row's end: state, staging."""
        return f"UPDATE {self.publication} SET state = ? WHERE staging = ?"


def advance_parameters(
    staging: StagingId, lane: str, fence: int, before: Checkpoint, after: Checkpoint
) -> tuple[object, ...]:
    """The parameters of `Statements.advance`."""
    return (
        after.chunks, fence, after.rows, after.bytes, after.position, after.checksum, after.source_state,
        staging, lane, before.chunks, fence,
    )  # fmt: skip


def checkpoint_of(row: tuple[object, ...]) -> tuple[Checkpoint, int]:
    """A row of `Statements.read` as checkpoint and fence."""
    chunks, rows, size, position, checksum, source_state, fence = row
    return (
        Checkpoint(
            chunks=int(str(chunks)),
            rows=int(str(rows)),
            bytes=int(str(size)),
            position=None if position is None else Position(str(position)),
            checksum=str(checksum),
            source_state=str(source_state),
        ),
        int(str(fence)),
    )
