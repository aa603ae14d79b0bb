"""The dashboard of many plans over a store in memory: the fold and its picture alone, without an engine around it, and what it takes to
tell every plan's KPIs each time from the beginning."""

import asyncio
import random
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import httpx
from _figures import seconds

from pymigrate.engine.adapters.clock import SystemClock
from pymigrate.engine.application.board import Board
from pymigrate.engine.application.caller import Caller, Surroundings
from pymigrate.engine.application.catalog import Catalog
from pymigrate.engine.application.changes import Change
from pymigrate.engine.application.dashboards import Dashboards
from pymigrate.engine.application.kinds import ENVIRONMENTS, PLANS
from pymigrate.engine.application.kpi_telling import KpiTelling
from pymigrate.engine.application.kpi_watching import KpiWatching
from pymigrate.engine.application.kpis import FleetKpis
from pymigrate.engine.application.limits import LaneLimits
from pymigrate.engine.application.watching import Topics
from pymigrate.engine.domain.run import DatasetRun, Entity, Lane, PhaseRun, Run
from pymigrate.engine.domain.run_states import LaneState, PhaseState, RunState
from pymigrate.engine.entrypoints.grpc.kpis import KpiCalls
from pymigrate.engine.entrypoints.identity import Bearers
from pymigrate.engine.entrypoints.rest.server import RestServer
from pymigrate.engine.ports.store import Unit
from pymigrate.engine.testing.store import MemoryStore
from pymigrate.v1 import environment_pb2, plan_pb2

TOKEN = "token"
ACTIVE = 50
PHASES = 4
LANES = 4
NOW = datetime.now(UTC)


class Scene:
    """An engine's dashboards over so many plans."""

    def __init__(self, plans: int) -> None:
        clock = SystemClock()
        self.store = MemoryStore()
        self.plans = plans
        board = Board(self.store, clock, random.Random(1))
        self.kpis = FleetKpis(self.store, board, clock)
        limits, topics = LaneLimits(self.store, board, ACTIVE, clock), Topics(clock)
        self.dashboards = Dashboards(self.store, self.kpis, limits, topics, clock, "s")
        servicers = {"KpiService": KpiCalls(self.kpis, KpiWatching(self.kpis, topics, "s"), self.dashboards)}
        self.client = httpx.AsyncClient(
            transport=httpx.ASGITransport(RestServer(servicers, Bearers(TOKEN, clock)).application),
            base_url="http://engine",
            headers={"authorization": f"Bearer {TOKEN}", "accept-encoding": "identity"},
        )
        catalog, me = Catalog(Surroundings(clock, lambda: random.randbytes(8).hex())), Caller("me")

        def declare(unit: Unit) -> None:
            catalog.create(unit, ENVIRONMENTS, "", "e", environment_pb2.Environment(), me)
            for at in range(plans):
                catalog.create(
                    unit, PLANS, "environments/e", f"p{at:04d}", plan_pb2.Plan(display_name=f"Plan {at}"), me
                )

        self.declare = declare
        for at in range(plans):
            self.tell(at, version=1)

    def tell(self, at: int, version: int) -> None:
        """What a commit stored of a plan's run."""
        entities = tuple(_entities(at, version))
        self.kpis.observe(Change(f"environments/e/plans/p{at:04d}/runs/r", datetime.now(UTC), entities, is_whole=True))

    async def picture(self) -> bytes:
        """GET /v1/dashboard."""
        answer = await self.client.get("/v1/dashboard")
        answer.raise_for_status()
        return answer.content


def _entities(at: int, version: int) -> "list[Entity]":
    is_active = at < ACTIVE
    plan = f"environments/e/plans/p{at:04d}"
    end = None if is_active else NOW - timedelta(days=1)
    state = RunState.RUNNING if is_active else (RunState.FAILED if at % 20 == 0 else RunState.SUCCEEDED)
    found: list[Entity] = [
        Run(
            f"{plan}/runs/r", plan, "k", "h", NOW - timedelta(days=2), "api", state=state, end_time=end, version=version
        )
    ]
    for number in range(PHASES):
        name = f"f{number}"
        stands = PhaseState.STAGING if is_active else PhaseState.PUBLISHED
        found.append(PhaseRun(name, f"d{number}", state=stands, start_time=NOW, version=version))
        found.append(DatasetRun(name, "t", "s", "t", "w", "t", "shared", rows_expected=1_000_000, version=version))
        for part in range(LANES):
            rows = 1_000 * version
            lane_state = LaneState.RUNNING if is_active else LaneState.DONE
            found.append(
                Lane(
                    f"{name}.t.{part}",
                    name,
                    "t",
                    state=lane_state,
                    rows=rows,
                    bytes=rows * 100,
                    start_time=NOW,
                    version=version,
                )
            )
    return found


@dataclass(frozen=True, slots=True)
class Folded:
    """Seconds: of the first picture, of each after a change of all that is under way, and of telling everything from the beginning."""

    first: float
    again: Sequence[float]
    from_scratch: float


async def folded(plans: int, rounds: int) -> Folded:
    """Pictures of so many plans, and what telling them from the beginning takes meanwhile."""
    scene = Scene(plans)
    await scene.store.transact(scene.declare)
    first = await _seconds(scene)
    again: list[float] = []
    from_scratch: list[float] = []
    for number in range(2, rounds + 2):
        for at in range(min(ACTIVE, plans)):
            scene.tell(at, version=number)
        again.append(await _seconds(scene))
        from_scratch.append(seconds(lambda: _all_kpis(scene)))
    await scene.client.aclose()
    return Folded(first, again, statistics.median(from_scratch))


async def _seconds(scene: Scene) -> float:
    loop = asyncio.get_running_loop()
    started = loop.time()
    await scene.picture()
    return loop.time() - started


def _all_kpis(scene: Scene) -> None:
    told = KpiTelling(scene.kpis.outlook, datetime.now(UTC))
    for run in scene.kpis.current():
        told.run(run.plan, run)
        for phase in run.phases.values():
            told.phase(f"{run.name}/phases/{phase.id}", run, phase)
