"""What hosts report of their tasks, taken into the run that has the task, or into the inquiry, and told to the scheduler."""

from collections.abc import Callable

import structlog

from pymigrate.engine.application.board import Board
from pymigrate.engine.application.inquiries import Inquiries
from pymigrate.engine.application.limits import LaneLimits
from pymigrate.engine.application.projections import failure_record, repair_warning
from pymigrate.engine.domain.happenings import Drained, Failed, Progressed, Succeeded
from pymigrate.engine.domain.names import parent_of
from pymigrate.engine.domain.orchestration import RunCore
from pymigrate.engine.domain.run import Failure, Task
from pymigrate.engine.domain.schedule import Scheduler
from pymigrate.engine.ports.clock import Clock
from pymigrate.v1 import worker_pb2

log = structlog.get_logger(__name__)


class TaskReports:
    """Progress and ends of tasks. `tell_work` is called when a report leaves room for other work."""

    def __init__(
        self,
        board: Board,
        inquiries: Inquiries,
        limits: LaneLimits,
        clock: Clock,
        scheduler: Scheduler,
        tell_work: Callable[[], None],
    ) -> None:
        self._board = board
        self._inquiries = inquiries
        self._limits = limits
        self._clock = clock
        self._scheduler = scheduler
        self._tell_work = tell_work

    async def progress(self, lease: worker_pb2.TaskLease, progress: worker_pb2.LaneProgress) -> bool:
        """Notes how far a lane got, and how long its source took for a chunk of what has come since the last report. False: the host no
        longer has the task."""
        core = self._board.core(parent_of(lease.task_id))
        return core is not None and await self._progress(core, lease, progress)

    async def finish(self, request: worker_pb2.FinishTaskRequest) -> None:
        """Notes how a task ended; the second time, and after the task was lost, nothing changes."""
        lease = request.lease
        if lease.task_id.startswith("inquiries/"):
            self._finish_inquiry(request)
            return
        core = self._board.core(parent_of(lease.task_id))
        if core is None:
            return
        task, result = core.aggregate.tasks.get(lease.task_id), request.result
        if request.WhichOneof("outcome") == "failure":
            failure = failure_record(request.failure)
            is_heard = await self._board.apply(core.run.name, Failed(lease.task_id, lease.fence, failure))
            if is_heard and task is not None:
                self._note_failure(core, task, failure)
            return
        progress = request.drained if request.HasField("drained") else result.copy
        if request.HasField("drained") or result.HasField("copy"):
            await self._progress(core, lease, progress)
        if request.HasField("drained"):
            await self._board.apply(core.run.name, Drained(lease.task_id, lease.fence))
            if task is not None:
                self._scheduler.gave_back(core, task)
            return
        succeeded = Succeeded(
            lease.task_id,
            lease.fence,
            verification=result.verify.SerializeToString() if result.HasField("verify") else b"",
            is_prepared=result.prepare.is_prepared,
            conflicts=dict(result.publish.conflicts),
            schema_notes={name: tuple(told.notes) for name, told in result.publish.schema_notes.items()},
            warning=repair_warning(result.verify),
        )
        if await self._board.apply(core.run.name, succeeded) and task is not None:
            self._scheduler.answered(core, task)

    async def _progress(self, core: RunCore, lease: worker_pb2.TaskLease, progress: worker_pb2.LaneProgress) -> bool:
        task = core.aggregate.tasks.get(lease.task_id)
        lane = core.aggregate.lanes.get(task.lane) if task else None
        chunks, size_bytes = (lane.chunks, lane.bytes) if lane else (0, 0)
        event = Progressed(
            lease.task_id,
            lease.fence,
            progress.chunks,
            progress.rows,
            progress.bytes,
            progress.lag_seconds,
            progress.changes,
            progress.quarantined_rows,
            dict(progress.secret_versions),
        )
        if not await self._board.report(core.run.name, event):
            return False
        if task is not None and lane is not None and progress.chunks > chunks:
            chunk_bytes = (progress.bytes - size_bytes) // (progress.chunks - chunks)
            limits, now = await self._limits.current(), self._clock.now()
            cores, seconds = list(self._board.active()), progress.source_seconds
            if self._scheduler.progressed(core, task, seconds, chunk_bytes, cores, limits, now):
                self._tell_work()
        return True

    def _note_failure(self, core: RunCore, task: Task, failure: Failure) -> None:
        away = self._scheduler.failed(core, task, failure, self._clock.now())
        if away is not None:
            log.warning("system.away", environment=away[0], connection=away[1], task=task.id)

    def _finish_inquiry(self, request: worker_pb2.FinishTaskRequest) -> None:
        lease = request.lease
        match request.WhichOneof("outcome"):
            case "failure":
                self._inquiries.finish(lease.task_id, lease.fence, failure_record(request.failure))
            case "result":
                self._inquiries.finish(lease.task_id, lease.fence, request.result)
            case _:
                self._inquiries.finish(lease.task_id, lease.fence, None)
