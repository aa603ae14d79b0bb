"""A small plan of two tables that a caller with a trace runs, for what engines tell others of it."""

import sqlite3
from pathlib import Path

from pymigrate.engine.ports.tracing import SpanContext
from pymigrate.v1 import run_pb2
from tests.e2e.engines import EngineProcess, declare, ended

CALLER = SpanContext("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331")
PLAN = "environments/prod/plans/warehouse"
DEFINITIONS = """
apiVersion: pymigrate.io/v1alpha1
kind: Environment
metadata: {name: prod}
---
apiVersion: pymigrate.io/v1alpha1
kind: Department
metadata: {name: sales, environment: prod}
---
apiVersion: pymigrate.io/v1alpha1
kind: Connection
metadata: {name: legacy, environment: prod}
spec: {sqlite: {path: LEGACY}}
---
apiVersion: pymigrate.io/v1alpha1
kind: Connection
metadata: {name: warehouse, environment: prod}
spec: {duckdb: {path: WAREHOUSE}}
---
apiVersion: pymigrate.io/v1alpha1
kind: Plan
metadata: {name: warehouse, environment: prod}
spec:
  phases:
    sales:
      department: sales
      datasets:
        customers:
          source: {connection: legacy, relation: customers}
          target: {connection: warehouse, relation: customers}
          chunkBytes: 65536
        orders:
          source: {connection: legacy, relation: orders}
          target: {connection: warehouse, relation: orders}
          chunkBytes: 65536
"""


def make_legacy(path: Path) -> None:
    """A database of some size."""
    with sqlite3.connect(path) as database:
        database.execute("create table customers (id integer primary key, name text)")
        database.execute("create table orders (id integer primary key, customer_id integer, total real)")
        rows = [(at, f"customer {at:06d}") for at in range(1, 20_001)]
        database.executemany("insert into customers values (?, ?)", rows)
        database.executemany("insert into orders values (?, ?, ?)", [(at, at, at / 2) for at in range(1, 20_001)])
    database.close()


def run_once(engine: EngineProcess, tmp_path: Path) -> run_pb2.Run:
    """The plan, started by a caller with a trace, to its end."""
    legacy = tmp_path / "legacy.db"
    make_legacy(legacy)
    with engine.client() as client:
        definitions = DEFINITIONS.replace("LEGACY", str(legacy))
        definitions = definitions.replace("WAREHOUSE", str(tmp_path / "warehouse.duckdb"))
        declare(client, definitions, tmp_path / "plan.yaml")
        metadata = (*client.metadata, ("traceparent", str(CALLER)))
        run = client.runs.StartRun(run_pb2.StartRunRequest(parent=PLAN), metadata=metadata, timeout=60)
        return ended(client, run.name)
