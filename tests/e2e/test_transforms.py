"""Rows through every kind of transform on their way into PostgreSQL and DuckDB, by a real engine with real worker hosts."""

import sqlite3
from datetime import date
from pathlib import Path

import duckdb
import psycopg
import pytest

from pymigrate.engine.transfer.transforms.masking import token
from pymigrate.v1 import run_pb2
from tests.e2e.engines import EngineProcess, declare, ended

pytestmark = pytest.mark.measured

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
        key: [number], verification: full, chunkBytes: 65536, quarantine: {{rowsMax: 10}},
        transforms: [
          {{rename: {{columns: {{id: number}}}}}},
          {{filter: {{condition: "number % 3 <> 0"}}}},
          {{deduplicate: {{columns: [number, name]}}}},
          {{cast: {{columns: {{born: {{type: date}}}}}}}},
          {{derive: {{columns: {{initial: {{expression: "upper(left(name, 1))", type: string}}}}}}}},
          {{split: {{column: name, separator: " ", into: [name, surname]}}}},
          {{merge: {{columns: [surname, initial], separator: "/", into: short, keep: true}}}},
          {{lookup: {{source: {{connection: legacy, relation: countries}}, keys: {{country: code}},
                     columns: {{nation: name}}, whenMissing: "null"}}}},
          {{mask: {{columns: {{email: {{method: tokenise}}, note: {{method: redact}}}}, key: "file://{folder}/key"}}}},
          {{python: {{function: "tests.unit.transfer.transforms.functions:shout", settings: {{mark: "!"}},
                     columns: {{name: {{type: string}}}}, batchSecondsMax: 60}}}},
          {{select: {{columns: [number, name, surname, short, born, nation, email, note]}}}},
        ]}}"""
KEY = "a key of at least sixteen bytes"


def test_every_transform_reaches_both_targets_alike(
    postgres_database: str, engine: EngineProcess, tmp_path: Path
) -> None:
    (tmp_path / "key").write_text(KEY)
    with sqlite3.connect(tmp_path / "legacy.db") as legacy:
        legacy.execute("CREATE TABLE countries (code TEXT PRIMARY KEY, name TEXT)")
        legacy.execute("INSERT INTO countries VALUES ('c0', 'Andorra'), ('c1', 'Chile')")
        legacy.execute("CREATE TABLE people (id INTEGER, name TEXT, born TEXT, country TEXT, email TEXT, note TEXT)")
        rows = [(at, f"name {at}", "2001-02-03", f"c{at % 5}", f"{at}@x", "secret") for at in range(1, ROWS + 1)]
        rows[6] = (7, "name 7", "yesterday", "c2", "7@x", "secret")
        legacy.executemany("INSERT INTO people VALUES (?, ?, ?, ?, ?, ?)", [*rows, *rows[7:57]])
    legacy.close()
    found = psycopg.conninfo.conninfo_to_dict(postgres_database)
    system = f"{{host: {found['host']}, port: {found.get('port', 5432)}, database: {found['dbname']}, user: {found['user']}}}"
    text = DEFINITIONS.replace("&people ", "").format(
        folder=tmp_path,
        postgres=system,
        dataset_duck=DATASET.format(target="duck", folder=tmp_path),
        dataset_postgres=DATASET.format(target="postgres", folder=tmp_path),
    )
    with engine.client() as client:
        declare(client, text, tmp_path / "plan.yaml")
        started = client.runs.StartRun(
            run_pb2.StartRunRequest(parent="environments/e/plans/p"), metadata=client.metadata, timeout=120
        )
        run = ended(client, started.name)
    assert run.state == run_pb2.RUN_STATE_SUCCEEDED, run.failure
    nations = {0: "Andorra", 1: "Chile"}
    expected = [
        (
            at,
            "NAME!",
            str(at),
            f"{at}/N",
            date(2001, 2, 3),
            nations.get(at % 5),
            token(KEY.encode(), f"{at}@x"),
            "[redacted]",
        )
        for at in range(1, ROWS + 1)
        if at % 3 and at != 7
    ]
    reason = "the value is no date, or not without losing a part of it"
    refused = [(7, "born", reason, "[masked]")]
    question = "SELECT row_number, column_name, reason, content ->> 'email' FROM persons_quarantine"
    for phase in ("duck", "postgres"):
        dataset = run.phases[phase].datasets["people"]
        assert (dataset.path, dataset.path_reason) == (
            "arrow",
            "rows pass as Arrow record batches, which the dataset's transforms and quarantine work on",
        )
        assert dataset.verification.target_rows == len(expected)
        assert (dataset.quarantined_rows, dataset.verification.source_rows) == (1, ROWS + 50)
    with duckdb.connect(str(tmp_path / "warehouse.duckdb")) as warehouse:
        assert warehouse.execute("SELECT * FROM persons ORDER BY 1").fetchall() == expected
        assert warehouse.execute(question).fetchall() == refused
    with psycopg.connect(postgres_database) as warehouse_of_postgres:
        assert warehouse_of_postgres.execute("SELECT * FROM persons ORDER BY 1").fetchall() == expected
        assert warehouse_of_postgres.execute(question).fetchall() == refused
