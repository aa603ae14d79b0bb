"""The real parts that a simulated world is made of. A mutant is a world in which one of them is another."""

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from pymigrate.engine.application.board import Board
from pymigrate.engine.application.followups import Followups
from pymigrate.engine.application.hosts import Hosts
from pymigrate.engine.domain.orchestration import RunCore
from pymigrate.engine.domain.run import RunAggregate
from pymigrate.engine.entrypoints.loops.supervisor import Supervisor
from pymigrate.engine.entrypoints.worker.leases import Lease
from pymigrate.engine.entrypoints.worker.tasks import TaskRunner
from pymigrate.engine.ports.feed import Claim
from pymigrate.engine.ports.store import Unit
from pymigrate.engine.testing.simulated_capture import SimulatedCapture
from pymigrate.engine.testing.simulated_host import rounded_up
from pymigrate.engine.testing.simulated_systems import SimulatedSource, SimulatedTarget
from pymigrate.engine.transfer.attempt import copy_lane
from pymigrate.engine.transfer.lane_job import CopyOutcome
from pymigrate.v1 import worker_pb2


class VirtualLease(Lease):
    """A host's real lease, whose waits are pauses."""

    def __init__(
        self, task: worker_pb2.Task, since: float, monotonic: Callable[[], float], pause: Callable[[float], None]
    ) -> None:
        super().__init__(task, since, monotonic)
        self._pause = pause

    def wait(self, seconds: float) -> None:
        """Others have their turn."""
        self._pause(rounded_up(seconds))


async def restore(board: Board) -> None:
    """What an engine does first."""
    await board.restore()


def at_least_once(claims: list[Claim]) -> bool:
    """Whether a consumer tells what it was given before it says that it is done."""
    del claims
    return True


@dataclass(frozen=True, slots=True)
class Parts:
    """What a world is made of. `unit` wraps what units of work are done on."""

    core: Callable[[RunAggregate, random.Random], RunCore] = RunCore
    board: type[Board] = Board
    followups: type[Followups] = Followups
    hosts: type[Hosts] = Hosts
    supervisor: type[Supervisor] = Supervisor
    lease: type[VirtualLease] = VirtualLease
    target: type[SimulatedTarget] = SimulatedTarget
    source: type[SimulatedSource] = SimulatedSource
    capture: type[SimulatedCapture] = SimulatedCapture
    runner: type[TaskRunner] = TaskRunner
    copy: Callable[..., CopyOutcome] = copy_lane
    restore: Callable[[Board], Awaitable[Any]] = restore
    unit: Callable[[Unit], Unit] | None = None
    tells_first: Callable[[list[Claim]], bool] = at_least_once


REAL = Parts()
