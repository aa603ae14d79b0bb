"""Where a custom resource Run stands, in its conditions: pure, of what is declared, what the engine has, and what is done next.

Truthful before anything else: Ready is the run that succeeded whole, compared and with no lane left out, as it is declared now. Reconciling
is what goes on by itself, Stalled what waits for a person; never both, neither with Ready, and told where they hold alone.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from pymigrate.engine.entrypoints.operator.run_figures import (
    ASIDE_BYTES_MAX,
    FAILED,
    MESSAGE_BYTES_MAX,
    REASON_BYTES_MAX,
    fill_figures,
    shortened,
)
from pymigrate.engine.entrypoints.operator.run_gates import ENVIRONMENT_GATE, PUBLISHED, is_verified, waiting_gates
from pymigrate.engine.entrypoints.operator.run_steering import (
    ENDED,
    Call,
    Nothing,
    Rollback,
    Situation,
    Step,
    Wait,
    changed_since,
    is_manual,
)
from pymigrate.engine.entrypoints.operator.verdicts import Condition, ConditionType, Verdict
from pymigrate.v1 import custom_resource_pb2, run_pb2
from pymigrate.v1.shape import enum_word

GATES_TOLD_MAX = 5
# As JSON names them. Texts of conditions hold no counts of lanes, so that they do not turn with each.
LATE_FIELDS = frozenset({"progress", "rows", "rowsExpected", "bytes", "lanes", "phases", "phaseCounts"})


@dataclass(frozen=True, slots=True)
class Trouble:
    """What came in the way of a pass. `needs_person`: trying again does not help."""

    reason: str
    message: str
    needs_person: bool = False


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a run stands, in one word and a sentence. At most one of the three holds."""

    reason: str
    message: str
    is_reconciling: bool = False
    is_stalled: bool = False
    is_ready: bool = False


def run_verdict(
    before: custom_resource_pb2.RunStatus, seen: Situation, step: Step, trouble: Trouble | None = None
) -> Verdict:
    """The end of a pass. What is not known now stays as it was told before."""
    status = custom_resource_pb2.RunStatus()
    status.CopyFrom(before)
    status.ClearField("conditions")
    if seen.run is not None:
        fill_figures(status, seen.run)
        is_asked = seen.run.state in {run_pb2.RUN_STATE_FAILED, run_pb2.RUN_STATE_ROLLBACK_BLOCKED}
        status.retry = seen.retry if is_asked else seen.spec.retry
    standing = standing_of(seen, step, trouble)
    is_unknown = seen.run is None and trouble is not None and not trouble.needs_person
    conditions = (*_first(standing), *(() if is_unknown else _others(seen)))
    return Verdict(conditions, status, late_fields=LATE_FIELDS)


def standing_of(seen: Situation, step: Step, trouble: Trouble | None = None) -> Standing:
    """What is told of it first."""
    if trouble is not None:
        return _of_trouble(trouble)
    if seen.run is None:
        return _before_start(seen, step)
    if seen.is_deleted:
        if isinstance(step, Wait):
            return _of_trouble(Trouble(step.reason, step.message, step.needs_person))
        return Standing("Deleting", "what its deletion policy asks for is done before it goes", is_reconciling=True)
    if changed := changed_since(seen.spec, seen.run):
        word = enum_word(run_pb2.RunState.DESCRIPTOR, seen.run.state)
        told = f"{changed}: change it back, or make another Run. The run that was accepted is {word}"
        return Standing("Immutable", told, is_stalled=True)
    if seen.run.state == run_pb2.RUN_STATE_ROLLING_BACK or isinstance(step, Rollback):
        return Standing("RollingBack", "what it published is being undone", is_reconciling=True)
    if seen.run.state in ENDED:
        return _of_ended(seen, seen.run, step)
    return _of_under_way(seen, seen.run)


def camel_case(reason: str) -> str:
    """A reason of the engine's as conditions have them: `QuotaExceeded` for QUOTA_EXCEEDED."""
    words = [word for word in re.split(r"[^A-Za-z0-9]+", reason) if word]
    told = "".join(word[0].upper() + (word[1:].lower() if word.isupper() else word[1:]) for word in words)
    return told[:REASON_BYTES_MAX] if told[:1].isalpha() else "Unknown"


def _of_trouble(trouble: Trouble) -> Standing:
    needs_person = trouble.needs_person
    return Standing(trouble.reason, trouble.message, is_reconciling=not needs_person, is_stalled=needs_person)


def _before_start(seen: Situation, step: Step) -> Standing:
    match step:
        case Wait(reason, message, needs_person):
            is_wished = reason in {"Suspended", "Cancelled", "NotStarted"}
            is_moving = not is_wished and not needs_person
            return Standing(reason, message, is_reconciling=is_moving, is_stalled=needs_person)
        case Nothing() if seen.spec.dry_run and seen.problems:
            told = "nothing was started: `status.dryRun` tells what stands against it"
            return Standing("DryRunFailed", told, is_stalled=True)
        case Nothing() if seen.spec.dry_run:
            return Standing("DryRunPassed", "nothing was started, and nothing stands against it")
        case _:
            return Standing("Starting", "the engine is asked to check and to start it", is_reconciling=True)


def _of_ended(seen: Situation, run: run_pb2.Run, step: Step) -> Standing:
    spec = seen.spec
    if isinstance(step, Call):
        return Standing("Retrying", "what failed is tried again", is_reconciling=True)
    match run.state:
        case run_pb2.RUN_STATE_SUCCEEDED:
            return _of_succeeded(seen, run)
        case run_pb2.RUN_STATE_CANCELLED:
            if spec.cancel or spec.rollback:
                return Standing("Cancelled", "it was cancelled; what it had published before stays")
            return Standing("Cancelled", "it was ended for good: make another Run", is_stalled=True)
        case run_pb2.RUN_STATE_ROLLED_BACK:
            told = "what it published is undone"
            is_wished = spec.rollback
            return Standing("RolledBack", told if is_wished else f"{told}: make another Run", is_stalled=not is_wished)
        case run_pb2.RUN_STATE_ROLLBACK_BLOCKED:
            why = _why(run, "what it published could not be undone entirely")
            return Standing("RollbackBlocked", f"{why}. Mend the cause, and change `retry`", is_stalled=True)
        case _:
            why = _why(run, "it failed")
            more = (
                "" if spec.rollback or spec.cancel else ". Mend the cause, and change `retry` to try again what failed"
            )
            return Standing("RunFailed", f"{why}{more}", is_stalled=True)


def _of_succeeded(seen: Situation, run: run_pb2.Run) -> Standing:
    counts = run.lane_counts
    left = counts.failed + counts.conflict + counts.stalled + counts.pending + counts.running
    if left or any(phase.state not in PUBLISHED for phase in run.phases.values()):
        return Standing(
            "Incomplete", f"it ended, and not all of it is published: {_why(run, f'{left} lanes')}", is_stalled=True
        )
    if not all(map(is_verified, run.phases.values())):
        return Standing("NotVerified", "it ended, and not all of its datasets were compared and agree", is_stalled=True)
    if seen.spec.rollback:
        return Standing("Sealed", "what it published is sealed, and can't be undone any more", is_stalled=True)
    return Standing("Succeeded", f"{run.rows:,} rows are published and verified", is_ready=True)


def _of_under_way(seen: Situation, run: run_pb2.Run) -> Standing:
    """Lanes that failed are told before those that wait: it goes on, and can't succeed any more without a retry."""
    counts = run.lane_counts
    if run.desired_state == run_pb2.DESIRED_STATE_CANCELLED:
        return Standing("Cancelling", "its lanes drain, and its staging is dropped", is_reconciling=True)
    if seen.spec.suspend:
        if counts.running or run.desired_state != run_pb2.DESIRED_STATE_PAUSED:
            return Standing("Draining", "its lanes drain to their checkpoints", is_reconciling=True)
        return Standing("Suspended", "it waits with its lanes drained")
    if counts.failed or counts.conflict or any(phase.state in FAILED for phase in run.phases.values()):
        return Standing(
            "PhaseFailed", f"{_why(run, 'a lane failed')}. What does not depend on it goes on", is_reconciling=True
        )
    is_idle = not counts.running and not counts.stalled
    if run.host_troubles and (counts.pending or is_idle):
        trouble = run.host_troubles[0]
        told = f"lanes wait for a host: {trouble.message}"
        return _of_trouble(Trouble(camel_case(trouble.reason), told, is_idle and not trouble.is_temporary))
    if counts.stalled:
        told = "the source or target of lanes is away; they are tried again by themselves"
        return Standing("LanesStalled", told, is_reconciling=True)
    if run.waiting_for_plans:
        told = f"it waits until a run has succeeded of {', '.join(run.waiting_for_plans[:GATES_TOLD_MAX])}"
        return Standing("WaitingForPlans", told, is_reconciling=True)
    if run.waiting_for_runs and is_idle:
        # Not by their names: a thousand that wait for one relation would each be written to whenever one of them ends.
        told = "other runs replace the same, one at a time: `waiting_for_runs` of its run names those that it waits for now"
        return Standing("WaitingForRuns", told, is_reconciling=True)
    waiting = list(waiting_gates(run))
    if waiting and is_idle and not counts.pending and not _is_busy(run, {phase for phase, _ in waiting}):
        return Standing("ApprovalRequired", _gates_told(waiting, run), is_stalled=True)
    if run.state == run_pb2.RUN_STATE_PENDING:
        return Standing("Accepted", "the engine has accepted it", is_reconciling=True)
    return Standing("Running", "its lanes are under way", is_reconciling=True)


def _first(standing: Standing) -> Iterator[Condition]:
    reason, told = standing.reason, shortened(standing.message, MESSAGE_BYTES_MAX)
    aside = shortened(told, ASIDE_BYTES_MAX)
    yield Condition(ConditionType.READY, standing.is_ready, reason, told)
    if standing.is_reconciling:
        yield Condition(ConditionType.RECONCILING, True, reason, aside)
    if standing.is_stalled:
        yield Condition(ConditionType.STALLED, True, reason, aside)


def _others(seen: Situation) -> Iterator[Condition]:
    if _is_suspended(seen):
        yield Condition(ConditionType.SUSPENDED, True, "Suspended", "its lanes are drained, and none starts")
    yield Condition(ConditionType.APPROVED, *_approved(seen))
    yield Condition(ConditionType.VERIFIED, *_verified(seen.run))


def _is_suspended(seen: Situation) -> bool:
    run = seen.run
    if run is None or not seen.spec.suspend:
        return seen.spec.suspend
    is_held = run.desired_state == run_pb2.DESIRED_STATE_PAUSED and run.state not in ENDED
    return is_held and not run.lane_counts.running


def _approved(seen: Situation) -> tuple[bool, str, str]:
    spec, run = seen.spec, seen.run
    accepted = seen.plan_hash if run is None else run.plan_hash
    if spec.approved_plan_hash and accepted and spec.approved_plan_hash != accepted:
        return False, "PlanChanged", f"approved is another plan than `{accepted}`"
    if run is None:
        if is_manual(spec) and not (spec.approved_plan_hash and accepted):
            return False, "ApprovalRequired", f"set `approvedPlanHash` to `{accepted}`" if accepted else "no plan yet"
        return True, "Approved", "it starts by itself" if not spec.approved_plan_hash else "its plan is approved"
    if seen.refusal:
        return False, "NotPermitted", shortened(seen.refusal, ASIDE_BYTES_MAX)
    for declared in spec.gate_approvals:
        where = f"{declared.phase}/{declared.gate}"
        gates = [gate for name, phase in run.phases.items() if declared.phase in {"", name} for gate in phase.gates]
        if declared.gate not in gates and not (
            ENVIRONMENT_GATE.fullmatch(declared.gate) and any(map(ENVIRONMENT_GATE.fullmatch, gates))
        ):
            return False, "GateUnknown", f"there is no gate `{where}`"
        if declared.plan_hash != run.plan_hash:
            return False, "PlanChanged", f"`{where}` is approved of another plan than `{run.plan_hash}`"
    if run.state not in ENDED and (waiting := list(waiting_gates(run))):
        return False, "ApprovalRequired", _gates_told(waiting, run)
    return True, "Approved", "nothing waits for an approval"


def _verified(run: run_pb2.Run | None) -> tuple[bool | None, str, str]:
    """False as soon as one dataset differs; True once there is none that does not agree."""
    phases = [] if run is None else list(run.phases.values())
    found = [dataset for phase in phases for dataset in phase.datasets.values() if dataset.HasField("verification")]
    differing = sum(not dataset.verification.is_verified for dataset in found)
    if differing:
        return False, "Differs", f"{differing} datasets differ from their sources"
    total = sum(len(phase.datasets) for phase in phases)
    if len(found) < total or run is None or (not total and run.state != run_pb2.RUN_STATE_SUCCEEDED):
        return None, "NotCompared", "not all of its datasets are compared yet"
    return True, "Verified", f"{total} datasets are compared, and agree"


def _is_busy(run: run_pb2.Run, aside: set[str]) -> bool:
    """Whether some phase goes on that waits for no approval."""
    still = {run_pb2.PHASE_STATE_PENDING, run_pb2.PHASE_STATE_SKIPPED, *PUBLISHED}
    return any(phase.state not in still for name, phase in run.phases.items() if name not in aside)


def _gates_told(waiting: list[tuple[str, str]], run: run_pb2.Run) -> str:
    """The plan's own gates by name; those of the environment's policy by how others than the operator approve them."""
    own = [each for each in waiting if not ENVIRONMENT_GATE.fullmatch(each[1])]
    if not own:
        return (
            f"the environment's policy asks for approvals by others than who started it: `pymigrate approve {run.name}`"
        )
    told = ", ".join(f"`{phase}/{gate}`" for phase, gate in own[:GATES_TOLD_MAX])
    return f"{len(own)} gates wait for an approval of plan `{run.plan_hash}`: {told}"


def _why(run: run_pb2.Run, otherwise: str) -> str:
    """The failure of the run, or of the first of its phases that has one."""
    if run.failure.reason:
        return f"{run.failure.reason}: {run.failure.message}"
    for name, phase in sorted(run.phases.items()):
        if phase.state in FAILED:
            return f"phase `{name}` failed: {phase.failure.reason}: {phase.failure.message}"
    return otherwise
