"""A run whose history was purged: nothing is run again for that, and nothing of it is in the way."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from tf.gen import tfplugin_pb2 as pb
from tf.utils import read_dynamic_value, to_dynamic_value

from pymigrate.provider.sdk.servicer import Servicer
from tests.unit.provider.answering_engine import AnsweringEngine, answering
from tests.unit.provider.impact_engine import configured, refuse
from tests.unit.provider.schemas import full
from tests.unit.provider.test_destructions import PLAN, RUN

KNOWN = {
    "plan": PLAN,
    "triggers": {"day": "1"},
    "name": RUN,
    "key": "k",
    "plan_hash": "h",
    "state": "running",
    "desired_state": "running",
    "create_time": "2026-01-31T12:00:00Z",
    "rows_expected": 7,
}


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[AnsweringEngine]:
    """An engine that has no run any more."""
    with answering(tmp_path / "engine") as engine:
        engine.answers["GetRun"] = refuse(grpc.StatusCode.NOT_FOUND, f"there is no {RUN}")
        yield engine


@pytest.fixture
def servicer(engine: AnsweringEngine) -> Servicer:
    found: Servicer = configured(engine.home)
    return found


def value(**changes: Any) -> Any:
    """The run's state on the wire."""
    return to_dynamic_value(full("pymigrate_run", **(KNOWN | changes)))


def test_its_last_known_state_stays_and_nothing_is_planned(servicer: Servicer) -> None:
    read = servicer.ReadResource(pb.ReadResource.Request(type_name="pymigrate_run", current_state=value()), None)
    assert read_dynamic_value(read.new_state) == full("pymigrate_run", **KNOWN)
    request = pb.PlanResourceChange.Request(
        type_name="pymigrate_run", prior_state=read.new_state, proposed_new_state=value(), config=value()
    )
    answer = servicer.PlanResourceChange(request, None)
    assert read_dynamic_value(answer.planned_state) == read_dynamic_value(value())
    assert not answer.requires_replace


def test_another_desired_state_is_noted_and_asks_nobody(servicer: Servicer, engine: AnsweringEngine) -> None:
    request = pb.ApplyResourceChange.Request(
        type_name="pymigrate_run", prior_state=value(), planned_state=value(desired_state="paused")
    )
    answer = servicer.ApplyResourceChange(request, None)
    assert not answer.diagnostics
    assert read_dynamic_value(answer.new_state)["desired_state"] == "paused"
    assert {type(each).__name__ for each in engine.asked} == {"GetRunRequest"}


def test_it_is_destroyed_without_a_word_of_cancelling(servicer: Servicer, engine: AnsweringEngine) -> None:
    request = pb.PlanResourceChange.Request(
        type_name="pymigrate_run", prior_state=value(), proposed_new_state=to_dynamic_value(None)
    )
    assert not servicer.PlanResourceChange(request, None).diagnostics
    destroy = pb.ApplyResourceChange.Request(
        type_name="pymigrate_run", prior_state=value(), planned_state=to_dynamic_value(None)
    )
    answer = servicer.ApplyResourceChange(destroy, None)
    assert [each.severity for each in answer.diagnostics] == [pb.Diagnostic.WARNING]
    assert read_dynamic_value(answer.new_state) is None
    assert {type(each).__name__ for each in engine.asked} == {"GetRunRequest"}


def test_it_can_not_be_imported(servicer: Servicer) -> None:
    answer = servicer.ImportResourceState(pb.ImportResourceState.Request(type_name="pymigrate_run", id=RUN), None)
    assert [each.severity for each in answer.diagnostics] == [pb.Diagnostic.ERROR]
