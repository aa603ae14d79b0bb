"""What whoever watches a run is told beside its lanes: what it waits for, and what to do next."""

from pymigrate.engine.entrypoints.cli.notices import notices
from pymigrate.v1 import plan_pb2, run_pb2

NAME = "environments/e/plans/p/runs/r"


def picture(state: "run_pb2.RunState.ValueType" = run_pb2.RUN_STATE_RUNNING) -> run_pb2.WatchRunResponse:
    """A run of a phase with a gate at each point, and one that needs it."""
    run = run_pb2.Run(name=NAME, state=state)
    first, second = run.phases["first"], run.phases["second"]
    first.state = second.state = run_pb2.PHASE_STATE_PENDING
    first.gates["go"].point = plan_pb2.GATE_POINT_BEFORE_START
    first.gates["figures"].point = plan_pb2.GATE_POINT_BEFORE_PUBLICATION
    second.gates["go"].point = plan_pb2.GATE_POINT_BEFORE_START
    second.dependencies.append("first")
    return run_pb2.WatchRunResponse(run=run)


def told(about: run_pb2.WatchRunResponse) -> list[str]:
    return [text for _, text in notices(about) if text]


def test_a_gate_at_which_a_phase_waits_is_told_with_the_command_that_approves_it() -> None:
    seen = picture()
    assert told(seen) == [f"first waits for gate go: `pymigrate approve {NAME} first go`"]
    seen.run.phases["first"].gates["go"].approver = "ann"
    assert told(seen) == []


def test_a_gate_before_publication_is_told_when_everything_is_verified() -> None:
    seen = picture()
    first = seen.run.phases["first"]
    first.state = run_pb2.PHASE_STATE_VERIFYING
    first.datasets["d"].rows = 1
    assert told(seen) == []
    first.datasets["d"].verification.is_verified = True
    assert told(seen) == [f"first waits for gate figures: `pymigrate approve {NAME} first figures`"]


def test_a_phase_behind_another_waits_for_its_gate_when_that_is_published() -> None:
    seen = picture()
    seen.run.phases["first"].state = run_pb2.PHASE_STATE_PUBLISHED
    assert told(seen) == [f"second waits for gate go: `pymigrate approve {NAME} second go`"]


def test_a_run_that_is_held_says_how_it_goes_on_and_nothing_of_gates() -> None:
    assert told(picture(run_pb2.RUN_STATE_PAUSED)) == [f"held: `pymigrate resume {NAME}` lets it go on"]


def test_a_run_that_waits_for_other_plans_names_them() -> None:
    seen = picture()
    seen.run.waiting_for_plans.extend(["crm", "erp"])
    assert told(seen) == ["waits for a successful run of crm, erp"]


def test_a_run_that_waits_for_another_with_the_same_targets_names_it() -> None:
    seen = picture()
    seen.run.waiting_for_runs.append(f"{NAME}0")
    assert f"waits until {NAME}0 is published or ends: both replace the same" in told(seen)


def test_a_stalled_lane_and_a_failed_phase_say_why() -> None:
    seen = picture()
    seen.run.phases["first"].state = run_pb2.PHASE_STATE_FAILED
    seen.run.phases["first"].failure.message = "the disk is full"
    lane = seen.lanes.add(name=f"{NAME}/lanes/first.d", phase="first", state=run_pb2.LANE_STATE_STALLED)
    lane.failure.message = "crm does not answer"
    assert told(seen) == ["first failed: the disk is full", "first.d waits: crm does not answer"]
    lane.state = run_pb2.LANE_STATE_RUNNING
    assert told(seen) == ["first failed: the disk is full"]


def test_rows_that_had_to_be_copied_again_are_told_although_all_is_well() -> None:
    seen = picture()
    seen.run.phases["first"].state = run_pb2.PHASE_STATE_PUBLISHED
    seen.run.phases["second"].state = run_pb2.PHASE_STATE_PUBLISHED
    found = seen.run.phases["first"].datasets["orders"]
    found.repaired_rows = 2
    for key in ("7", "9"):
        found.verification.repaired.add(row=key, kind="changed")
    [text] = told(seen)
    assert text.startswith("first/orders: the target held 2 rows otherwise than they were written (7, 9)")


def test_rows_in_quarantine_are_told_once_all_is_read() -> None:
    seen = picture(run_pb2.RUN_STATE_SUCCEEDED)
    found = seen.run.phases["first"].datasets["d"]
    found.quarantined_rows = 3
    assert told(seen) == []
    found.verification.is_verified = True
    assert told(seen) == ["first/d: 3 rows were refused and are in its quarantine, each with its reason"]
