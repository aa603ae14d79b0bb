"""Which events of a run begin or end something in OpenLineage's sense: the run and its phases, in each attempt, and undoing them.

A pure fold over a run's events: the same events give the same steps, so that what is told twice has the same ids.
"""

from dataclasses import dataclass, field
from enum import StrEnum

from pymigrate.engine.domain.names import last_segment
from pymigrate.engine.domain.run_states import PHASE_DONE, PHASE_IN_HAND, PhaseState, RunState


class Kind(StrEnum):
    """OpenLineage's words for what has become of a run of a job."""

    START = "START"
    COMPLETE = "COMPLETE"
    FAIL = "FAIL"
    ABORT = "ABORT"


@dataclass(frozen=True, slots=True)
class Step:
    """Something begins or ends: the run, or a phase where one is named, in an attempt; `is_undoing`: it is taken back instead, for the
    `attempt`th time."""

    kind: Kind
    attempt: int
    phase: str = ""
    is_undoing: bool = False


_RUN_ENDS = {RunState.SUCCEEDED: Kind.COMPLETE, RunState.FAILED: Kind.FAIL, RunState.CANCELLED: Kind.ABORT}
_RUN_UNDONE = {RunState.ROLLED_BACK: Kind.COMPLETE, RunState.ROLLBACK_BLOCKED: Kind.FAIL}
_PHASE_ENDS = {PhaseState.PUBLISHED: Kind.COMPLETE, PhaseState.FAILED: Kind.FAIL}
_PHASE_UNDONE = {PhaseState.ROLLED_BACK: Kind.COMPLETE, PhaseState.ROLLBACK_BLOCKED: Kind.FAIL}


@dataclass(slots=True)
class LineageSteps:
    """What has been seen of one run, up to the event `sequence`."""

    sequence: int = 0
    attempt: int = 1
    is_begun: bool = False
    undone: int = 0
    phases: dict[str, int] = field(default_factory=dict)
    """How often each phase has been taken back from the target."""
    undoing: set[str] = field(default_factory=set)

    def take(self, sequence: int, type_: str, subject: str, from_state: str, to_state: str) -> Step | None:
        """The next event of the run, and what it begins or ends."""
        self.sequence = sequence
        if type_ == f"run.{to_state}":
            return self._run(RunState(from_state), RunState(to_state))
        if type_ == f"phase.{to_state}":
            return self._phase(last_segment(subject), PhaseState(from_state), PhaseState(to_state))
        return None

    def _run(self, before: RunState, after: RunState) -> Step | None:
        if after is RunState.RUNNING:
            if before is RunState.FAILED:
                self.attempt += 1
                self.is_begun = False
            is_first, self.is_begun = not self.is_begun, True
            return Step(Kind.START, self.attempt) if is_first else None
        if after is RunState.ROLLING_BACK:
            self.undone += 1
            return Step(Kind.START, self.undone, is_undoing=True)
        if after in _RUN_UNDONE:
            return Step(_RUN_UNDONE[after], self.undone, is_undoing=True)
        if after in _RUN_ENDS and self.is_begun:
            self.is_begun = False
            return Step(_RUN_ENDS[after], self.attempt)
        return None

    def _phase(self, phase: str, before: PhaseState, after: PhaseState) -> Step | None:
        if after is PhaseState.READY:
            return Step(Kind.START, self.attempt, phase)
        if before in PHASE_IN_HAND and after not in PHASE_IN_HAND:
            return Step(_PHASE_ENDS.get(after, Kind.ABORT), self.attempt, phase)
        if after is PhaseState.ROLLING_BACK and before in PHASE_DONE:
            self.undoing.add(phase)
            self.phases[phase] = self.phases.get(phase, 0) + 1
            return Step(Kind.START, self.phases[phase], phase, is_undoing=True)
        if after in _PHASE_UNDONE and phase in self.undoing:
            self.undoing.discard(phase)
            return Step(_PHASE_UNDONE[after], self.phases[phase], phase, is_undoing=True)
        return None
