"""What `terraform plan` says before something is destroyed, or another one takes its place: what is protected, what is under way, and what
can still be undone."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from tf.gen import tfplugin_pb2 as pb
from tf.utils import to_dynamic_value

from pymigrate.provider.sdk.servicer import Servicer
from pymigrate.v1 import plan_pb2, run_pb2
from tests.unit.provider.answering_engine import AnsweringEngine, answering
from tests.unit.provider.impact_engine import configured, refuse
from tests.unit.provider.schemas import full

PLAN = "environments/prod/plans/warehouse"
RUN = f"{PLAN}/runs/r1"
PRIOR: dict[str, dict[str, Any]] = {
    "plan": {"environment": "environments/prod", "plan_id": "warehouse", "name": PLAN, "uid": "u"},
    "connection": {
        "environment": "environments/prod",
        "connection_id": "crm",
        "name": "environments/prod/connections/crm",
        "uid": "u",
    },
    "run": {"plan": PLAN, "name": RUN, "key": "k", "state": "running", "desired_state": "running"},
    "phase": {"plan": PLAN, "phase_id": "sales", "name": f"{PLAN}/phases/sales", "department": "sales", "uid": "u"},
    "run_gate": {"run": RUN, "wait_for": "succeeded", "timeout_seconds": 1, "retry_failed": True, "state": "succeeded"},
}


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[AnsweringEngine]:
    """An engine of a plan that names the connection `crm`, with no run."""
    with answering(tmp_path / "engine") as engine:
        dataset = plan_pb2.Dataset(source=plan_pb2.DatasetSource(connection="crm"))
        plan = plan_pb2.Plan(name=PLAN, phases={"sales": plan_pb2.Phase(datasets={"people": dataset})})
        engine.answers["GetPlan"] = lambda request, call: plan
        runs(engine)
        yield engine


def runs(engine: AnsweringEngine, *held: run_pb2.Run) -> None:
    """Gives the engine runs."""
    engine.answers["ListRuns"] = lambda request, call: run_pb2.ListRunsResponse(runs=held)
    if held:
        engine.answers["GetRun"] = lambda request, call: held[0]


def run(state: int, **phases: int) -> run_pb2.Run:
    """A run in a state, with its phases in theirs."""
    return run_pb2.Run(
        name=RUN,
        state=run_pb2.RunState.Name(state),  # type: ignore[arg-type]  # an enum's number
        phases={name: run_pb2.PhaseRun(state=run_pb2.PhaseState.Name(each)) for name, each in phases.items()},  # type: ignore[arg-type]
    )


def planned(engine: AnsweringEngine, noun: str, *, replaced_by: Any = None, **prior: Any) -> list[str]:
    """What a plan says of a destruction, or of another value that takes another object: E or W, and the text."""
    before = full(f"pymigrate_{noun}", **PRIOR[noun], **prior)
    after = None if replaced_by is None else {**before, **replaced_by}
    request = pb.PlanResourceChange.Request(
        type_name=f"pymigrate_{noun}",
        prior_state=to_dynamic_value(before),
        proposed_new_state=to_dynamic_value(after),
        config=to_dynamic_value(after),
    )
    servicer: Servicer = configured(engine.home)
    answer = servicer.PlanResourceChange(request, None)
    return [f"{'EW'[found.severity - 1]} {found.summary}: {found.detail}" for found in answer.diagnostics]


@pytest.mark.parametrize("replaced_by", [None, {"plan_id": "other"}])
def test_a_plan_that_is_protected_is_not_planned_to_go_and_it_is_said_what_to_do(
    engine: AnsweringEngine, replaced_by: Any
) -> None:
    (wrong,) = planned(engine, "plan", deletion_protection=True, replaced_by=replaced_by)
    assert wrong.startswith(f"E {PLAN} is protected from deletion: Set `deletion_protection = false` and apply")


def test_a_protected_plan_that_changes_in_place_is_no_matter(engine: AnsweringEngine) -> None:
    assert planned(engine, "plan", deletion_protection=True, replaced_by={"deletion_protection": False}) == []


@pytest.mark.parametrize("replaced_by", [None, {"plan_id": "other"}])
def test_what_is_published_and_can_still_be_undone_is_told_with_its_run_and_phases(
    engine: AnsweringEngine, replaced_by: Any
) -> None:
    runs(
        engine,
        run(
            run_pb2.RUN_STATE_FAILED,
            b=run_pb2.PHASE_STATE_PUBLISHED,
            a=run_pb2.PHASE_STATE_PUBLISHED,
            c=run_pb2.PHASE_STATE_FAILED,
        ),
    )
    (told,) = planned(engine, "plan", replaced_by=replaced_by)
    assert told.startswith(f"W {PLAN} has published data that is neither sealed nor rolled back: {RUN} (a, b).")
    assert "`pymigrate rollback`" in told
    assert "`pymigrate seal`" in told


@pytest.mark.parametrize("state", [run_pb2.PHASE_STATE_SEALED, run_pb2.PHASE_STATE_ROLLED_BACK])
def test_what_is_sealed_or_rolled_back_is_not_told(engine: AnsweringEngine, state: int) -> None:
    runs(engine, run(run_pb2.RUN_STATE_SUCCEEDED, a=state))
    assert planned(engine, "plan") == []


@pytest.mark.parametrize("noun", ["plan", "connection"])
def test_a_run_that_is_under_way_is_told_of_the_plan_and_of_a_connection_that_it_uses(
    engine: AnsweringEngine, noun: str
) -> None:
    runs(engine, run(run_pb2.RUN_STATE_PAUSED))
    (told,) = planned(engine, noun)
    assert "is in use by work that is under way" in told
    assert f"{RUN} is paused" in told
    assert "`pymigrate cancel`" in told


def test_a_connection_that_no_unfinished_run_uses_is_not_warned_of(engine: AnsweringEngine) -> None:
    runs(engine, run(run_pb2.RUN_STATE_SUCCEEDED))
    assert planned(engine, "connection") == []
    runs(engine, run(run_pb2.RUN_STATE_RUNNING))
    assert planned(engine, "connection", replaced_by={"connection_id": "erp"}) != []
    engine.answers["GetPlan"] = lambda request, call: plan_pb2.Plan(name=PLAN)
    assert planned(engine, "connection") == []


@pytest.mark.parametrize("replaced_by", [None, {"triggers": {"again": "1"}}])
def test_a_run_that_would_be_cancelled_is_told_also_where_another_one_takes_its_place(
    engine: AnsweringEngine, replaced_by: Any
) -> None:
    runs(engine, run(run_pb2.RUN_STATE_RUNNING))
    (told,) = planned(engine, "run", replaced_by=replaced_by)
    assert told.startswith(f"W {RUN} is running and will be cancelled")


@pytest.mark.parametrize("noun", ["phase", "run_gate"])
def test_a_phase_and_a_gate_stop_nothing_and_say_nothing(engine: AnsweringEngine, noun: str) -> None:
    runs(engine, run(run_pb2.RUN_STATE_RUNNING))
    assert planned(engine, noun) == []


def test_runs_that_can_not_be_read_fail_the_plan_with_what_the_engine_says(engine: AnsweringEngine) -> None:
    engine.answers["ListRuns"] = refuse(grpc.StatusCode.INTERNAL, "the store is gone")
    (wrong,) = planned(engine, "plan")
    assert wrong == f"E The runs of {PLAN} can't be read: the store is gone"


def test_of_many_runs_a_few_are_told(engine: AnsweringEngine) -> None:
    runs(engine, *[run(run_pb2.RUN_STATE_RUNNING)] * 5)
    (told,) = planned(engine, "plan")
    assert told.count(RUN) == 3
    assert "and 2 more" in told
