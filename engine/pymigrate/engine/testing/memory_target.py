"""The fake target: the protocol of claims, commits and publications over a database in memory."""

import fnmatch
from collections import Counter
from collections.abc import Iterator, Sequence

import pyarrow as pa

from pymigrate.engine.domain.errors import FailedPrecondition, FenceLost, InvalidDefinition, Problem
from pymigrate.engine.domain.names import nearest
from pymigrate.engine.ports.capture import RowChanges
from pymigrate.engine.ports.relations import UNKNOWN, RelationInfo
from pymigrate.engine.ports.staging import Checkpoint, Dangling, Delivery, ReferenceCheck, Staging
from pymigrate.engine.testing import memory_appending as appending
from pymigrate.engine.testing import memory_merging as merging
from pymigrate.engine.testing.memory import MemoryLane, MemoryRelation
from pymigrate.engine.testing.memory_checks import examples_of, raise_unknown, refuse_nulls, staging_problems, tuples_of
from pymigrate.engine.testing.memory_publication import MemoryPublications

BATCH_ROWS_MAX = 65_536


class MemoryTarget(MemoryPublications):
    """See the port."""

    def version(self) -> str:
        """Always the same."""
        return "Memory 1.0"

    def relations(self, glob: str, limit: int) -> Sequence[RelationInfo]:
        """By name; staging lies elsewhere."""
        names = [name for name in sorted(self._database.relations) if fnmatch.fnmatchcase(name, glob)]
        found = {name: self._database.relations[name] for name in names[:limit]}
        return [
            RelationInfo(name, it.columns, it.key, it.rows, UNKNOWN, is_exact_rows=True) for name, it in found.items()
        ]

    def rows(self, relation: str) -> int | None:
        """Exact."""
        found = self._database.relations.get(relation)
        return None if found is None else found.rows

    def check(self, staging: Staging) -> None:
        """Names, and what is in the way."""
        if problems := tuple(staging_problems(staging)):
            raise InvalidDefinition(problems)
        found = self._refuse_occupied(staging)
        if staging.is_addition and found is not None:
            known = [column.name for column in found.columns]
            raise_unknown(staging, known)

    def prepare(self, staging: Staging) -> None:
        """Makes the staging, unless it is published."""
        with self._database.transaction("prepare"):
            if (publication := self._database.publications.get(staging.id)) is None:
                self._database.staged.setdefault(staging.id, MemoryRelation(staging.columns, staging.key))
            elif publication.is_undone:
                raise FailedPrecondition(f"the staging {staging.id} was rolled back: start another attempt")

    def claim(self, staging: Staging, lane: str, fence: int) -> Checkpoint:
        """Takes the lane."""
        with self._database.transaction("claim"):
            publication = self._database.publications.get(staging.id)
            at = self._database.lanes.get((staging.id, lane), MemoryLane())
            if at.fence >= fence or (publication and publication.is_undone):
                raise FenceLost(f"lane {lane} of {staging.relation} is held under fence {at.fence}")
            self._database.lanes[staging.id, lane] = MemoryLane(at.checkpoint, fence)
        return at.checkpoint

    def checkpoint(self, staging: Staging, lane: str) -> tuple[Checkpoint, int]:
        """Read fresh."""
        self._database.faults.before("checkpoint")
        at = self._database.lanes.get((staging.id, lane), MemoryLane())
        return at.checkpoint, at.fence

    def commit(
        self,
        staging: Staging,
        lane: str,
        fence: int,
        before: Checkpoint,
        after: Checkpoint,
        batches: Sequence[pa.RecordBatch],
    ) -> None:
        """All of it or nothing."""
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
        rows = sum(batch.num_rows for batch in batches)
        if after.rows - before.rows != rows:
            raise ValueError(f"{rows} rows do not lead from {before} to {after}")
        refuse_nulls(staging, batches, before.rows)
        with self._database.transaction("commit"):
            self._stand(staging, lane, fence, before)
            for each, more in ((staging, batches), (apart, refused)):
                staged = self._database.staged[each.id]
                self._database.staged[each.id] = staged.holding((*staged.batches, *more))
            self._database.lanes[staging.id, lane] = MemoryLane(after, fence)

    def index_key(self, staging: Staging) -> None:
        """Rows are found without."""

    def unindex_key(self, staging: Staging) -> None:
        """Nothing to take back."""

    def apply(
        self, staging: Staging, lane: str, fence: int, before: Checkpoint, after: Checkpoint, changes: RowChanges
    ) -> None:
        """All of it or nothing."""
        refuse_nulls(staging, [changes.rows], before.rows)
        with self._database.transaction("apply"):
            self._stand(staging, lane, fence, before)
            staged = self._database.staged[staging.id]
            gone = set(zip(*(column.to_pylist() for column in changes.keys.columns), strict=True))
            kept = [key not in gone and not changes.is_emptied for key in tuples_of(staged, staging.key)]
            left = staged.table().filter(pa.array(kept, pa.bool_())).to_batches()
            self._database.staged[staging.id] = staged.holding((*left, changes.rows))
            self._database.lanes[staging.id, lane] = MemoryLane(after, fence)

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
        """All of it or nothing."""
        with self._database.transaction("repair"):
            self._stand(staging, lane, fence, before)
            staged = self._database.staged[staging.id]
            self._database.staged[staging.id] = appending.exchanged(staged, surplus, missing)
            self._database.lanes[staging.id, lane] = MemoryLane(after, fence)

    def reset(self, staging: Staging, lane: str, fence: int) -> None:
        """Empties the staging, unless another lane has rows in it."""
        self.reset_apart(staging, lane, fence, staging)

    def reset_apart(self, staging: Staging, lane: str, fence: int, apart: Staging) -> None:
        """Empties both."""
        with self._database.transaction("reset"):
            at = self._database.lanes.get((staging.id, lane), MemoryLane())
            self._stand(staging, lane, fence, at.checkpoint)
            lanes = self._database.lanes.items()
            if any(of == staging.id and name != lane and it.checkpoint.rows for (of, name), it in lanes):
                raise FailedPrecondition(f"other lanes have rows in the staging of {staging.relation}")
            for each in (staging, apart):
                self._database.staged[each.id] = self._database.staged[each.id].holding(())
            self._database.lanes[staging.id, lane] = MemoryLane(Checkpoint(), fence)

    def read_staging(self, staging: Staging) -> Iterator[pa.RecordBatch]:
        """As they were when the call was made."""
        self._database.faults.before("read_staging")
        return iter(self._place(staging).table().to_batches(max_chunksize=BATCH_ROWS_MAX))

    def count_staging(self, staging: Staging) -> int:
        """Exact."""
        return self._place(staging).rows

    def duplicate_keys(self, staging: Staging) -> tuple[int, tuple[str, ...]]:
        """Key values that occur more than once or hold a NULL."""
        if not staging.key:
            return 0, ()
        if staging.merge is not None:
            unsettled = merging.unsettled(staging, self._place(staging))
            return len(unsettled), examples_of(unsettled)
        counts = Counter(tuples_of(self._place(staging), staging.key))
        found = [value for value, times in counts.items() if times > 1 or None in value]
        return len(found), examples_of(found)

    def delivery(self, staging: Staging) -> Delivery:
        """Everything changes under one lock."""
        del staging
        return Delivery.EXACTLY_ONCE

    def dangling(self, staging: Staging, reference: ReferenceCheck) -> Dangling:
        """Staged rows whose reference finds nothing; a relation may refer to itself."""
        own = self._place(staging)
        is_own = reference.relation == staging.relation
        found = own if is_own else self._database.relations.get(reference.relation)
        if found is None:
            raise InvalidDefinition((Problem("references", f"there is no relation `{reference.relation}`"),))
        known = [column.name for column in found.columns]
        for name in reference.relation_columns:
            if name not in known:
                text = f"`{reference.relation}` has no column `{name}`{nearest(name, known)}"
                raise InvalidDefinition((Problem("references", text),))
        there = set(tuples_of(found, reference.relation_columns))
        lost = Counter(value for value in tuples_of(own, reference.columns) if None not in value and value not in there)
        return Dangling(lost.total(), len(lost), examples_of(lost))

    def close(self) -> None:
        """Nothing is open."""

    def _stand(self, staging: Staging, lane: str, fence: int, before: Checkpoint) -> None:
        at = self._database.lanes.get((staging.id, lane), MemoryLane())
        if (at.fence, at.checkpoint.chunks) != (fence, before.chunks) or staging.id not in self._database.staged:
            raise FenceLost(f"lane {lane} of {staging.relation} no longer stands at {before.chunks} under {fence}")
