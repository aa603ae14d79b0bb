"""AuditService."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any

from pymigrate.engine.application.audit.exporting import AuditExport
from pymigrate.engine.application.audit.listing import AuditListing
from pymigrate.engine.application.audit.proving import ProvedTrail
from pymigrate.v1 import audit_pb2, audit_pb2_grpc


@dataclass(frozen=True, slots=True)
class AuditUses:
    """The use cases behind the calls."""

    listing: AuditListing
    exporting: AuditExport
    proving: ProvedTrail


class AuditCalls(audit_pb2_grpc.AuditServiceServicer):
    """AuditService."""

    def __init__(self, uses: AuditUses) -> None:
        self._uses = uses

    async def ListAuditEvents(
        self, request: audit_pb2.ListAuditEventsRequest, context: Any
    ) -> audit_pb2.ListAuditEventsResponse:
        return await self._uses.listing.events(request)

    async def VerifyAudit(self, request: audit_pb2.VerifyAuditRequest, context: Any) -> audit_pb2.VerifyAuditResponse:
        return await self._uses.proving.verify(request)

    def ExportAudit(
        self, request: audit_pb2.ExportAuditRequest, context: Any
    ) -> AsyncGenerator[audit_pb2.ExportAuditResponse, None]:
        return self._uses.exporting.export(request)

    async def ListAuditSeals(
        self, request: audit_pb2.ListAuditSealsRequest, context: Any
    ) -> audit_pb2.ListAuditSealsResponse:
        return await self._uses.listing.seals(request)
