"""The fake target: the protocol of claims, commits and publications over a database in memory."""

import fnmatch
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import pyarrow as pa

from pymigrate.engine.domain.errors import (
    CannotUndo,
    DataRefused,
    FailedPrecondition,
    FenceLost,
    InvalidDefinition,
    MergeConflict,
    Problem,
    TargetOccupied,
)
from pymigrate.engine.domain.names import nearest
from pymigrate.engine.ports.arrow_types import arrow_schema
from pymigrate.engine.ports.relations import UNKNOWN, RelationInfo
from pymigrate.engine.ports.staging import Checkpoint, Dangling, Delivery, MergePolicy, ReferenceCheck, Staging
from pymigrate.engine.testing import memory_appending as appending
from pymigrate.engine.testing import memory_merging as merging
from pymigrate.engine.testing.memory import MemoryDatabase, MemoryLane, MemoryPublication, MemoryRelation

BATCH_ROWS_MAX = 65_536
EXAMPLES_MAX = 10
OWN = "__pymigrate_"


class MemoryTarget:
    """See the port."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database

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
        if problems := tuple(_problems(staging)):
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
        _refuse_nulls(staging, batches, before.rows)
        with self._database.transaction("commit"):
            self._stand(staging, lane, fence, before)
            for each, more in ((staging, batches), (apart, refused)):
                staged = self._database.staged[each.id]
                self._database.staged[each.id] = staged.holding((*staged.batches, *more))
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
            return len(unsettled), _examples(unsettled)
        counts = Counter(_tuples(self._place(staging), staging.key))
        found = [value for value, times in counts.items() if times > 1 or None in value]
        return len(found), _examples(found)

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
        there = set(_tuples(found, reference.relation_columns))
        lost = Counter(value for value in _tuples(own, reference.columns) if None not in value and value not in there)
        return Dangling(lost.total(), len(lost), _examples(lost))

    def publish(self, stagings: Sequence[Staging]) -> None:
        """All at once."""
        try:
            with self._database.transaction("publish"):
                for staging in stagings:
                    self._put_in(staging)
        except MergeConflict:
            for staging in stagings:
                if merging.fails(staging) and staging.id in self._database.staged:
                    staged, there = self._database.staged[staging.id], self._database.relations.get(staging.relation)
                    self._database.conflicts[staging.relation] = merging.conflicts(staging, staged, there)
            raise

    def _put_in(self, staging: Staging) -> None:
        if self._is_published(staging):
            return
        if staging.id not in self._database.staged:
            raise FailedPrecondition(f"there is no staging {staging.id} of {staging.relation} to publish")
        kept = self._refuse_occupied(staging)
        relation = self._database.staged.pop(staging.id)
        merge = append = None
        if staging.is_append:
            relation, append = appending.appended(staging, relation, kept)
        elif staging.merge is not None:
            relation, contested = merging.settled(staging, relation)
            found = merging.conflicts(staging, relation, kept)
            if failing := merging.failing(staging, found):
                raise merging.conflict(staging, failing)
            self._database.conflicts[staging.relation] = found
            relation, merge = merging.merged(staging, relation, kept, contested)
        self._database.relations[staging.relation] = relation
        self._database.publications[staging.id] = MemoryPublication(
            staging.relation,
            identity=relation.identity,
            version=relation.version,
            kept=kept,
            merge=merge,
            append=append,
        )

    def conflicts(self, staging: Staging) -> int:
        """Of a published merge."""
        publication = self._database.publications.get(staging.id)
        return publication.merge.conflicts if publication and publication.merge else 0

    def prepare_publication(self, stagings: Sequence[Staging], key: str) -> bool:
        """There are no prepared publications in memory."""
        del stagings, key
        return False

    def commit_publication(self, stagings: Sequence[Staging], key: str) -> None:
        """Nothing was prepared here."""
        raise FailedPrecondition(f"{stagings[0].relation}: there is no publication prepared as {key}")

    def abort_publication(self, key: str) -> None:
        """Nothing was prepared here."""

    def rollback(self, stagings: Sequence[Staging]) -> None:
        """All at once, the last first."""
        with self._database.transaction("rollback"):
            for staging in reversed(stagings):
                if self._is_published(staging):
                    self._undo(staging, self._database.publications[staging.id])
                self._database.staged.pop(staging.id, None)
                self._database.publications[staging.id] = MemoryPublication(staging.relation, is_undone=True)
                self._forget(staging)

    def seal(self, stagings: Sequence[Staging]) -> None:
        """All at once."""
        with self._database.transaction("seal"):
            for staging in stagings:
                if self._is_published(staging):
                    publication = self._database.publications[staging.id]
                    self._database.publications[staging.id] = replace(publication, kept=None, is_sealed=True)
                    self._forget(staging)

    def _forget(self, staging: Staging) -> None:
        for of, lane in list(self._database.lanes):
            if of == staging.id:
                del self._database.lanes[of, lane]

    def close(self) -> None:
        """Nothing is open."""

    def _is_published(self, staging: Staging) -> bool:
        publication = self._database.publications.get(staging.id)
        return publication is not None and not publication.is_undone

    def _undo(self, staging: Staging, publication: MemoryPublication) -> None:
        found = self._database.relations.get(staging.relation)
        if publication.is_sealed:
            raise CannotUndo(f"{staging.relation} is sealed")
        if publication.merge is not None:
            merging.check_merge(staging, publication.merge, found)
            before = merging.unmerged(staging, publication.merge, found) if found is not None else None
            if before is None:
                self._database.relations.pop(staging.relation, None)
            else:
                self._database.relations[staging.relation] = before
            return
        if publication.append is not None:
            left = appending.taken_out(staging, publication.append, found)
            if left is None:
                self._database.relations.pop(staging.relation, None)
            else:
                self._database.relations[staging.relation] = left
            for name, other in self._database.publications.items():
                if other.append is not None and other.relation == staging.relation:
                    later = appending.counted_off(publication.append, other.append)
                    self._database.publications[name] = replace(other, append=later)
            return
        if found is None or (found.identity, found.version) != (publication.identity, publication.version):
            raise CannotUndo(f"{staging.relation} no longer is what was published")
        if publication.kept is None:
            del self._database.relations[staging.relation]
        else:
            self._database.relations[staging.relation] = publication.kept

    def _stand(self, staging: Staging, lane: str, fence: int, before: Checkpoint) -> None:
        at = self._database.lanes.get((staging.id, lane), MemoryLane())
        if (at.fence, at.checkpoint.chunks) != (fence, before.chunks) or staging.id not in self._database.staged:
            raise FenceLost(f"lane {lane} of {staging.relation} no longer stands at {before.chunks} under {fence}")

    def _refuse_occupied(self, staging: Staging) -> MemoryRelation | None:
        found = self._database.relations.get(staging.relation)
        is_free = staging.is_replace or staging.is_addition or self._is_published(staging)
        if found is not None and found.rows and not is_free:
            raise TargetOccupied(f"{staging.relation} holds rows", field="target.relation")
        return found

    def _place(self, staging: Staging) -> MemoryRelation:
        if staging.id in self._database.staged:
            return self._database.staged[staging.id]
        publication = self._database.publications.get(staging.id)
        found = self._database.relations.get(staging.relation)
        if publication is not None and publication.merge is not None:
            return publication.merge.staged
        if publication is not None and publication.append is not None:
            return publication.append.staged
        if publication is None or found is None or found.identity != publication.identity:
            raise FailedPrecondition(f"the rows of staging {staging.id} are there no longer")
        return found


def raise_unknown(staging: Staging, known: Sequence[str]) -> None:
    """Raises InvalidDefinition for columns that the relation to merge into does not have."""
    problems = tuple(
        Problem(f"source.columns.{column.name}", f"`{staging.relation}` has no column `{column.name}`")
        for column in staging.columns
        if column.name not in known
    )
    if problems:
        raise InvalidDefinition(problems)


def _problems(staging: Staging) -> Iterator[Problem]:
    if not staging.columns:
        yield Problem("source.columns", "there would be no column")
    seen: set[str] = set()
    for column in staging.columns:
        if not column.name or "\0" in column.name or column.name.lower() in seen:
            yield Problem(f"source.columns.{column.name}", "the name is empty, holds NUL or is there twice")
        seen.add(column.name.lower())
    if staging.merge and not staging.key:
        yield Problem("key", "a merge needs a key")
    if staging.merge is MergePolicy.LATEST:
        kinds = {column.name: column.type.kind for column in staging.columns if column.name not in staging.key}
        if kinds.get(staging.order_column, "json") in ("json", "bytes", "uuid", "bool"):
            yield Problem("order_column", f"`{staging.order_column}` is no column that can be put in order")
    for name in staging.key:
        if name not in {column.name for column in staging.columns}:
            yield Problem("key", f"there is no column `{name}`")
    if OWN in staging.relation:
        yield Problem("target.relation", "is a name that PyMigrate keeps for itself")


def _refuse_nulls(staging: Staging, batches: Sequence[pa.RecordBatch], row: int) -> None:
    schema = arrow_schema(staging.columns)
    for batch in batches:
        if not batch.schema.equals(schema):
            raise ValueError(f"a batch for {staging.relation} is not as its staging")
        for column, values in zip(staging.columns, batch.columns, strict=True):
            if column.is_required and values.null_count:
                at = values.is_null().to_pylist().index(True)
                raise DataRefused(f"{staging.relation}, column `{column.name}`, row {row + at + 1}: NULL")
        row += batch.num_rows


def _tuples(relation: MemoryRelation, columns: Sequence[str]) -> Iterator[tuple[object, ...]]:
    for row in relation.table().select(list(columns)).to_pylist():
        yield tuple(row[name] for name in columns)


def _examples(values: Iterable[tuple[object, ...]]) -> tuple[str, ...]:
    texts = [["NULL" if cell is None else str(cell) for cell in value] for value in values]
    return tuple(text[0] if len(text) == 1 else f"({', '.join(text)})" for text in texts[:EXAMPLES_MAX])
