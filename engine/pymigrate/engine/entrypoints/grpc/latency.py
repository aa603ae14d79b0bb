"""How long gRPC calls take, and how many streams are open. A stream is timed until its first answer: what follows is the caller's wish."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc

from pymigrate.engine.entrypoints.grpc.interceptors import OPEN_METHODS
from pymigrate.engine.ports.clock import Clock
from pymigrate.engine.ports.metric_families import GRPC_DURATION
from pymigrate.engine.ports.metrics import Metrics

OK = grpc.StatusCode.OK.name


class LatencyInterceptor(grpc.aio.ServerInterceptor):
    """Times every call that has a handler, those without a token too; put it before the others. `open_streams` counts those of the
    contract that are open."""

    def __init__(self, metrics: Metrics, clock: Clock) -> None:
        self._metrics = metrics
        self._clock = clock
        self.open_streams = 0

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """Wraps the method's handler."""
        handler = await continuation(handler_call_details)
        if handler is None or handler_call_details.method in OPEN_METHODS or handler.request_streaming:
            return handler
        service, _, method = handler_call_details.method.lstrip("/").partition("/")
        timed = _Timed(self, service.rpartition(".")[2], method)
        if handler.unary_unary:
            return grpc.unary_unary_rpc_method_handler(
                timed.unary(handler.unary_unary), handler.request_deserializer, handler.response_serializer
            )
        return grpc.unary_stream_rpc_method_handler(
            timed.stream(handler.unary_stream), handler.request_deserializer, handler.response_serializer
        )

    def now(self) -> float:
        """The clock's monotonic reading."""
        return self._clock.monotonic()

    def took(self, service: str, method: str, code: str, began: float) -> None:
        """Counts a call that began then and ends now."""
        self._metrics.observe(GRPC_DURATION, (service, method, code), self.now() - began)


class _Timed:
    """The handlers of one method, timed."""

    def __init__(self, latency: LatencyInterceptor, service: str, method: str) -> None:
        self._latency = latency
        self._labels = (service, method)

    def unary(self, serve: Callable[..., Any]) -> Callable[..., Any]:
        """A call with one answer."""

        async def served(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
            began = self._latency.now()
            code = OK
            try:
                return await serve(request, context)
            except BaseException as error:
                code = _code(error, context)
                raise
            finally:
                self._latency.took(*self._labels, code, began)

        return served

    def stream(self, serve: Callable[..., Any]) -> Callable[..., Any]:
        """A call that answers again and again."""

        async def served(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[Any]:
            began = self._latency.now()
            is_timed = False
            self._latency.open_streams += 1
            try:
                async for answer in serve(request, context):
                    if not is_timed:
                        is_timed = True
                        self._latency.took(*self._labels, OK, began)
                    yield answer
                if not is_timed:
                    is_timed = True
                    self._latency.took(*self._labels, OK, began)
            except BaseException as error:
                if not is_timed:
                    self._latency.took(*self._labels, _code(error, context), began)
                raise
            finally:
                self._latency.open_streams -= 1

        return served


def _code(error: BaseException, context: grpc.aio.ServicerContext[Any, Any]) -> str:
    """The status that the caller gets."""
    if isinstance(error, (asyncio.CancelledError, GeneratorExit)):
        return grpc.StatusCode.CANCELLED.name
    told: Any = context.code()
    codes = {known.value[0]: known.name for known in grpc.StatusCode}
    return codes.get(getattr(told, "value", (told,))[0], grpc.StatusCode.UNKNOWN.name)
