"""Rows through every kind of transform on their way into PostgreSQL and DuckDB, by a real engine with real worker hosts."""

import sqlite3
from pathlib import Path

import duckdb
import psycopg

from pymigrate.v1 import run_pb2
from tests.e2e.engines import EngineProcess, declare, ended

ROWS = 3_000
DEFINITIONS = """
apiVersion: pymigrate.io/v1alpha1
kind: Environment
metadata: {{name: e}}
spec: {{}}
---
apiVersion: pymigrate.io/v1alpha1
kind: Department
metadata: {{name: sales, environment: e}}
spec: {{}}
---
apiVersion: pymigrate.io/v1alpha1
kind: Connection
metadata: {{name: legacy, environment: e}}
spec: {{sqlite: {{path: {folder}/legacy.db}}}}
---
apiVersion: pymigrate.io/v1alpha1
kind: Connection
metadata: {{name: duck, environment: e}}
spec: {{duckdb: {{path: {folder}/warehouse.duckdb}}}}
---
apiVersion: pymigrate.io/v1alpha1
kind: Connection
metadata: {{name: postgres, environment: e}}
spec: {{postgres: {postgres}}}
---
apiVersion: pymigrate.io/v1alpha1
kind: Plan
metadata: {{name: p, environment: e}}
spec:
  phases:
    duck:
      department: sales
      datasets: {{people: &people {dataset_duck}}}
    postgres:
      department: sales
      datasets: {{people: {dataset_postgres}}}
"""
DATASET = """{{
        source: {{connection: legacy, relation: people}},
        target: {{connection: {target}, relation: persons}},
        key: [number], verification: full, chunkBytes: 65536,
        transforms: [
          {{rename: {{columns: {{id: number}}}}}},
          {{filter: {{condition: "number % 3 <> 0"}}}},
          {{derive: {{columns: {{initial: {{expression: "upper(left(name, 1))", type: string}}}}}}}},
          {{drop: {{columns: [note]}}}},
        ]}}"""


def test_every_transform_reaches_both_targets_alike(
    postgres_database: str, engine: EngineProcess, tmp_path: Path
) -> None:
    with sqlite3.connect(tmp_path / "legacy.db") as legacy:
        legacy.execute("CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT, note TEXT)")
        legacy.executemany(
            "INSERT INTO people VALUES (?, ?, ?)", ((at, f"name {at}", "n" * 40) for at in range(1, ROWS + 1))
        )
    legacy.close()
    found = psycopg.conninfo.conninfo_to_dict(postgres_database)
    system = f"{{host: {found['host']}, port: {found.get('port', 5432)}, database: {found['dbname']}, user: {found['user']}}}"
    text = DEFINITIONS.replace("&people ", "").format(
        folder=tmp_path,
        postgres=system,
        dataset_duck=DATASET.format(target="duck"),
        dataset_postgres=DATASET.format(target="postgres"),
    )
    with engine.client() as client:
        declare(client, text, tmp_path / "plan.yaml")
        started = client.runs.StartRun(
            run_pb2.StartRunRequest(parent="environments/e/plans/p"), metadata=client.metadata, timeout=120
        )
        run = ended(client, started.name)
    assert run.state == run_pb2.RUN_STATE_SUCCEEDED, run.failure
    expected = [(at, f"name {at}", "N") for at in range(1, ROWS + 1) if at % 3]
    for phase in ("duck", "postgres"):
        dataset = run.phases[phase].datasets["people"]
        assert (dataset.path, dataset.path_reason) == (
            "arrow",
            "rows pass as Arrow record batches, which the dataset's transforms work on",
        )
        assert dataset.verification.target_rows == len(expected)
    with duckdb.connect(str(tmp_path / "warehouse.duckdb")) as warehouse:
        assert warehouse.execute("SELECT number, name, initial FROM persons ORDER BY 1").fetchall() == expected
    with psycopg.connect(postgres_database) as warehouse_of_postgres:
        assert warehouse_of_postgres.execute("SELECT * FROM persons ORDER BY 1").fetchall() == expected
