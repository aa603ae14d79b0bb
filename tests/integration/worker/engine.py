"""An engine of the test's own: WorkerService over a real socket, which hands out the tasks that a test gives it and notes every call."""

import queue
import threading
from collections.abc import Callable
from concurrent import futures
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.empty_pb2 import Empty

from pymigrate.v1 import worker_pb2, worker_pb2_grpc

TOKEN = "a-token-of-the-test"
WAIT_SECONDS = 60.0


@dataclass
class Terms:
    """What hosts are told."""

    heartbeat_seconds: float = 0.2
    lease_seconds: float = 5.0
    tasks_max: int = 4


class EngineDouble(worker_pb2_grpc.WorkerServiceServicer):
    """Serves from a home until it is stopped; `start` again is an engine that came back, which knows no session."""

    def __init__(self, home: Path, terms: Terms | None = None) -> None:
        self.home = home
        self.terms = terms or Terms()
        self.tasks: queue.Queue[worker_pb2.Task] = queue.Queue()
        self.registered: list[worker_pb2.RegisterHostRequest] = []
        self.reports: list[worker_pb2.ReportProgressRequest] = []
        self.finished: dict[str, worker_pb2.FinishTaskRequest] = {}
        self.heartbeats: list[worker_pb2.HeartbeatRequest] = []
        self.draining: set[str] = set()
        self.lost: set[str] = set()
        self.session = ""
        self.refused = 0
        self.host_tokens: set[str] = set()
        self.shown: set[str] = set()
        self.changed = threading.Condition()
        self.on_finish: Callable[[worker_pb2.FinishTaskRequest], grpc.StatusCode | None] = lambda _: None
        self._server: grpc.Server | None = None

    def start(self) -> "EngineDouble":
        """Serves, and writes endpoint and token as the engine does."""
        self.session = ""
        self._server = grpc.server(futures.ThreadPoolExecutor(8))
        worker_pb2_grpc.add_WorkerServiceServicer_to_server(self, self._server)
        port = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()
        (self.home / "token").write_text(f"{TOKEN}\n")
        (self.home / "endpoint").write_text(f"127.0.0.1:{port}\n")
        return self

    def stop(self) -> None:
        """Gone at once, as after kill -9: the endpoint's file stays."""
        if self._server is not None:
            self._server.stop(None).wait()
            self._server = None

    def wait(self, condition: Callable[[], bool]) -> None:
        """Until it holds."""
        with self.changed:
            assert self.changed.wait_for(condition, WAIT_SECONDS), "the host did not do what was waited for"

    def outcome(self, task_id: str) -> worker_pb2.FinishTaskRequest:
        """How a task ended."""
        self.wait(lambda: task_id in self.finished)
        return self.finished[task_id]

    def run(self, task: worker_pb2.Task) -> worker_pb2.FinishTaskRequest:
        """Hands out a task and waits for its end."""
        self.give(task)
        return self.outcome(task.id)

    def give(self, task: worker_pb2.Task) -> None:
        """Hands out a task."""
        task.lease_seconds = self.terms.lease_seconds
        self.tasks.put(task)

    def RegisterHost(self, request: worker_pb2.RegisterHostRequest, context: Any) -> worker_pb2.RegisterHostResponse:
        self._check(context)
        with self.changed:
            self.registered.append(request)
            self.session = f"session-{len(self.registered)}"
            self.changed.notify_all()
            return worker_pb2.RegisterHostResponse(
                session=self.session,
                heartbeat_seconds=self.terms.heartbeat_seconds,
                lease_seconds=self.terms.lease_seconds,
                tasks_max=self.terms.tasks_max,
                lost_task_ids=sorted(self.lost),
            )

    def ClaimTask(self, request: worker_pb2.ClaimTaskRequest, context: Any) -> worker_pb2.ClaimTaskResponse:
        self._check(context, request.session)
        try:
            task = self.tasks.get(timeout=min(request.wait_seconds, 0.5))
        except queue.Empty:
            return worker_pb2.ClaimTaskResponse()
        if request.session != self.session or not context.is_active():  # whoever waited here is dead
            self.tasks.put(task)
            return worker_pb2.ClaimTaskResponse()
        return worker_pb2.ClaimTaskResponse(task=task)

    def Heartbeat(self, request: worker_pb2.HeartbeatRequest, context: Any) -> worker_pb2.HeartbeatResponse:
        self._check(context, request.session)
        with self.changed:
            self.heartbeats.append(request)
            self.changed.notify_all()
            return worker_pb2.HeartbeatResponse(drain_task_ids=sorted(self.draining), lost_task_ids=sorted(self.lost))

    def ReportProgress(self, request: worker_pb2.ReportProgressRequest, context: Any) -> Empty:
        self._check(context, request.session)
        with self.changed:
            self.reports.append(request)
            self.changed.notify_all()
        return Empty()

    def FinishTask(self, request: worker_pb2.FinishTaskRequest, context: Any) -> Empty:
        self._check(context, request.session)
        if (code := self.on_finish(request)) is not None:
            context.abort(code, "as the test wants it")
        with self.changed:
            self.finished[request.lease.task_id] = request
            self.changed.notify_all()
        return Empty()

    def ListWorkerHosts(
        self, request: worker_pb2.ListWorkerHostsRequest, context: Any
    ) -> worker_pb2.ListWorkerHostsResponse:
        self._check(context)
        return worker_pb2.ListWorkerHostsResponse(worker_hosts=[known.host for known in self.registered])

    def _check(self, context: Any, session: str | None = None) -> None:
        metadata = dict(context.invocation_metadata())
        shown = str(metadata.get("authorization"))
        if shown not in {f"Bearer {TOKEN}", *self.host_tokens}:
            with self.changed:
                self.refused += 1
                self.changed.notify_all()
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "no token")
        self.shown.add(shown)
        if session is not None and not self.session:
            context.abort(grpc.StatusCode.NOT_FOUND, "register")
        if session is not None and session != self.session:
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, "another process has registered")


@dataclass
class Lanes:
    """Work for a host: a dataset with a source and a target, and its tasks under growing fences."""

    dataset: worker_pb2.DatasetWork
    source_state: str = ""
    fence: int = field(default=0)

    def inspect(self) -> worker_pb2.Task:
        """A look at both sides."""
        return worker_pb2.Task(id="inquiries/1", fence=1, inspect=worker_pb2.InspectWork(dataset=self.dataset))

    def freeze(self, outcome: worker_pb2.FinishTaskRequest) -> None:
        """What the run keeps of the look."""
        assert not outcome.result.inspect.problems, outcome
        self.dataset.schema.CopyFrom(outcome.result.inspect.source)
        self.source_state = outcome.result.inspect.source_state

    def copy(self) -> worker_pb2.Task:
        """A lane, under the next fence."""
        self.fence += 1
        work = worker_pb2.CopyWork(dataset=self.dataset, lane="run/lanes/one", source_state=self.source_state)
        return worker_pb2.Task(id=f"run/tasks/copy.{self.fence}", fence=self.fence, copy=work)

    def verify(self) -> worker_pb2.Task:
        """The proof."""
        work = worker_pb2.VerifyWork(dataset=self.dataset, lanes=["run/lanes/one"])
        return worker_pb2.Task(id=f"run/tasks/verify.{self.fence}", fence=1, verify=work)

    def publish(self) -> worker_pb2.Task:
        """The swap."""
        work = worker_pb2.PublishWork(datasets=[self.dataset])
        return worker_pb2.Task(id=f"run/tasks/publish.{self.fence}", fence=1, publish=work)

    def rollback(self) -> worker_pb2.Task:
        """The way back."""
        work = worker_pb2.RollbackWork(datasets=[self.dataset])
        return worker_pb2.Task(id=f"run/tasks/rollback.{self.fence}", fence=1, rollback=work)
