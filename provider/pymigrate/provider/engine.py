"""How the provider reaches the engine, and how the engine's errors become diagnostics at the attribute that causes them."""

import os
import re
import threading
from collections.abc import Mapping
from importlib import import_module
from typing import Any, NoReturn, cast

import grpc

from pymigrate.provider.reaching import MESSAGE_BYTES_MAX, EnginePlace, handshake_problem
from pymigrate.provider.sdk.diagnostics import ManyRefused, Refused, attribute_path, shown
from pymigrate.provider.sdk.schema import Attribute

TIMEOUT_SECONDS = 60.0
START_TIMEOUT_SECONDS = 180.0
STOP_POLL_SECONDS = 0.1  # how soon a call that can be interrupted notices it
TOO_LARGE = "larger than max"  # how gRPC ends a call of a longer message, on either side
TRACEPARENT = re.compile(
    r"[0-9a-f-]{55,512}"
)  # what may be sent as metadata; a character beyond it would end every call
# Where each service's stub is; it is imported by the first call.
MODULES = {
    "EnvironmentService": "environment",
    "ConnectionService": "connection",
    "SecretBackendService": "secret_backend",
    "PlanService": "plan",
    "RunService": "run",
    "ImpactService": "impact",
    "KpiService": "kpi",
    "NotificationService": "notification",
    "TokenService": "token",
    "GitSourceService": "git_source",
    "AccessService": "access",
    "AuditService": "audit",
}


class Engine:
    """The stubs of the engine at a place; the channel is opened by the first call."""

    def __init__(self, place: EnginePlace) -> None:
        self.place = place
        self._channel: grpc.Channel | None = None
        self._stubs: dict[str, Any] = {}
        self._metadata: tuple[tuple[str, str], ...] = ()

    def call(self, service: str, method: str, request: Any, seconds: float = TIMEOUT_SECONDS) -> Any:
        """One call. Raises grpc.RpcError."""
        return getattr(self._stub(service), method)(request, metadata=self._metadata, timeout=seconds)

    def wait(self, service: str, method: str, request: Any, seconds: float, stopping: threading.Event) -> Any:
        """One call that takes its time and ends when `stopping` is set. Raises grpc.RpcError, and Refused when it was interrupted."""
        call = getattr(self._stub(service), method).future(request, metadata=self._metadata, timeout=seconds)
        ended = threading.Event()
        call.add_done_callback(lambda _: ended.set())
        while not ended.wait(STOP_POLL_SECONDS):
            if stopping.is_set():
                call.cancel()
                raise Refused(f"{method} was interrupted", "Nothing was changed by it.")
        return call.result()

    def stream(self, service: str, method: str, request: Any, seconds: float) -> Any:
        """A call whose answers are iterated; it can be cancelled."""
        return getattr(self._stub(service), method)(request, metadata=self._metadata, timeout=seconds)

    def _stub(self, service: str) -> Any:
        if service not in self._stubs:
            module = import_module(f"pymigrate.v1.{MODULES[service]}_pb2_grpc")
            self._stubs[service] = getattr(module, f"{service}Stub")(self._open())
        return self._stubs[service]

    @property
    def endpoint(self) -> str:
        """Where it listens. Raises Refused where no engine serves."""
        return self.place.endpoint

    def _open(self) -> grpc.Channel:
        if self._channel is None:
            token = self.place.token
            shown = (("authorization", f"Bearer {token}"),) if token else ()  # a certificate may stand for it
            self._metadata = (*shown, ("pymigrate-managed-by", "terraform"), *_trace())
            self._channel = self.place.open()
        return self._channel


def request_id() -> str:
    """Makes a creation that is tried again the same creation."""
    return os.urandom(16).hex()


def is_missing(error: grpc.RpcError) -> bool:
    """Whether the object is not there."""
    return bool(error.code() is grpc.StatusCode.NOT_FOUND)


def refuse(error: grpc.RpcError, summary: str, attributes: Mapping[str, Attribute], noun: str = "") -> NoReturn:
    """Raises the engine's error as diagnostics: each field that is wrong at the attribute that it is."""
    from google.rpc import error_details_pb2

    if wrong := violations(error):
        raise ManyRefused([_at(summary, *each, attributes, noun) for each in wrong]) from error
    info = error_details_pb2.ErrorInfo()
    for detail in _details(error):
        if detail.Unpack(info):  # the engine did answer, whatever the code
            field = info.metadata.get("field", "")
            raise _at(summary, field, error.details() or "", attributes, noun) from error
    if error.code() is grpc.StatusCode.UNAVAILABLE and (problem := handshake_problem(error.details() or "")):
        raise Refused(summary, f"The engine is not to be trusted: {problem}.") from error
    if error.code() is grpc.StatusCode.UNAVAILABLE:
        raise Refused(
            summary, f"The engine does not answer: {error.details()}. Start it with `pymigrate serve`."
        ) from error
    if error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED and TOO_LARGE in (error.details() or ""):
        raise Refused(
            summary,
            f"It has more than {MESSAGE_BYTES_MAX >> 20} MB, which neither the engine nor Terraform takes at once: "
            "divide its datasets among several phases.",
        ) from error
    raise Refused(summary, f"{error.details()}") from error


def violations(error: grpc.RpcError) -> list[tuple[str, str]]:
    """The fields that the engine says are wrong, each with what is wrong with it."""
    from google.rpc import error_details_pb2

    bad = error_details_pb2.BadRequest()
    found = next((bad for detail in _details(error) if detail.Unpack(bad)), None)
    return [(each.field, each.description) for each in found.field_violations] if found else []


def _trace() -> tuple[tuple[str, str], ...]:
    """What the pipeline that runs Terraform says of its trace, as OpenTelemetry carries it in variables. The engine judges it."""
    given = os.environ.get("TRACEPARENT", "")
    return (("traceparent", given),) if TRACEPARENT.fullmatch(given) else ()


def _details(error: grpc.RpcError) -> list[Any]:
    from grpc_status import rpc_status

    status = rpc_status.from_call(cast(grpc.Call, error))
    return list(status.details) if status else []


def _at(summary: str, field: str, description: str, attributes: Mapping[str, Attribute], noun: str) -> Refused:
    own = field.removeprefix(f"{noun}.") if noun else field
    path = attribute_path(own, attributes)
    is_whole = ".".join(str(step[0]) if isinstance(step, tuple) else step for step in path) == own
    if is_whole and len(shown(path)) < len(path):  # where it is, is told with the whole path
        return Refused(summary, f"{description}.", path)
    # Otherwise the text says which part of the attribute is meant.
    text = f"{own}: {description}" if own else description
    return Refused(summary, f"{text}.", path if is_whole else path[:1])
