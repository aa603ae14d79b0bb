"""One table from the engine's errors to HTTP statuses, and the problem details that tell a client what to do (RFC 9457)."""

import math
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import orjson
from starlette.responses import Response

from pymigrate.engine.domain import errors

MEDIA_TYPE = "application/problem+json"
PROBLEMS_MAX = 100
STATUSES: tuple[tuple[type[errors.PyMigrateError], HTTPStatus], ...] = (
    (errors.InvalidDefinition, HTTPStatus.BAD_REQUEST),
    (errors.NotFound, HTTPStatus.NOT_FOUND),
    (errors.AlreadyExists, HTTPStatus.CONFLICT),
    (errors.StaleWrite, HTTPStatus.PRECONDITION_FAILED),
    (errors.Unauthenticated, HTTPStatus.UNAUTHORIZED),
    (errors.NotPermitted, HTTPStatus.FORBIDDEN),
    (errors.PermanentError, HTTPStatus.CONFLICT),
    (errors.TooManyWatchers, HTTPStatus.TOO_MANY_REQUESTS),
    (errors.TooManyCalls, HTTPStatus.TOO_MANY_REQUESTS),
    (errors.CallTookTooLong, HTTPStatus.GATEWAY_TIMEOUT),
    (errors.TemporaryError, HTTPStatus.SERVICE_UNAVAILABLE),
    (errors.PyMigrateError, HTTPStatus.INTERNAL_SERVER_ERROR),
)


class Refused(errors.PermanentError):
    """A request that HTTP itself has a status for, such as 405 or 413; `headers` go with the answer."""

    def __init__(self, status: int, reason: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = HTTPStatus(status)
        self.reason = reason
        self.headers = dict(headers or {})


def status_of(error: errors.PyMigrateError) -> HTTPStatus:
    """The status of the first class in the table that the error is of."""
    if isinstance(error, Refused):
        return error.status
    return next(status for kind, status in STATUSES if isinstance(error, kind))


def problem_of(error: errors.PyMigrateError) -> dict[str, Any]:
    """The error as problem details: type, title, status and detail, and of its own `reason`, `field`, `violations` and
    `retryAfterSeconds`, which are what gRPC's details say."""
    status = status_of(error)
    problem: dict[str, Any] = {
        "type": f"urn:pymigrate:problem:{error.reason.lower().replace('_', '-')}",
        "title": status.phrase,
        "status": int(status),
        "detail": error.message,
        "reason": error.reason,
    }
    if error.field:
        problem["field"] = error.field
    if isinstance(error, errors.InvalidDefinition):
        shown = error.problems[:PROBLEMS_MAX]
        problem["violations"] = [{"field": found.field, "description": found.description} for found in shown]
        if len(error.problems) > PROBLEMS_MAX:
            problem["detail"] = f"{len(error.problems):,} problems, of which the first {PROBLEMS_MAX} are listed"
    if isinstance(error, errors.TemporaryError):
        problem["retryAfterSeconds"] = error.retry_after_seconds
    return problem


def problem_response(error: errors.PyMigrateError) -> Response:
    """The whole answer, with the headers that its status asks for."""
    headers = dict(error.headers) if isinstance(error, Refused) else {}
    if isinstance(error, errors.Unauthenticated):
        headers["www-authenticate"] = "Bearer"
    if isinstance(error, errors.TemporaryError):
        headers["retry-after"] = str(math.ceil(error.retry_after_seconds))
    return Response(orjson.dumps(problem_of(error)), status_of(error), headers, MEDIA_TYPE)
