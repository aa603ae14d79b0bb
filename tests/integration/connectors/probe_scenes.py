"""Pairs of real systems that a dataset is probed between, with what stands in their targets told to the last file and journal row."""

import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq

from pymigrate.engine.entrypoints.worker.probing import probe_job
from pymigrate.engine.entrypoints.worker.systems import system_spec
from pymigrate.engine.entrypoints.worker.tasks import TaskRunner
from pymigrate.engine.ports.redaction import Redactor
from pymigrate.engine.ports.staging import Checkpoint
from pymigrate.engine.testing.calls import MemoryCalls
from pymigrate.engine.testing.secrets import MemorySecrets
from pymigrate.engine.transfer.signals import Signals
from pymigrate.v1 import connection_pb2, plan_pb2, run_pb2, worker_pb2
from tests.integration.connectors.routes import CONNECTORS
from tests.servers import MariadbDatabase
from tests.unit.transfer.lanes import Asked

ROWS = 2_000
CHUNK_BYTES = 10_000
PARTS = 3
SCRATCH = "orders_probe0a1b2c3d"
OWN = ("checkpoint", "publication", "declaration")
Told = list[Any]


@dataclass
class Side:
    """A system: the contract's connection to it, `fill` puts the orders into it, and `told` tells everything that is in it."""

    connection: connection_pb2.Connection
    relation: str
    fill: Callable[[], None]
    told: Callable[[], Told]


@dataclass
class Scene:
    """A dataset between two systems."""

    source: Side
    target: Side

    def __post_init__(self) -> None:
        kept = {kind: make() for kind, make in CONNECTORS.items()}
        self.runner = TaskRunner(kept.__getitem__, MemorySecrets().held, Redactor(), MemoryCalls())
        self.source.fill()
        declared = plan_pb2.DatasetSource(connection="legacy", relation=self.source.relation)
        if declared.relation.endswith(".csv"):
            declared.csv.null_values.append("")
        self.work = worker_pb2.DatasetWork(
            run="run",
            phase="sales",
            dataset_id="orders",
            dataset=plan_pb2.Dataset(
                source=declared,
                target=plan_pb2.DatasetTarget(
                    connection="warehouse", relation="orders", load_mode=plan_pb2.LOAD_MODE_REPLACE
                ),
                key=["id"],
                chunk_bytes=CHUNK_BYTES,
            ),
            source=self.source.connection,
            target=self.target.connection,
            staging_id="live",
        )
        self.inspection = self.run(inspect=worker_pb2.InspectWork(dataset=self.work, lanes_max=PARTS)).result.inspect
        self.work.schema.CopyFrom(self.inspection.source)
        self.work.path = self.inspection.path

    def run(self, signals: Signals | None = None, fence: int = 1, **work: Any) -> worker_pb2.FinishTaskRequest:
        """A task's outcome."""
        task = worker_pb2.Task(id="inquiries/i1", fence=fence, **work)
        return self.runner.run(task, signals or Asked(), lambda _: None)

    def put_live(self) -> None:
        """A run has moved the dataset, for good."""
        for work in (
            {"copy": worker_pb2.CopyWork(dataset=self.work, lane="lane")},
            {"publish": worker_pb2.PublishWork(datasets=[self.work])},
            {"seal": worker_pb2.SealWork(datasets=[self.work])},
        ):
            outcome = self.run(**work)
            assert outcome.WhichOneof("outcome") == "result", outcome

    def revision(self) -> run_pb2.PlanRevision:
        """What an engine freezes of a plan with this dataset alone."""
        revision = run_pb2.PlanRevision(plan=plan_pb2.Plan(name="environments/e/plans/p"))
        revision.plan.phases["sales"].datasets["orders"].CopyFrom(self.work.dataset)
        revision.connections["legacy"].CopyFrom(self.work.source)
        revision.connections["warehouse"].CopyFrom(self.work.target)
        revision.inspections["sales/orders"].CopyFrom(self.inspection)
        return revision

    async def answer(self, task: worker_pb2.Task) -> worker_pb2.TaskResult:
        """A host's, for an engine that asks."""
        outcome = await asyncio.to_thread(self.runner.run, task, Asked(), lambda _: None)
        assert outcome.WhichOneof("outcome") == "result", outcome
        return outcome.result

    def journal(self) -> Told:
        """What the target knows of the probe's staging and its lane."""
        task = self.probe_task()
        job = probe_job(task).lane
        system = system_spec(self.work.target, MemorySecrets())
        with closing(CONNECTORS[system.kind]().open_target(system)) as target:
            at, fence = target.checkpoint(job.staging, job.lane)
        is_known = fence or at != Checkpoint()
        return [at, fence] if is_known else []

    def probe_task(self, **asked: Any) -> worker_pb2.Task:
        """A probe into the scratch relation."""
        work = worker_pb2.DatasetWork()
        work.CopyFrom(self.work)
        work.staging_id = "probe1"
        work.dataset.target.relation = SCRATCH
        return worker_pb2.Task(
            id="inquiries/i2", fence=1, probe=worker_pb2.ProbeWork(dataset=work, seconds_max=600, **asked)
        )

    def probe(self, signals: Signals | None = None, **asked: Any) -> worker_pb2.Probed:
        """What it finds."""
        outcome = self.runner.run(self.probe_task(**asked), signals or Asked(), lambda _: None)
        assert outcome.WhichOneof("outcome") == "result", outcome
        return outcome.result.probe


def rows() -> Iterator[tuple[int, str | None, float]]:
    """The orders."""
    return ((at, None if at % 7 == 0 else f"order {at}", at * 1.25) for at in range(1, ROWS + 1))


def postgres(dsn: str) -> Side:
    """A PostgreSQL with an index."""
    parts = psycopg.conninfo.conninfo_to_dict(dsn)
    system = connection_pb2.PostgresSystem(
        host=str(parts["host"]), port=int(parts["port"] or 0), database=str(parts["dbname"]), user=str(parts["user"])
    )

    def fill() -> None:
        with psycopg.connect(dsn) as connection, connection.cursor() as cursor:
            cursor.execute("CREATE TABLE orders (id bigint PRIMARY KEY, name text, amount float8)")
            cursor.execute("CREATE INDEX by_name ON orders (name)")
            cursor.executemany("INSERT INTO orders VALUES (%s, %s, %s)", list(rows()))

    def told() -> Told:
        with psycopg.connect(dsn) as connection:
            names = connection.execute(
                "SELECT c.oid::bigint, n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
                "WHERE n.nspname !~ '^pg_|information_schema' ORDER BY 1"
            ).fetchall()
            own = [
                connection.execute(f"SELECT * FROM pymigrate.{name}").fetchall() for name in OWN if _has(names, name)
            ]
            orders = connection.execute("SELECT * FROM orders ORDER BY 1").fetchall() if _has(names, "orders") else []
        return [names, own, orders]

    return Side(connection_pb2.Connection(name="connections/p", postgres=system), "orders", fill, told)


def _has(names: Told, name: str) -> bool:
    return any(row[-1] == name for row in names)


def mariadb(database: MariadbDatabase) -> Side:
    """A MariaDB with an index."""
    options = database.options()
    system = connection_pb2.MysqlSystem(
        host=options["host"], port=int(options["port"]), database=database.name, user="root", ssl_mode="disable"
    )

    def fill() -> None:
        database.run("CREATE TABLE orders (id bigint PRIMARY KEY, name varchar(40), amount double, KEY by_name (name))")
        database.run(
            "INSERT INTO orders SELECT seq, IF(seq % 7 = 0, NULL, CONCAT('order ', seq)), seq * 1.25e0 "
            f"FROM seq_1_to_{ROWS}"
        )

    def told() -> Told:
        names = database.run(
            "SELECT table_schema, create_time, table_name FROM information_schema.tables WHERE table_schema = DATABASE() ORDER BY 3"
        )
        return [names, [database.run(f"SELECT * FROM `{name}` ORDER BY 1") for _, _, name in names]]

    return Side(connection_pb2.Connection(name="connections/m", mysql=system), "orders", fill, told)


def sqlite(path: Path) -> Side:
    """A SQLite file with an index."""

    def fill() -> None:
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, name TEXT, amount REAL)")
            connection.execute("CREATE INDEX by_name ON orders (name)")
            connection.executemany("INSERT INTO orders VALUES (?, ?, ?)", rows())
            connection.commit()

    def told() -> Told:
        with closing(sqlite3.connect(path)) as connection:
            return list(connection.iterdump())

    system = connection_pb2.SqliteSystem(path=str(path))
    return Side(connection_pb2.Connection(name="connections/s", sqlite=system), "orders", fill, told)


def duckdb_file(path: Path) -> Side:
    """A DuckDB file."""

    def fill() -> None:
        with duckdb.connect(str(path)) as connection:
            connection.execute("CREATE TABLE orders (id BIGINT PRIMARY KEY, name VARCHAR, amount DOUBLE)")
            values = [list(column) for column in zip(*rows(), strict=True)]
            connection.register(
                "given", pa.table(values, ["id", "name", "amount"])
            )  # row by row takes a second a thousand
            connection.execute("INSERT INTO orders SELECT * FROM given")

    def told() -> Told:
        with duckdb.connect(str(path)) as connection:
            names = connection.execute(
                "SELECT schema_name, table_name FROM duckdb_tables() UNION ALL SELECT schema_name, index_name FROM duckdb_indexes() "
                "ORDER BY ALL"
            ).fetchall()
            tables = connection.execute("SELECT schema_name, table_name FROM duckdb_tables() ORDER BY ALL").fetchall()
            return [
                names,
                [connection.execute(f'SELECT * FROM "{a}"."{b}" ORDER BY ALL').fetchall() for a, b in tables],
            ]

    system = connection_pb2.DuckdbSystem(path=str(path))
    return Side(connection_pb2.Connection(name="connections/d", duckdb=system), "orders", fill, told)


def files(root: Path, ending: str = ".csv") -> Side:
    """A folder of files."""
    root.mkdir(exist_ok=True)

    def fill() -> None:
        if ending == ".csv":
            lines = [f"{at},{name or ''},{amount}" for at, name, amount in rows()]
            (root / "orders.csv").write_text("\n".join(["id,name,amount", *lines, ""]))
        else:
            values = [list(column) for column in zip(*rows(), strict=True)]
            pq.write_table(pa.table(values, ["id", "name", "amount"]), root / "orders.parquet", row_group_size=100)

    def told() -> Told:
        return _files_below(root)

    system = connection_pb2.FilesSystem(root=str(root))
    return Side(connection_pb2.Connection(name="connections/f", files=system), f"orders{ending}", fill, told)


def iceberg(root: Path) -> Side:
    """A catalogue and its warehouse."""
    root.mkdir()

    def told() -> Told:
        with closing(sqlite3.connect(root / "catalog.db")) as connection:
            tables = connection.execute("SELECT * FROM iceberg_tables").fetchall()
        return [tables, _files_below(root / "warehouse")]

    system = connection_pb2.IcebergSystem(catalog_path=str(root / "catalog.db"), warehouse=str(root / "warehouse"))
    return Side(connection_pb2.Connection(name="connections/i", iceberg=system), "orders", lambda: None, told)


def _files_below(root: Path) -> Told:
    return sorted(
        (str(path.relative_to(root)), path.stat().st_size, path.stat().st_mtime_ns)
        for path in root.rglob("*")
        if path.is_file()
    )
