"""One table from the engine's errors to gRPC's codes, and the google.rpc details that tell a client what to do (AIP-193)."""

from collections.abc import Sequence

import grpc
from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2

from pymigrate.engine.domain import errors

DOMAIN = "pymigrate.io"
# Clients refuse trailers of more than 8 KB. Message and status travel in them, the status once more by a third as base64.
MESSAGE_BYTES_MAX = 1_200
STATUS_BYTES_MAX = 4_500
PROBLEM_BYTES_MAX = 600
FIELD_BYTES_MAX = 300
CODES: tuple[tuple[type[errors.PyMigrateError], grpc.StatusCode], ...] = (
    (errors.InvalidDefinition, grpc.StatusCode.INVALID_ARGUMENT),
    (errors.NotFound, grpc.StatusCode.NOT_FOUND),
    (errors.AlreadyExists, grpc.StatusCode.ALREADY_EXISTS),
    (errors.StaleWrite, grpc.StatusCode.ABORTED),
    (errors.Unauthenticated, grpc.StatusCode.UNAUTHENTICATED),
    (errors.NotPermitted, grpc.StatusCode.PERMISSION_DENIED),
    (errors.PermanentError, grpc.StatusCode.FAILED_PRECONDITION),
    (errors.TooManyWatchers, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (errors.TooManyCalls, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (errors.CallTookTooLong, grpc.StatusCode.DEADLINE_EXCEEDED),
    (errors.TemporaryError, grpc.StatusCode.UNAVAILABLE),
    (errors.PyMigrateError, grpc.StatusCode.INTERNAL),
)


def code_of(error: errors.PyMigrateError) -> grpc.StatusCode:
    """The code of the first class in the table that the error is of."""
    return next(code for kind, code in CODES if isinstance(error, kind))


def status_of(error: errors.PyMigrateError) -> status_pb2.Status:
    """The error as google.rpc.Status: ErrorInfo always, and what its class adds; never more than a client accepts."""
    code, message = code_of(error), shortened(error.message, MESSAGE_BYTES_MAX)
    status = status_pb2.Status(code=code_pb2.Code.Value(code.name), message=message)
    info = error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN)
    if error.field:
        info.metadata["field"] = shortened(error.field, FIELD_BYTES_MAX)
    details: list[Message] = [info]
    if isinstance(error, errors.InvalidDefinition):
        details.append(_bad_request(error.problems, STATUS_BYTES_MAX - status.ByteSize() - info.ByteSize()))
    elif isinstance(error, errors.TemporaryError):
        delay = Duration()
        delay.FromMilliseconds(int(error.retry_after_seconds * 1000))
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    elif code is grpc.StatusCode.FAILED_PRECONDITION:
        failure = error_details_pb2.PreconditionFailure()
        subject = shortened(error.field, FIELD_BYTES_MAX)
        failure.violations.add(type=error.reason, subject=subject, description=message)
        details.append(failure)
    for detail in details:
        packed = Any()
        packed.Pack(detail)
        status.details.append(packed)
    return status


def shortened(text: str, bytes_max: int) -> str:
    """The text, or its beginning where it would take more bytes on the wire: whatever is not plain ASCII takes three a byte."""
    taken = 0
    for at, character in enumerate(text):
        is_plain = " " <= character <= "~" and character != "%"
        taken += 1 if is_plain else 3 * len(character.encode(errors="replace"))
        if taken > bytes_max:
            return f"{text[:at]} ..."
    return text


def _bad_request(problems: Sequence[errors.Problem], bytes_max: int) -> error_details_pb2.BadRequest:
    """As many problems as there is room for, and how many there are besides."""
    bad = error_details_pb2.BadRequest()
    for at, problem in enumerate(problems):
        field = shortened(problem.field, FIELD_BYTES_MAX)
        bad.field_violations.add(field=field, description=shortened(problem.description, PROBLEM_BYTES_MAX))
        if bad.ByteSize() > bytes_max - FIELD_BYTES_MAX and at + 1 < len(problems):
            left = len(problems) - at
            bad.field_violations[
                -1
            ].description = f"is wrong too, one of {left:,} problems more: mend those before first"
            break
    return bad
