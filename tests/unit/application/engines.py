"""The engine's application on a store in memory and a clock of the test's, with worker hosts that the test plays itself."""

import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import count

from google.protobuf.field_mask_pb2 import FieldMask

from pymigrate.engine.application.board import Board
from pymigrate.engine.application.caller import Caller, Surroundings
from pymigrate.engine.application.catalog import Catalog
from pymigrate.engine.application.dashboards import Dashboards
from pymigrate.engine.application.followups import Followups
from pymigrate.engine.application.forecasts import Forecasts
from pymigrate.engine.application.gitops.suspension import is_suspended
from pymigrate.engine.application.hosts import Hosts
from pymigrate.engine.application.impacts import Bounds, Impacts
from pymigrate.engine.application.inquiries import Inquiries
from pymigrate.engine.application.inspections import Inspections
from pymigrate.engine.application.kinds import CONNECTIONS, DEPARTMENTS, ENVIRONMENTS
from pymigrate.engine.application.known_hosts import LeaseTerms
from pymigrate.engine.application.kpi_keeping import KpiKeeping
from pymigrate.engine.application.kpis import FleetKpis
from pymigrate.engine.application.lane_credentials import LaneCredentials
from pymigrate.engine.application.learning import Learning
from pymigrate.engine.application.limits import LaneLimits
from pymigrate.engine.application.measuring import Measuring
from pymigrate.engine.application.outlooks import Outlooks
from pymigrate.engine.application.plans import Plans
from pymigrate.engine.application.probing import Probing
from pymigrate.engine.application.run_estimates import RunEstimates
from pymigrate.engine.application.run_views import RunViews
from pymigrate.engine.application.runs import Runs
from pymigrate.engine.application.watching import Topics
from pymigrate.engine.domain.schedule import Scheduler
from pymigrate.engine.ports.clock import Clock
from pymigrate.engine.testing.clock import ManualClock
from pymigrate.engine.testing.drawing import draw_at_once, draw_one
from pymigrate.engine.testing.hosts import ScriptedHost
from pymigrate.engine.testing.store import MemoryStore
from pymigrate.v1 import connection_pb2, environment_pb2, plan_pb2, worker_pb2

ENVIRONMENT = "environments/e"
PLAN = f"{ENVIRONMENT}/plans/p"
ME = Caller("me")
MEMORY_BYTES = 1_000_000_000


@dataclass
class Engine:
    """Everything between the edges and the ports."""

    store: MemoryStore = field(default_factory=MemoryStore)
    clock: ManualClock = field(default_factory=ManualClock)
    lanes_max: int = 50
    terms: LeaseTerms = field(default_factory=LeaseTerms)
    real_clock: Clock | None = None

    def __post_init__(self) -> None:
        numbers = count(1)
        clock = self.real_clock or self.clock
        surroundings = Surroundings(clock, lambda: f"{next(numbers):08d}-id")
        self.surroundings = surroundings
        self.catalog = Catalog(surroundings, is_suspended)
        self.plans = Plans(self.catalog)
        self.board = Board(self.store, clock, random.Random(1))
        self.kpis = FleetKpis(self.store, self.board, clock)
        self.keeping = KpiKeeping(self.store, self.kpis, clock)
        self.inquiries = Inquiries(surroundings.new_id, self._on_work)
        limits = self.limits = LaneLimits(self.store, self.board, self.lanes_max, clock)
        self.scheduler = Scheduler(random.Random(2))
        credentials = self.credentials = LaneCredentials("the engine's token", clock)
        self.hosts = Hosts(
            self.store, self.board, self.inquiries, limits, surroundings, self.terms, self.scheduler, credentials
        )
        self.learning = Learning(self.store, clock)
        estimates = RunEstimates(self.store, self.board, self.learning, self.lanes_max, draw_one)
        self.followups = Followups(self.store, self.board, self.learning, estimates, clock)
        self.board.on_work(self._on_work)
        self.topics = Topics(clock)
        self.dashboards = Dashboards(self.store, self.kpis, limits, self.topics, clock, "start")
        self.views = RunViews(self.board, self.scheduler, clock)
        self.runs = Runs(self.store, self.board, self.inquiries, self.catalog, surroundings, self.topics, self.views)
        measuring = Measuring(self.store, Inspections(self.inquiries), Probing(self.inquiries, clock))
        bounds = Bounds(self.lanes_max, MEMORY_BYTES)
        self.impacts = Impacts(self.store, self.catalog, measuring, surroundings, bounds, draw_at_once)
        self.forecasts = Forecasts(self.store, self.board, limits, clock, draw_at_once)
        self.outlooks = Outlooks(self.store, self.kpis, self.forecasts, clock)

    def _on_work(self) -> None:
        self.hosts.tell_work()

    def again(self) -> "Engine":
        """Another engine on the same store: this one was killed."""
        return Engine(self.store, self.clock, self.lanes_max)

    async def declare(
        self,
        phases: dict[str, plan_pb2.Phase],
        *,
        connection_lanes: int = 0,
        lanes: int = 0,
        legacy: connection_pb2.Connection | None = None,
    ) -> None:
        """An environment with a department, two connections, of which `legacy` may be another one, and a plan of these phases."""

        def work(unit):  # type: ignore[no-untyped-def]  # a unit of work
            self.catalog.create(unit, ENVIRONMENTS, "", "e", environment_pb2.Environment(), ME)
            self.catalog.create(unit, DEPARTMENTS, ENVIRONMENT, "sales", environment_pb2.Department(), ME)
            found = systems(connection_lanes) | ({"legacy": legacy} if legacy is not None else {})
            for name, system in found.items():
                self.catalog.create(unit, CONNECTIONS, ENVIRONMENT, name, system, ME)
            self.plans.create(unit, ENVIRONMENT, "p", plan_pb2.Plan(phases=phases, lanes_max=lanes), ME, is_dry=False)

        await self.store.transact(work)

    async def update_phase(self, phase: plan_pb2.Phase) -> None:
        """Changes a phase."""
        from pymigrate.engine.application.kinds import PHASES

        await self.store.transact(lambda unit: self.catalog.update(unit, PHASES, phase, FieldMask(), ME))


def systems(lanes_max: int = 0) -> dict[str, connection_pb2.Connection]:
    """A source and a target."""
    return {
        "legacy": connection_pb2.Connection(sqlite=connection_pb2.SqliteSystem(path="/legacy.db"), lanes_max=lanes_max),
        "warehouse": connection_pb2.Connection(duckdb=connection_pb2.DuckdbSystem(path="/warehouse.duckdb")),
    }


def phase(*datasets: str, needs: Iterable[str] = ()) -> plan_pb2.Phase:
    """A phase of the sales department."""
    found = plan_pb2.Phase(department="sales", dependencies=needs)
    for name in datasets:
        found.datasets[name].source.connection, found.datasets[name].source.relation = "legacy", name
        found.datasets[name].target.connection, found.datasets[name].target.relation = "warehouse", name
    return found


class PlayedHost(ScriptedHost):
    """A worker host of the warehouse, which the test plays."""

    def __init__(
        self, engine: Engine, name: str = "workerHosts/h", pid: int = 1, affinity: str = "file:/warehouse.duckdb@e"
    ) -> None:
        super().__init__(engine.hosts, name, pid=pid, affinity=affinity)
        self._credentials, self._seconds = engine.credentials, engine.terms.lease_seconds
        self.is_renewing = True

    def lease(self, task: worker_pb2.Task) -> worker_pb2.TaskLease:
        """With a credential that a heartbeat has just brought, unless it is to show what the task holds."""
        if self.is_renewing:
            task.credential = self._credentials.make(self.message.name, task.id, task.fence, self._seconds)
        return super().lease(task)
