"""DispatchService."""

from typing import Any

from pymigrate.engine.application.deliveries import Deliveries
from pymigrate.engine.application.host_tokens import HostTokens
from pymigrate.engine.entrypoints.identity import caller
from pymigrate.v1 import notification_pb2, notification_pb2_grpc


class DispatchCalls(notification_pb2_grpc.DispatchServiceServicer):
    """DispatchService."""

    def __init__(self, deliveries: Deliveries, tokens: HostTokens) -> None:
        self._deliveries = deliveries
        self._tokens = tokens

    async def ClaimDeliveries(
        self, request: notification_pb2.ClaimDeliveriesRequest, context: Any
    ) -> notification_pb2.ClaimDeliveriesResponse:
        messages = await self._deliveries.claim(
            request.dispatcher, request.deliveries_max, request.wait_seconds, request.channel_kinds
        )
        return notification_pb2.ClaimDeliveriesResponse(messages=messages, token=self._tokens.renewed(caller()))

    async def ReportDeliveries(
        self, request: notification_pb2.ReportDeliveriesRequest, context: Any
    ) -> notification_pb2.ReportDeliveriesResponse:
        late = await self._deliveries.report(request.dispatcher, request.reports)
        return notification_pb2.ReportDeliveriesResponse(late=late)
