"""At which gates a phase waits for somebody to approve."""

from collections.abc import Iterator, Mapping

from pymigrate.engine.domain.run import PhaseRun, Run
from pymigrate.engine.domain.run_states import PHASE_DONE, PHASE_NOT_STARTED_AGAIN, PhaseState, Point


def is_approvable(phase: PhaseRun) -> bool:
    """Whether all of what is to be published can be looked at: what catches up is approved before writes are blocked."""
    if phase.is_online:
        return phase.state is PhaseState.STAGING and phase.is_caught_up
    return phase.state is PhaseState.VERIFYING


def is_to_start(run: Run, phase: PhaseRun) -> bool:
    """Whether a phase is still to be begun in this attempt of the run: for the first time, or once more."""
    if phase.state is PhaseState.PENDING:
        return True
    return phase.state in PHASE_NOT_STARTED_AGAIN and phase.attempt < run.attempt


def waiting_gates(run: Run, phase: PhaseRun, phases: Mapping[str, PhaseRun]) -> Iterator[str]:
    """The gates that nothing but an approval keeps shut now, by name: before a start once everything that the phase needs is published, and
    before a publication once it can be looked at. `phases` are all of the run."""
    needed = (phases[name].state for name in phase.dependencies if name in phases)
    may_start = is_to_start(run, phase) and not run.waiting_for and all(state in PHASE_DONE for state in needed)
    for name, point in sorted(phase.gates.items()):
        waits = may_start if point == Point.BEFORE_START else is_approvable(phase)
        if waits and name not in phase.approvals:
            yield name
