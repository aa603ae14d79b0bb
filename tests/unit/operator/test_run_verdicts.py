"""What a custom resource Run tells of itself, state by state."""

import itertools

import pytest

from pymigrate.engine.entrypoints.operator.run_figures import dry_run_report, progress, shortened
from pymigrate.engine.entrypoints.operator.run_steering import (
    Cancel,
    DryRun,
    Nothing,
    Retry,
    Rollback,
    Situation,
    Start,
    Wait,
    next_step,
)
from pymigrate.engine.entrypoints.operator.run_verdicts import Trouble, camel_case, run_verdict
from pymigrate.engine.entrypoints.operator.verdicts import Verdict
from pymigrate.v1 import custom_resource_pb2, run_pb2
from pymigrate.v1.shape import to_json_data
from tests.unit.operator.declared_runs import HASH, NAME, OTHER_HASH, add_gate, engine_run, run_spec

OTHER_RUN = NAME.replace("warehouse", "archive")

STATES = [name.removeprefix("RUN_STATE_") for name in run_pb2.RunState.DESCRIPTOR.values_by_name][1:]
LANES = ["pending", "running", "done", "stalled", "failed", "conflict"]
KINDS = ["Ready", "Reconciling", "Stalled", "Suspended", "Approved", "Verified"]
BLANK = custom_resource_pb2.RunStatus()


def told(seen: Situation, trouble: Trouble | None = None) -> Verdict:
    """What is told of what is seen."""
    return run_verdict(BLANK, seen, next_step(seen), trouble)


def conditions(verdict: Verdict) -> dict[str, str]:
    """Each condition's status; of those that are told where they hold alone also where they do not."""
    held = {str(each.type): each.status for each in verdict.conditions}
    return {kind: held.get(kind, "False") for kind in KINDS}


def reason(verdict: Verdict, kind: str = "Ready") -> str:
    """A condition's reason."""
    return next(each.reason for each in verdict.conditions if each.type == kind)


def message(verdict: Verdict, kind: str = "Ready") -> str:
    """A condition's message."""
    return next(each.message for each in verdict.conditions if each.type == kind)


def fields(verdict: Verdict) -> custom_resource_pb2.RunStatus:
    """The status beside its conditions."""
    assert isinstance(verdict.status, custom_resource_pb2.RunStatus)
    return verdict.status


def published(state: str = "SUCCEEDED") -> run_pb2.Run:
    """A run with one phase that is published and verified."""
    run = engine_run(state, phases={"sales": "PUBLISHED"}, rows=1_200)
    run.phases["sales"].datasets["orders"].verification.is_verified = True
    run.lane_counts.done = 2
    return run


def test_a_run_that_succeeded_and_is_verified_is_ready() -> None:
    status = told(Situation(run_spec(), published()))
    assert conditions(status) == {
        "Ready": "True",
        "Reconciling": "False",
        "Stalled": "False",
        "Suspended": "False",
        "Approved": "True",
        "Verified": "True",
    }
    found = fields(status)
    assert (found.name, found.environment, found.plan_hash) == (NAME, "shop", HASH)
    assert (found.progress, found.lanes.summary, dict(found.phase_counts)) == ("100%", "0/2", {"published": 1})
    assert message(status) == "1,200 rows are published and verified"


@pytest.mark.parametrize(("state", "lane"), list(itertools.product(STATES, LANES)))
def test_no_run_is_ready_with_a_lane_that_is_not_done(state: str, lane: str) -> None:
    run = published(state)
    setattr(run.lane_counts, lane, 1)
    status = told(Situation(run_spec(), run))
    is_ready = state == "SUCCEEDED" and lane == "done"
    assert conditions(status)["Ready"] == str(is_ready)
    assert [conditions(status)[kind] for kind in ("Reconciling", "Stalled")].count("True") == (0 if is_ready else 1)


@pytest.mark.parametrize("phase", ["PENDING", "STAGING", "FAILED", "SKIPPED", "ROLLED_BACK", "ROLLBACK_BLOCKED"])
def test_no_run_is_ready_with_a_phase_that_is_not_published(phase: str) -> None:
    run = published()
    run.phases["stock"].state = run_pb2.PhaseState.Value(f"PHASE_STATE_{phase}")
    status = told(Situation(run_spec(), run))
    assert (conditions(status)["Ready"], conditions(status)["Stalled"], reason(status)) == (
        "False",
        "True",
        "Incomplete",
    )


@pytest.mark.parametrize("is_compared", [False, True])
def test_no_run_is_ready_that_is_not_verified(is_compared: bool) -> None:
    run = published()
    if is_compared:
        run.phases["sales"].datasets["returns"].verification.is_verified = False
    else:
        run.phases["sales"].datasets["returns"].rows = 1
    status = told(Situation(run_spec(), run))
    assert (conditions(status)["Ready"], reason(status)) == ("False", "NotVerified")
    assert conditions(status)["Verified"] == ("False" if is_compared else "Unknown")


def test_one_phase_that_is_not_verified_keeps_the_whole_run_from_being_ready() -> None:
    run = published()
    run.phases["stock"].state = run_pb2.PHASE_STATE_PUBLISHED
    run.phases["stock"].datasets["items"].rows = 1
    assert reason(told(Situation(run_spec(), run))) == "NotVerified"


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("PENDING", ("Accepted", "Reconciling")),
        ("RUNNING", ("Running", "Reconciling")),
        ("FAILED", ("RunFailed", "Stalled")),
        ("CANCELLED", ("Cancelled", "Stalled")),
        ("ROLLING_BACK", ("RollingBack", "Reconciling")),
        ("ROLLED_BACK", ("RolledBack", "Stalled")),
        ("ROLLBACK_BLOCKED", ("RollbackBlocked", "Stalled")),
    ],
)
def test_what_goes_on_is_reconciling_and_what_nobody_asked_for_is_stalled(
    state: str, expected: tuple[str, str]
) -> None:
    status = told(Situation(run_spec(), engine_run(state)))
    assert (reason(status), reason(status, expected[1])) == (expected[0], expected[0])
    assert conditions(status)[expected[1]] == "True"


@pytest.mark.parametrize(
    ("state", "field"), [("CANCELLED", "cancel"), ("ROLLED_BACK", "rollback"), ("CANCELLED", "rollback")]
)
def test_what_is_as_it_was_asked_for_is_neither_reconciling_nor_stalled_nor_ready(state: str, field: str) -> None:
    found = conditions(told(Situation(run_spec(**{field: True}), engine_run(state))))
    assert [found[kind] for kind in ("Ready", "Reconciling", "Stalled")] == ["False"] * 3


def test_a_failure_is_told_with_what_to_do() -> None:
    failure = run_pb2.Failure(reason="SOURCE_MISSING", message="there is no `orders`")
    status = told(Situation(run_spec(), engine_run("FAILED", failure=failure)))
    assert message(status).startswith("SOURCE_MISSING: there is no `orders`. Mend the cause, and change `retry`")
    assert fields(status).failure == failure


def test_a_phase_that_failed_is_told_while_others_go_on() -> None:
    run = engine_run("RUNNING", phases={"sales": "FAILED", "stock": "STAGING", "other": "PENDING"})
    run.phases["sales"].failure.CopyFrom(run_pb2.Failure(reason="DATA_REFUSED", message="row 7"))
    run.lane_counts.running = 2
    status = told(Situation(run_spec(), run))
    assert (reason(status), conditions(status)["Reconciling"]) == ("PhaseFailed", "True")
    assert "phase `sales` failed: DATA_REFUSED: row 7" in message(status)
    assert [(each.phase, each.reason) for each in fields(status).phases] == [("sales", "DATA_REFUSED"), ("stock", "")]


@pytest.mark.parametrize("is_temporary", [True, False])
def test_lanes_that_no_host_comes_for_say_why(is_temporary: bool) -> None:
    run = engine_run("RUNNING")
    run.lane_counts.pending = 4
    run.host_troubles.add(reason="QUOTA_EXCEEDED", message="limits.cpu is used up", is_temporary=is_temporary)
    status = told(Situation(run_spec(), run))
    assert (reason(status), conditions(status)["Stalled"]) == ("QuotaExceeded", str(not is_temporary))
    assert message(status) == "lanes wait for a host: limits.cpu is used up"
    run.lane_counts.running = 1
    assert conditions(told(Situation(run_spec(), run)))["Stalled"] == "False"
    run.lane_counts.pending = 0
    assert reason(told(Situation(run_spec(), run))) == "Running"


def test_lanes_whose_system_is_away_are_told() -> None:
    run = engine_run("RUNNING")
    run.lane_counts.stalled = 3
    assert reason(told(Situation(run_spec(), run))) == "LanesStalled"


def test_plans_that_are_waited_for_are_named() -> None:
    status = told(Situation(run_spec(), engine_run("PENDING", waiting_for_plans=["base"])))
    assert (reason(status), "base" in message(status)) == ("WaitingForPlans", True)


def test_a_run_drains_before_it_is_suspended() -> None:
    run = engine_run("PAUSED", desired="PAUSED")
    run.lane_counts.running = 1
    draining = told(Situation(run_spec(suspend=True), run))
    assert (reason(draining), conditions(draining)["Suspended"]) == ("Draining", "False")
    run.lane_counts.running = 0
    found = conditions(told(Situation(run_spec(suspend=True), run)))
    assert [found[kind] for kind in ("Ready", "Reconciling", "Stalled", "Suspended")] == ["False"] * 3 + ["True"]


def test_a_resource_that_was_suspended_before_its_start_says_so() -> None:
    found = conditions(told(Situation(run_spec(suspend=True))))
    assert [found[kind] for kind in ("Ready", "Reconciling", "Stalled", "Suspended")] == ["False"] * 3 + ["True"]


def test_a_gate_that_alone_holds_everything_up_waits_for_a_person() -> None:
    run = engine_run("RUNNING", phases={"base": "PUBLISHED", "sales": "PENDING"})
    run.phases["sales"].dependencies.append("base")
    add_gate(run, "sales", "sign_off")
    status = told(Situation(run_spec(), run))
    assert (reason(status), conditions(status)["Stalled"], conditions(status)["Approved"]) == (
        "ApprovalRequired",
        "True",
        "False",
    )
    assert "`sales/sign_off`" in message(status)
    run.phases["stock"].state = run_pb2.PHASE_STATE_STAGING
    run.lane_counts.running = 1
    busy = told(Situation(run_spec(), run))
    assert (conditions(busy)["Reconciling"], conditions(busy)["Approved"]) == ("True", "False")
    run.phases["base"].state = run_pb2.PHASE_STATE_STAGING
    assert conditions(told(Situation(run_spec(), run)))["Approved"] == "True"


def test_a_run_that_waits_for_others_with_the_same_targets_says_where_they_are_named() -> None:
    run = engine_run("RUNNING", phases={"sales": "READY"}, waiting_for_runs=[OTHER_RUN])
    status = told(Situation(run_spec(), run))
    assert (reason(status), conditions(status)["Reconciling"]) == ("WaitingForRuns", "True")
    assert "`waiting_for_runs` of its run names" in message(status)
    run.lane_counts.running = 1
    assert reason(told(Situation(run_spec(), run))) == "Running"


def test_what_the_environments_policy_wants_approved_is_told_with_who_may_and_how() -> None:
    run = engine_run("RUNNING", phases={"sales": "PENDING"})
    add_gate(run, "sales", "environment-1")
    status = told(Situation(run_spec(), run))
    assert reason(status) == "ApprovalRequired"
    assert message(status).endswith(f"by others than who started it: `pymigrate approve {run.name}`")
    add_gate(run, "sales", "sign_off")
    assert "1 gates wait" in message(told(Situation(run_spec(), run)))


@pytest.mark.parametrize(
    ("gate", "plan_hash", "expected"),
    [
        ("sign_off", HASH, ("True", "Approved")),
        ("sign_off", OTHER_HASH, ("False", "PlanChanged")),
        ("sign_of", HASH, ("False", "GateUnknown")),
        ("environment", HASH, ("False", "GateUnknown")),
    ],
)
def test_an_approval_that_means_nothing_is_told(gate: str, plan_hash: str, expected: tuple[str, str]) -> None:
    approvals = [custom_resource_pb2.GateApproval(phase="sales", gate=gate, plan_hash=plan_hash)]
    run = published()
    add_gate(run, "sales", "sign_off", approver="somebody")
    status = told(Situation(run_spec(gate_approvals=approvals), run))
    assert (conditions(status)["Approved"], reason(status, "Approved")) == expected


def test_a_plan_that_changed_since_its_approval_is_told_with_its_hash() -> None:
    status = told(Situation(run_spec(approved_plan_hash=OTHER_HASH), plan_hash=HASH, is_checked=True))
    assert (reason(status, "Approved"), reason(status, "Stalled")) == ("PlanChanged", "PlanChanged")
    assert HASH in message(status)


def test_what_waits_for_its_plan_goes_on_by_itself() -> None:
    status = told(Situation(run_spec(), plan_hash=None))
    assert (reason(status, "Reconciling"), conditions(status)["Stalled"]) == ("DependencyMissing", "False")


def test_a_dry_run_is_never_ready() -> None:
    spec = run_spec(dry_run=True)
    passed = told(Situation(spec, plan_hash=HASH, is_checked=True))
    assert (reason(passed), set(list(conditions(passed).values())[:3])) == ("DryRunPassed", {"False"})
    failed = told(Situation(spec, plan_hash=HASH, is_checked=True, problems=1))
    assert (reason(failed), conditions(failed)["Stalled"]) == ("DryRunFailed", "True")
    assert reason(run_verdict(BLANK, Situation(spec, plan_hash=HASH), DryRun())) == "Starting"


def test_what_never_changes_is_stalled_even_of_a_run_that_succeeded() -> None:
    status = told(Situation(run_spec(plan="other"), published()))
    assert (conditions(status)["Ready"], reason(status, "Stalled")) == ("False", "Immutable")
    assert "succeeded" in message(status)


def test_a_rollback_of_what_is_sealed_is_told_as_impossible() -> None:
    run = published()
    run.phases["sales"].state = run_pb2.PHASE_STATE_SEALED
    assert reason(told(Situation(run_spec(rollback=True), run)), "Stalled") == "Sealed"


@pytest.mark.parametrize(
    ("step", "state", "expected"),
    [(Retry(), "FAILED", "Retrying"), (Rollback(), "SUCCEEDED", "RollingBack"), (Rollback(), "FAILED", "RollingBack")],
)
def test_what_is_asked_of_the_engine_is_under_way(step: Retry | Rollback, state: str, expected: str) -> None:
    status = run_verdict(BLANK, Situation(run_spec(), published(state)), step)
    assert (reason(status, "Reconciling"), conditions(status)["Stalled"]) == (expected, "False")


def test_a_deleted_resource_is_never_ready() -> None:
    seen = Situation(run_spec(), published(), is_deleted=True, has_finalizer=True)
    assert reason(run_verdict(BLANK, seen, Cancel())) == "Deleting"
    waiting = run_verdict(BLANK, seen, Wait("Cancelling", "its lanes drain"))
    assert (reason(waiting, "Reconciling"), conditions(waiting)["Ready"]) == ("Cancelling", "False")


def test_a_trouble_is_told_and_what_was_known_is_kept() -> None:
    before = fields(told(Situation(run_spec(), published("RUNNING"))))
    seen = Situation(run_spec())
    status = run_verdict(before, seen, Start(""), Trouble("EngineUnavailable", "it does not answer"))
    assert (reason(status, "Reconciling"), conditions(status)["Stalled"]) == ("EngineUnavailable", "False")
    away = run_verdict(
        before, Situation(run_spec(suspend=True)), Wait("Suspended", ""), Trouble("EngineUnavailable", "")
    )
    assert {str(each.type) for each in away.conditions} == {"Ready", "Reconciling"}, (
        "nobody knows whether it is suspended"
    )
    assert (fields(status).name, fields(status).state, fields(status).rows) == (before.name, before.state, before.rows)
    refused = run_verdict(before, seen, Start(""), Trouble("NotPermitted", "no", needs_person=True))
    assert reason(refused, "Stalled") == "NotPermitted"


@pytest.mark.parametrize(
    ("rows", "expected", "state", "told_progress"),
    [
        (0, -1, "RUNNING", ""),
        (0, 0, "RUNNING", ""),
        (42, 100, "RUNNING", "42%"),
        (999, 1_000, "RUNNING", "99%"),
        (1_500, 1_000, "RUNNING", "99%"),
        (7, 1_000, "SUCCEEDED", "100%"),
    ],
)
def test_progress_is_never_whole_before_the_end(rows: int, expected: int, state: str, told_progress: str) -> None:
    assert progress(engine_run(state, rows=rows, rows_expected=expected)) == told_progress


def test_the_answered_retry_is_told_once_it_is_answered() -> None:
    assert fields(told(Situation(run_spec(retry=2), published()))).retry == 2
    assert fields(run_verdict(BLANK, Situation(run_spec(retry=2), engine_run("FAILED"), retry=1), Retry())).retry == 1
    assert fields(run_verdict(BLANK, Situation(run_spec(retry=2), engine_run("FAILED"), retry=2), Nothing())).retry == 2


@pytest.mark.parametrize(
    ("told_reason", "expected"),
    [
        ("QUOTA_EXCEEDED", "QuotaExceeded"),
        ("ImagePullFailed", "ImagePullFailed"),
        ("OOM-killed", "OOMKilled"),
        ("", "Unknown"),
        ("7up", "Unknown"),
    ],
)
def test_reasons_are_words_that_a_condition_takes(told_reason: str, expected: str) -> None:
    assert camel_case(told_reason).lower() == expected.lower()


def test_texts_are_cut_by_the_bytes_that_they_take() -> None:
    assert shortened("as it is", 8) == "as it is"
    assert shortened("too long a text", 8) == "too l..."
    assert shortened('""""', 8) == '""""'
    assert shortened("äöü€", 7) == "äö..."
    assert shortened("two\nlines\x00", 20) == "two lines "


def test_a_report_of_a_dry_run_is_bounded() -> None:
    problems = [(f"phases.p{number}", "x" * 1_000) for number in range(50)]
    report = dry_run_report(problems, run_pb2.Run())
    assert (len(report.problems), report.problem_count) == (20, 50)
    assert max(map(len, report.problems)) == 256


def test_a_status_has_no_count_of_rows_that_nobody_knows() -> None:
    run = engine_run("RUNNING", phases={"sales": "STAGING"})
    assert run.rows_expected == -1
    assert "rowsExpected" not in to_json_data(told(Situation(run_spec(), run)).status)
    run.phases["sales"].datasets["orders"].SetInParent()
    for expected in (run_pb2.Run(), run):
        assert "rowsExpected" not in to_json_data(dry_run_report([], expected))
    run.rows_expected = 7
    assert to_json_data(dry_run_report([], run))["rowsExpected"] == 7
