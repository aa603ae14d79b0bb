"""PlanService."""

from typing import Any

from google.protobuf.empty_pb2 import Empty

from pymigrate.engine.application.catalog import Catalog
from pymigrate.engine.application.kinds import PHASES, PLANS
from pymigrate.engine.application.plans import Plans
from pymigrate.engine.application.requests import Requests
from pymigrate.engine.application.runs import Runs
from pymigrate.engine.entrypoints.grpc.declared import DeclaredCalls
from pymigrate.engine.entrypoints.identity import caller
from pymigrate.engine.ports.store import Store, Unit
from pymigrate.v1 import plan_pb2, plan_pb2_grpc


class PlanCalls(plan_pb2_grpc.PlanServiceServicer):
    """PlanService."""

    def __init__(self, store: Store, catalog: Catalog, requests: Requests, runs: Runs) -> None:
        self._store = store
        self._catalog = catalog
        self._runs = runs
        self._plans = Plans(catalog)
        self._plan_calls = DeclaredCalls(store, catalog, requests, PLANS)
        self._phase_calls = DeclaredCalls(store, catalog, requests, PHASES)

    async def CreatePlan(self, request: plan_pb2.CreatePlanRequest, context: Any) -> plan_pb2.Plan:
        who = caller()

        def work(unit: Unit) -> plan_pb2.Plan:
            return self._plans.create(
                unit, request.parent, request.plan_id, request.plan, who, is_dry=request.validate_only
            )

        return await self._plan_calls.once("create plans", request, work)

    async def GetPlan(self, request: plan_pb2.GetPlanRequest, context: Any) -> plan_pb2.Plan:
        return await self._store.read(lambda unit: self._plans.get(unit, request.name))

    async def ListPlans(self, request: plan_pb2.ListPlansRequest, context: Any) -> plan_pb2.ListPlansResponse:
        def work(unit: Unit) -> plan_pb2.ListPlansResponse:
            found, token = self._catalog.list(unit, PLANS, request.parent, request.page_size, request.page_token)
            complete = [self._plans.complete(unit, plan) for plan in found]
            return plan_pb2.ListPlansResponse(plans=complete, next_page_token=token)

        return await self._store.read(work)

    async def UpdatePlan(self, request: plan_pb2.UpdatePlanRequest, context: Any) -> plan_pb2.Plan:
        who = caller()
        return await self._store.transact(
            lambda unit: self._plans.update(unit, request.plan, request.update_mask, who, is_dry=request.validate_only)
        )

    async def DeletePlan(self, request: plan_pb2.DeletePlanRequest, context: Any) -> Empty:
        who = caller()
        await self._store.transact(
            lambda unit: self._plans.delete(unit, request.name, request.etag, who, is_forced=request.force)
        )
        return Empty()

    async def ValidatePlan(self, request: plan_pb2.ValidatePlanRequest, context: Any) -> plan_pb2.ValidatePlanResponse:
        answer = await self._store.read(lambda unit: self._plans.validate(unit, request.name))
        if request.check_systems and not answer.problems:
            answer.MergeFrom(await self._runs.check(request.name))
        return answer

    async def CreatePhase(self, request: plan_pb2.CreatePhaseRequest, context: Any) -> plan_pb2.Phase:
        return await self._completed(await self._phase_calls.create(request))

    async def GetPhase(self, request: plan_pb2.GetPhaseRequest, context: Any) -> plan_pb2.Phase:
        return await self._completed(await self._phase_calls.get(request))

    async def ListPhases(self, request: plan_pb2.ListPhasesRequest, context: Any) -> plan_pb2.ListPhasesResponse:
        def work(unit: Unit) -> plan_pb2.ListPhasesResponse:
            found, token = self._catalog.list(unit, PHASES, request.parent, request.page_size, request.page_token)
            return plan_pb2.ListPhasesResponse(phases=self._plans.complete_phases(unit, found), next_page_token=token)

        return await self._store.read(work)

    async def UpdatePhase(self, request: plan_pb2.UpdatePhaseRequest, context: Any) -> plan_pb2.Phase:
        return await self._completed(await self._phase_calls.update(request))

    async def DeletePhase(self, request: plan_pb2.DeletePhaseRequest, context: Any) -> Empty:
        return await self._phase_calls.delete(request)

    async def _completed(self, phase: plan_pb2.Phase) -> plan_pb2.Phase:
        return await self._store.read(lambda unit: self._plans.complete_phase(unit, phase))
