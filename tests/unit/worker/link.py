"""An engine in memory, behind the link that a host has to one."""

import threading
from collections.abc import Callable

from pymigrate.engine.domain.errors import EngineUnavailable
from pymigrate.engine.entrypoints.engine_access import EngineAccess
from pymigrate.engine.entrypoints.worker.engine import CallRefused
from pymigrate.v1 import worker_pb2

WAIT_SECONDS = 60.0


class MemoryEngine:
    """What a test scripts, and what was called. `link` is what the host finds; it is its own EngineLink."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.shown: list[str] = []
        self.registered: list[worker_pb2.RegisterHostRequest] = []
        self.reports: list[worker_pb2.ReportProgressRequest] = []
        self.finished: list[worker_pb2.FinishTaskRequest] = []
        self.tasks: list[worker_pb2.Task] = []
        self.answer = worker_pb2.HeartbeatResponse()
        self.lost_at_registration: list[str] = []
        self.faults: dict[str, list[Exception]] = {}
        self.terms = worker_pb2.RegisterHostResponse(heartbeat_seconds=0.02, lease_seconds=30, tasks_max=4)
        self.on_call: Callable[[str], None] = lambda _: None
        self.changed = threading.Condition()

    def find(self, _: EngineAccess) -> "MemoryEngine":
        """Stands for the link."""
        self._called("find")
        return self

    def register(self, request: worker_pb2.RegisterHostRequest) -> worker_pb2.RegisterHostResponse:
        self._called("register")
        kept = worker_pb2.RegisterHostRequest()
        kept.CopyFrom(request)
        self.registered.append(kept)
        answer = worker_pb2.RegisterHostResponse(session=f"s{len(self.registered)}")
        answer.MergeFrom(self.terms)
        answer.lost_task_ids.extend(self.lost_at_registration)
        return answer

    def claim(self, request: worker_pb2.ClaimTaskRequest) -> worker_pb2.ClaimTaskResponse:
        self._called("claim")
        self._check(request.session)
        with self.changed:
            if self.changed.wait_for(lambda: bool(self.tasks), 0.05):
                return worker_pb2.ClaimTaskResponse(task=self.tasks.pop(0))
        return worker_pb2.ClaimTaskResponse()

    def heartbeat(self, request: worker_pb2.HeartbeatRequest) -> worker_pb2.HeartbeatResponse:
        self._called("heartbeat")
        self._check(request.session)
        return self.answer

    def report(self, request: worker_pb2.ReportProgressRequest) -> None:
        self._called("report")
        self._check(request.session)
        self.reports.append(request)
        self._tell()

    def finish(self, request: worker_pb2.FinishTaskRequest) -> None:
        self._called("finish")
        self._check(request.session)
        kept = worker_pb2.FinishTaskRequest()
        kept.CopyFrom(request)
        self.finished.append(kept)
        self._tell()

    def show(self, token: str) -> None:
        """Notes it."""
        self.shown.append(token)

    def close(self) -> None:
        """Nothing is open."""

    def give(self, task: worker_pb2.Task) -> None:
        """A task for the next claim."""
        with self.changed:
            self.tasks.append(task)
            self.changed.notify_all()

    def wait(self, condition: Callable[[], bool]) -> None:
        """Until it holds; looked at after each call."""
        with self.changed:
            assert self.changed.wait_for(condition, WAIT_SECONDS), "the host did not do what was waited for"

    def fail(self, call: str, *errors: Exception) -> None:
        """The next calls of that name fail, one error each."""
        self.faults.setdefault(call, []).extend(errors)

    def _called(self, call: str) -> None:
        with self.changed:
            self.calls.append(call)
            self.changed.notify_all()
            errors = self.faults.get(call)
            error = errors.pop(0) if errors else None
        self.on_call(call)
        if error is not None:
            raise error

    def _check(self, session: str) -> None:
        if session != f"s{len(self.registered)}":
            raise CallRefused("FAILED_PRECONDITION: another session")

    def _tell(self) -> None:
        with self.changed:
            self.changed.notify_all()


def away() -> EngineUnavailable:
    return EngineUnavailable("UNAVAILABLE: away")


def refused() -> CallRefused:
    return CallRefused("FAILED_PRECONDITION: no")
