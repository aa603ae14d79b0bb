"""Which call to the engine a custom resource Run asks for next: pure, of what is declared and of what the engine has.

Applied again and again it comes to an end in Wait, Nothing or Release, whatever it began with. It starts nothing without the approval
that is asked for, brakes even where it may not go on, and asks for no writing call in a dry run.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from pymigrate.engine.entrypoints.operator.run_gates import ENVIRONMENT_GATE, is_shut
from pymigrate.v1 import custom_resource_pb2, run_pb2

# The trigger that makes each resource a run of its own: its uid.
UID_TRIGGER = "kubernetes_run"
ENDED = frozenset(
    {
        run_pb2.RUN_STATE_SUCCEEDED,
        run_pb2.RUN_STATE_FAILED,
        run_pb2.RUN_STATE_CANCELLED,
        run_pb2.RUN_STATE_ROLLED_BACK,
        run_pb2.RUN_STATE_ROLLBACK_BLOCKED,
    }
)


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing can be done yet. `reason` is a condition's; `needs_person`: nothing will be by itself."""

    reason: str
    message: str
    needs_person: bool = False


@dataclass(frozen=True, slots=True)
class Nothing:
    """All is as it is declared, or on its way there."""


@dataclass(frozen=True, slots=True)
class Release:
    """The resource is deleted, and nothing is left to be done for it: it may go."""


@dataclass(frozen=True, slots=True)
class DryRun:
    """Check what a run would do, since that is all that is asked."""


@dataclass(frozen=True, slots=True)
class Check:
    """Check what a run would do, for somebody to approve."""


@dataclass(frozen=True, slots=True)
class Start:
    """Start it, of this revision; empty: of any."""

    plan_hash: str


@dataclass(frozen=True, slots=True)
class Pause:
    """Drain its lanes."""


@dataclass(frozen=True, slots=True)
class Resume:
    """Go on."""


@dataclass(frozen=True, slots=True)
class Cancel:
    """End it for good."""


@dataclass(frozen=True, slots=True)
class Retry:
    """Try again what failed."""


@dataclass(frozen=True, slots=True)
class Rollback:
    """Undo what is not sealed."""


@dataclass(frozen=True, slots=True)
class ApproveGate:
    """Approve a gate."""

    phase: str
    gate: str


@dataclass(frozen=True, slots=True)
class Scale:
    """Limit its lanes; 0: no limit of its own."""

    lanes: int


Call = DryRun | Check | Start | Pause | Resume | Cancel | Retry | Rollback | ApproveGate | Scale
Step = Wait | Nothing | Release | Call


@dataclass(frozen=True, slots=True)
class Situation:
    """A Run as it is declared, and what is known of it.

    `plan_hash` is the plan's now; empty: it was not asked for; None: there is no such plan. `is_checked`: what would happen was looked at,
    of this declaration and this plan, with so many `problems`. `retry` is the one that was answered last. `lanes` are the most that there
    should be. `refused` are approvals that the engine does not take, or need not be told again, and `refusal` says why. `plan_trouble` is
    why the plan is not to be run yet.
    """

    spec: custom_resource_pb2.RunSpec
    run: run_pb2.Run | None = None
    plan_hash: str | None = ""
    is_checked: bool = False
    problems: int = 0
    retry: int = 0
    lanes: int = 0
    is_deleted: bool = False
    has_finalizer: bool = False
    refused: frozenset[ApproveGate] = frozenset()
    refusal: str = ""
    plan_trouble: str = ""


def next_step(seen: Situation) -> Step:
    """What is to be done next."""
    if seen.is_deleted:
        return _to_end(seen, seen.run) if seen.has_finalizer else Nothing()
    if seen.run is None:
        return _to_start(seen)
    return _to_steer(seen, seen.run)


def needs_plan_hash(spec: custom_resource_pb2.RunSpec) -> bool:
    """Whether the plan's hash has to be known before a start."""
    return spec.dry_run or is_manual(spec) or bool(spec.approved_plan_hash)


def changed_since(spec: custom_resource_pb2.RunSpec, run: run_pb2.Run) -> str:
    """What of a declaration is otherwise than the run was accepted with, though it never changes; empty: nothing."""
    plan = run.name.split("/")[3]
    if spec.plan != plan:
        return f"`plan` was changed from `{plan}` to `{spec.plan}` after the run was accepted"
    accepted = {key: value for key, value in run.triggers.items() if key != UID_TRIGGER}
    if {key: value for key, value in spec.triggers.items() if key != UID_TRIGGER} != accepted:
        return "`triggers` were changed after the run was accepted"
    if spec.dry_run:
        return "`dryRun` was set after the run was accepted, and nothing is steered while it is"
    return ""


def is_undoable(run: run_pb2.Run) -> bool:
    """Whether something is published that neither is sealed nor needed by what is."""
    kept: set[str] = set()
    left = [name for name, phase in run.phases.items() if phase.state == run_pb2.PHASE_STATE_SEALED]
    while left:  # each phase is looked at once
        name = left.pop()
        if name not in kept and name in run.phases:
            kept.add(name)
            left.extend(run.phases[name].dependencies)
    states = (phase.state for name, phase in run.phases.items() if name not in kept)
    return run_pb2.PHASE_STATE_PUBLISHED in states


def _to_start(seen: Situation) -> Step:
    spec = seen.spec
    if spec.cancel:
        return Wait("Cancelled", "it was cancelled before it was started")
    if spec.rollback:
        return Wait("NotStarted", "there is nothing to roll back, and nothing is started while `rollback` is set")
    if spec.suspend:
        return Wait("Suspended", "it is not started while `suspend` is set")
    if seen.plan_trouble:
        return Wait("DependencyNotReady", seen.plan_trouble)
    if seen.plan_hash is None:
        return Wait("DependencyMissing", f"there is no plan `{spec.plan}` in its environment yet")
    if spec.dry_run:
        return Nothing() if seen.is_checked else DryRun()
    approved = spec.approved_plan_hash
    if not approved and not is_manual(spec):
        return Start("")
    if approved and approved == seen.plan_hash:
        return Start(approved)
    if not seen.is_checked:
        return Check()
    if seen.problems:
        return Wait("CheckFailed", "`status.dryRun` tells what stands against a start", needs_person=True)
    told = f"look at what it would do, and set `approvedPlanHash` to `{seen.plan_hash}`"
    if approved:
        return Wait("PlanChanged", f"the plan is not the one that was approved any more: {told}", needs_person=True)
    return Wait("ApprovalRequired", told, needs_person=True)


def _to_steer(seen: Situation, run: run_pb2.Run) -> Step:
    spec = seen.spec
    if spec.dry_run:
        return Wait("Immutable", changed_since(spec, run), needs_person=True)
    brake = _to_brake(seen, run)
    if brake is not None:
        return brake
    if changed := changed_since(spec, run):
        return Wait("Immutable", changed, needs_person=True)
    if run.state in ENDED:
        is_asked = run.state == run_pb2.RUN_STATE_FAILED and spec.retry != seen.retry and not spec.suspend
        return Retry() if is_asked else Nothing()
    if run.desired_state == run_pb2.DESIRED_STATE_PAUSED and not spec.suspend:
        return Resume()
    for approval in _approvals(seen, run):
        return approval
    return Scale(seen.lanes) if run.lanes_max != seen.lanes else Nothing()


def _to_brake(seen: Situation, run: run_pb2.Run) -> Step | None:
    """What keeps a run from going on, which is done whatever else is wrong with a declaration; None: it may go on."""
    spec = seen.spec
    if run.state == run_pb2.RUN_STATE_ROLLING_BACK:
        return Nothing()
    if spec.rollback:
        return _to_undo(seen, run) or Nothing()
    if run.state in ENDED:
        return Nothing() if spec.cancel else None
    if run.desired_state == run_pb2.DESIRED_STATE_CANCELLED:
        return Nothing()
    if spec.cancel:
        return Cancel()
    return Pause() if spec.suspend and run.desired_state != run_pb2.DESIRED_STATE_PAUSED else None


def _to_undo(seen: Situation, run: run_pb2.Run) -> Step | None:
    """None: nothing is left to be undone."""
    if run.state not in ENDED:
        is_ending = run.desired_state == run_pb2.DESIRED_STATE_CANCELLED
        return Wait("RollingBack", "it ends before it is rolled back") if is_ending else Rollback()
    if run.state == run_pb2.RUN_STATE_ROLLBACK_BLOCKED:
        if seen.spec.retry != seen.retry:
            return Rollback()
        told = "what it published could not be undone entirely: mend the cause, and change `retry` to try again"
        return Wait("RollbackBlocked", told, needs_person=True)
    return Rollback() if is_undoable(run) else None


def _to_end(seen: Situation, run: run_pb2.Run | None) -> Step:
    policy = seen.spec.deletion_policy
    if run is None or policy == custom_resource_pb2.RUN_DELETION_POLICY_ORPHAN:
        return Release()
    if run.state == run_pb2.RUN_STATE_ROLLING_BACK:
        return Wait("RollingBack", "it is rolled back before the resource goes")
    if policy == custom_resource_pb2.RUN_DELETION_POLICY_ROLLBACK:
        return _to_undo(seen, run) or Release()
    if run.state in ENDED:
        return Release()
    if run.desired_state == run_pb2.DESIRED_STATE_CANCELLED:
        return Wait("Cancelling", "its lanes drain before the resource goes")
    return Cancel()


def _approvals(seen: Situation, run: run_pb2.Run) -> Iterator[ApproveGate]:
    """The approvals that are declared of this revision, not given yet, and open to be given."""
    for declared in seen.spec.gate_approvals:
        step = ApproveGate(declared.phase, declared.gate)
        if declared.plan_hash != run.plan_hash or step in seen.refused:
            continue
        if ENVIRONMENT_GATE.fullmatch(declared.gate):
            phases = [phase for name, phase in run.phases.items() if declared.phase in {"", name}]
            if any(
                is_shut(phase, name) for phase in phases for name in phase.gates if ENVIRONMENT_GATE.fullmatch(name)
            ):
                yield step
        elif declared.phase in run.phases and is_shut(run.phases[declared.phase], declared.gate):
            yield step


def is_manual(spec: custom_resource_pb2.RunSpec) -> bool:
    """Whether it waits for somebody's approval."""
    return spec.approval_policy == custom_resource_pb2.APPROVAL_POLICY_MANUAL
