"""The span of a call from outside, over gRPC and REST alike: below what the caller says of its trace, and what log lines name."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import structlog

from pymigrate.engine.ports.clock import Clock
from pymigrate.engine.ports.tracing import Span, SpanContext, Tracing, enter, log_fields, read_traceparent

# The calls of worker hosts come several times a second, and a host's work has spans of its own.
UNTOLD_SERVICES = ("pymigrate.v1.WorkerService", "grpc.")


@dataclass(frozen=True, slots=True)
class CallSpan:
    """A call under way."""

    context: SpanContext | None
    parent: SpanContext | None
    start: datetime


class CallSpans:
    """Begins and ends the spans of calls."""

    def __init__(self, tracing: Tracing, clock: Clock) -> None:
        self._tracing = tracing
        self._clock = clock

    def begin(self, traceparents: Sequence[str]) -> CallSpan:
        """Lets the present task work in a new span, below the one `traceparent` that the caller sent. None, several or an invalid
        one: the call is the first of a new trace."""
        parent = read_traceparent(traceparents[0]) if len(traceparents) == 1 else None
        context = self._tracing.begin(parent)
        enter(context)
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(**log_fields(context))
        return CallSpan(context, parent, self._clock.now())

    def end(self, call: CallSpan, method: str, attributes: Mapping[str, str | int], failure: str = "") -> None:
        """Records a call of a method that is named in full, `pymigrate.v1.RunService/StartRun`."""
        if not self._tracing.is_on or call.context is None or method.startswith(UNTOLD_SERVICES):
            return
        service, _, name = method.partition("/")
        told = {"rpc.service": service, "rpc.method": name, **attributes}
        end = self._clock.now()
        self._tracing.record(Span(method, call.context, call.parent, call.start, end, told, failure, is_call=True))


def note_request_id(request: object) -> None:
    """Log lines of the present task name the request's id, where it has one."""
    if request_id := getattr(request, "request_id", ""):
        structlog.contextvars.bind_contextvars(request_id=request_id)
