"""An object that is not what Terraform read last is neither changed nor deleted: it is said who changed what, and what to do."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.empty_pb2 import Empty
from tf.gen import tfplugin_pb2 as pb
from tf.utils import to_dynamic_value

from pymigrate.provider.resources.environment import EnvironmentResource
from pymigrate.provider.sdk.servicer import Servicer
from pymigrate.provider.sdk.states import read_private, read_state
from pymigrate.provider.sdk.values import Unknown
from pymigrate.v1 import environment_pb2
from tests.unit.provider.answering_engine import AnsweringEngine, answering
from tests.unit.provider.impact_engine import configured, refuse

TYPE = "pymigrate_environment"
NAME = "environments/prod"


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[AnsweringEngine]:
    """An engine of one environment, which was written once."""
    with answering(tmp_path / "engine") as engine:
        engine.answers["GetEnvironment"] = lambda request, call: environment()
        engine.answers["UpdateEnvironment"] = lambda request, call: environment(etag="2", display_name="Planned")
        engine.answers["DeleteEnvironment"] = lambda request, call: Empty()
        yield engine


def environment(**fields: Any) -> environment_pb2.Environment:
    """What the engine has."""
    told = {"name": NAME, "uid": "u", "etag": "1", "display_name": "Production", "managed_by": "terraform"} | fields
    message = environment_pb2.Environment(**told)
    message.update_time.FromJsonString("2026-01-31T12:00:00Z")
    return message


def state(**fields: Any) -> dict[str, Any]:
    """What Terraform has."""
    return dict.fromkeys(EnvironmentResource.attributes()) | {
        "environment_id": "prod", "name": NAME, "uid": "u", "display_name": "Production",
    } | fields  # fmt: skip


def refreshed(servicer: Servicer) -> bytes:
    """The private state after a refresh."""
    request = pb.ReadResource.Request(type_name=TYPE, current_state=to_dynamic_value(state()), private=b"")
    answer = servicer.ReadResource(request, None)
    assert not answer.diagnostics
    private: bytes = answer.private
    return private


def applied(servicer: Servicer, prior: Any, planned: Any, private: bytes) -> tuple[Any, list[str], bytes]:
    """What an apply brings: state, what is wrong, and the private state."""
    request = pb.ApplyResourceChange.Request(
        type_name=TYPE,
        prior_state=to_dynamic_value(prior),
        planned_state=to_dynamic_value(planned),
        config=to_dynamic_value(planned),
        planned_private=private,
    )
    answer = servicer.ApplyResourceChange(request, None)
    told = read_state(EnvironmentResource.attributes(), answer.new_state)
    return told, [f"{found.summary}: {found.detail}" for found in answer.diagnostics], answer.private


def test_a_change_is_made_to_what_was_read_and_the_next_one_to_what_that_made(engine: AnsweringEngine) -> None:
    servicer = configured(engine.home)
    private = refreshed(servicer)
    _, wrong, private = applied(servicer, state(), state(display_name="Planned"), private)
    assert not wrong
    assert engine.asked[-1].environment.etag == "1"
    assert read_private(private) == {"etag": "2"}


def test_a_destruction_is_planned_and_done_for_what_was_read(engine: AnsweringEngine) -> None:
    servicer = configured(engine.home)
    request = pb.PlanResourceChange.Request(
        type_name=TYPE,
        prior_state=to_dynamic_value(state()),
        proposed_new_state=to_dynamic_value(None),
        config=to_dynamic_value(None),
        prior_private=refreshed(servicer),
    )
    planned = servicer.PlanResourceChange(request, None)
    told, wrong, _ = applied(servicer, state(), None, planned.planned_private)
    assert (told, wrong) == (None, [])
    assert engine.asked[-1].etag == "1"


def test_an_object_that_was_changed_elsewhere_is_not_changed_and_it_is_said_what_is_other(
    engine: AnsweringEngine,
) -> None:
    servicer = configured(engine.home)
    private = refreshed(servicer)
    engine.answers["UpdateEnvironment"] = refuse(grpc.StatusCode.ABORTED, "it was changed since it was read")
    engine.answers["GetEnvironment"] = lambda request, call: environment(
        etag="2", display_name="Theirs", lanes_max=5, managed_by="api"
    )
    told, [wrong], kept = applied(servicer, state(), state(display_name="Ours"), private)
    assert wrong.startswith(f"{NAME} was changed elsewhere and is not changed: ")
    assert "at 2026-01-31T12:00:00Z (it is managed by api)" in wrong
    assert "display_name: `Production` is now `Theirs`" in wrong
    assert "lanes_max: not set is now 5" in wrong
    assert "Run terraform plan again" in wrong
    assert told == state()
    assert read_private(kept) == {"etag": "1"}


def test_an_object_that_was_changed_elsewhere_is_not_deleted(engine: AnsweringEngine) -> None:
    servicer = configured(engine.home)
    private = refreshed(servicer)
    engine.answers["DeleteEnvironment"] = refuse(grpc.StatusCode.ABORTED, "it was changed since it was read")
    engine.answers["GetEnvironment"] = lambda request, call: environment(etag="2", display_name="Theirs")
    told, [wrong], _ = applied(servicer, state(), None, private)
    assert "is not deleted" in wrong
    assert "display_name: `Production` is now `Theirs`" in wrong
    assert told == state()


def test_an_object_that_others_need_says_how_terraform_changes_those_first(engine: AnsweringEngine) -> None:
    servicer = configured(engine.home)
    said = f"{NAME} is needed by environments/prod/onCallSchedules/nights: change that first"
    engine.answers["DeleteEnvironment"] = refuse(grpc.StatusCode.FAILED_PRECONDITION, said)
    told, [wrong], _ = applied(servicer, state(), None, b"")
    assert told == state()
    assert wrong.startswith(f"{NAME} can't be deleted: {said}. ")
    assert "lifecycle { create_before_destroy = true }" in wrong


def test_a_change_whose_first_try_was_made_and_never_answered_is_no_conflict(engine: AnsweringEngine) -> None:
    servicer = configured(engine.home)
    private = refreshed(servicer)
    engine.answers["UpdateEnvironment"] = refuse(grpc.StatusCode.ABORTED, "it was changed since it was read")
    engine.answers["GetEnvironment"] = lambda request, call: environment(etag="2", display_name="Planned")
    told, wrong, kept = applied(servicer, state(), state(display_name="Planned"), private)
    assert not wrong
    assert told["display_name"] == "Planned"
    assert read_private(kept) == {"etag": "2"}


def test_a_name_that_is_taken_says_how_to_take_it_over(engine: AnsweringEngine) -> None:
    servicer = configured(engine.home)
    engine.answers["CreateEnvironment"] = refuse(grpc.StatusCode.ALREADY_EXISTS, "it exists already")
    told, [wrong], _ = applied(servicer, None, state(name=Unknown, uid=Unknown), b"")
    assert told is None
    assert wrong.startswith(f"{NAME} exists already: ")
    assert f"terraform import pymigrate_environment.<name> {NAME}" in wrong


@pytest.mark.parametrize("private", [b"", b"\x81\x01", b"[]", b'{"etag": 1}'])
def test_a_private_state_of_another_make_says_nothing(private: bytes) -> None:
    assert read_private(private) == {}
