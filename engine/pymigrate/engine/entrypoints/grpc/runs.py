"""RunService."""

from collections.abc import AsyncGenerator
from typing import Any

from pymigrate.engine.application.pages import page_limit
from pymigrate.engine.application.run_tokens import read_sequence
from pymigrate.engine.application.runs import Runs
from pymigrate.engine.application.watching import Told
from pymigrate.engine.domain.errors import InvalidDefinition, NotFound, Problem
from pymigrate.engine.domain.names import nearest, parent_of
from pymigrate.engine.domain.run_states import DesiredState
from pymigrate.engine.entrypoints.identity import caller
from pymigrate.v1 import run_pb2, run_pb2_grpc


class RunCalls(run_pb2_grpc.RunServiceServicer):
    """RunService. StartRun needs no kept request ids: the run's key makes it idempotent for good."""

    def __init__(self, runs: Runs) -> None:
        self._runs = runs

    async def StartRun(self, request: run_pb2.StartRunRequest, context: Any) -> run_pb2.Run:
        return await self._runs.start(request, caller())

    async def GetRun(self, request: run_pb2.GetRunRequest, context: Any) -> run_pb2.Run:
        return await self._runs.get(request.name)

    async def ListRuns(self, request: run_pb2.ListRunsRequest, context: Any) -> run_pb2.ListRunsResponse:
        found, token = await self._runs.page(request.parent, request.page_size, request.page_token)
        return run_pb2.ListRunsResponse(runs=found, next_page_token=token)

    async def PauseRun(self, request: run_pb2.PauseRunRequest, context: Any) -> run_pb2.Run:
        return await self._runs.steer(request.name, DesiredState.PAUSED, caller())

    async def ResumeRun(self, request: run_pb2.ResumeRunRequest, context: Any) -> run_pb2.Run:
        return await self._runs.steer(request.name, DesiredState.RUNNING, caller())

    async def CancelRun(self, request: run_pb2.CancelRunRequest, context: Any) -> run_pb2.Run:
        return await self._runs.steer(request.name, DesiredState.CANCELLED, caller())

    async def RetryRun(self, request: run_pb2.RetryRunRequest, context: Any) -> run_pb2.Run:
        return await self._runs.retry(request.name, caller())

    async def ApproveGate(self, request: run_pb2.ApproveGateRequest, context: Any) -> run_pb2.Run:
        return await self._runs.approve(request.name, request.phase, request.gate, caller())

    async def RollbackPhase(self, request: run_pb2.RollbackPhaseRequest, context: Any) -> run_pb2.Run:
        if not request.phase:
            raise InvalidDefinition(
                (Problem("phase", "is required: name the phase, or call RollbackRun for all of them"),)
            )
        return await self._runs.roll_back(request.name, request.phase, caller())

    async def RollbackRun(self, request: run_pb2.RollbackRunRequest, context: Any) -> run_pb2.Run:
        return await self._runs.roll_back(request.name, "", caller())

    async def SealRun(self, request: run_pb2.SealRunRequest, context: Any) -> run_pb2.Run:
        return await self._runs.seal(request.name, request.phases, caller())

    def WatchRun(  # type: ignore[override]  # the surfaces encode what they are told once for all who watch
        self, request: run_pb2.WatchRunRequest, context: Any
    ) -> AsyncGenerator[Told[run_pb2.WatchRunResponse], None]:
        return self._runs.watch(request.name, request.resume_token)

    async def ScaleRun(self, request: run_pb2.ScaleRunRequest, context: Any) -> run_pb2.Run:
        return await self._runs.scale(request.name, request.lanes_max, caller())

    def WatchRuns(  # type: ignore[override]  # as WatchRun
        self, request: run_pb2.WatchRunsRequest, context: Any
    ) -> AsyncGenerator[Told[run_pb2.WatchRunsResponse], None]:
        return self._runs.watch_many(request.parent, active_only=request.active_only)

    async def ListLanes(self, request: run_pb2.ListLanesRequest, context: Any) -> run_pb2.ListLanesResponse:
        size = page_limit(request.page_size)
        left = [lane for lane in await self._runs.lanes(request.parent) if lane.name > request.page_token]
        token = left[size - 1].name if len(left) > size else ""
        return run_pb2.ListLanesResponse(lanes=left[:size], next_page_token=token)

    async def GetLane(self, request: run_pb2.GetLaneRequest, context: Any) -> run_pb2.Lane:
        lanes = {lane.name: lane for lane in await self._runs.lanes(parent_of(request.name))}
        if request.name not in lanes:
            raise NotFound(f"there is no {request.name}{nearest(request.name, lanes)}", field="name")
        return lanes[request.name]

    async def ListRunEvents(self, request: run_pb2.ListRunEventsRequest, context: Any) -> run_pb2.ListRunEventsResponse:
        after = read_sequence(request.page_token or "0")
        if after is None:
            raise InvalidDefinition((Problem("page_token", "is not a token that ListRunEvents gave out"),))
        found, following = await self._runs.events(request.parent, after, request.page_size)
        return run_pb2.ListRunEventsResponse(events=found, next_page_token=following)
