"""KpiService."""

from collections.abc import AsyncGenerator
from typing import Any

from pymigrate.engine.application.dashboards import Dashboards
from pymigrate.engine.application.kpi_watching import KpiWatching
from pymigrate.engine.application.kpis import FleetKpis
from pymigrate.engine.application.watching import Told
from pymigrate.v1 import kpi_pb2, kpi_pb2_grpc


class KpiCalls(kpi_pb2_grpc.KpiServiceServicer):
    """KpiService."""

    def __init__(self, kpis: FleetKpis, watching: KpiWatching, dashboards: Dashboards) -> None:
        self._kpis = kpis
        self._watching = watching
        self._dashboards = dashboards

    async def GetKpis(self, request: kpi_pb2.GetKpisRequest, context: Any) -> kpi_pb2.Kpis:
        return await self._kpis.kpis(request.name, request.includes_parts)

    def WatchKpis(  # type: ignore[override]  # the surfaces encode what they are told once for all who watch
        self, request: kpi_pb2.WatchKpisRequest, context: Any
    ) -> AsyncGenerator[Told[kpi_pb2.WatchKpisResponse], None]:
        return self._watching.watch(request.name, request.includes_parts, request.resume_token)

    async def GetDashboard(self, request: kpi_pb2.GetDashboardRequest, context: Any) -> kpi_pb2.Dashboard:
        return await self._dashboards.dashboard(request.environment)

    def WatchDashboard(  # type: ignore[override]  # as WatchKpis
        self, request: kpi_pb2.WatchDashboardRequest, context: Any
    ) -> AsyncGenerator[Told[kpi_pb2.WatchDashboardResponse], None]:
        return self._dashboards.watch(request.environment, request.resume_token)
