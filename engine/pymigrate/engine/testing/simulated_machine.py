"""What the worker hosts of a simulation have: the network, what runs their tasks, and how long they hold them."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from pymigrate.engine.testing.fibers import Fibers
from pymigrate.engine.testing.simulated_link import Network
from pymigrate.engine.transfer.signals import Signals
from pymigrate.v1 import run_pb2, worker_pb2

OnProgress = Callable[[worker_pb2.LaneProgress], None]


class Runner(Protocol):
    """Runs tasks, blocking."""

    def run(self, task: worker_pb2.Task, signals: Signals, on_progress: OnProgress) -> worker_pb2.FinishTaskRequest:
        """The outcome."""
        ...

    def failure_of(self, error: Exception, task: worker_pb2.Task) -> run_pb2.Failure:
        """An error in the contract's words."""
        ...


class HostLease(Signals, Protocol):
    """A host's hold on a task."""

    message: worker_pb2.TaskLease
    progress: worker_pb2.LaneProgress | None

    def renew(self, since: float) -> None:
        """The engine confirmed it in a call made at `since`."""
        ...

    def drain(self) -> None:
        """The task is to end at its next checkpoint."""
        ...

    def lose(self) -> None:
        """The task is no longer this host's."""
        ...


MakeLease = Callable[[worker_pb2.Task, float, Callable[[], float], Callable[[float], None]], HostLease]


@dataclass(frozen=True, slots=True)
class Machine:
    """What every host of a simulation has."""

    network: Network
    fibers: Fibers
    rng: random.Random
    runner: Callable[[str], Runner]
    lease: MakeLease
