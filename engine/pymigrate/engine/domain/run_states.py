"""The states of a run and its parts, and the steps that each may take; anything else is refused."""

from collections.abc import Mapping
from enum import StrEnum
from typing import TypeVar

from pymigrate.engine.domain.errors import IllegalTransition


class RunState(StrEnum):
    """Where a run stands."""

    PENDING = "pending"
    RUNNING = "running"
    PAUSED = "paused"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    ROLLING_BACK = "rolling_back"
    ROLLED_BACK = "rolled_back"
    ROLLBACK_BLOCKED = "rollback_blocked"


class DesiredState(StrEnum):
    """Where a run is steered to."""

    RUNNING = "running"
    PAUSED = "paused"
    CANCELLED = "cancelled"


class PhaseState(StrEnum):
    """Where a phase stands."""

    PENDING = "pending"
    READY = "ready"
    STAGING = "staging"
    VERIFYING = "verifying"
    PUBLISHING = "publishing"
    PUBLISHED = "published"
    SEALED = "sealed"
    FAILED = "failed"
    SKIPPED = "skipped"
    ROLLING_BACK = "rolling_back"
    ROLLED_BACK = "rolled_back"
    ROLLBACK_BLOCKED = "rollback_blocked"


class LaneState(StrEnum):
    """Where a lane stands."""

    PENDING = "pending"
    RUNNING = "running"
    DONE = "done"
    STALLED = "stalled"
    FAILED = "failed"
    CONFLICT = "conflict"


class TaskState(StrEnum):
    """Where a piece of work for a host stands."""

    PENDING = "pending"
    LEASED = "leased"
    DONE = "done"
    FAILED = "failed"
    DROPPED = "dropped"


class TaskKind(StrEnum):
    """What a run asks of a host."""

    CAPTURE = "capture"
    COPY = "copy"
    CATCH_UP = "catch_up"
    VERIFY = "verify"
    PREPARE = "prepare"
    PUBLISH = "publish"
    STEP = "step"
    ROLLBACK = "rollback"
    UNDO = "undo"
    SEAL = "seal"


class Point(StrEnum):
    """Where in a phase's way a gate is waited at, or a step is done."""

    BEFORE_START = "before_start"
    BEFORE_PUBLICATION = "before_publication"
    AFTER_PUBLICATION = "after_publication"


State = TypeVar("State", bound=StrEnum)
_R, _P, _L, _T = RunState, PhaseState, LaneState, TaskState
PHASE_IN_HAND = frozenset({_P.READY, _P.STAGING, _P.VERIFYING, _P.PUBLISHING})
RUN_STEPS: Mapping[RunState, frozenset[RunState]] = {
    _R.PENDING: frozenset({_R.RUNNING, _R.PAUSED, _R.CANCELLED}),
    _R.RUNNING: frozenset({_R.PAUSED, _R.SUCCEEDED, _R.FAILED, _R.CANCELLED}),
    _R.PAUSED: frozenset({_R.RUNNING, _R.SUCCEEDED, _R.FAILED, _R.CANCELLED}),
    _R.FAILED: frozenset({_R.RUNNING, _R.ROLLING_BACK}),
    _R.SUCCEEDED: frozenset({_R.ROLLING_BACK}),
    _R.CANCELLED: frozenset({_R.ROLLING_BACK}),
    _R.ROLLING_BACK: frozenset({_R.ROLLED_BACK, _R.ROLLBACK_BLOCKED}),
    _R.ROLLBACK_BLOCKED: frozenset({_R.ROLLING_BACK}),
    _R.ROLLED_BACK: frozenset({_R.ROLLING_BACK}),
}
PHASE_STEPS: Mapping[PhaseState, frozenset[PhaseState]] = {
    _P.PENDING: frozenset({_P.READY, _P.FAILED, _P.SKIPPED, _P.ROLLING_BACK}),
    _P.READY: frozenset({_P.STAGING, _P.FAILED, _P.SKIPPED, _P.ROLLING_BACK}),
    _P.STAGING: frozenset({_P.VERIFYING, _P.FAILED, _P.SKIPPED, _P.ROLLING_BACK}),
    _P.VERIFYING: frozenset({_P.PUBLISHING, _P.FAILED, _P.SKIPPED, _P.ROLLING_BACK}),
    _P.PUBLISHING: frozenset({_P.PUBLISHED, _P.FAILED, _P.ROLLING_BACK}),
    _P.PUBLISHED: frozenset({_P.SEALED, _P.ROLLING_BACK}),
    _P.SEALED: frozenset(),
    _P.FAILED: frozenset({_P.READY, _P.ROLLING_BACK}),
    _P.SKIPPED: frozenset({_P.READY, _P.ROLLING_BACK}),
    _P.ROLLING_BACK: frozenset({_P.ROLLED_BACK, _P.ROLLBACK_BLOCKED}),
    _P.ROLLED_BACK: frozenset({_P.READY}),
    _P.ROLLBACK_BLOCKED: frozenset({_P.ROLLING_BACK}),
}
LANE_STEPS: Mapping[LaneState, frozenset[LaneState]] = {
    _L.PENDING: frozenset({_L.RUNNING, _L.FAILED}),
    _L.RUNNING: frozenset({_L.DONE, _L.STALLED, _L.FAILED, _L.CONFLICT, _L.PENDING}),
    _L.STALLED: frozenset({_L.RUNNING, _L.FAILED, _L.PENDING}),
    _L.FAILED: frozenset({_L.PENDING}),
    _L.CONFLICT: frozenset({_L.PENDING}),
    _L.DONE: frozenset(),
}
TASK_STEPS: Mapping[TaskState, frozenset[TaskState]] = {
    _T.PENDING: frozenset({_T.LEASED, _T.DROPPED, _T.FAILED}),
    _T.LEASED: frozenset({_T.PENDING, _T.DONE, _T.FAILED, _T.DROPPED}),
    _T.DONE: frozenset(),
    _T.FAILED: frozenset(),
    _T.DROPPED: frozenset(),
}
RUN_ENDED = frozenset({_R.SUCCEEDED, _R.FAILED, _R.CANCELLED, _R.ROLLED_BACK, _R.ROLLBACK_BLOCKED})
PHASE_ENDED = frozenset({_P.PUBLISHED, _P.SEALED, _P.FAILED, _P.SKIPPED, _P.ROLLED_BACK, _P.ROLLBACK_BLOCKED})
PHASE_NOT_STARTED_AGAIN = frozenset({_P.FAILED, _P.SKIPPED, _P.ROLLED_BACK})
PHASE_DONE = frozenset({_P.PUBLISHED, _P.SEALED})
PHASE_CUTTING_OVER = frozenset({_P.VERIFYING, _P.PUBLISHING})
TASK_OPEN = frozenset({_T.PENDING, _T.LEASED})
UNDOING = frozenset({TaskKind.ROLLBACK, TaskKind.UNDO})
AFTERWARDS = UNDOING | {TaskKind.SEAL}


def check_step(steps: Mapping[State, frozenset[State]], subject: str, before: State, after: State) -> None:
    """Raises IllegalTransition unless the machine has the step."""
    if after not in steps[before]:
        allowed = ", ".join(sorted(steps[before])) or "nothing: it is final"
        raise IllegalTransition(f"{subject} is {before} and can't become {after}; from there it can become {allowed}")
