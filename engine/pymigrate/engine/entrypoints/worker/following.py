"""What of a host's tasks follows a source that is written to: keeps its changes, applies them, and ends that."""

from collections.abc import Callable, Iterable
from dataclasses import replace

import structlog

from pymigrate.engine.domain.errors import FailedPrecondition
from pymigrate.engine.entrypoints.worker import definitions
from pymigrate.engine.entrypoints.worker.credentials import Credentials
from pymigrate.engine.entrypoints.worker.outcomes import SOURCE_CONNECTION
from pymigrate.engine.entrypoints.worker.transforms import Transforms
from pymigrate.engine.ports.capture import Capture, CapturingConnector, SnapshotSource
from pymigrate.engine.ports.connector import Connector
from pymigrate.engine.ports.secrets import Secrets
from pymigrate.engine.ports.source import Source
from pymigrate.engine.ports.target import Target
from pymigrate.engine.transfer import catching_up
from pymigrate.engine.transfer.catching_up import Followed, FollowJob
from pymigrate.engine.transfer.signals import Signals
from pymigrate.v1 import worker_pb2

log = structlog.get_logger(__name__)
OpenTarget = Callable[[], Target]


class Following:
    """Does its part of tasks, on any thread."""

    def __init__(self, connectors: Callable[[str], Connector], secrets: Secrets, transforms: Transforms) -> None:
        self._connectors = connectors
        self._secrets = secrets
        self._transforms = transforms

    def opener(self, work: worker_pb2.DatasetWork, source: Credentials) -> Callable[[], Capture] | None:
        """Opens a source for its changes; None where it can't be."""
        connector, column = self._connectors(source.kind), definitions.growing_column(work)
        if not isinstance(connector, CapturingConnector):
            return None
        return lambda: source.open(lambda spec: connector.open_capture(spec, column))

    def capture(self, task: worker_pb2.Task, open_target: OpenTarget, signals: Signals) -> None:
        """Begins to keep changes."""
        work = task.capture.dataset
        catching_up.capture(definitions.follow_job(work, task.fence), self._capture_of(work), open_target, signals)

    def snapshot(self, work: worker_pb2.DatasetWork, open_target: OpenTarget) -> str:
        """The snapshot that was exported when keeping began; empty where there is none."""
        return (
            catching_up.snapshot_of(definitions.follow_job(work), open_target) if definitions.is_followed(work) else ""
        )

    def adopting(self, source: Source, snapshot: str) -> Source:
        """The source, under the snapshot where that is still there."""
        if snapshot and isinstance(source, SnapshotSource):
            try:
                log.info("lane.snapshot", snapshot=snapshot, is_adopted=source.adopt(snapshot))
            except BaseException:
                source.close()
                raise
        return source

    def catch_up(
        self,
        task: worker_pb2.Task,
        open_target: OpenTarget,
        signals: Signals,
        on_progress: Callable[[worker_pb2.LaneProgress], None],
        monotonic: Callable[[], float],
    ) -> worker_pb2.LaneProgress:
        """Applies what was committed until now."""
        work = task.catch_up.dataset
        job = self._shaping(work, definitions.follow_job(work, task.fence))
        opened = self._capture_of(work)
        return _progress(
            catching_up.catch_up(
                job, opened, open_target, signals, lambda followed: on_progress(_progress(followed)), monotonic
            )
        )

    def catch_up_for_good(self, task: worker_pb2.Task, open_target: OpenTarget, signals: Signals) -> int:
        """Blocks writes and applies the last changes; how many rows the source has."""
        work = task.verify.dataset
        job = self._shaping(work, definitions.follow_job(work, task.fence))
        return catching_up.catch_up_for_good(job, self._capture_of(work), open_target, signals)

    def end_published(self, works: Iterable[worker_pb2.DatasetWork]) -> None:
        """Keeps nothing of published datasets any more."""
        for work in filter(definitions.is_followed, works):
            catching_up.end_published(definitions.follow_job(work), self._capture_of(work))

    def end_undone(self, works: Iterable[worker_pb2.DatasetWork]) -> None:
        """Keeps nothing of datasets that are undone, and lets writes in."""
        for work in filter(definitions.is_followed, works):
            catching_up.end_undone(definitions.follow_job(work), self._capture_of(work))

    def _shaping(self, work: worker_pb2.DatasetWork, job: FollowJob) -> FollowJob:
        """The job with what its dataset's transforms make of changes."""
        if not definitions.is_transformed(work.dataset):
            return job
        source = self._source_of(work)
        opened = self._connectors(source.kind).open_source
        return replace(job, open_shape=self._transforms.shape(work, lambda: source.open(opened), job))

    def _capture_of(self, work: worker_pb2.DatasetWork) -> Callable[[], Capture]:
        source = self._source_of(work)
        opened = self.opener(work, source)
        if opened is None:
            raise FailedPrecondition(f"{source.name} does not keep what changes in it: choose another downtime policy")
        return opened

    def _source_of(self, work: worker_pb2.DatasetWork) -> Credentials:
        return Credentials(work.source, self._secrets, SOURCE_CONNECTION)


def _progress(followed: Followed) -> worker_pb2.LaneProgress:
    return worker_pb2.LaneProgress(lag_seconds=followed.lag_seconds, changes=followed.changes)
