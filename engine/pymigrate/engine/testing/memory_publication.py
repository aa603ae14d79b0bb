"""The fake target's publications: what they put in place, what they keep for the way back, and the way back itself."""

from collections.abc import Sequence
from dataclasses import replace

from pymigrate.engine.domain.errors import CannotUndo, FailedPrecondition, MergeConflict, TargetOccupied
from pymigrate.engine.ports.staging import Staging
from pymigrate.engine.testing import memory_appending as appending
from pymigrate.engine.testing import memory_merging as merging
from pymigrate.engine.testing.memory import MemoryDatabase, MemoryPublication, MemoryRelation


class MemoryPublications:
    """A target's publications in a database in memory."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database

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

    def forget(self, stagings: Sequence[Staging]) -> None:
        """Those that are undone."""
        with self._database.transaction("forget"):
            for staging in stagings:
                publication = self._database.publications.get(staging.id)
                if publication is not None and publication.is_undone:
                    del self._database.publications[staging.id]

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
