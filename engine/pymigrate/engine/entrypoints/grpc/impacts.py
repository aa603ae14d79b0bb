"""ImpactService."""

from typing import Any

from pymigrate.engine.application.forecasts import Forecasts
from pymigrate.engine.application.impacts import Impacts
from pymigrate.engine.application.learning import Learning
from pymigrate.v1 import impact_pb2, impact_pb2_grpc


class ImpactCalls(impact_pb2_grpc.ImpactServiceServicer):
    """ImpactService."""

    def __init__(self, impacts: Impacts, forecasts: Forecasts, learning: Learning) -> None:
        self._impacts = impacts
        self._forecasts = forecasts
        self._learning = learning

    async def AnalyzeImpact(self, request: impact_pb2.AnalyzeImpactRequest, context: Any) -> impact_pb2.Impact:
        return await self._impacts.analyze(request)

    async def CompareImpact(
        self, request: impact_pb2.CompareImpactRequest, context: Any
    ) -> impact_pb2.CompareImpactResponse:
        return await self._impacts.compare(request)

    async def ForecastRun(self, request: impact_pb2.ForecastRunRequest, context: Any) -> impact_pb2.RunForecast:
        return await self._forecasts.forecast(request)

    async def GetRunEstimate(self, request: impact_pb2.GetRunEstimateRequest, context: Any) -> impact_pb2.RunEstimate:
        return await self._learning.estimate_of(request.name)
