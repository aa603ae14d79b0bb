"""What a run waits for, and what has gone wrong in it, in words: whoever watches is told what to do next."""

from collections.abc import Iterator

from pymigrate.v1 import plan_pb2, run_pb2
from pymigrate.v1.shape import enum_word


def notices(picture: run_pb2.WatchRunResponse) -> Iterator[tuple[str, str]]:
    """What is worth a line, each under a name of its own; empty text takes back what was told under that name."""
    run = picture.run
    is_held = run.state == run_pb2.RUN_STATE_PAUSED
    yield run.name, f"held: `pymigrate resume {run.name}` lets it go on" if is_held else ""
    waiting = ", ".join(run.waiting_for_plans)
    yield f"{run.name} waits", f"waits for a successful run of {waiting}" if waiting else ""
    others = ", ".join(run.waiting_for_runs)
    yield (
        f"{run.name} waits for its targets",
        f"waits until {others} is published or ends: both replace the same" if others else "",
    )
    for name, phase in sorted(run.phases.items()):
        yield name, _phase_notice(run, name, phase)
        for dataset, found in sorted(phase.datasets.items()):
            yield f"{name}/{dataset} repaired", _repair_notice(f"{name}/{dataset}", found)
            yield f"{name}/{dataset} quarantined", _quarantine_notice(f"{name}/{dataset}", found)
    for lane in picture.lanes:
        is_stalled = lane.state == run_pb2.LANE_STATE_STALLED and bool(lane.failure.message)
        yield lane.name, f"{lane.name.rpartition('/')[2]} waits: {lane.failure.message}" if is_stalled else ""


def _phase_notice(run: run_pb2.Run, name: str, phase: run_pb2.PhaseRun) -> str:
    if phase.failure.message and phase.state != run_pb2.PHASE_STATE_ROLLED_BACK:
        return f"{name} {enum_word(run_pb2.PhaseState.DESCRIPTOR, phase.state)}: {phase.failure.message}"
    point = _point(run, phase)
    due = [gate for gate, each in sorted(phase.gates.items()) if each.point == point and not each.approver]
    if not due or run.state != run_pb2.RUN_STATE_RUNNING:
        return ""
    return "\n".join(f"{name} waits for gate {gate}: `pymigrate approve {run.name} {name} {gate}`" for gate in due)


def _repair_notice(name: str, found: run_pb2.DatasetRun) -> str:
    if not found.repaired_rows:
        return ""
    rows = ", ".join(row.row for row in found.verification.repaired)
    return (
        f"{name}: the target held {found.repaired_rows:,} rows otherwise than they were written ({rows}); they were copied again and "
        "compared: find out what changes rows there"
    )


def _quarantine_notice(name: str, found: run_pb2.DatasetRun) -> str:
    """Once all is read: a number that still grows is no news."""
    if not found.quarantined_rows or not found.verification.is_verified:
        return ""
    return f"{name}: {found.quarantined_rows:,} rows were refused and are in its quarantine, each with its reason"


def _point(run: run_pb2.Run, phase: run_pb2.PhaseRun) -> int:
    """At which gates a phase stands now."""
    published = {run_pb2.PHASE_STATE_PUBLISHED, run_pb2.PHASE_STATE_SEALED}
    if phase.state == run_pb2.PHASE_STATE_PENDING and not run.waiting_for_plans:
        is_free = all(run.phases[need].state in published for need in phase.dependencies)
        return plan_pb2.GATE_POINT_BEFORE_START if is_free else plan_pb2.GATE_POINT_UNSPECIFIED
    is_verified = all(dataset.verification.is_verified for dataset in phase.datasets.values())
    if phase.state == run_pb2.PHASE_STATE_VERIFYING and is_verified:
        return plan_pb2.GATE_POINT_BEFORE_PUBLICATION
    return plan_pb2.GATE_POINT_UNSPECIFIED
