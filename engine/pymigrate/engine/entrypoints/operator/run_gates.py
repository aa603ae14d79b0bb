"""The gates of a run as its engine tells them: which can be approved now, and which are all that is waited for."""

import re
from collections.abc import Iterator

from pymigrate.v1 import plan_pb2, run_pb2

# What the policy of an environment asks for, under the name that stands for all of it or under its own.
ENVIRONMENT_GATE = re.compile(r"environment(-[0-9]+)?")
PUBLISHED = frozenset({run_pb2.PHASE_STATE_PUBLISHED, run_pb2.PHASE_STATE_SEALED})


def is_shut(phase: run_pb2.PhaseRun, name: str) -> bool:
    """Whether a gate is there, is not approved, and could be approved now."""
    if name not in phase.gates or phase.gates[name].approver:
        return False
    if phase.gates[name].point != plan_pb2.GATE_POINT_BEFORE_PUBLICATION:
        return True
    if phase.state == run_pb2.PHASE_STATE_STAGING:
        return bool(phase.datasets) and all(dataset.lag_seconds >= 0 for dataset in phase.datasets.values())
    return phase.state == run_pb2.PHASE_STATE_VERIFYING


def waiting_gates(run: run_pb2.Run) -> Iterator[tuple[str, str]]:
    """The phases, and of each the gate, where nothing but an approval is missing."""
    for name, phase in sorted(run.phases.items()):
        for gate in sorted(phase.gates):
            if not is_shut(phase, gate):
                continue
            if phase.gates[gate].point == plan_pb2.GATE_POINT_BEFORE_PUBLICATION:
                is_due = phase.state == run_pb2.PHASE_STATE_STAGING or is_verified(phase)
            else:
                needed = (run.phases[other].state for other in phase.dependencies if other in run.phases)
                is_due = phase.state == run_pb2.PHASE_STATE_PENDING and all(state in PUBLISHED for state in needed)
                is_due = is_due and not run.waiting_for_plans
            if is_due:
                yield name, gate


def is_verified(phase: run_pb2.PhaseRun) -> bool:
    """Whether all of its datasets were compared, as they ask for, and agree."""
    return all(dataset.verification.is_verified for dataset in phase.datasets.values())
