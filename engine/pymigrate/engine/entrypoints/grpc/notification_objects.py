"""The declared objects of NotificationService: the five calls of each of its six kinds."""

from typing import Any

from google.protobuf.empty_pb2 import Empty

from pymigrate.engine.application.catalog import Catalog
from pymigrate.engine.application.notification_kinds import (
    ALERT_RULES,
    NOTIFICATION_CHANNELS,
    NOTIFICATION_TEMPLATES,
    ON_CALL_SCHEDULES,
    SILENCES,
    STAKEHOLDERS,
)
from pymigrate.engine.application.requests import Requests
from pymigrate.engine.application.template_writes import TemplateWrites
from pymigrate.engine.entrypoints.grpc.declared import DeclaredCalls
from pymigrate.engine.ports.store import Store
from pymigrate.v1 import notification_pb2, notification_pb2_grpc


class NotificationObjectCalls(notification_pb2_grpc.NotificationServiceServicer):
    """The calls of NotificationService that declare something. Templates, and those that rules name, are rendered before."""

    def __init__(self, store: Store, catalog: Catalog, requests: Requests, writes: TemplateWrites) -> None:
        self._stakeholders = DeclaredCalls(store, catalog, requests, STAKEHOLDERS)
        self._channels = DeclaredCalls(store, catalog, requests, NOTIFICATION_CHANNELS)
        self._rules = DeclaredCalls(store, catalog, requests, ALERT_RULES, writes.check_rule)
        self._templates = DeclaredCalls(store, catalog, requests, NOTIFICATION_TEMPLATES, writes.check_template)
        self._schedules = DeclaredCalls(store, catalog, requests, ON_CALL_SCHEDULES)
        self._silences = DeclaredCalls(store, catalog, requests, SILENCES)

    async def CreateStakeholder(self, request: Any, context: Any) -> notification_pb2.Stakeholder:
        return await self._stakeholders.create(request)

    async def GetStakeholder(self, request: Any, context: Any) -> notification_pb2.Stakeholder:
        return await self._stakeholders.get(request)

    async def ListStakeholders(self, request: Any, context: Any) -> notification_pb2.ListStakeholdersResponse:
        found, token = await self._stakeholders.list(request)
        return notification_pb2.ListStakeholdersResponse(stakeholders=found, next_page_token=token)

    async def UpdateStakeholder(self, request: Any, context: Any) -> notification_pb2.Stakeholder:
        return await self._stakeholders.update(request)

    async def DeleteStakeholder(self, request: Any, context: Any) -> Empty:
        return await self._stakeholders.delete(request)

    async def CreateNotificationChannel(self, request: Any, context: Any) -> notification_pb2.NotificationChannel:
        return await self._channels.create(request)

    async def GetNotificationChannel(self, request: Any, context: Any) -> notification_pb2.NotificationChannel:
        return await self._channels.get(request)

    async def ListNotificationChannels(
        self, request: Any, context: Any
    ) -> notification_pb2.ListNotificationChannelsResponse:
        found, token = await self._channels.list(request)
        return notification_pb2.ListNotificationChannelsResponse(notification_channels=found, next_page_token=token)

    async def UpdateNotificationChannel(self, request: Any, context: Any) -> notification_pb2.NotificationChannel:
        return await self._channels.update(request)

    async def DeleteNotificationChannel(self, request: Any, context: Any) -> Empty:
        return await self._channels.delete(request)

    async def CreateAlertRule(self, request: Any, context: Any) -> notification_pb2.AlertRule:
        return await self._rules.create(request)

    async def GetAlertRule(self, request: Any, context: Any) -> notification_pb2.AlertRule:
        return await self._rules.get(request)

    async def ListAlertRules(self, request: Any, context: Any) -> notification_pb2.ListAlertRulesResponse:
        found, token = await self._rules.list(request)
        return notification_pb2.ListAlertRulesResponse(alert_rules=found, next_page_token=token)

    async def UpdateAlertRule(self, request: Any, context: Any) -> notification_pb2.AlertRule:
        return await self._rules.update(request)

    async def DeleteAlertRule(self, request: Any, context: Any) -> Empty:
        return await self._rules.delete(request)

    async def CreateNotificationTemplate(self, request: Any, context: Any) -> notification_pb2.NotificationTemplate:
        return await self._templates.create(request)

    async def GetNotificationTemplate(self, request: Any, context: Any) -> notification_pb2.NotificationTemplate:
        return await self._templates.get(request)

    async def ListNotificationTemplates(
        self, request: Any, context: Any
    ) -> notification_pb2.ListNotificationTemplatesResponse:
        found, token = await self._templates.list(request)
        return notification_pb2.ListNotificationTemplatesResponse(notification_templates=found, next_page_token=token)

    async def UpdateNotificationTemplate(self, request: Any, context: Any) -> notification_pb2.NotificationTemplate:
        return await self._templates.update(request)

    async def DeleteNotificationTemplate(self, request: Any, context: Any) -> Empty:
        return await self._templates.delete(request)

    async def CreateOnCallSchedule(self, request: Any, context: Any) -> notification_pb2.OnCallSchedule:
        return await self._schedules.create(request)

    async def GetOnCallSchedule(self, request: Any, context: Any) -> notification_pb2.OnCallSchedule:
        return await self._schedules.get(request)

    async def ListOnCallSchedules(self, request: Any, context: Any) -> notification_pb2.ListOnCallSchedulesResponse:
        found, token = await self._schedules.list(request)
        return notification_pb2.ListOnCallSchedulesResponse(on_call_schedules=found, next_page_token=token)

    async def UpdateOnCallSchedule(self, request: Any, context: Any) -> notification_pb2.OnCallSchedule:
        return await self._schedules.update(request)

    async def DeleteOnCallSchedule(self, request: Any, context: Any) -> Empty:
        return await self._schedules.delete(request)

    async def CreateSilence(self, request: Any, context: Any) -> notification_pb2.Silence:
        return await self._silences.create(request)

    async def GetSilence(self, request: Any, context: Any) -> notification_pb2.Silence:
        return await self._silences.get(request)

    async def ListSilences(self, request: Any, context: Any) -> notification_pb2.ListSilencesResponse:
        found, token = await self._silences.list(request)
        return notification_pb2.ListSilencesResponse(silences=found, next_page_token=token)

    async def UpdateSilence(self, request: Any, context: Any) -> notification_pb2.Silence:
        return await self._silences.update(request)

    async def DeleteSilence(self, request: Any, context: Any) -> Empty:
        return await self._silences.delete(request)
