"""Worker hosts that a test plays: they claim from the engine's own use cases and answer by a script, with no system behind them."""

from collections.abc import Callable

from pymigrate.engine.application.hosts import Hosts
from pymigrate.engine.application.works import SHARED
from pymigrate.v1 import connection_pb2, run_pb2, worker_pb2

ROWS = 10
ENVIRONMENT = "e"
Outcome = worker_pb2.TaskResult | worker_pb2.LaneProgress | run_pb2.Failure
Script = Callable[[worker_pb2.Task], Outcome]


class ScriptedHost:
    """A host that does what a test tells it, call by call, or serves on its own by `script`.

    An outcome is a result, a failure, or how far a lane got when it drained."""

    def __init__(
        self,
        hosts: Hosts,
        name: str = "workerHosts/h",
        *,
        pid: int = 1,
        affinity: str = f"{SHARED}@{ENVIRONMENT}",
        script: "Script | None" = None,
    ) -> None:
        self.hosts = hosts
        self.script = script or done
        self.message = worker_pb2.WorkerHost(name=name, pid=pid, pid_start_ticks=pid, affinity=affinity)
        self.session = ""

    async def register(self, *leases: worker_pb2.TaskLease) -> worker_pb2.RegisterHostResponse:
        """Makes itself known, with what it has under way."""
        answer = await self.hosts.register(self.message, leases)
        self.session = answer.session
        return answer

    async def claim(self, wait_seconds: float = 0.0) -> worker_pb2.Task | None:
        """The next task."""
        return await self.hosts.claim(self.message.name, self.session, wait_seconds)

    async def heartbeat(self, *tasks: worker_pb2.Task) -> worker_pb2.HeartbeatResponse:
        """Says what it has; the tasks get the fresh credentials that come back."""
        answer = await self.hosts.heartbeat(self.message.name, self.session, [self.lease(task) for task in tasks])
        for task in tasks:
            task.credential = answer.credentials.get(task.id, task.credential)
        return answer

    def lease(self, task: worker_pb2.Task) -> worker_pb2.TaskLease:
        """What it shows with a task."""
        return lease_of(task)

    async def report(self, task: worker_pb2.Task, chunks: int, rows: int) -> None:
        """Tells how far a lane got."""
        progress = worker_pb2.LaneProgress(chunks=chunks, rows=rows, bytes=rows * 10)
        await self.hosts.report(self.message.name, self.session, self.lease(task), progress)

    async def finish(self, task: worker_pb2.Task, outcome: Outcome | None = None) -> None:
        """Tells how a task ended; without an outcome, what the script says."""
        request = worker_pb2.FinishTaskRequest(host=self.message.name, session=self.session, lease=self.lease(task))
        match self.script(task) if outcome is None else outcome:
            case worker_pb2.TaskResult() as result:
                request.result.CopyFrom(result)
            case worker_pb2.LaneProgress() as progress:
                request.drained.CopyFrom(progress)
            case run_pb2.Failure() as failure:
                request.failure.CopyFrom(failure)
        await self.hosts.finish(request)

    async def work(self, tasks_max: int = 1_000) -> list[str]:
        """Does everything that it can claim now; the kinds of what it did, in order."""
        kinds: list[str] = []
        for _ in range(tasks_max):
            task = await self.claim()
            if task is None:
                break
            kinds.append(task.WhichOneof("work") or "")
            await self.finish(task)
        return kinds

    async def serve(self, wait_seconds: float = 30.0) -> None:
        """Registers, and does what it is given until it is cancelled."""
        await self.register()
        while True:
            if task := await self.claim(wait_seconds):
                await self.finish(task)


def lease_of(task: worker_pb2.Task) -> worker_pb2.TaskLease:
    """What a host says that it has."""
    return worker_pb2.TaskLease(task_id=task.id, fence=task.fence, credential=task.credential)


def done(task: worker_pb2.Task) -> worker_pb2.TaskResult:
    """The answer of a task that went well: every relation has ten rows, and every verification agrees."""
    match task.WhichOneof("work"):
        case "copy":
            return worker_pb2.TaskResult(copy=worker_pb2.LaneProgress(chunks=1, rows=ROWS, bytes=100))
        case "verify":
            found = run_pb2.Verification(is_verified=True, source_rows=ROWS, target_rows=ROWS)
            return worker_pb2.TaskResult(verify=found)
        case "inspect":
            relation = task.inspect.dataset.dataset.source.relation
            schema = connection_pb2.RelationSchema(relation=relation, rows=ROWS)
            return worker_pb2.TaskResult(inspect=run_pb2.Inspection(source=schema, path="arrow"))
        case "test":
            return worker_pb2.TaskResult(test=connection_pb2.TestConnectionResponse(version="Scripted 1"))
        case "discover":
            relations = [connection_pb2.RelationSchema(relation="orders", rows=ROWS)]
            return worker_pb2.TaskResult(discover=connection_pb2.DiscoverSchemaResponse(relations=relations))
        case _:
            return worker_pb2.TaskResult()
