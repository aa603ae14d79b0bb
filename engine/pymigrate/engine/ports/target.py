"""What the data plane needs from a system to write: rows exactly once, published as a whole, and the way back.

All calls block; they are made on a worker host's threads, one object a thread. What some targets have on top is a protocol of its own."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol, runtime_checkable

import pyarrow as pa

from pymigrate.engine.domain.paths import CopyPath
from pymigrate.engine.ports.relations import RelationInfo, RowsDigest
from pymigrate.engine.ports.source import Piece
from pymigrate.engine.ports.staging import Checkpoint, Dangling, Delivery, ReferenceCheck, Staging, TableDdl


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
class Forgetting(Protocol):
    """What a Target may have on top: a staging that was rolled back leaves nothing at all, and its id may be used again. Only for stagings
    whose lanes have names that are never used again, since nothing else keeps late ones out."""

    def forget(self, stagings: Sequence[Staging]) -> None:
        """Drops the journal's rows of those that are rolled back. One that is not stays as it is; forgotten already is fine."""
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
        pieces: Sequence[Piece],
    ) -> None:
        """As `Target.commit`, with the pieces of one chunk of the staging's path. Raises DataRefused also where it counts other rows
        than the checkpoints."""
        ...


@runtime_checkable
class Grouping(Protocol):
    """What a Target may have on top that keeps rows in groups: a commit of whole groups is written once, another one again and again.

    A lane's chunks then hold `group_rows` rows, or about `group_bytes_max` bytes where rows are too wide for that."""

    group_rows: int
    group_bytes_max: int


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
