"""A dataset whose source is written to while it is copied: what changes is kept from before the first read, and applied after the last.

Lanes may read under any snapshots, as long as each is younger than where keeping began. A row that did not change since is the same in all
of them; one that did is put in whole, or taken out, by the last of its changes. So when every change up to a position is applied, staging
holds what the source held there. Where the target is lies in its checkpoint, committed with the changes; the source forgets only
what lies before it.
"""

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace

from pymigrate.engine.domain.errors import FailedPrecondition, FenceLost
from pymigrate.engine.ports.capture import Capture, ChangingTarget, RowChanges, no_changes
from pymigrate.engine.ports.ranges import Position
from pymigrate.engine.ports.relations import SourceRelation
from pymigrate.engine.ports.staging import Checkpoint, Staging
from pymigrate.engine.ports.target import Target
from pymigrate.engine.transfer.attempt import LaneWriter
from pymigrate.engine.transfer.lane_job import LaneJob
from pymigrate.engine.transfer.signals import Signals, check
from pymigrate.engine.transfer.transforms.changes import AsTheyAre, Shape

OpenCapture = Callable[[], Capture]
OpenTarget = Callable[[], Target]
ON_THE_WAY = -1.0


@dataclass(frozen=True, slots=True)
class FollowJob:
    """What to follow, as whom. `lane` is the checkpoint of the changes, `name` what the source keeps them under. `opens_source`: writes to
    the source are let in again once it is published. `open_shape` opens what is made of changes; None: nothing is."""

    dataset: str
    relation: SourceRelation
    staging: Staging
    lane: str
    fence: int
    name: str
    opens_source: bool = False
    open_shape: Callable[[], Shape] | None = None


@dataclass(frozen=True, slots=True)
class Followed:
    """How far staging is: how many seconds behind the source at most, after so many changes; -1: it is in the middle of a round,
    and what it was before is what is known."""

    lag_seconds: float
    changes: int


def capture(job: FollowJob, open_capture: OpenCapture, open_target: OpenTarget, signals: Signals) -> None:
    """Begins to keep what changes, and notes in the target from where on. Raises SourceChanged where that was noted already and is no
    longer kept."""
    with closing(_Changes(job, open_target, signals)) as changes, closing(open_capture()) as source:
        changes.claim()
        if changes.checkpoint.position is not None:
            return
        start = source.start(job.relation, job.name, lambda: check(signals))
        changes.require_hold(lambda: source.stop(job.name))
        changes.apply(
            Checkpoint(chunks=1, position=start.position, source_state=start.snapshot),
            no_changes(job.staging.columns, job.staging.key),
        )


def snapshot_of(job: FollowJob, open_target: OpenTarget) -> str:
    """The snapshot under which keeping began, as long as nothing was applied."""
    with closing(open_target()) as target:
        return target.checkpoint(job.staging, job.lane)[0].source_state


def catch_up(
    job: FollowJob,
    open_capture: OpenCapture,
    open_target: OpenTarget,
    signals: Signals,
    on_progress: Callable[[Followed], None],
    monotonic: Callable[[], float] = time.monotonic,
) -> Followed:
    """Applies everything that was committed until now. Raises Drained at a checkpoint, FenceLost, SourceChanged and DataRefused."""
    started = monotonic()

    def tell(followed: Followed) -> None:
        """Never less than what the round itself has taken: a column tells nothing of what was written since it was read."""
        lag_seconds = followed.lag_seconds
        if lag_seconds != ON_THE_WAY:
            lag_seconds = max(lag_seconds, monotonic() - started)
        on_progress(replace(followed, lag_seconds=lag_seconds))

    with closing(_Changes(job, open_target, signals)) as changes, closing(open_capture()) as source:
        changes.claim()
        changes.index()
        changes.follow(source, source.present(), tell)
        return Followed(monotonic() - started, changes.checkpoint.rows)


def catch_up_for_good(job: FollowJob, open_capture: OpenCapture, open_target: OpenTarget, signals: Signals) -> int:
    """Blocks writes to the source, waits for those that are under way, and only then reads where it is, and applies everything up to there.
    The exact number of the source's rows."""
    with closing(_Changes(job, open_target, signals)) as changes, closing(open_capture()) as source:
        changes.claim()
        check(signals, is_draining_heeded=False)
        source.block(job.relation, job.name)
        changes.require_hold(lambda: source.open(job.relation, job.name))
        changes.follow(source, source.present(), lambda followed: None)
        changes.unindex()
        return source.rows(job.relation)


def end_published(job: FollowJob, open_capture: OpenCapture) -> None:
    """After publication: nothing is kept any more, and writes are let in again where that is wished."""
    with closing(open_capture()) as source:
        source.stop(job.name)
        if job.opens_source:
            source.open(job.relation, job.name)


def end_undone(job: FollowJob, open_capture: OpenCapture) -> None:
    """After a failure or a rollback: nothing is kept any more, and writes are let in again."""
    with closing(open_capture()) as source:
        source.stop(job.name)  # first: what is kept fills the source's disk
        source.open(job.relation, job.name)


class _Changes:
    """The changes' lane in the target."""

    def __init__(self, job: FollowJob, open_target: OpenTarget, signals: Signals) -> None:
        self._job = job
        self._signals = signals
        self._writer = LaneWriter(
            LaneJob(job.dataset, job.relation, job.staging, job.lane, job.fence), open_target, signals
        )

    @property
    def checkpoint(self) -> Checkpoint:
        """How far the target is."""
        return self._writer.checkpoint

    def claim(self) -> None:
        """Takes the lane under the fence."""
        self._writer.claim()

    def require_hold(self, take_back: Callable[[], None]) -> None:
        """Raises FenceLost where what was just done in the source was another host's to do. A host that was held up for long may do it
        after the run was undone, when nobody would take it back any more; whoever has the lane now has use for it."""
        job = self._job

        def look(target: Target) -> None:
            _, fence = target.checkpoint(job.staging, job.lane)
            if fence == 0:
                take_back()
            if fence != job.fence:
                raise FenceLost(f"{job.lane} is held under fence {fence}, and this host has {job.fence}")

        self._writer.use(look)

    def index(self) -> None:
        """Once every lane is copied: keys are looked up from here on."""
        self._writer.use(lambda target: _changing(target).index_key(self._job.staging))

    def unindex(self) -> None:
        """When nothing more changes."""
        self._writer.use(lambda target: _changing(target).unindex_key(self._job.staging))

    def apply(self, after: Checkpoint, changes: RowChanges) -> None:
        """Changes with the step, exactly once."""
        job = self._job
        self._writer.step(
            after,
            lambda target, before: _changing(target).apply(job.staging, job.lane, job.fence, before, after, changes),
        )

    def follow(self, source: Capture, until: Position, on_progress: Callable[[Followed], None]) -> None:
        """Applies stretch after stretch; the source forgets what is committed in the target."""
        job, position = self._job, self.checkpoint.position
        if position is None:
            raise FailedPrecondition(
                f"dataset {job.dataset}: what changes in {job.relation.relation} is not kept: retry the run"
            )
        with closing(self._shape()) as shape:
            for changed in source.changes(job.relation, shape.columns, shape.key, job.name, position, until):
                check(self._signals)
                before = self.checkpoint
                after = replace(
                    before,
                    chunks=before.chunks + 1,
                    rows=before.rows + changed.count,
                    position=changed.end,
                    source_state="",
                )
                self.apply(after, shape.apply(changed.changes))
                source.confirm(job.name, changed.end)
                lag_seconds = ON_THE_WAY if changed.end == before.position else changed.lag_seconds
                on_progress(Followed(lag_seconds, after.rows))

    def _shape(self) -> Shape:
        staging = self._job.staging
        return self._job.open_shape() if self._job.open_shape else AsTheyAre(staging.columns, staging.key)

    def close(self) -> None:
        """Gives up the target."""
        self._writer.close()


def _changing(target: Target) -> ChangingTarget:
    if not isinstance(target, ChangingTarget):
        raise FailedPrecondition(
            f"{target.version()} takes no changes by key: name another target, or another downtime policy"
        )
    return target
