"""The spans of gRPC calls: what the caller's metadata say of its trace, and how each call ended."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import grpc

from pymigrate.engine.entrypoints.call_spans import CallSpan, CallSpans, note_request_id
from pymigrate.engine.entrypoints.grpc.wrapping import Serve, WrappingInterceptor, code_of
from pymigrate.engine.ports.tracing import TRACEPARENT

# A server's span is in error for these alone: the others say that the caller asked for what can't be.
ERRORS = frozenset(
    {
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DATA_LOSS,
    }
)


class TraceInterceptor(WrappingInterceptor):
    """Comes before every other one, so that what they refuse has a span too."""

    def __init__(self, spans: CallSpans) -> None:
        self._spans = spans

    def unary(self, details: grpc.HandlerCallDetails, serve: Serve) -> Serve:
        """Serves one call with one answer."""
        method, given = details.method.removeprefix("/"), _given(details)

        async def served(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
            call = self._spans.begin(given)
            note_request_id(request)
            try:
                answer = await serve(request, context)
            except BaseException as error:
                self._end(call, method, code_of(context, error))
                raise
            self._end(call, method, code_of(context))
            return answer

        return served

    def stream(self, details: grpc.HandlerCallDetails, serve: Serve) -> Serve:
        """Serves one call that answers again and again."""
        method, given = details.method.removeprefix("/"), _given(details)

        async def served(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[Any]:
            call = self._spans.begin(given)
            note_request_id(request)
            try:
                async with aclosing(serve(request, context)) as answers:
                    async for answer in answers:
                        yield answer
            except BaseException as error:
                self._end(call, method, code_of(context, error))
                raise
            self._end(call, method, code_of(context))

        return served

    def _end(self, call: CallSpan, method: str, code: grpc.StatusCode) -> None:
        attributes: dict[str, str | int] = {"rpc.system": "grpc", "rpc.grpc.status_code": int(code.value[0])}
        self._spans.end(call, method, attributes, code.name if code in ERRORS else "")


def _given(details: grpc.HandlerCallDetails) -> list[str]:
    """What the caller's metadata say of its trace."""
    return [str(value) for key, value in details.invocation_metadata or () if key == TRACEPARENT]
