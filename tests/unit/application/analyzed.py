"""An engine whose plan is analyzed: its hosts answer at once, from what a test says of the relations, and time stands still."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from google.protobuf.field_mask_pb2 import FieldMask

from pymigrate.engine.application.kinds import DEPARTMENTS, PLANS
from pymigrate.engine.testing.hosts import Outcome, done
from pymigrate.v1 import connection_pb2, environment_pb2, impact_pb2, plan_pb2, run_pb2, worker_pb2
from tests.unit.application.engines import ENVIRONMENT, ME, PLAN, Engine, PlayedHost

Result = TypeVar("Result")
ROWS, ROW_BYTES = 1_000_000, 100
CHUNK_ROWS, CHUNKS = 1_000, 10
ROW_SECONDS, OPEN_SECONDS = 1e-4, 0.5
AWAY = run_pb2.Failure(reason="SYSTEM_UNAVAILABLE", message="can't connect to legacy:5432", is_temporary=True)
GONE = run_pb2.Failure(reason="SOURCE_MISSING", message="there is no relation `gone`", field="source.relation")
STEPS_MAX = 20_000


class Analyzed:
    """The plan, and one host that looks and probes. `rows` are those of each relation (ROWS unless it is named; -1: the source does not
    tell), `told` what statistics say where they are wrong, `failing` what stands against one, `probed` those that were probed by
    themselves. A row is copied in `row_seconds`; opening takes OPEN_SECONDS."""

    def __init__(self) -> None:
        self.engine = Engine()
        self.host = PlayedHost(self.engine)
        self.host.script = self._answer
        self.rows: dict[str, int] = {}
        self.told: dict[str, int] = {}
        self.failing: dict[str, run_pb2.Failure] = {}
        self.row_seconds = ROW_SECONDS
        self.looked: list[str] = []
        self.probed: list[str] = []

    async def declare(self, phases: dict[str, plan_pb2.Phase], **plan: Any) -> None:
        """The plan, and its department: ten people, a system behind `legacy`, and EUR 3,600 an hour."""
        await self.engine.declare(phases)
        sales = environment_pb2.Department(name=f"{ENVIRONMENT}/departments/sales", users=10)
        sales.systems["crm"].connection = "legacy"
        sales.downtime_cost_per_hour.currency_code, sales.downtime_cost_per_hour.amount = "EUR", 3_600
        found = plan_pb2.Plan(name=PLAN, **plan)

        def work(unit: Any) -> None:
            self.engine.catalog.update(unit, DEPARTMENTS, sales, FieldMask(paths=["systems", "users", COST]), ME)
            if plan:
                self.engine.catalog.update(unit, PLANS, found, FieldMask(paths=sorted(plan)), ME)

        await self.engine.store.transact(work)
        await self.host.register()

    async def add(self, name: str, plan: plan_pb2.Plan) -> str:
        """Another plan of the same environment; its name."""

        def work(unit: Any) -> None:
            self.engine.plans.create(unit, ENVIRONMENT, name, plan, ME, is_dry=False)

        await self.engine.store.transact(work)
        return f"{ENVIRONMENT}/plans/{name}"

    async def analyze(self, plan: str = PLAN, **asked: Any) -> impact_pb2.Impact:
        """Twenty rehearsals unless others are asked for."""
        request = impact_pb2.AnalyzeImpactRequest(plan=plan, **{"draws": 20, **asked})
        return await self.played(self.engine.impacts.analyze(request))

    async def compare(
        self, variants: dict[str, impact_pb2.ImpactVariant], **asked: Any
    ) -> impact_pb2.CompareImpactResponse:
        """Twenty rehearsals of each unless others are asked for."""
        request = impact_pb2.CompareImpactRequest(plan=PLAN, variants=variants, **{"draws": 20, **asked})
        return await self.played(self.engine.impacts.compare(request))

    async def played(self, call: Coroutine[Any, Any, Result]) -> Result:
        """What a call answers, while the host answers whatever it is asked meanwhile."""
        asked = asyncio.create_task(call)
        for _ in range(STEPS_MAX):
            if asked.done():
                break
            if self.engine.inquiries.demand():
                await self.host.work(1)
            await asyncio.sleep(0)
        return await asked

    def _answer(self, task: worker_pb2.Task) -> Outcome:
        match task.WhichOneof("work"):
            case "inspect":
                relation = task.inspect.dataset.dataset.source.relation
                self.looked.append(relation)
                return self.failing.get(relation) or self._look(relation)
            case "probe":
                relation = task.probe.dataset.dataset.source.relation
                if not task.probe.is_copy_alone:
                    self.probed.append(relation)
                return self.failing.get(f"probe {relation}") or self._probe(task.probe)
            case _:
                return done(task)

    def _look(self, relation: str) -> worker_pb2.TaskResult:
        rows = self.told.get(relation, self.rows.get(relation, ROWS))
        source = connection_pb2.RelationSchema(relation=relation, rows=rows, bytes=max(-1, rows * ROW_BYTES))
        return worker_pb2.TaskResult(inspect=run_pb2.Inspection(source=source, path="arrow", path_reason="as it is"))

    def _probe(self, work: worker_pb2.ProbeWork) -> worker_pb2.TaskResult:
        rows = self.rows.get(work.dataset.dataset.source.relation, ROWS)
        chunks = 1 if work.bytes_max else CHUNKS
        found = worker_pb2.Probed(open_seconds=OPEN_SECONDS, target_bytes=chunks * CHUNK_ROWS * ROW_BYTES)
        found.is_whole = 0 <= rows <= chunks * CHUNK_ROWS
        left = rows if found.is_whole else chunks * CHUNK_ROWS
        while left > 0:
            each, left = min(left, CHUNK_ROWS), left - CHUNK_ROWS
            found.chunks.add(rows=each, bytes=each * ROW_BYTES, seconds=each * self.row_seconds)
        found.verify_seconds = 0.0 if work.is_copy_alone else 0.1
        found.publish_seconds = 0.0 if work.is_copy_alone else 0.2
        found.task_seconds = OPEN_SECONDS + sum(chunk.seconds for chunk in found.chunks)
        return worker_pb2.TaskResult(probe=found)


COST = "downtime_cost_per_hour"
