"""Inquiries that a test answers at once, and the revision that they are about."""

import asyncio
from collections.abc import Awaitable, Callable

from pymigrate.engine.application.inquiries import Inquiries
from pymigrate.engine.domain.errors import EngineUnavailable, PyMigrateError
from pymigrate.engine.domain.run import Failure
from pymigrate.v1 import connection_pb2, plan_pb2, run_pb2, worker_pb2

Script = Callable[[worker_pb2.Task], Awaitable[worker_pb2.TaskResult]]


class AnsweredInquiries:
    """Questions to hosts, one for each, as `script` says; what it raises is what the host found wrong, and EngineUnavailable that the
    host is gone without an answer."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._ids = iter(f"q{number}" for number in range(10_000))
        self._hosts: set[asyncio.Task[None]] = set()
        self.tasks: list[worker_pb2.Task] = []
        self.affinities: list[str] = []
        self.inquiries = Inquiries(lambda: next(self._ids), self._on_work)

    def asked(self, kind: str) -> list[worker_pb2.Task]:
        """The tasks of a kind, in order."""
        return [task for task in self.tasks if task.WhichOneof("work") == kind]

    def _on_work(self) -> None:
        for affinity in self.inquiries.demand():
            while (waiting := self.inquiries.waiting(affinity)) is not None:
                task = worker_pb2.Task()
                task.CopyFrom(self.inquiries.lease(waiting, waiting.message.id, 15))
                self.tasks.append(task)
                self.affinities.append(affinity)
                host = asyncio.get_running_loop().create_task(self._answer(task))
                self._hosts.add(host)
                host.add_done_callback(self._hosts.discard)

    async def _answer(self, task: worker_pb2.Task) -> None:
        try:
            outcome: worker_pb2.TaskResult | Failure = await self._script(task)
        except EngineUnavailable:
            self.inquiries.lose(task.id)
            return
        except PyMigrateError as error:
            outcome = Failure(error.reason, error.message, error.field, is_temporary=error.is_temporary)
        self.inquiries.finish(task.id, task.fence, outcome)


def a_revision(*datasets: str, rows: int = 1_000_000, lanes: int = 1) -> run_pb2.PlanRevision:
    """A plan of one phase, from a PostgreSQL into another, inspected: 100 bytes a row, and as many ranges as lanes."""
    revision = run_pb2.PlanRevision(plan=plan_pb2.Plan(name="environments/e/plans/p"))
    for name in ("legacy", "warehouse"):
        system = connection_pb2.PostgresSystem(host=name)
        revision.connections[name].CopyFrom(
            connection_pb2.Connection(name=f"environments/e/connections/{name}", postgres=system)
        )
    for name in datasets:
        dataset = revision.plan.phases["sales"].datasets[name]
        dataset.source.connection, dataset.source.relation = "legacy", name
        dataset.target.connection, dataset.target.relation = "warehouse", f"mart.{name}"
        found = revision.inspections[f"sales/{name}"]
        found.source.relation, found.source.rows, found.source.bytes = name, rows, rows * 100
        found.path, found.path_reason = "arrow", "as it is"
        found.ranges.extend([f"part {number}" for number in range(lanes)] if lanes > 1 else [])
    return revision
