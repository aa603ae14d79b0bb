"""The engine's application on a store in memory and a clock of the test's, with worker hosts that the test plays itself."""

import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import count

from google.protobuf.field_mask_pb2 import FieldMask

from pymigrate.engine.application.board import Board
from pymigrate.engine.application.caller import Caller, Surroundings
from pymigrate.engine.application.catalog import Catalog
from pymigrate.engine.application.hosts import Hosts, LeaseTerms
from pymigrate.engine.application.inquiries import Inquiries
from pymigrate.engine.application.kinds import CONNECTIONS, DEPARTMENTS, ENVIRONMENTS
from pymigrate.engine.application.limits import LaneLimits
from pymigrate.engine.application.plans import Plans
from pymigrate.engine.application.runs import Runs
from pymigrate.engine.testing.clock import ManualClock
from pymigrate.engine.testing.store import MemoryStore
from pymigrate.v1 import connection_pb2, environment_pb2, plan_pb2, run_pb2, worker_pb2

ENVIRONMENT = "environments/e"
PLAN = f"{ENVIRONMENT}/plans/p"
ME = Caller("me")


@dataclass
class Engine:
    """Everything between the edges and the ports."""

    store: MemoryStore = field(default_factory=MemoryStore)
    clock: ManualClock = field(default_factory=ManualClock)
    lanes_max: int = 50

    def __post_init__(self) -> None:
        numbers = count(1)
        surroundings = Surroundings(self.clock, lambda: f"id{next(numbers):08d}")
        self.catalog = Catalog(surroundings)
        self.plans = Plans(self.catalog)
        self.board = Board(self.store, self.clock, random.Random(1))
        self.inquiries = Inquiries(surroundings.new_id, self._on_work)
        limits = LaneLimits(self.store, self.board, self.lanes_max)
        self.hosts = Hosts(self.store, self.board, self.inquiries, limits, surroundings, LeaseTerms())
        self.board.on_work(self._on_work)
        self.runs = Runs(self.store, self.board, self.inquiries, self.catalog, surroundings)

    def _on_work(self) -> None:
        self.hosts.tell_work()

    def again(self) -> "Engine":
        """Another engine on the same store: this one was killed."""
        return Engine(self.store, self.clock, self.lanes_max)

    async def declare(self, phases: dict[str, plan_pb2.Phase], *, connection_lanes: int = 0, lanes: int = 0) -> None:
        """An environment with a department, two connections and a plan of these phases."""

        def work(unit):  # type: ignore[no-untyped-def]  # a unit of work
            self.catalog.create(unit, ENVIRONMENTS, "", "e", environment_pb2.Environment(), ME)
            self.catalog.create(unit, DEPARTMENTS, ENVIRONMENT, "sales", environment_pb2.Department(), ME)
            for name, system in systems(connection_lanes).items():
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


class PlayedHost:
    """A worker host that the test plays: it claims, and answers as it is told."""

    def __init__(
        self, engine: Engine, name: str = "workerHosts/h", pid: int = 1, affinity: str = "file:/warehouse.duckdb"
    ) -> None:
        self.engine = engine
        self.message = worker_pb2.WorkerHost(name=name, pid=pid, pid_start_ticks=pid, affinity=affinity)
        self.session = ""

    async def register(self, *leases: worker_pb2.TaskLease) -> worker_pb2.RegisterHostResponse:
        """Makes itself known."""
        answer = await self.engine.hosts.register(self.message, leases)
        self.session = answer.session
        return answer

    async def claim(self, wait_seconds: float = 0.0) -> worker_pb2.Task | None:
        """The next task."""
        return await self.engine.hosts.claim(self.message.name, self.session, wait_seconds)

    async def heartbeat(self, *tasks: worker_pb2.Task) -> worker_pb2.HeartbeatResponse:
        """Says what it has."""
        return await self.engine.hosts.heartbeat(self.message.name, self.session, [lease_of(task) for task in tasks])

    async def report(self, task: worker_pb2.Task, chunks: int, rows: int) -> None:
        """How far a lane got."""
        progress = worker_pb2.LaneProgress(chunks=chunks, rows=rows, bytes=rows * 10)
        await self.engine.hosts.report(self.message.name, self.session, lease_of(task), progress)

    async def finish(self, task: worker_pb2.Task, **outcome: object) -> None:
        """Tells how it ended; without an outcome, that it is done."""
        request = worker_pb2.FinishTaskRequest(host=self.message.name, session=self.session, lease=lease_of(task))
        if outcome:
            request.MergeFrom(worker_pb2.FinishTaskRequest(**outcome))  # type: ignore[arg-type]  # the test's choice
        else:
            request.result.CopyFrom(done(task))
        await self.engine.hosts.finish(request)

    async def work(self, tasks_max: int = 1_000) -> list[str]:
        """Does everything that it can claim; the kinds of what it did."""
        kinds: list[str] = []
        for _ in range(tasks_max):
            task = await self.claim()
            if task is None:
                break
            kinds.append(task.WhichOneof("work") or "")
            await self.finish(task)
        return kinds


def lease_of(task: worker_pb2.Task) -> worker_pb2.TaskLease:
    """What a host says that it has."""
    return worker_pb2.TaskLease(task_id=task.id, fence=task.fence)


def done(task: worker_pb2.Task) -> worker_pb2.TaskResult:
    """What a task that went well answers."""
    match task.WhichOneof("work"):
        case "copy":
            return worker_pb2.TaskResult(copy=worker_pb2.LaneProgress(chunks=1, rows=10, bytes=100))
        case "verify":
            return worker_pb2.TaskResult(verify=run_pb2.Verification(is_verified=True, source_rows=10, target_rows=10))
        case "inspect":
            found = connection_pb2.RelationSchema(relation=task.inspect.dataset.dataset.source.relation, rows=10)
            return worker_pb2.TaskResult(inspect=run_pb2.Inspection(source=found, path="arrow"))
        case "test":
            return worker_pb2.TaskResult(test=connection_pb2.TestConnectionResponse(version="Played 1"))
        case "discover":
            return worker_pb2.TaskResult(discover=connection_pb2.DiscoverSchemaResponse())
        case _:
            return worker_pb2.TaskResult()
