"""What `terraform plan` says of objects that are replaced by `-replace` or as tainted ones, of which Terraform asks as of creations."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tf.gen import tfplugin_pb2 as pb
from tf.utils import to_dynamic_value

from pymigrate.provider.sdk.servicer import Servicer
from pymigrate.v1 import connection_pb2, plan_pb2, run_pb2
from tests.unit.provider.answering_engine import AnsweringEngine, answering
from tests.unit.provider.impact_engine import configured
from tests.unit.provider.schemas import full
from tests.unit.provider.test_destructions import PLAN, PRIOR, RUN, run

NOUNS = ("plan", "connection", "run")


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[AnsweringEngine]:
    """An engine whose one run is under way."""
    with answering(tmp_path / "engine") as engine:
        dataset = plan_pb2.Dataset(source=plan_pb2.DatasetSource(connection="crm"))
        plan = plan_pb2.Plan(name=PLAN, phases={"sales": plan_pb2.Phase(datasets={"people": dataset})})
        connection = connection_pb2.Connection(name=PRIOR["connection"]["name"])
        under_way = run(run_pb2.RUN_STATE_RUNNING)
        engine.answers["GetPlan"] = lambda request, call: plan
        engine.answers["GetConnection"] = lambda request, call: connection
        engine.answers["GetRun"] = lambda request, call: under_way
        engine.answers["ListRuns"] = lambda request, call: run_pb2.ListRunsResponse(runs=[under_way])
        yield engine


@pytest.fixture
def servicer(engine: AnsweringEngine) -> Servicer:
    """One command's provider."""
    found: Servicer = configured(engine.home)
    return found


def state(noun: str, **more: Any) -> Any:
    """An object of the kind as Terraform knows it."""
    return to_dynamic_value(full(f"pymigrate_{noun}", **PRIOR[noun], **more))


def read(servicer: Servicer, noun: str) -> None:
    """Refreshes the object."""
    servicer.ReadResource(pb.ReadResource.Request(type_name=f"pymigrate_{noun}", current_state=state(noun)), None)


def plan(servicer: Servicer, noun: str, *, is_creation: bool, **more: Any) -> list[str]:
    """What is said of a plan for the object: E or W, and the summary."""
    nothing = to_dynamic_value(None)
    request = pb.PlanResourceChange.Request(
        type_name=f"pymigrate_{noun}",
        prior_state=nothing if is_creation else state(noun, **more),
        proposed_new_state=state(noun, **more),
        config=state(noun, **more),
    )
    answer = servicer.PlanResourceChange(request, None)
    return [f"{'EW'[found.severity - 1]} {found.summary}" for found in answer.diagnostics]


@pytest.mark.parametrize("noun", NOUNS)
def test_of_a_tainted_object_it_is_said_what_its_replacement_stops(servicer: Servicer, noun: str) -> None:
    read(servicer, noun)
    (said,) = plan(servicer, noun, is_creation=True)
    assert said.startswith("W ")
    assert PRIOR[noun]["name"] in said


@pytest.mark.parametrize("noun", NOUNS)
def test_of_a_replacement_that_is_asked_for_it_is_said_with_the_next_object(servicer: Servicer, noun: str) -> None:
    read(servicer, noun)
    assert plan(servicer, noun, is_creation=False) == []
    assert plan(servicer, noun, is_creation=True) == []  # Terraform would not show it
    (said,) = plan(servicer, "run_gate", is_creation=False)
    assert PRIOR[noun]["name"] in said
    assert plan(servicer, "run_gate", is_creation=False) == []


def test_a_protected_plan_is_not_replaced(servicer: Servicer) -> None:
    assert plan(servicer, "plan", is_creation=False, deletion_protection=True) == []
    assert plan(servicer, "plan", is_creation=True, deletion_protection=True) == [
        f"E {PLAN} is protected from deletion"
    ]


@pytest.mark.parametrize("noun", NOUNS)
def test_of_a_creation_of_what_nobody_has_read_nothing_is_said(servicer: Servicer, noun: str) -> None:
    assert plan(servicer, noun, is_creation=True) == []
    assert plan(servicer, "phase", is_creation=False) == []


def test_what_another_command_read_is_not_known(servicer: Servicer) -> None:
    read(servicer, "run")
    servicer.app.configure_provider(None, {"home": str(servicer.app.engine().place.home)})
    assert plan(servicer, "run", is_creation=True) == []


def test_a_run_with_other_triggers_takes_no_other_ones_place(servicer: Servicer) -> None:
    read(servicer, "run")
    assert plan(servicer, "run", is_creation=True, triggers={"again": "1"}) == []


def test_what_is_destroyed_and_made_again_elsewhere_is_told_once(servicer: Servicer) -> None:
    read(servicer, "run")
    request = pb.PlanResourceChange.Request(
        type_name="pymigrate_run", prior_state=state("run"), proposed_new_state=to_dynamic_value(None)
    )
    told = servicer.PlanResourceChange(request, None).diagnostics
    assert [RUN in each.summary for each in told] == [True]
    assert plan(servicer, "run", is_creation=True) == []
