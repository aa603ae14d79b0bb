"""A runner over the fake connector, its databases, and a dataset's work."""

from pymigrate.engine.entrypoints.worker.tasks import TaskRunner
from pymigrate.engine.ports.redaction import Redactor
from pymigrate.engine.testing.calls import MemoryCalls
from pymigrate.engine.testing.connectors import MemoryConnector
from pymigrate.engine.testing.secrets import MemorySecrets
from pymigrate.engine.transfer.means import DEFAULT, Means
from pymigrate.v1 import connection_pb2, plan_pb2, worker_pb2
from tests.unit.transfer.lanes import COLUMNS, Asked, orders

PASSWORD = "correct horse"


class Bench:
    """A runner, its databases, and a dataset's work."""

    def __init__(self, means: Means = DEFAULT) -> None:
        self.connector, self.redactor, self.calls = MemoryConnector(), Redactor(), MemoryCalls()
        self.kinds: list[str] = []
        secrets = MemorySecrets({"PG": PASSWORD}, self.redactor)
        self.runner = TaskRunner(self.find, secrets.held, self.redactor, self.calls, means)
        self.source, self.target = (self.connector.databases[name] for name in ("legacy", "warehouse"))
        self.source.put("orders", COLUMNS, orders(45))
        dataset = plan_pb2.Dataset(
            source=plan_pb2.DatasetSource(connection="legacy", relation="orders"),
            target=plan_pb2.DatasetTarget(connection="warehouse", relation="orders"),
            chunk_bytes=100,
        )
        self.work = worker_pb2.DatasetWork(
            run="run",
            phase="sales",
            dataset_id="orders",
            dataset=dataset,
            source=connection_pb2.Connection(
                name="environments/e/connections/legacy", sqlite=connection_pb2.SqliteSystem(path="/legacy.db")
            ),
            target=connection_pb2.Connection(
                name="environments/e/connections/warehouse",
                postgres=connection_pb2.PostgresSystem(host="db", password="env://PG"),
            ),
            staging_id="s1",
        )
        self.progress: list[worker_pb2.LaneProgress] = []
        self.fence = 0

    def find(self, kind: str) -> MemoryConnector:
        self.kinds.append(kind)
        return self.connector

    def run(self, asked: Asked | None = None, **work: object) -> worker_pb2.FinishTaskRequest:
        self.fence += 1
        task = worker_pb2.Task(id="t", fence=self.fence, **work)  # type: ignore[arg-type]  # exactly one of its works
        return self.runner.run(task, asked or Asked(), self.progress.append)

    def copy(self, asked: Asked | None = None) -> worker_pb2.FinishTaskRequest:
        return self.run(asked, copy=worker_pb2.CopyWork(dataset=self.work, lane="lane"))

    def inspect(self) -> worker_pb2.FinishTaskRequest:
        return self.run(inspect=worker_pb2.InspectWork(dataset=self.work))

    def verify(self, asked: Asked | None = None) -> worker_pb2.FinishTaskRequest:
        return self.run(asked, verify=worker_pb2.VerifyWork(dataset=self.work, lanes=["lane"]))
