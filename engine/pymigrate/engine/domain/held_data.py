"""What a run still holds: which of its phases are published, which of them can't be undone any more and why, and how
many rows they hold."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from pymigrate.engine.domain.precedence import Precedence
from pymigrate.engine.domain.run import PhaseRun, RunAggregate
from pymigrate.engine.domain.run_states import (
    RUN_ENDED,
    TASK_OPEN,
    DesiredState,
    PhaseState,
    RunState,
    TaskKind,
    TaskState,
)

HOLDING = frozenset({PhaseState.PUBLISHED, PhaseState.SEALED, PhaseState.ROLLING_BACK, PhaseState.ROLLBACK_BLOCKED})
SEALED = "its way back is sealed"


@dataclass(frozen=True, slots=True)
class HeldPhase:
    """A phase whose data is in its targets, and since when. `stuck`: why it can't be undone; empty: it can."""

    id: str
    rows: int
    publish_time: datetime | None = None
    stuck: str = ""


@dataclass(frozen=True, slots=True)
class HeldRun:
    """A run with the phases that hold data, the one that is undone first at first. `plan` is a resource name. `is_undoing`: what it
    published is being undone now, or will be as soon as it ends."""

    name: str
    plan: str
    plan_hash: str
    create_time: datetime
    state: RunState
    phases: tuple[HeldPhase, ...] = ()
    is_undoing: bool = False

    @property
    def is_under_way(self) -> bool:
        """Whether it may still publish something."""
        return self.state not in RUN_ENDED and self.state is not RunState.ROLLING_BACK

    @property
    def holds(self) -> bool:
        """Whether anything of it is in a target, or may come there or be on its way out."""
        return bool(self.phases) or self.state not in RUN_ENDED

    @property
    def publish_time(self) -> datetime | None:
        """When the last of what it holds came into a target."""
        return max((phase.publish_time for phase in self.phases if phase.publish_time), default=None)

    @property
    def first_publish_time(self) -> datetime | None:
        """When the first of what it holds came into a target."""
        return min((phase.publish_time for phase in self.phases if phase.publish_time), default=None)

    @property
    def rows(self) -> int:
        """How many rows it holds."""
        return sum(phase.rows for phase in self.phases)


def held_run(aggregate: RunAggregate) -> HeldRun:
    """What a run holds as it stands."""
    run, phases = aggregate.run, aggregate.phases
    order = Precedence({phase.id: phase.dependencies for phase in phases.values()}).order
    rows = dict.fromkeys(phases, 0)
    for lane in aggregate.lanes.values():
        if lane.attempt == phases[lane.phase].attempt:
            rows[lane.phase] += lane.rows
    sealing = {
        task.phase
        for task in aggregate.tasks.values()
        if task.kind is TaskKind.SEAL and task.state in TASK_OPEN | {TaskState.DONE}
    }
    steps: dict[str, set[str]] = {}
    for task in aggregate.tasks.values():
        if task.kind is TaskKind.STEP and task.fence > 0 and task.attempt == phases[task.phase].attempt:
            steps.setdefault(task.phase, set()).add(task.detail)
    held = tuple(
        HeldPhase(name, rows[name], phases[name].end_time, _stuck(phases[name], sealing, steps.get(name, ())))
        for name in reversed(order)
        if phases[name].state in HOLDING
    )
    is_cancelled = run.state not in RUN_ENDED and run.desired is DesiredState.CANCELLED
    is_undoing = run.state is RunState.ROLLING_BACK or is_cancelled
    return HeldRun(run.name, run.plan, run.plan_hash, run.create_time, run.state, held, is_undoing)


def _stuck(phase: PhaseRun, sealing: Collection[str], steps: Collection[str]) -> str:
    if phase.state is PhaseState.SEALED or phase.id in sealing:
        return SEALED
    final = sorted(set(steps) & set(phase.final_steps))
    return f"its step `{final[0]}` was done, and nothing undoes it" if final else ""
