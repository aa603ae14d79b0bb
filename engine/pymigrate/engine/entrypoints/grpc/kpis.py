"""KpiService."""

from collections.abc import AsyncIterator
from typing import Any

from pymigrate.engine.application.kpi_watching import KpiWatching
from pymigrate.engine.application.kpis import FleetKpis
from pymigrate.v1 import kpi_pb2, kpi_pb2_grpc


class KpiCalls(kpi_pb2_grpc.KpiServiceServicer):
    """KpiService."""

    def __init__(self, kpis: FleetKpis, watching: KpiWatching) -> None:
        self._kpis = kpis
        self._watching = watching

    async def GetKpis(self, request: kpi_pb2.GetKpisRequest, context: Any) -> kpi_pb2.Kpis:
        return await self._kpis.kpis(request.name, request.includes_parts)

    async def WatchKpis(
        self, request: kpi_pb2.WatchKpisRequest, context: Any
    ) -> AsyncIterator[kpi_pb2.WatchKpisResponse]:
        async for answer in self._watching.watch(request.name, request.includes_parts, request.resume_token):
            yield answer

    async def GetDashboard(self, request: kpi_pb2.GetDashboardRequest, context: Any) -> kpi_pb2.Dashboard:
        return await self._watching.dashboard(request.environment)

    async def WatchDashboard(
        self, request: kpi_pb2.WatchDashboardRequest, context: Any
    ) -> AsyncIterator[kpi_pb2.WatchDashboardResponse]:
        async for answer in self._watching.watch_dashboard(request.environment, request.resume_token):
            yield answer
