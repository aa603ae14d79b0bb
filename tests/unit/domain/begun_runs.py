"""Runs that have begun, and what hosts make of their tasks, for tests of the decision core."""

import random
from datetime import timedelta

from pymigrate.engine.domain.happenings import (
    Begun,
    Failed,
    Leased,
    Succeeded,
)
from pymigrate.engine.domain.orchestration import RunCore
from pymigrate.engine.domain.run import Failure, Task
from pymigrate.engine.domain.run_states import LaneState, PhaseState, RunState, TaskKind
from tests.property.simulated_runs import PERMANENT, START, aggregate_of

LATER = START + timedelta(seconds=1)
UNTIL = START + timedelta(seconds=15)
TWICE = [kind for kind in (TaskKind.COPY, TaskKind.VERIFY, TaskKind.PREPARE) for _ in range(2)]
AWAY = Failure("SYSTEM_UNAVAILABLE", "away", is_temporary=True)
LOCKED = Failure("STORE_UNAVAILABLE", "locked", is_temporary=True)


def core_of(**dependencies: tuple[str, ...]) -> RunCore:
    """A run that has begun."""
    core = RunCore(aggregate_of(dependencies), random.Random(1))
    core.apply(Begun(), START)
    return core


def lease(core: RunCore, phase: str, kind: TaskKind = TaskKind.COPY) -> Task:
    """Leases the phase's task of a kind."""
    task = next(t for t in core.claimable(LATER + timedelta(hours=1)) if (t.phase, t.kind) == (phase, kind))
    assert core.apply(Leased(task.id, "workerHosts/h", UNTIL), LATER)
    return task


def finish(core: RunCore, phase: str, kind: TaskKind = TaskKind.COPY) -> None:
    """Leases the phase's task of a kind and does it."""
    task = lease(core, phase, kind)
    assert core.apply(Succeeded(task.id, task.fence, b"found"), LATER)


def publish(core: RunCore, phase: str) -> None:
    """Brings a phase to its end."""
    for kind in (TaskKind.COPY, TaskKind.VERIFY, TaskKind.PUBLISH):
        finish(core, phase, kind)


def fail(core: RunCore, phase: str, kind: TaskKind = TaskKind.COPY, failure: Failure = PERMANENT) -> Task:
    """Leases the phase's task of a kind and fails it."""
    task = lease(core, phase, kind)
    assert core.apply(Failed(task.id, task.fence, failure), LATER)
    return task


def state(core: RunCore) -> RunState:
    """Where the run stands."""
    return core.run.state


def lane_state(core: RunCore, task: Task) -> LaneState:
    """Where a copy's lane stands."""
    return core.aggregate.lanes[task.lane].state


def phase(core: RunCore, name: str) -> PhaseState:
    """Where a phase stands."""
    return core.aggregate.phases[name].state
