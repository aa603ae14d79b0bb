"""One table from the engine's errors to gRPC's codes, and the google.rpc details that tell a client what to do (AIP-193)."""

import grpc
from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2

from pymigrate.engine.domain import errors

DOMAIN = "pymigrate.io"
MESSAGE_CHARACTERS_MAX = 4_000
PROBLEMS_MAX = 50
CODES: tuple[tuple[type[errors.PyMigrateError], grpc.StatusCode], ...] = (
    (errors.InvalidDefinition, grpc.StatusCode.INVALID_ARGUMENT),
    (errors.NotFound, grpc.StatusCode.NOT_FOUND),
    (errors.AlreadyExists, grpc.StatusCode.ALREADY_EXISTS),
    (errors.StaleWrite, grpc.StatusCode.ABORTED),
    (errors.Unauthenticated, grpc.StatusCode.UNAUTHENTICATED),
    (errors.PermanentError, grpc.StatusCode.FAILED_PRECONDITION),
    (errors.TemporaryError, grpc.StatusCode.UNAVAILABLE),
    (errors.PyMigrateError, grpc.StatusCode.INTERNAL),
)


def code_of(error: errors.PyMigrateError) -> grpc.StatusCode:
    """The code of the first class in the table that the error is of."""
    return next(code for kind, code in CODES if isinstance(error, kind))


def status_of(error: errors.PyMigrateError) -> status_pb2.Status:
    """The error as google.rpc.Status: ErrorInfo always, and what its class adds."""
    code = code_of(error)
    status = status_pb2.Status(code=code_pb2.Code.Value(code.name), message=error.message[:MESSAGE_CHARACTERS_MAX])
    info = error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN)
    if error.field:
        info.metadata["field"] = error.field
    details: list[Message] = [info]
    if isinstance(error, errors.InvalidDefinition):
        bad = error_details_pb2.BadRequest()
        for problem in error.problems[:PROBLEMS_MAX]:
            bad.field_violations.add(field=problem.field, description=problem.description)
        details.append(bad)
    elif isinstance(error, errors.TemporaryError):
        delay = Duration()
        delay.FromMilliseconds(int(error.retry_after_seconds * 1000))
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    elif code is grpc.StatusCode.FAILED_PRECONDITION:
        failure = error_details_pb2.PreconditionFailure()
        failure.violations.add(
            type=error.reason, subject=error.field, description=error.message[:MESSAGE_CHARACTERS_MAX]
        )
        details.append(failure)
    for detail in details:
        packed = Any()
        packed.Pack(detail)
        status.details.append(packed)
    return status
