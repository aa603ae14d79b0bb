"""What a worker host needs of whatever runs its tasks: the data plane, which is imported late."""

from collections.abc import Callable
from typing import Protocol

from pymigrate.engine.transfer.signals import Signals
from pymigrate.v1 import run_pb2, worker_pb2


class Runner(Protocol):
    """Runs tasks; see `tasks.TaskRunner`."""

    def run(
        self, task: worker_pb2.Task, signals: Signals, on_progress: Callable[[worker_pb2.LaneProgress], None]
    ) -> worker_pb2.FinishTaskRequest:
        """The outcome."""
        ...

    def failure_of(self, error: Exception, task: worker_pb2.Task) -> run_pb2.Failure:
        """An error in the contract's words."""
        ...
