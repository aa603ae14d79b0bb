"""The contract's services of an engine in another process, called as the servicers of this one are: for REST in a process of its own.

The credential, the side and the address of whoever calls go along, and so does the trace that the request is part of: the engine says who
that is, and this process has no credential of its own.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from functools import partial
from typing import Any

import grpc
import structlog
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2, health_pb2_grpc

from pymigrate.engine.domain.errors import EngineUnavailable
from pymigrate.engine.entrypoints.grpc.channel import RECONNECT_SECONDS, EngineChannel
from pymigrate.engine.entrypoints.grpc.replies import error_of
from pymigrate.engine.entrypoints.grpc.server import ADDERS
from pymigrate.engine.entrypoints.identity import AUTHORIZATION, MANAGED_BY, caller
from pymigrate.engine.entrypoints.origins import FORWARDED_FOR

log = structlog.get_logger(__name__)
# Longer than any call of the contract takes that answers once; those that watch have no end.
CALL_SECONDS_MAX = 300.0
FORWARDED = ("traceparent", "tracestate")


class RemoteService:
    """One service; each of its calls is a method of this object, and takes the request and the headers that came with it."""

    def __init__(self, channel: EngineChannel, service: ServiceDescriptor) -> None:
        self._channel = channel
        for method in service.methods:
            setattr(self, method.name, partial(self._stream if method.server_streaming else self._call, method))

    async def _call(self, method: MethodDescriptor, request: Message, headers: Mapping[str, str] | None) -> Message:
        call = self._channel.get().unary_unary(*_path(method), **_wire(method))
        try:
            answer: Message = await call(request, metadata=self._metadata(headers), timeout=CALL_SECONDS_MAX)
        except grpc.aio.AioRpcError as error:
            raise error_of(error) from error
        return answer

    async def _stream(
        self, method: MethodDescriptor, request: Message, headers: Mapping[str, str] | None
    ) -> AsyncIterator[Message]:
        stream = self._channel.get().unary_stream(*_path(method), **_wire(method))
        call = stream(request, metadata=self._metadata(headers))
        try:
            async for answer in call:
                yield answer
        except grpc.aio.AioRpcError as error:
            raise error_of(error) from error
        finally:
            call.cancel()

    def _metadata(self, headers: Mapping[str, str] | None) -> tuple[tuple[str, str], ...]:
        found = ((name, (headers or {}).get(name, "")) for name in FORWARDED)
        forwarded = ((name, value) for name, value in found if value and value.isascii() and value.isprintable())
        # Whoever shows a credential is who calls the engine too; a signed link is shown without one.
        shown = (headers or {}).get(AUTHORIZATION, "")
        credential = ((AUTHORIZATION, shown),) if shown else ()
        who = caller()
        return (*credential, (MANAGED_BY, who.managed_by), (FORWARDED_FOR, who.origin), *forwarded)


def remote_services(channel: EngineChannel, names: Iterable[str] = ADDERS) -> dict[str, RemoteService]:
    """The services by name."""
    descriptors = {name: ADDERS[name][0].DESCRIPTOR.services_by_name[name] for name in names}
    return {name: RemoteService(channel, found) for name, found in descriptors.items()}


async def follow_health(
    channel: EngineChannel, tell: Callable[[bool], None], sleep: Callable[[float], Awaitable[None]]
) -> None:
    """Tells whether the engine takes calls, now and whenever that changes, until it is cancelled. The log says once that it is away."""
    is_away = False
    while True:
        try:
            stub = health_pb2_grpc.HealthStub(channel.get())
            async for answer in stub.Watch(health_pb2.HealthCheckRequest()):  # type: ignore[attr-defined]
                tell(answer.status == health_pb2.HealthCheckResponse.SERVING)
                if is_away:
                    is_away = False
                    log.info("engine.back")
        except (grpc.aio.AioRpcError, EngineUnavailable) as error:
            if not is_away:
                is_away = True
                why = str(error.details() if isinstance(error, grpc.aio.AioRpcError) else error)
                log.info("engine.away", error=why)
        tell(False)
        await sleep(RECONNECT_SECONDS)


def _path(method: MethodDescriptor) -> tuple[str]:
    return (f"/{method.containing_service.full_name}/{method.name}",)


def _wire(method: MethodDescriptor) -> dict[str, Any]:
    return {
        "request_serializer": GetMessageClass(method.input_type).SerializeToString,
        "response_deserializer": GetMessageClass(method.output_type).FromString,
    }
