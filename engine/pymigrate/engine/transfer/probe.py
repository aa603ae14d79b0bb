"""A probe: the beginning of a lane is copied, compared and published into a scratch relation with the very means of a run, timed, and
dropped again.

A probe that was killed leaves its staging, or what was published of it. The next one has the same staging id and drops that first; its
lane has another name, so that nothing of the first is committed any more. Whoever still has the lane drops it; nobody else does.
"""

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace

import structlog

from pymigrate.engine.domain.errors import FailedPrecondition, PyMigrateError
from pymigrate.engine.domain.paths import CopyPath
from pymigrate.engine.ports.ranges import SourceRange
from pymigrate.engine.ports.relations import UNKNOWN
from pymigrate.engine.ports.source import Source
from pymigrate.engine.ports.staging import Checkpoint, Staging
from pymigrate.engine.ports.target import Forgetting, Target
from pymigrate.engine.transfer.attempt import copy_lane
from pymigrate.engine.transfer.bounded_source import BoundedSource, RowsBound, SampleBound
from pymigrate.engine.transfer.means import DEFAULT, Means
from pymigrate.engine.transfer.probe_job import Probed, ProbedChunk, ProbeJob
from pymigrate.engine.transfer.publication import publish
from pymigrate.engine.transfer.signals import Drained, LeaseLost, Signals, check
from pymigrate.engine.transfer.verification import verify
from pymigrate.engine.transfer.verification_job import VerifyJob

log = structlog.get_logger(__name__)
SIDES = 2


def probe(
    job: ProbeJob,
    open_source: Callable[[], Source],
    open_target: Callable[[], Target],
    signals: Signals,
    means: Means = DEFAULT,
    size_of: Callable[[str], int] = lambda _: UNKNOWN,
) -> Probed:
    """Copies a sample and tells how long everything took; `size_of` tells the bytes of a published relation.

    What fails after copying becomes a note. Raises what copying raises, FailedPrecondition where the target can't forget a staging or
    the scratch relation is somebody's, CannotUndo where what a killed probe left can't be dropped, Drained, and LeaseLost.
    """
    started = means.monotonic()
    _make_room(job.lane.staging, open_target)
    # How long a lane waits before its first chunk is chance, which is reckoned with and not measured.
    probing = _Probing(job, open_source, open_target, signals, replace(means, lead=lambda: 0.0), size_of)
    try:
        probing.copy()
        if (compared := job.verify) is not None:
            probing.note("comparing the sample", lambda: probing.compare(compared))
            probing.note("publishing the sample", probing.publish)
    except Exception:
        probing.drop_after_failure()
        raise
    probing.note("dropping the sample", probing.drop)
    probing.found.task_seconds = means.monotonic() - started
    return probing.found


def drop(staging: Staging, open_target: Callable[[], Target]) -> None:
    """Drops what a probe left, wherever it ended. Raises CannotUndo, and FailedPrecondition where the target can't forget."""
    with closing(open_target()) as target:
        _drop(staging, target)


def _drop(staging: Staging, target: Target) -> None:
    if not isinstance(target, Forgetting):
        raise FailedPrecondition(f"{target.version()} can't forget a staging, and is not probed")
    target.rollback([staging])
    target.forget([staging])


def _make_room(staging: Staging, open_target: Callable[[], Target]) -> None:
    with closing(open_target()) as target:
        _drop(staging, target)
        if target.rows(staging.relation) is not None:
            raise FailedPrecondition(
                f"`{staging.relation}` is there and none of a probe's: rename it, or do without probes",
                field="target.relation",
            )


class _Probing:
    """One probe under way. `found` is filled as it goes on."""

    def __init__(
        self,
        job: ProbeJob,
        open_source: Callable[[], Source],
        open_target: Callable[[], Target],
        signals: Signals,
        means: Means,
        size_of: Callable[[str], int],
    ) -> None:
        self._job = job
        self._open_source = open_source
        self._open_target = open_target
        self._signals = signals
        self._means = means
        self._size_of = size_of
        self._copied = Checkpoint()
        self.found = Probed(notes=list(job.notes))

    def copy(self) -> None:
        """As an attempt at the lane does. Raises Drained where the host is to end."""
        job, bound = self._job, SampleBound(self._job.seconds_max, self._job.bytes_max, self._means.monotonic)
        steps = [(self._now(), Checkpoint())]
        outcome = copy_lane(
            job.lane,
            lambda: BoundedSource(self._open_source(), bound),
            self._open_target,
            self._signals,
            lambda checkpoint: steps.append((self._now(), checkpoint)),
            self._means,
        )
        self._copied = outcome.checkpoint
        if outcome.is_drained:
            raise Drained
        ended = self._now()
        self.found.open_seconds = steps[1][0] - steps[0][0]
        self.found.close_seconds = ended - steps[-1][0]
        self.found.chunks = [
            ProbedChunk(after.rows - before.rows, after.bytes - before.bytes, at - since, seconds)
            for (since, before), (at, after), seconds in zip(steps[1:-1], steps[2:], bound.source_seconds, strict=True)
        ]
        self.found.is_whole = bound.is_whole
        if bound.refused_rows:
            self.found.notes.append(f"{bound.refused_rows:,} rows of the sample are refused, and were left out")

    def compare(self, job: VerifyJob) -> None:
        """As a run does at the dataset's level; the sample is all that is read of the source."""
        if self._is_hashed_by_servers:
            copied = SourceRange(job.relation.range.after, self._copied.position)
            job = replace(job, relation=replace(job.relation, range=copied))
        started = self._now()
        with self._means.budget.held(SIDES * job.relation.chunk_bytes, self._signals):
            verification = verify(job, self._open_beginning, self._open_target, self._signals, self._means)
        self.found.verify_seconds = self._now() - started
        self.found.verified_rows = verification.compared_rows

    def publish(self) -> None:
        """With indexes and constraints."""
        check(self._signals)
        staging, started = self._job.lane.staging, self._now()
        publish([staging], self._open_target)
        self.found.publish_seconds = self._now() - started
        self.found.target_bytes = self._size_of(staging.relation)

    def drop(self) -> None:
        """Unless another probe has begun since, which has dropped it."""
        lane, started = self._job.lane, self._now()
        with closing(self._open_target()) as target:
            _, fence = target.checkpoint(lane.staging, lane.lane)
            if fence == lane.fence:
                _drop(lane.staging, target)
        self.found.drop_seconds = self._now() - started

    def drop_after_failure(self) -> None:
        """The failure is what is told; what can't be dropped is the next probe's to drop."""
        try:
            self.drop()
        except PyMigrateError as error:
            log.warning(
                "probe.left", lane=self._job.lane.lane, relation=self._job.lane.staging.relation, error=error.message
            )

    def note(self, what: str, step: Callable[[], None]) -> None:
        """Takes a step, and notes why it failed. Raises LeaseLost, and what is no error of the step."""
        try:
            step()
        except LeaseLost:
            raise
        except PyMigrateError as error:
            self.found.notes.append(f"{what} failed: {error.message}")

    def _now(self) -> float:
        return self._means.monotonic()

    @property
    def _is_hashed_by_servers(self) -> bool:
        return self._job.lane.staging.path is CopyPath.POSTGRES_BINARY

    def _open_beginning(self) -> Source:
        if self._is_hashed_by_servers:
            return self._open_source()
        return BoundedSource(self._open_source(), RowsBound(self._copied.rows))
