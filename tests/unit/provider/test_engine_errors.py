"""What the engine says becomes a diagnostic at the attribute that causes it; an engine that is not there is told as such."""

from typing import Any

import grpc
import pytest
from google.rpc import code_pb2, error_details_pb2, status_pb2

from pymigrate.provider.engine import Engine, refuse
from pymigrate.provider.reaching import EnginePlace
from pymigrate.provider.resources.phase import PhaseResource
from pymigrate.provider.sdk.diagnostics import ManyRefused, Refused, attribute_path
from pymigrate.v1 import environment_pb2


class Answer(grpc.RpcError):
    """An error as a stub raises it."""

    def __init__(self, code: grpc.StatusCode, text: str, *details: Any) -> None:
        self._code, self._text = code, text
        self._status = status_pb2.Status(code=code_pb2.Code.Value(code.name), message=text)
        for detail in details:
            self._status.details.add().Pack(detail)

    def code(self) -> grpc.StatusCode:
        return self._code

    def details(self) -> str:
        return self._text

    def trailing_metadata(self) -> Any:
        return (("grpc-status-details-bin", self._status.SerializeToString()),) if self._status.details else ()


ATTRIBUTES = PhaseResource.attributes()


def test_each_field_that_is_wrong_is_a_diagnostic_at_its_attribute() -> None:
    bad = error_details_pb2.BadRequest()
    bad.field_violations.add(field="phase.datasets.flights.key", description="no such column")
    bad.field_violations.add(field="phase.department", description="is required")
    with pytest.raises(ManyRefused) as raised:
        refuse(Answer(grpc.StatusCode.INVALID_ARGUMENT, "x", bad), "Refused", ATTRIBUTES, "phase")
    found = [(error.path, error.detail) for error in raised.value.errors]
    assert found == [
        (("datasets", ("flights",), "key"), "no such column."),
        (("department",), "department: is required."),
    ]


def test_a_system_that_the_engine_can_not_reach_is_not_told_as_an_engine_that_does_not_answer() -> None:
    info = error_details_pb2.ErrorInfo(reason="SYSTEM_UNAVAILABLE", domain="pymigrate.io")
    with pytest.raises(Refused) as raised:
        refuse(Answer(grpc.StatusCode.UNAVAILABLE, "process 7 holds the file", info), "Refused", ATTRIBUTES)
    assert raised.value.detail == "process 7 holds the file."


def test_an_engine_that_does_not_answer_says_how_to_start_it() -> None:
    with pytest.raises(Refused, match="pymigrate serve"):
        refuse(Answer(grpc.StatusCode.UNAVAILABLE, "connection refused"), "Refused", ATTRIBUTES)


def test_a_home_without_an_engine_says_what_to_do(tmp_path: Any) -> None:
    with pytest.raises(Refused, match=f"pymigrate serve --home {tmp_path}"):
        Engine(EnginePlace(tmp_path)).call(
            "EnvironmentService", "GetEnvironment", environment_pb2.GetEnvironmentRequest(name="x")
        )


@pytest.mark.parametrize(
    ("field", "path"),
    [
        ("datasets.flights.source.connection", ["datasets", ("flights",), "source", "connection"]),
        ('datasets["flights"].key', ["datasets", ("flights",), "key"]),
        ("datasets.flights.nonsense", ["datasets", ("flights",)]),
        ("labels.a", ["labels"]),
        ("nonsense", []),
    ],
)
def test_a_field_leads_to_the_longest_part_of_it_that_the_schema_has(field: str, path: list[Any]) -> None:
    assert attribute_path(field, ATTRIBUTES) == path
