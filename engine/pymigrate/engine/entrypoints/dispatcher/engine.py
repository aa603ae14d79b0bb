"""The engine as a dispatcher sees it: found by the files in its home, asked with a deadline, and away while it does not answer."""

from collections.abc import Sequence
from typing import Protocol

import grpc

from pymigrate.engine.domain.errors import EngineUnavailable, Unauthenticated
from pymigrate.engine.entrypoints.engine_access import EngineAccess
from pymigrate.engine.entrypoints.grpc.channel import EngineChannel
from pymigrate.engine.entrypoints.grpc.replies import error_of
from pymigrate.v1 import notification_pb2, notification_pb2_grpc

CALL_SECONDS_MAX = 10.0


class DispatchEngine(Protocol):
    """What a dispatcher asks of its engine. Both calls raise EngineUnavailable when they were not answered; whether a report was noted is
    not known then, and it may be told again."""

    async def claim(self, deliveries_max: int, wait_seconds: float) -> Sequence[notification_pb2.OutgoingMessage]:
        """Messages to send, waited for at most so long."""
        ...

    async def report(self, reports: Sequence[notification_pb2.DeliveryReport]) -> None:
        """Tells what came of tries."""
        ...


class EngineLink:
    """The engine of a home, wherever it listens now."""

    def __init__(self, access: EngineAccess, name: str) -> None:
        self._access = access
        self._name = name
        self._channel = EngineChannel(access)

    async def claim(self, deliveries_max: int, wait_seconds: float) -> Sequence[notification_pb2.OutgoingMessage]:
        """ClaimDeliveries; the deadline leaves the engine the time that it is asked to wait."""
        request = notification_pb2.ClaimDeliveriesRequest(
            dispatcher=self._name, deliveries_max=deliveries_max, wait_seconds=wait_seconds
        )
        try:
            answer: notification_pb2.ClaimDeliveriesResponse = await self._stub().ClaimDeliveries(
                request, timeout=CALL_SECONDS_MAX + wait_seconds, metadata=self._metadata()
            )
        except grpc.aio.AioRpcError as error:
            raise _read(error) from error
        self._access = self._access.renewed(answer.token)
        return answer.messages

    async def report(self, reports: Sequence[notification_pb2.DeliveryReport]) -> None:
        """ReportDeliveries."""
        request = notification_pb2.ReportDeliveriesRequest(dispatcher=self._name, reports=reports)
        try:
            await self._stub().ReportDeliveries(request, timeout=CALL_SECONDS_MAX, metadata=self._metadata())
        except grpc.aio.AioRpcError as error:
            raise _read(error) from error

    async def close(self) -> None:
        """Ends every call."""
        await self._channel.close()

    def _stub(self) -> "notification_pb2_grpc.DispatchServiceAsyncStub":
        return notification_pb2_grpc.DispatchServiceStub(self._channel.get())

    def _metadata(self) -> tuple[tuple[str, str], ...]:
        """The token is read each time: an engine that begins anew in this home makes another one. A dispatcher that the engine started has
        one of its own."""
        return (("authorization", f"Bearer {self._access.token()}"),)


def _read(error: grpc.aio.AioRpcError) -> Exception:
    """An engine that does not know the token has not written its own yet, or is another home's at the same port: it is away too."""
    found = error_of(error)
    return EngineUnavailable(found.message) if isinstance(found, Unauthenticated) else found
