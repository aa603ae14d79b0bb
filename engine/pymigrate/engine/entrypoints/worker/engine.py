"""The engine as a worker host sees it: found by the files in its home, asked with a deadline, and told apart when it says no."""

from collections.abc import Callable
from typing import TypeVar

import grpc

from pymigrate.engine.domain.errors import EngineUnavailable, PermanentError
from pymigrate.engine.entrypoints.engine_access import EngineAccess, EngineAddress
from pymigrate.v1 import worker_pb2, worker_pb2_grpc

CALL_SECONDS_MAX = 5.0
ANSWERLESS = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.ABORTED,
    }
)
Answer = TypeVar("Answer")


class CallRefused(PermanentError):
    """The engine understood the call and will not have it; calling again changes nothing."""

    reason = "CALL_REFUSED"


class NotRegistered(EngineUnavailable):
    """The engine does not know the host, because it was started after the host registered."""


class EngineLink:
    """A channel to an engine, authorised by its token. Every call has a deadline, and raises EngineUnavailable when it was not answered,
    NotRegistered when the host must register first, and CallRefused when the engine says no."""

    def __init__(self, address: EngineAddress, token: str) -> None:
        self._address = address
        # A proxy that the environment names is for other networks than the engine's.
        self._channel = address.open([("grpc.enable_http_proxy", 0)])
        self._stub = worker_pb2_grpc.WorkerServiceStub(self._channel)
        self._metadata = (("authorization", f"Bearer {token}"),)

    def register(self, request: worker_pb2.RegisterHostRequest) -> worker_pb2.RegisterHostResponse:
        """RegisterHost."""
        return self._ask(self._stub.RegisterHost, request)

    def claim(self, request: worker_pb2.ClaimTaskRequest) -> worker_pb2.ClaimTaskResponse:
        """ClaimTask; the deadline leaves the engine the time that it is asked to wait."""
        return self._ask(self._stub.ClaimTask, request, CALL_SECONDS_MAX + request.wait_seconds)

    def heartbeat(self, request: worker_pb2.HeartbeatRequest) -> worker_pb2.HeartbeatResponse:
        """Heartbeat."""
        return self._ask(self._stub.Heartbeat, request)

    def report(self, request: worker_pb2.ReportProgressRequest) -> None:
        """ReportProgress."""
        self._ask(self._stub.ReportProgress, request)

    def finish(self, request: worker_pb2.FinishTaskRequest) -> None:
        """FinishTask."""
        self._ask(self._stub.FinishTask, request)

    def show(self, token: str) -> None:
        """Shows another token from now on."""
        self._metadata = (("authorization", f"Bearer {token}"),)

    def close(self) -> None:
        """Ends the channel; calls under way fail."""
        self._channel.close()

    def _ask(self, call: Callable[..., Answer], request: object, seconds: float = CALL_SECONDS_MAX) -> Answer:
        try:
            return call(request, timeout=seconds, metadata=self._metadata)
        except grpc.RpcError as error:
            code, details = error.code(), error.details()
            if code is grpc.StatusCode.NOT_FOUND:
                raise NotRegistered(f"{code.name}: {details}") from error
            if code in ANSWERLESS:
                problem = self._address.handshake_problem(details or "")
                raise EngineUnavailable(problem or f"{code.name}: {details}") from error
            raise CallRefused(f"{code.name}: {details}") from error
        except ValueError as error:  # grpc's word for a channel that was closed meanwhile
            raise EngineUnavailable(f"the channel is closed: {error}") from error


def find_engine(access: EngineAccess) -> EngineLink:
    """The engine that is reached so. Raises EngineUnavailable while there is none."""
    return EngineLink(access.address(), access.token())
