"""NotificationService."""

from dataclasses import dataclass
from typing import Any

from pymigrate.engine.application.acknowledging import Acknowledging
from pymigrate.engine.application.catalog import Catalog
from pymigrate.engine.application.delivery_ledger import DeliveryLedger
from pymigrate.engine.application.notification_figures import NotificationFigures
from pymigrate.engine.application.previews import Previews
from pymigrate.engine.application.redriving import Redriving
from pymigrate.engine.application.requests import Requests
from pymigrate.engine.application.template_writes import TemplateWrites
from pymigrate.engine.application.trying_templates import TryingTemplates
from pymigrate.engine.entrypoints.grpc.notification_objects import NotificationObjectCalls
from pymigrate.engine.entrypoints.identity import caller
from pymigrate.engine.ports.store import Store
from pymigrate.v1 import notification_pb2


@dataclass(frozen=True, slots=True)
class NotificationUses:
    """The use cases behind the calls that declare nothing."""

    ledger: DeliveryLedger
    previews: Previews
    templates: TryingTemplates
    figures: NotificationFigures
    redriving: Redriving
    acknowledging: Acknowledging


class NotificationCalls(NotificationObjectCalls):
    """NotificationService: what is declared, and the ledger of what was told."""

    def __init__(
        self, store: Store, catalog: Catalog, requests: Requests, writes: TemplateWrites, uses: NotificationUses
    ) -> None:
        super().__init__(store, catalog, requests, writes)
        self._uses = uses

    async def TestNotificationChannel(
        self, request: notification_pb2.TestNotificationChannelRequest, context: Any
    ) -> notification_pb2.NotificationDelivery:
        return await self._uses.redriving.test(request.name, request.to, caller())

    async def RenderNotificationTemplate(
        self, request: notification_pb2.RenderNotificationTemplateRequest, context: Any
    ) -> notification_pb2.RenderNotificationTemplateResponse:
        return await self._uses.templates.render(request)

    async def GetNotificationKpis(
        self, request: notification_pb2.GetNotificationKpisRequest, context: Any
    ) -> notification_pb2.NotificationKpis:
        return await self._uses.figures.kpis(request.parent, request.window_seconds)

    async def PreviewNotifications(
        self, request: notification_pb2.PreviewNotificationsRequest, context: Any
    ) -> notification_pb2.PreviewNotificationsResponse:
        return await self._uses.previews.preview(request.parent, request.event)

    async def GetDelivery(
        self, request: notification_pb2.GetDeliveryRequest, context: Any
    ) -> notification_pb2.NotificationDelivery:
        return await self._uses.ledger.get(request.name)

    async def ListDeliveries(
        self, request: notification_pb2.ListDeliveriesRequest, context: Any
    ) -> notification_pb2.ListDeliveriesResponse:
        return await self._uses.ledger.page(request)

    async def AcknowledgeDelivery(
        self, request: notification_pb2.AcknowledgeDeliveryRequest, context: Any
    ) -> notification_pb2.NotificationDelivery:
        return await self._uses.acknowledging.acknowledge(request.name, request.signature, caller())

    async def RedriveDelivery(
        self, request: notification_pb2.RedriveDeliveryRequest, context: Any
    ) -> notification_pb2.NotificationDelivery:
        return await self._uses.redriving.redrive(request.name, caller())
