"""The spans of gRPC calls: what the caller's metadata say of its trace, and how each call ended."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc

from pymigrate.engine.entrypoints.call_spans import CallSpan, CallSpans, note_request_id
from pymigrate.engine.entrypoints.grpc.interceptors import OPEN_METHODS
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


class TraceInterceptor(grpc.aio.ServerInterceptor):
    """Comes before every other one, so that what they refuse has a span too."""

    def __init__(self, spans: CallSpans) -> None:
        self._spans = spans

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """Wraps the method's handler."""
        handler = await continuation(handler_call_details)
        if handler is None or handler_call_details.method in OPEN_METHODS:
            return handler  # health's: its watch is no generator, and a probe is part of no trace
        method = handler_call_details.method.removeprefix("/")
        metadata = handler_call_details.invocation_metadata or ()
        given = [str(value) for key, value in metadata if key == TRACEPARENT]
        if handler.unary_unary:
            return grpc.unary_unary_rpc_method_handler(
                self._unary(method, given, handler.unary_unary),
                handler.request_deserializer,
                handler.response_serializer,
            )
        if handler.unary_stream:
            return grpc.unary_stream_rpc_method_handler(
                self._stream(method, given, handler.unary_stream),
                handler.request_deserializer,
                handler.response_serializer,
            )
        return handler  # reflection's: no method of the contract takes a stream

    def _unary(self, method: str, given: list[str], serve: Callable[..., Any]) -> Callable[..., Any]:
        async def served(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
            call = self._spans.begin(given)
            note_request_id(request)
            try:
                answer = await serve(request, context)
            except BaseException as error:
                self._end(call, method, _code(context, error))
                raise
            self._end(call, method, _code(context))
            return answer

        return served

    def _stream(self, method: str, given: list[str], serve: Callable[..., Any]) -> Callable[..., Any]:
        async def served(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[Any]:
            call = self._spans.begin(given)
            note_request_id(request)
            try:
                async for answer in serve(request, context):
                    yield answer
            except BaseException as error:
                self._end(call, method, _code(context, error))
                raise
            self._end(call, method, _code(context))

        return served

    def _end(self, call: CallSpan, method: str, code: grpc.StatusCode) -> None:
        attributes: dict[str, str | int] = {"rpc.system": "grpc", "rpc.grpc.status_code": int(code.value[0])}
        self._spans.end(call, method, attributes, code.name if code in ERRORS else "")


def _code(context: grpc.aio.ServicerContext[Any, Any], error: BaseException | None = None) -> grpc.StatusCode:
    """How a call ended; whoever is gone before its end has cancelled it."""
    if isinstance(error, asyncio.CancelledError | GeneratorExit):
        return grpc.StatusCode.CANCELLED
    told: object = context.code()  # a number, whatever its annotation says
    known = next((each for each in grpc.StatusCode if told in {each, each.value[0]}), None)
    return known or (grpc.StatusCode.OK if error is None else grpc.StatusCode.UNKNOWN)
