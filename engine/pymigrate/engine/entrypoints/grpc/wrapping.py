"""What interceptors have in common: each wraps the handlers of all methods but those of health, and may ask how a call ended."""

import asyncio
from abc import abstractmethod
from collections.abc import Awaitable, Callable
from typing import Any

import grpc

OPEN_METHODS = frozenset({"/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch"})
Serve = Callable[..., Any]
_CODES = {known.value[0]: known for known in grpc.StatusCode}


class WrappingInterceptor(grpc.aio.ServerInterceptor):
    """Wraps each method's handler. Health's are left alone: a probe shows no token, and is part of no trace."""

    @abstractmethod
    def unary(self, details: grpc.HandlerCallDetails, serve: Serve) -> Serve:
        """Serves one call with one answer."""

    @abstractmethod
    def stream(self, details: grpc.HandlerCallDetails, serve: Serve) -> Serve:
        """Serves one call that answers again and again."""

    def both(self, details: grpc.HandlerCallDetails, serve: Serve) -> Serve:
        """Serves reflection, the only method that takes a stream: as it is."""
        del details
        return serve

    def encoder(self, serialize: Callable[[Any], bytes]) -> Callable[[Any], bytes]:
        """How the answers of a stream are serialized: as they are."""
        return serialize

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """Wraps the method's handler."""
        handler, details = await continuation(handler_call_details), handler_call_details
        if handler is None or details.method in OPEN_METHODS:
            return handler
        read, write = handler.request_deserializer, handler.response_serializer
        if handler.unary_unary:
            return grpc.unary_unary_rpc_method_handler(self.unary(details, handler.unary_unary), read, write)
        if handler.unary_stream:
            served = self.stream(details, handler.unary_stream)
            return grpc.unary_stream_rpc_method_handler(served, read, self.encoder(write))
        return grpc.stream_stream_rpc_method_handler(self.both(details, handler.stream_stream), read, write)


def code_of(context: grpc.aio.ServicerContext[Any, Any], error: BaseException | None = None) -> grpc.StatusCode:
    """How a call ended, with the error that it ended with; whoever is gone before its end has cancelled it."""
    if isinstance(error, asyncio.CancelledError | GeneratorExit):
        return grpc.StatusCode.CANCELLED
    told: Any = context.code()  # a number, whatever its annotation says
    known = _CODES.get(getattr(told, "value", (told,))[0])
    return known or (grpc.StatusCode.OK if error is None else grpc.StatusCode.UNKNOWN)
