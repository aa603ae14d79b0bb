"""The engine's errors as a gRPC client reads them back: the table of codes the other way round, with the details that came along."""

import grpc
from google.rpc import code_pb2, error_details_pb2, status_pb2

from pymigrate.engine.domain import errors
from pymigrate.engine.entrypoints.grpc.errors import CODES

DETAILS = "grpc-status-details-bin"
# What gRPC itself says of an engine that does not answer, or not in time.
ANSWERLESS = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
    }
)


def error_of(error: grpc.aio.AioRpcError) -> errors.PyMigrateError:
    """The error that the engine raised, as far as its status tells it; EngineUnavailable where no engine answered."""
    status = _status(error)
    if status is None:
        text = f"{error.code().name}: {error.details()}"
        if error.code() in ANSWERLESS:
            return errors.EngineUnavailable(f"the engine does not answer ({text}): see whether it runs")
        return errors.PyMigrateError(
            f"the engine's answer can't be understood ({text}): see whether its version is this one's"
        )
    return _read(status)


def _status(error: grpc.aio.AioRpcError) -> status_pb2.Status | None:
    for key, value in error.trailing_metadata() or ():
        if key == DETAILS:
            return status_pb2.Status.FromString(value if isinstance(value, bytes) else value.encode())
    return None


def _read(status: status_pb2.Status) -> errors.PyMigrateError:
    info, bad, retry = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest(), error_details_pb2.RetryInfo()
    for detail in status.details:
        for known in (info, bad, retry):
            detail.Unpack(known)
    code, field = code_pb2.Code.Name(status.code), info.metadata["field"]
    kind = next((kind for kind, known in CODES if known.name == code), errors.PyMigrateError)
    found: errors.PyMigrateError
    if kind is errors.InvalidDefinition and bad.field_violations:
        found = errors.InvalidDefinition(
            tuple(errors.Problem(wrong.field, wrong.description) for wrong in bad.field_violations)
        )
    elif issubclass(kind, errors.TemporaryError):
        seconds = retry.retry_delay.ToTimedelta().total_seconds()
        found = kind(status.message, field=field, retry_after_seconds=seconds)
    elif kind is errors.InvalidDefinition:
        found = errors.InvalidDefinition((errors.Problem(field or "request", status.message),))
    else:
        found = kind(status.message, field=field)
    if info.reason:
        found.reason = info.reason
    return found
