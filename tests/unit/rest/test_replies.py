"""The engine's errors, told over gRPC and read back by a client: the same problem comes out."""

import grpc
import pytest
from grpc.aio import AioRpcError, Metadata

from pymigrate.engine.domain import errors
from pymigrate.engine.entrypoints.grpc.errors import code_of, status_of
from pymigrate.engine.entrypoints.grpc.replies import error_of
from pymigrate.engine.entrypoints.rest.problems import problem_of

RAISED = (
    errors.InvalidDefinition((errors.Problem("phases.a", "is wrong"), errors.Problem("key", "is missing"))),
    errors.NotFound("there is no environments/e", field="name"),
    errors.AlreadyExists("environments/e exists"),
    errors.FailedPrecondition("the run has ended", field="name"),
    errors.NotOwned("environments/e", "terraform", "api"),
    errors.StaleWrite("it was changed"),
    errors.IllegalTransition("a run that has ended does not pause"),
    errors.Unauthenticated("no token"),
    errors.SecretMissing("env://X leads to no secret"),
    errors.SystemUnavailable("crm does not answer", retry_after_seconds=2.5),
    errors.StoreUnavailable("the disk is full", field="store", retry_after_seconds=30),
    errors.PyMigrateError("the engine failed"),
)


def told(error: errors.PyMigrateError) -> AioRpcError:
    """What a client catches."""
    status = status_of(error)
    trailers = Metadata(("grpc-status-details-bin", status.SerializeToString()))
    return AioRpcError(code_of(error), Metadata(), trailers, details=status.message)


@pytest.mark.parametrize("error", RAISED, ids=lambda error: type(error).__name__)
def test_a_problem_is_the_same_behind_a_channel(error: errors.PyMigrateError) -> None:
    assert problem_of(error_of(told(error))) == problem_of(error)


@pytest.mark.parametrize("code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED])
def test_an_engine_that_does_not_answer_is_to_be_asked_again(code: grpc.StatusCode) -> None:
    problem = problem_of(error_of(AioRpcError(code, Metadata(), Metadata(), details="no connection")))
    assert (problem["status"], problem["reason"]) == (503, "ENGINE_UNAVAILABLE")
    assert "no connection" in problem["detail"]


def test_an_answer_that_nobody_understands_is_an_error_of_the_engine_s() -> None:
    problem = problem_of(error_of(AioRpcError(grpc.StatusCode.UNIMPLEMENTED, Metadata(), Metadata(), details="x")))
    assert problem["status"] == 500
    assert "version" in problem["detail"]
