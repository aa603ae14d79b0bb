"""The protocol of a target in SQL, said once: claim, commit, publish and undo, in transactions that the system's own class gives.

A subclass brings its transactions, types and catalogue. Rows come before the advance of the checkpoint, so that a host that was
stopped in the middle of a load holds no lock that a claim waits for.
"""

from collections.abc import Iterator, Sequence

import pyarrow as pa

from pymigrate.engine.adapters.connectors.target_inspection import check_columns, missing_relation
from pymigrate.engine.adapters.connectors.target_repair import SqlRepairs
from pymigrate.engine.adapters.connectors.target_statements import (
    APPENDED,
    MERGED,
    PUBLISHED,
    ROLLED_BACK,
    SEALED,
    Table,
    advance_parameters,
    checkpoint_of,
)
from pymigrate.engine.adapters.connectors.target_values import (
    check_step,
    check_values,
    name_problems,
    raise_if_any,
    table_problems,
)
from pymigrate.engine.domain.errors import (
    DataRefused,
    FailedPrecondition,
    FenceLost,
)
from pymigrate.engine.ports.source import Piece
from pymigrate.engine.ports.staging import Checkpoint, Dangling, Delivery, ReferenceCheck, Staging, StagingId


class SqlTarget(SqlRepairs):
    """A Target over SQL; see the port. Not for several threads at once."""

    def delivery(self, staging: Staging) -> Delivery:
        """Rows and checkpoint commit in one transaction, and so does a publication."""
        del staging
        return Delivery.EXACTLY_ONCE

    def rows(self, relation: str) -> int | None:
        """Exact number of rows; None when there is no such relation."""

        def count() -> int | None:
            table = self._table(self._locate(relation))
            return None if table is None else self._count(table)

        return self._look(count)

    def check(self, staging: Staging) -> None:
        """Raises InvalidDefinition for names and types that the system can't hold and for a view in the way, and TargetOccupied
        already here, before a row is copied, for what publication would refuse."""
        self._look(lambda: self._check(staging))

    def _check(self, staging: Staging) -> None:
        table = self._locate(staging.relation)
        raise_if_any(
            (
                *table_problems(staging, table.schema, table.name, self.name_bytes_max),
                *name_problems(staging, self.name_bytes_max),
                *self._type_problems(staging),
                *(self._addition_problems(staging) if staging.is_addition else ()),
            )
        )
        if self._publication(staging.id) is None:
            self._existing(staging)

    def prepare(self, staging: Staging) -> None:
        """Makes what is missing; does nothing for a staging that is published."""

        def make() -> None:
            if self._find(self._staging_table(staging)) and self._has_own_relations():
                return
            self._create(staging, self._staging_table(staging))

        if self._publication(staging.id) is None:
            self._again(make)
        elif self._state(staging) == ROLLED_BACK:
            raise FailedPrecondition(
                f"the staging {staging.id} of {staging.relation} was rolled back: start another attempt"
            )

    def claim(self, staging: Staging, lane: str, fence: int) -> Checkpoint:
        """Takes the lane for the fence, which must be higher than any before."""

        def take() -> Checkpoint:
            self._execute(self.statements.first, (staging.id, lane))
            if self._execute(self.statements.claim, (fence, staging.id, lane, fence)) != 1:
                _, holder = self._read(staging.id, lane)
                raise FenceLost(
                    f"lane {lane} of {staging.relation} is held under fence {holder}; {fence} is not higher"
                )
            return self._read(staging.id, lane)[0]

        if self._state(staging) == ROLLED_BACK:
            raise FenceLost(f"the staging {staging.id} of {staging.relation} was rolled back")
        return self._again(take)

    def checkpoint(self, staging: Staging, lane: str) -> tuple[Checkpoint, int]:
        """How far the lane got, and its fence."""
        return self._read(staging.id, lane)

    def commit(
        self,
        staging: Staging,
        lane: str,
        fence: int,
        before: Checkpoint,
        after: Checkpoint,
        batches: Sequence[pa.RecordBatch],
    ) -> None:
        """Rows and checkpoint in one transaction. After a conflict the truth is read, and the step tried again only where the lane
        still stands under the fence. Raises ValueError where rows and checkpoints do not add up."""
        self.commit_apart(staging, lane, fence, before, after, batches, staging, ())

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
        """The same, with rows for another staging."""
        check_step(staging, before, after, batches)
        check_values(staging, batches, before.rows)
        table = self._staging_table(staging)

        def step() -> None:
            self._stand(staging, lane, fence, before)
            if any(batch.num_rows for batch in batches):
                self._insert(staging, table, batches, before.rows)
            if refused:
                self._insert(apart, self._staging_table(apart), refused, 0)
            self._advance(staging, lane, fence, before, after)

        self._again(step)

    def _commit_passed(
        self, staging: Staging, lane: str, fence: int, before: Checkpoint, after: Checkpoint, pieces: Sequence[Piece]
    ) -> None:
        """As `commit`, with rows that the system counts itself."""
        table, wanted = self._staging_table(staging), after.rows - before.rows

        def step() -> None:
            self._stand(staging, lane, fence, before)
            if (rows := self._pass_in(staging, table, pieces, before.rows)) != wanted:
                raise DataRefused(f"{staging.relation}: {wanted} rows were given to the target, and it counted {rows}")
            self._advance(staging, lane, fence, before, after)

        self._again(step)

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
        """Rows out, rows in, and the lane's step, in one transaction."""

        def step() -> None:
            self._stand(staging, lane, fence, before)
            self._exchange(staging, surplus, missing)
            self._advance(staging, lane, fence, before, after)

        self._again(step)

    def reset(self, staging: Staging, lane: str, fence: int) -> None:
        """Empties the staging. Raises FailedPrecondition where another lane has rows in it: they would go without its knowledge."""
        self._reset(staging, lane, fence, (staging,))

    def reset_apart(self, staging: Staging, lane: str, fence: int, apart: Staging) -> None:
        """Empties both."""
        self._reset(staging, lane, fence, (staging, apart))

    def _reset(self, staging: Staging, lane: str, fence: int, emptied: Sequence[Staging]) -> None:
        def empty() -> None:
            at, _ = self._read(staging.id, lane)
            self._stand(staging, lane, fence, at)
            [(others,)] = self._query(self.statements.other_rows, (staging.id, lane))
            if others:
                raise FailedPrecondition(
                    f"other lanes have rows in the staging of {staging.relation}: roll it back instead"
                )
            for each in emptied:
                self._execute(f"DELETE FROM {self._staging_table(each).sql}")
            self._advance(staging, lane, fence, at, Checkpoint())

        self._again(empty)

    def read_staging(self, staging: Staging) -> Iterator[pa.RecordBatch]:
        """The staged rows, or the published ones."""
        return self._scan(staging, self._place(staging))

    def count_staging(self, staging: Staging) -> int:
        """The exact number of staged rows, or of published ones."""
        return self._count(self._place(staging))

    def duplicate_keys(self, staging: Staging) -> tuple[int, tuple[str, ...]]:
        """Key values that occur more than once or hold a NULL; (0, ()) without a key. Of a merge those that its policy can't settle."""
        if not staging.key:
            return 0, ()
        if staging.merge is not None:
            return self._unsettled_keys(staging, self._place(staging))
        return self._inspection.duplicate_keys(self._place(staging).sql, staging.key)

    def dangling(self, staging: Staging, reference: ReferenceCheck) -> Dangling:
        """Staged rows whose reference finds nothing. A relation that refers to itself is looked up in its own staging."""
        own, wanted = self._place(staging), self._locate(reference.relation)
        found = own if wanted == self._locate(staging.relation) else self._table(wanted)
        if found is None:
            raise missing_relation(reference)
        check_columns(reference, self._columns(found))
        return self._inspection.dangling(own.sql, reference, found.sql)

    def _read(self, staging: StagingId, lane: str) -> tuple[Checkpoint, int]:
        rows = self._query(self.statements.read, (staging, lane)) if self._has_own_relations() else []
        return checkpoint_of(rows[0]) if rows else (Checkpoint(), 0)

    def _stand(self, staging: Staging, lane: str, fence: int, before: Checkpoint) -> None:
        at, holder = self._read(staging.id, lane)
        if (holder, at.chunks) != (fence, before.chunks) or self._state(staging):
            raise self._lost(staging, lane, fence, before)

    def _lost(self, staging: Staging, lane: str, fence: int, before: Checkpoint) -> FenceLost:
        return FenceLost(
            f"lane {lane} of {staging.relation} no longer stands at chunk {before.chunks} under fence {fence}: another host has it"
        )

    def _advance(self, staging: Staging, lane: str, fence: int, before: Checkpoint, after: Checkpoint) -> None:
        if self._execute(self.statements.advance, advance_parameters(staging.id, lane, fence, before, after)) != 1:
            raise self._lost(staging, lane, fence, before)

    def _place(self, staging: Staging) -> Table:
        """Where the staging's rows are now."""
        publication = self._publication(staging.id)
        if publication is None:
            table = self._staging_table(staging)
            if self._find(table) is not None:
                return table
        elif publication.state == PUBLISHED and publication.identity in {MERGED, APPENDED}:
            return self._staging_table(staging)
        elif publication.state in {PUBLISHED, SEALED}:
            table = Table(publication.schema, publication.name)
            if self._identity(staging.id, table) == publication.identity:
                return table
        raise FailedPrecondition(f"the rows of staging {staging.id} of {staging.relation} are there no longer")

    def _table(self, table: Table) -> Table | None:
        found = self._find(table)
        return None if found is None else found.table
