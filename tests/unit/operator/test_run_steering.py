"""Which call a custom resource Run asks for next."""

import pytest

from pymigrate.engine.entrypoints.operator.run_steering import (
    ApproveGate,
    Cancel,
    Check,
    DryRun,
    Nothing,
    Pause,
    Release,
    Resume,
    Retry,
    Rollback,
    Scale,
    Situation,
    Start,
    Step,
    Wait,
    next_step,
)
from pymigrate.v1 import custom_resource_pb2, run_pb2
from tests.unit.operator.declared_runs import HASH, OTHER_HASH, add_gate, engine_run, run_spec

MANUAL = custom_resource_pb2.APPROVAL_POLICY_MANUAL
ORPHAN = custom_resource_pb2.RUN_DELETION_POLICY_ORPHAN
CANCEL = custom_resource_pb2.RUN_DELETION_POLICY_CANCEL
ROLLBACK = custom_resource_pb2.RUN_DELETION_POLICY_ROLLBACK
UNDER_WAY = ["PENDING", "RUNNING", "PAUSED"]
ALL_STATES = [
    name.removeprefix("RUN_STATE_") for name in run_pb2.RunState.DESCRIPTOR.values_by_name if "UNSPECIFIED" not in name
]
ENDED = [state for state in ALL_STATES if state not in {*UNDER_WAY, "ROLLING_BACK"}]


def reason_of(step: Step) -> str:
    """Why it waits; what it does where it does not wait."""
    return step.reason if isinstance(step, Wait) else type(step).__name__


# Before the start ------------------------------------------------------------------------------------------------------------------------


def test_a_run_is_started_of_any_revision_where_nothing_else_is_said() -> None:
    assert next_step(Situation(run_spec())) == Start("")


@pytest.mark.parametrize(
    ("field", "reason"), [("cancel", "Cancelled"), ("rollback", "NotStarted"), ("suspend", "Suspended")]
)
def test_what_is_braked_is_neither_started_nor_checked(field: str, reason: str) -> None:
    for more in ({}, {"dry_run": True}, {"approval_policy": MANUAL}):
        assert reason_of(next_step(Situation(run_spec(**{field: True}, **more), plan_hash=HASH))) == reason


def test_a_run_waits_for_its_plan() -> None:
    step = next_step(Situation(run_spec(), plan_hash=None))
    assert isinstance(step, Wait)
    assert (step.reason, step.needs_person) == ("DependencyMissing", False)


def test_a_dry_run_is_checked_once_and_then_left() -> None:
    spec = run_spec(dry_run=True)
    assert next_step(Situation(spec, plan_hash=HASH)) == DryRun()
    assert next_step(Situation(spec, plan_hash=HASH, is_checked=True)) == Nothing()


def test_a_dry_run_that_is_approved_still_starts_nothing() -> None:
    spec = run_spec(dry_run=True, approval_policy=MANUAL, approved_plan_hash=HASH)
    assert next_step(Situation(spec, plan_hash=HASH, is_checked=True)) == Nothing()


def test_what_is_approved_by_hand_is_checked_first_and_then_waits_for_its_approval() -> None:
    spec = run_spec(approval_policy=MANUAL)
    assert next_step(Situation(spec, plan_hash=HASH)) == Check()
    waiting = next_step(Situation(spec, plan_hash=HASH, is_checked=True))
    assert isinstance(waiting, Wait)
    assert (waiting.reason, waiting.needs_person) == ("ApprovalRequired", True)
    assert HASH in waiting.message


def test_what_was_found_wrong_is_told_rather_than_put_up_for_approval() -> None:
    spec = run_spec(approval_policy=MANUAL)
    assert reason_of(next_step(Situation(spec, plan_hash=HASH, is_checked=True, problems=2))) == "CheckFailed"


def test_an_approved_run_is_started_of_the_revision_that_was_approved() -> None:
    spec = run_spec(approval_policy=MANUAL, approved_plan_hash=HASH)
    assert next_step(Situation(spec, plan_hash=HASH)) == Start(HASH)


@pytest.mark.parametrize("policy", [MANUAL, custom_resource_pb2.APPROVAL_POLICY_AUTOMATIC])
def test_a_plan_that_changed_since_its_approval_is_checked_anew_and_not_started(
    policy: custom_resource_pb2.ApprovalPolicy.ValueType,
) -> None:
    spec = run_spec(approval_policy=policy, approved_plan_hash=OTHER_HASH)
    assert next_step(Situation(spec, plan_hash=HASH)) == Check()
    step = next_step(Situation(spec, plan_hash=HASH, is_checked=True))
    assert isinstance(step, Wait)
    assert (step.reason, step.needs_person) == ("PlanChanged", True)
    assert HASH in step.message


# Under way -------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", UNDER_WAY)
def test_a_run_under_way_is_paused_and_resumed(state: str) -> None:
    assert next_step(Situation(run_spec(suspend=True), engine_run(state))) == Pause()
    paused = engine_run(state, desired="PAUSED")
    assert next_step(Situation(run_spec(suspend=True), paused)) == Nothing()
    assert next_step(Situation(run_spec(), paused)) == Resume()


@pytest.mark.parametrize("state", UNDER_WAY)
def test_cancelling_comes_before_suspending_and_is_asked_once(state: str) -> None:
    spec = run_spec(suspend=True, cancel=True)
    assert next_step(Situation(spec, engine_run(state))) == Cancel()
    assert next_step(Situation(spec, engine_run(state, desired="CANCELLED"))) == Nothing()


@pytest.mark.parametrize("state", ENDED)
def test_what_has_ended_is_neither_paused_nor_resumed_nor_scaled_nor_cancelled(state: str) -> None:
    for spec in (run_spec(), run_spec(suspend=True), run_spec(cancel=True)):
        for desired in ("RUNNING", "PAUSED", "CANCELLED"):
            assert next_step(Situation(spec, engine_run(state, desired=desired), lanes=7)) == Nothing()


def test_what_is_being_rolled_back_is_left_alone() -> None:
    run = engine_run("ROLLING_BACK", desired="CANCELLED")
    for field in ("suspend", "cancel", "rollback"):
        assert next_step(Situation(run_spec(**{field: True}, retry=3), run)) == Nothing()


def test_another_retry_tries_a_failed_run_again() -> None:
    failed = engine_run("FAILED")
    assert next_step(Situation(run_spec(retry=2), failed, retry=1)) == Retry()
    assert next_step(Situation(run_spec(retry=2), failed, retry=2)) == Nothing()


@pytest.mark.parametrize("state", [state for state in ALL_STATES if state != "FAILED"])
def test_nothing_but_a_failed_run_is_tried_again(state: str) -> None:
    assert next_step(Situation(run_spec(retry=2), engine_run(state), retry=1)) == Nothing()


@pytest.mark.parametrize("field", ["suspend", "cancel"])
def test_a_failed_run_that_is_braked_is_not_tried_again(field: str) -> None:
    assert next_step(Situation(run_spec(retry=2, **{field: True}), engine_run("FAILED"))) == Nothing()


def test_lanes_follow_what_is_declared() -> None:
    assert next_step(Situation(run_spec(), engine_run("RUNNING", lanes_max=2), lanes=5)) == Scale(5)
    assert next_step(Situation(run_spec(), engine_run("RUNNING", lanes_max=5), lanes=5)) == Nothing()
    assert next_step(Situation(run_spec(), engine_run("RUNNING", lanes_max=5), lanes=0)) == Scale(0)


def test_a_rollback_ends_what_is_under_way_and_undoes_what_is_published() -> None:
    spec = run_spec(rollback=True)
    assert next_step(Situation(spec, engine_run("RUNNING"))) == Rollback()
    assert reason_of(next_step(Situation(spec, engine_run("RUNNING", desired="CANCELLED")))) == "RollingBack"
    for state in ("SUCCEEDED", "FAILED", "CANCELLED"):
        assert next_step(Situation(spec, engine_run(state, phases={"sales": "PUBLISHED"}))) == Rollback()
        assert next_step(Situation(spec, engine_run(state, phases={"sales": "SKIPPED"}))) == Nothing()


def test_what_is_sealed_and_what_that_needs_stays() -> None:
    run = engine_run("SUCCEEDED", phases={"base": "PUBLISHED", "middle": "PUBLISHED", "top": "SEALED"})
    run.phases["top"].dependencies.append("middle")
    run.phases["middle"].dependencies.append("base")
    assert next_step(Situation(run_spec(rollback=True), run)) == Nothing()
    run.phases["aside"].state = run_pb2.PHASE_STATE_PUBLISHED
    assert next_step(Situation(run_spec(rollback=True), run)) == Rollback()


def test_a_blocked_rollback_waits_for_a_person_who_changes_retry() -> None:
    run = engine_run("ROLLBACK_BLOCKED")
    step = next_step(Situation(run_spec(rollback=True), run))
    assert isinstance(step, Wait)
    assert step.needs_person
    assert next_step(Situation(run_spec(rollback=True, retry=1), run)) == Rollback()


# What never changes ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fields", [{"plan": "other"}, {"triggers": {"day": "2"}}])
def test_a_declaration_that_may_not_change_brakes_still_and_goes_on_no_more(fields: dict[str, object]) -> None:
    assert reason_of(next_step(Situation(run_spec(**fields), engine_run("RUNNING"), lanes=3))) == "Immutable"
    assert reason_of(next_step(Situation(run_spec(retry=1, **fields), engine_run("FAILED")))) == "Immutable"
    paused = engine_run("PAUSED", desired="PAUSED")
    assert reason_of(next_step(Situation(run_spec(**fields), paused))) == "Immutable"
    assert next_step(Situation(run_spec(suspend=True, **fields), engine_run("RUNNING"))) == Pause()
    assert next_step(Situation(run_spec(cancel=True, **fields), engine_run("RUNNING"))) == Cancel()
    assert next_step(Situation(run_spec(rollback=True, **fields), engine_run("RUNNING"))) == Rollback()


def test_triggers_that_are_as_they_were_are_no_change() -> None:
    run = engine_run("RUNNING", triggers={"day": "1", "kubernetes_run": "u"})
    assert next_step(Situation(run_spec(triggers={"day": "1"}), run)) == Nothing()
    assert next_step(Situation(run_spec(triggers={"day": "1", "kubernetes_run": "mine"}), run)) == Nothing()


@pytest.mark.parametrize("state", ALL_STATES)
def test_nothing_is_steered_once_a_dry_run_is_made_of_a_run(state: str) -> None:
    spec = run_spec(dry_run=True, cancel=True, rollback=True, suspend=True, retry=9)
    assert reason_of(next_step(Situation(spec, engine_run(state, phases={"sales": "PUBLISHED"})))) == "Immutable"


# Gates -----------------------------------------------------------------------------------------------------------------------------------


def gated(gate: str = "sign_off", plan_hash: str = HASH, phase: str = "sales") -> custom_resource_pb2.RunSpec:
    """A declaration that approves a gate."""
    return run_spec(
        gate_approvals=[custom_resource_pb2.GateApproval(phase=phase, gate=gate, plan_hash=plan_hash)],
    )


def test_a_gate_is_approved_of_the_revision_that_was_looked_at_alone() -> None:
    run = engine_run("RUNNING", phases={"sales": "PENDING"})
    add_gate(run, "sales", "sign_off")
    assert next_step(Situation(gated(), run)) == ApproveGate("sales", "sign_off")
    assert next_step(Situation(gated(plan_hash=OTHER_HASH), run)) == Nothing()
    assert next_step(Situation(gated(plan_hash=""), run)) == Nothing()


def test_a_gate_that_is_approved_or_not_there_or_refused_is_left() -> None:
    run = engine_run("RUNNING", phases={"sales": "PENDING"})
    add_gate(run, "sales", "sign_off", approver="somebody")
    assert next_step(Situation(gated(), run)) == Nothing()
    assert next_step(Situation(gated("other"), run)) == Nothing()
    assert next_step(Situation(gated(phase="other"), run)) == Nothing()
    add_gate(run, "sales", "sign_off")
    assert next_step(Situation(gated(), run, refused=frozenset({ApproveGate("sales", "sign_off")}))) == Nothing()


@pytest.mark.parametrize(
    ("state", "lag_seconds", "is_open"),
    [("PENDING", -1, False), ("STAGING", -1, False), ("STAGING", 2, True), ("VERIFYING", -1, True)],
)
def test_a_gate_before_publication_is_approved_once_there_is_something_to_look_at(
    state: str, lag_seconds: float, is_open: bool
) -> None:
    run = engine_run("RUNNING", phases={"sales": state})
    run.phases["sales"].datasets["orders"].lag_seconds = lag_seconds
    add_gate(run, "sales", "sign_off", is_before_start=False)
    assert next_step(Situation(gated(), run)) == (ApproveGate("sales", "sign_off") if is_open else Nothing())


@pytest.mark.parametrize("phase", ["", "sales"])
def test_the_environments_gate_is_approved_by_its_own_name(phase: str) -> None:
    run = engine_run("PENDING", phases={"sales": "PENDING"})
    add_gate(run, "sales", "environment-1", approver="first")
    add_gate(run, "sales", "environment-2")
    assert next_step(Situation(gated("environment", phase=phase), run)) == ApproveGate(phase, "environment")
    add_gate(run, "sales", "environment-2", approver="second")
    assert next_step(Situation(gated("environment", phase=phase), run)) == Nothing()


# The end of the resource -----------------------------------------------------------------------------------------------------------------


def deleted(run: run_pb2.Run | None, policy: custom_resource_pb2.RunDeletionPolicy.ValueType, retry: int = 0) -> Step:
    """What is done next for a resource that is being deleted."""
    spec = run_spec(deletion_policy=policy, retry=retry)
    return next_step(Situation(spec, run, is_deleted=True, has_finalizer=True))


def test_a_resource_that_nothing_was_started_for_goes_at_once() -> None:
    assert next_step(Situation(run_spec(), is_deleted=True)) == Nothing()
    for policy in (CANCEL, ORPHAN, ROLLBACK):
        assert deleted(None, policy) == Release()


@pytest.mark.parametrize("state", ALL_STATES)
def test_an_orphan_goes_on_without_its_resource(state: str) -> None:
    assert deleted(engine_run(state), ORPHAN) == Release()


@pytest.mark.parametrize("policy", [CANCEL, custom_resource_pb2.RUN_DELETION_POLICY_UNSPECIFIED])
@pytest.mark.parametrize("state", UNDER_WAY)
def test_a_run_under_way_is_cancelled_and_waited_for_before_its_resource_goes(
    state: str, policy: custom_resource_pb2.RunDeletionPolicy.ValueType
) -> None:
    assert deleted(engine_run(state), policy) == Cancel()
    assert reason_of(deleted(engine_run(state, desired="CANCELLED"), policy)) == "Cancelling"


@pytest.mark.parametrize("state", ENDED)
def test_a_run_that_has_ended_lets_its_resource_go(state: str) -> None:
    assert deleted(engine_run(state, phases={"sales": "PUBLISHED"}), CANCEL) == Release()


def test_a_run_is_rolled_back_before_its_resource_goes() -> None:
    published = {"sales": "PUBLISHED"}
    assert deleted(engine_run("RUNNING"), ROLLBACK) == Rollback()
    assert reason_of(deleted(engine_run("RUNNING", desired="CANCELLED"), ROLLBACK)) == "RollingBack"
    assert deleted(engine_run("SUCCEEDED", phases=published), ROLLBACK) == Rollback()
    assert reason_of(deleted(engine_run("ROLLING_BACK"), ROLLBACK)) == "RollingBack"
    assert reason_of(deleted(engine_run("ROLLBACK_BLOCKED"), ROLLBACK)) == "RollbackBlocked"
    assert deleted(engine_run("ROLLBACK_BLOCKED"), ROLLBACK, retry=1) == Rollback()
    assert deleted(engine_run("ROLLED_BACK", phases={"sales": "ROLLED_BACK"}), ROLLBACK) == Release()
    assert deleted(engine_run("SUCCEEDED", phases={"sales": "SEALED"}), ROLLBACK) == Release()


def test_a_run_that_is_rolled_back_by_somebody_is_waited_for() -> None:
    assert reason_of(deleted(engine_run("ROLLING_BACK"), CANCEL)) == "RollingBack"
