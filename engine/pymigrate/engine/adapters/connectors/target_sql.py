"""The protocol of a target in SQL, said once: claim, commit, publish and undo, in transactions that the system's own class gives.

A subclass brings its transactions, types and catalogue. Rows come before the advance of the checkpoint, so that a host that was
stopped in the middle of a load holds no lock that a claim waits for.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import pyarrow as pa

from pymigrate.engine.adapters.connectors.target_dialect import Conflict, Found, SqlDialect
from pymigrate.engine.adapters.connectors.target_inspection import check_columns, missing_relation
from pymigrate.engine.adapters.connectors.target_statements import (
    KEPT_MARK,
    PUBLISHED,
    ROLLED_BACK,
    STAGING_MARK,
    Publication,
    Table,
    advance_parameters,
    checkpoint_of,
    marked,
)
from pymigrate.engine.adapters.connectors.target_values import (
    check_step,
    check_values,
    name_problems,
    raise_if_any,
    table_problems,
)
from pymigrate.engine.domain.errors import (
    CannotUndo,
    FailedPrecondition,
    FenceLost,
    InvalidDefinition,
    Problem,
    TargetOccupied,
)
from pymigrate.engine.ports.connector import Checkpoint, Dangling, ReferenceCheck, Staging, StagingId

ATTEMPTS_MAX = 50
Result = TypeVar("Result")


class SqlTarget(SqlDialect):
    """A Target over SQL; see the port. Not for several threads at once."""

    def rows(self, relation: str) -> int | None:
        """Exact number of rows; None when there is no such relation."""
        table = self._table(self._locate(relation))
        return None if table is None else self._count(table)

    def check(self, staging: Staging) -> None:
        """Raises InvalidDefinition for names and types that the system can't hold and for a view in the way, and TargetOccupied
        already here, before a row is copied, for what publication would refuse."""
        table = self._locate(staging.relation)
        raise_if_any(
            (
                *table_problems(staging, table.schema, table.name, self.name_bytes_max),
                *name_problems(staging, self.name_bytes_max),
                *self._type_problems(staging),
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
        check_step(staging, before, after, batches)
        check_values(staging, batches, before.rows)
        table = self._staging_table(staging)

        def step() -> None:
            self._stand(staging, lane, fence, before)
            if any(batch.num_rows for batch in batches):
                self._insert(staging, table, batches, before.rows)
            self._advance(staging, lane, fence, before, after)

        self._again(step)

    def reset(self, staging: Staging, lane: str, fence: int) -> None:
        """Empties the staging. Raises FailedPrecondition where another lane has rows in it: they would go without its knowledge."""

        def empty() -> None:
            at, _ = self._read(staging.id, lane)
            self._stand(staging, lane, fence, at)
            [(others,)] = self._query(self.statements.other_rows, (staging.id, lane))
            if others:
                raise FailedPrecondition(
                    f"other lanes have rows in the staging of {staging.relation}: roll it back instead"
                )
            self._execute(f"DELETE FROM {self._staging_table(staging).sql}")
            self._advance(staging, lane, fence, at, Checkpoint())

        self._again(empty)

    def read_staging(self, staging: Staging) -> Iterator[pa.RecordBatch]:
        """The staged rows, or the published ones."""
        return self._scan(staging, self._place(staging))

    def count_staging(self, staging: Staging) -> int:
        """The exact number of staged rows, or of published ones."""
        return self._count(self._place(staging))

    def duplicate_keys(self, staging: Staging) -> tuple[int, tuple[str, ...]]:
        """Key values that occur more than once or hold a NULL; (0, ()) without a key."""
        if not staging.key:
            return 0, ()
        return self._inspection.duplicate_keys(self._place(staging).sql, staging.key)

    def dangling(self, staging: Staging, reference: ReferenceCheck) -> Dangling:
        """Staged rows whose reference finds nothing. A relation that refers to itself is looked up in its own staging."""
        own, wanted = self._place(staging), self._locate(reference.relation)
        found = own if wanted == self._locate(staging.relation) else self._table(wanted)
        if found is None:
            raise missing_relation(reference)
        check_columns(reference, self._columns(found))
        return self._inspection.dangling(own.sql, reference, found.sql)

    def publish(self, stagings: Sequence[Staging]) -> None:
        """Swaps all of them in, in one transaction, and journals it; nothing for those that are published already."""

        def swap() -> None:
            waiting = [staging for staging in stagings if self._state(staging) != PUBLISHED]
            for staging in waiting:
                if self._state(staging) == ROLLED_BACK or self._find(self._staging_table(staging)) is None:
                    raise FailedPrecondition(f"there is no staging {staging.id} of {staging.relation} to publish")
            existing = [self._existing(staging) for staging in waiting]
            for staging, found in zip(waiting, existing, strict=True):
                self._swap_in(staging, found)

        self._again(swap)

    def rollback(self, stagings: Sequence[Staging]) -> None:
        """Undoes all of them in one transaction, and leaves a journal row that keeps late lanes and publications out.

        A published relation counts as unchanged while it is the very table that was published (`_identity`), holds as many rows, and
        has the same fingerprint over its content, where the system's version still computes the same (`_fingerprint`)."""

        def undo() -> None:
            published = [(staging, row) for staging in stagings if (row := self._publication(staging.id))]
            for staging, row in published:
                if row.state == PUBLISHED:
                    self._check_unchanged(staging, row)
            for staging in reversed(stagings):
                self._take_back(staging, self._publication(staging.id))

        if self._has_own_relations():
            self._again(undo)

    def _again(self, work: Callable[[], Result]) -> Result:
        """The work in a transaction, again after a conflict; bounded."""
        for _ in range(ATTEMPTS_MAX - 1):
            try:
                with self._transaction():
                    return work()
            except Conflict:
                self._wait()
        with self._transaction():
            return work()

    def _staging_table(self, staging: Staging) -> Table:
        table = self._locate(staging.relation)
        return Table(table.schema, marked(table.name, STAGING_MARK, staging.id, self.name_bytes_max))

    def _count(self, table: Table) -> int:
        [(rows,)] = self._query(f"SELECT count(*) FROM {table.sql}")
        return int(str(rows))

    def _read(self, staging: StagingId, lane: str) -> tuple[Checkpoint, int]:
        rows = self._query(self.statements.read, (staging, lane)) if self._has_own_relations() else []
        return checkpoint_of(rows[0]) if rows else (Checkpoint(), 0)

    def _publication(self, staging: StagingId) -> Publication | None:
        rows = self._query(self.statements.find_publication, (staging,)) if self._has_own_relations() else []
        if not rows:
            return None
        state, schema, name, original, kept, identity, count, fingerprint = rows[0]
        return Publication(
            state=str(state),
            schema=str(schema),
            name=str(name),
            original=str(original),
            kept=str(kept),
            identity=str(identity),
            rows=int(str(count)),
            fingerprint=str(fingerprint),
        )

    def _state(self, staging: Staging) -> str:
        publication = self._publication(staging.id)
        return publication.state if publication else ""

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
        elif publication.state == PUBLISHED:
            table = Table(publication.schema, publication.name)
            if self._identity(staging.id, table) == publication.identity:
                return table
        raise FailedPrecondition(f"the rows of staging {staging.id} of {staging.relation} are there no longer")

    def _existing(self, staging: Staging) -> Found | None:
        """What is in the relation's place. Raises where it must not be replaced."""
        found = self._find(self._locate(staging.relation))
        if found is None:
            return None
        if found.kind != "table":
            problem = Problem(
                "target.relation", f"`{staging.relation}` is a {found.kind}: name a table, or one that is to be made"
            )
            raise InvalidDefinition((problem,))
        if not staging.is_replace and self._query(f"SELECT 1 FROM {found.table.sql} LIMIT 1"):
            raise TargetOccupied(
                f"{staging.relation} holds rows: name another relation, or let the dataset replace them",
                field="target.relation",
            )
        return found

    def _swap_in(self, staging: Staging, existing: Found | None) -> None:
        source, table = self._staging_table(staging), self._locate(staging.relation)
        self._execute(self.statements.touch, (staging.id,))
        self._before_swap(staging, source, existing)
        rows, fingerprint = self._count(source), self._fingerprint(source)
        kept = ""
        if existing is not None:
            kept = marked(existing.table.name, KEPT_MARK, staging.id, self.name_bytes_max)
            self._rename(existing.table, kept)
        self._rename(source, table.name)
        identity = self._identity(staging.id, table)
        original = existing.table.name if existing else ""
        values = (PUBLISHED, table.schema, table.name, original, kept, identity, rows, fingerprint)
        self._execute(self.statements.journal, (staging.id, *values))

    def _check_unchanged(self, staging: Staging, row: Publication) -> None:
        table = Table(row.schema, row.name)
        found = self._find(table)
        if found is None or self._identity(staging.id, found.table) != row.identity:
            raise CannotUndo(f"{staging.relation} is not the table that was published: put it in order by hand")
        if (rows := self._count(table)) != row.rows:
            raise CannotUndo(
                f"{staging.relation} has {rows} rows, and had {row.rows} when it was published: it was written to since"
            )
        now = self._fingerprint(table)
        if now.split(":")[0] == row.fingerprint.split(":")[0] and now != row.fingerprint:
            raise CannotUndo(
                f"{staging.relation} no longer holds the rows that were published: it was written to since"
            )
        if row.kept and self._find(Table(row.schema, row.kept)) is None:
            raise CannotUndo(f"what {staging.relation} replaced is no longer kept as `{row.kept}`")

    def _take_back(self, staging: Staging, row: Publication | None) -> None:
        self._execute(self.statements.touch, (staging.id,))
        if row is None:
            self._drop(self._staging_table(staging))
            table = self._locate(staging.relation)
            self._execute(
                self.statements.journal, (staging.id, ROLLED_BACK, table.schema, table.name, "", "", "", 0, "")
            )
        elif row.state == PUBLISHED:
            self._drop(Table(row.schema, row.name))
            if row.kept:
                self._rename(Table(row.schema, row.kept), row.original)
            self._execute(self.statements.journal_rollback, (ROLLED_BACK, staging.id))
        self._execute(self.statements.forget, (staging.id,))

    def _drop(self, table: Table) -> None:
        self._execute(f"DROP TABLE IF EXISTS {table.sql}")

    def _table(self, table: Table) -> Table | None:
        found = self._find(table)
        return None if found is None else found.table
