"""Errors leave a process without the secrets that it knows of, over gRPC and over REST."""

import orjson
import pytest
from google.rpc import error_details_pb2

from pymigrate.engine.domain import errors
from pymigrate.engine.entrypoints.grpc.errors import status_of
from pymigrate.engine.entrypoints.redacted import redacted
from pymigrate.engine.entrypoints.rest.problems import problem_response
from pymigrate.engine.ports.redaction import Redactor
from pymigrate.engine.ports.secrets import Secret


@pytest.fixture
def redactor() -> Redactor:
    made = Redactor()
    made.note(Secret("hunter22"))
    return made


@pytest.mark.parametrize(
    "error",
    [
        errors.StoreUnavailable("no postgresql://me:hunter22@db", field="hunter22"),
        errors.FailedPrecondition("hunter22"),
        errors.InvalidDefinition((errors.Problem("labels.hunter22", "hunter22 is wrong"), errors.Problem("b", "x"))),
    ],
    ids=lambda error: type(error).__name__,
)
def test_no_detail_of_an_error_tells_a_secret(error: errors.PyMigrateError, redactor: Redactor) -> None:
    clean = redacted(error, redactor.clean)
    status = status_of(clean)
    assert "***" in status.message
    assert b"hunter22" not in status.SerializeToString()
    body = problem_response(clean).body
    assert b"***" in body
    assert b"hunter22" not in body
    assert orjson.loads(body)["reason"] == error.reason


def test_every_problem_keeps_its_place(redactor: Redactor) -> None:
    problems = (errors.Problem("a.hunter22", "x"), errors.Problem("b", "hunter22 y"))
    bad = error_details_pb2.BadRequest()
    assert status_of(redacted(errors.InvalidDefinition(problems), redactor.clean)).details[1].Unpack(bad)
    assert [(each.field, each.description) for each in bad.field_violations] == [("a.***", "x"), ("b", "*** y")]
