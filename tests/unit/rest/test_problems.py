"""Problem details: one status for every error of the engine, no 5xx for what a person must mend, and all that a client needs."""

from collections.abc import Iterator

import grpc
import orjson
import pytest

from pymigrate.engine.domain import errors
from pymigrate.engine.entrypoints.grpc.errors import code_of
from pymigrate.engine.entrypoints.rest.problems import (
    PROBLEMS_MAX,
    Refused,
    problem_of,
    problem_response,
    status_of,
)


def kinds(root: type[errors.PyMigrateError]) -> Iterator[type[errors.PyMigrateError]]:
    yield root
    for kind in root.__subclasses__():
        if kind.__module__ == errors.__name__:
            yield from kinds(kind)


def made(kind: type[errors.PyMigrateError]) -> errors.PyMigrateError:
    if issubclass(kind, errors.InvalidDefinition):
        return kind((errors.Problem("plan.key", "is required"),))
    if issubclass(kind, errors.Inherited):
        return kind("environments/e/departments/d", "base")
    if issubclass(kind, errors.NotOwned):
        return kind("environments/e", "git", "api")
    if issubclass(kind, errors.EngineRefused | errors.RepositoryRefused | errors.HostsUnavailable):
        return kind("REASON", "no")
    return kind("no")


STATUSES = {
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.UNAUTHENTICATED: 401,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.ALREADY_EXISTS: 409,
    grpc.StatusCode.FAILED_PRECONDITION: 409,
    grpc.StatusCode.ABORTED: 412,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.INTERNAL: 500,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
}


@pytest.mark.parametrize("kind", list(kinds(errors.PyMigrateError)))
def test_every_error_has_the_status_that_goes_with_its_code_over_grpc(kind: type[errors.PyMigrateError]) -> None:
    error = made(kind)
    assert status_of(error) == STATUSES[code_of(error)]
    assert isinstance(error, errors.TemporaryError) == (status_of(error) in {429, 503, 504})
    assert isinstance(error, errors.PermanentError) == (status_of(error) < 500 and status_of(error) != 429)
    assert orjson.loads(problem_response(error).body) == problem_of(error)


def test_a_problem_says_what_is_wrong_with_every_field() -> None:
    problems = (errors.Problem("plan.key", "is required"), errors.Problem("plan.x", "is too much"))
    response = problem_response(errors.InvalidDefinition(problems))
    assert response.headers["content-type"] == "application/problem+json"
    assert orjson.loads(response.body) == {
        "type": "urn:pymigrate:problem:invalid-definition",
        "title": "Bad Request",
        "status": 400,
        "detail": "plan.key: is required; plan.x: is too much",
        "reason": "INVALID_DEFINITION",
        "field": "plan.key",
        "violations": [
            {"field": "plan.key", "description": "is required"},
            {"field": "plan.x", "description": "is too much"},
        ],
    }


def test_more_problems_than_anybody_reads_are_counted() -> None:
    found = problem_of(errors.InvalidDefinition(tuple(errors.Problem(f"f{at}", "is wrong") for at in range(2_000))))
    assert len(found["violations"]) == PROBLEMS_MAX
    assert "2,000 problems" in found["detail"]


def test_what_passes_says_when_to_try_again() -> None:
    response = problem_response(errors.StoreUnavailable("the disk is full", retry_after_seconds=1.5))
    assert (response.status_code, response.headers["retry-after"]) == (503, "2")
    assert problem_of(errors.StoreUnavailable("x", retry_after_seconds=1.5))["retryAfterSeconds"] == 1.5


def test_who_is_not_known_is_asked_for_a_bearer_token() -> None:
    assert problem_response(errors.Unauthenticated("who?")).headers["www-authenticate"] == "Bearer"


def test_what_http_has_a_status_for_keeps_it_with_its_headers() -> None:
    response = problem_response(Refused(405, "METHOD_NOT_ALLOWED", "use GET", {"allow": "GET"}))
    assert (response.status_code, response.headers["allow"]) == (405, "GET")
