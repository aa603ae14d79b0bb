"""Targets and sources with one thing wrong: what is written at all, how often, and by whom."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import pyarrow as pa

from pymigrate.engine.domain.errors import FailedPrecondition, TemporaryError
from pymigrate.engine.ports.relations import SourceRelation
from pymigrate.engine.ports.staging import Checkpoint, Staging
from pymigrate.engine.testing.memory import MemoryLane
from pymigrate.engine.testing.simulated_systems import SimulatedSource, SimulatedTarget

LONG_TRANSACTION_SECONDS = 4.0


class TargetWithoutFence(SimulatedTarget):
    """Whoever knows where the lane stands may go on."""

    def _stand(self, staging: Staging, lane: str, fence: int, before: Checkpoint) -> None:
        at = self._database.lanes.get((staging.id, lane), MemoryLane())
        super()._stand(staging, lane, at.fence, before)
        del fence


class TargetWithoutFenceColumn(SimulatedTarget):
    """On DuckDB: the update of the checkpoint does not write the fence, so that a claim meanwhile conflicts with nothing. Transactions take
    long, so that there is a meanwhile."""

    written = frozenset({"chunks"})

    def _stand(self, staging: Staging, lane: str, fence: int, before: Checkpoint) -> None:
        super()._stand(staging, lane, fence, before)
        if not self._is_allowed:
            self.route.systems.fibers.pause(LONG_TRANSACTION_SECONDS)


class TargetWithoutCheckpoint(SimulatedTarget):
    """A lane is begun anew, beside what it wrote before."""

    def claim(self, staging: Staging, lane: str, fence: int) -> Checkpoint:
        super().claim(staging, lane, fence)
        self._database.lanes[staging.id, lane] = MemoryLane(Checkpoint(), fence)
        return Checkpoint()


class TargetOfTwoTransactions(SimulatedTarget):
    """The rows are committed first, and then how far the lane got."""

    def _end_commit(self, staging: Staging, lane: str, after: Checkpoint, write: Callable[[], None]) -> None:
        kept = self._database.lanes.get((staging.id, lane), MemoryLane())
        super()._end_commit(staging, lane, after, write)
        done = self._database.lanes[staging.id, lane]
        self._database.lanes[staging.id, lane] = kept
        self.route.travel()
        self._database.lanes[staging.id, lane] = done


class TargetThatIsHopeful(SimulatedTarget):
    """A commit without an answer has worked."""

    def commit(
        self,
        staging: Staging,
        lane: str,
        fence: int,
        before: Checkpoint,
        after: Checkpoint,
        batches: Sequence[pa.RecordBatch],
    ) -> None:
        try:
            super().commit(staging, lane, fence, before, after, batches)
        except TemporaryError:
            return


class TargetThatWritesAgain(SimulatedTarget):
    """A commit without an answer has not worked, and is done again where the lane stands now."""

    def commit(
        self,
        staging: Staging,
        lane: str,
        fence: int,
        before: Checkpoint,
        after: Checkpoint,
        batches: Sequence[pa.RecordBatch],
    ) -> None:
        try:
            super().commit(staging, lane, fence, before, after, batches)
        except TemporaryError:
            at = self._database.lanes[staging.id, lane].checkpoint
            rows = sum(batch.num_rows for batch in batches)
            again = replace(after, chunks=at.chunks + 1, rows=at.rows + rows)
            super().commit(staging, lane, fence, at, again, batches)


class TargetThatEmptiesItsStaging(SimulatedTarget):
    """Preparing again begins anew, and the lanes keep where they stood."""

    def prepare(self, staging: Staging) -> None:
        self._database.staged.pop(staging.id, None)
        super().prepare(staging)


class TargetWithoutTombstone(SimulatedTarget):
    """Nothing tells a host that comes late that its staging was dropped."""

    def rollback(self, stagings: Sequence[Staging]) -> None:
        super().rollback(stagings)
        for staging in stagings:
            self._database.publications.pop(staging.id, None)


class TargetThatPublishesOnce(SimulatedTarget):
    """The second call of a publication whose first answer was lost finds nothing to publish."""

    def _put_in(self, staging: Staging) -> None:
        if self._is_published(staging):
            raise FailedPrecondition(f"there is no staging {staging.id} to publish")
        super()._put_in(staging)


class TargetThatForgetsWhatWasThere(SimulatedTarget):
    """Nothing is kept of what a publication replaces."""

    def _put_in(self, staging: Staging) -> None:
        super()._put_in(staging)
        self._database.publications[staging.id] = replace(self._database.publications[staging.id], kept=None)


class SourceThatClaimsToStandStill(SimulatedSource):
    """Its state is the same whatever becomes of it."""

    def state(self, relation: SourceRelation) -> str:
        super().state(relation)
        return "always the same"
