"""Every kind of target from a PostgreSQL of mixed types: counted, hashed, read back whole, and equal."""

from pathlib import Path

import duckdb
import psycopg
import pytest

from pymigrate.v1 import run_pb2
from tests.e2e.engines import EngineProcess, declare, ended

ROWS = 5_000
HEAD = "apiVersion: pymigrate.io/v1alpha1\nkind: {kind}\nmetadata: {{name: {name}{environment}}}\nspec: {spec}\n"
DECODED = ("duckdb", "sqlite", "files")
TARGETS = ("postgres", *DECODED)
COLUMNS = "id, customer, amount, placed, day, paid, weight, note, raw, code, extra::text, at"
CREATE = f"""
CREATE TABLE orders (
  id bigint PRIMARY KEY, customer text, amount numeric(12,2) NOT NULL, placed timestamptz, day date, paid boolean,
  weight double precision, note varchar(40), raw bytea, code uuid, extra jsonb, at time
);
INSERT INTO orders SELECT n, CASE WHEN n % 7 = 0 THEN NULL ELSE 'Käufer ' || n END, n * 1.25,
  timestamptz '2020-01-01 00:00:00Z' + n * interval '1 minute',
  date '2020-01-01' + n % 1000, n % 2 = 0, n / 3.0, CASE WHEN n % 5 = 0 THEN '' ELSE 'note' END, decode(md5(n::text), 'hex'),
  md5(n::text)::uuid, jsonb_build_object('n', n, 'x', 1.10), time '00:00' + n * interval '1 second'
FROM generate_series(1, {ROWS}) AS n;
CREATE TABLE loose (a int, b text);
INSERT INTO loose SELECT n % 10, 'x' FROM generate_series(1, 1000) AS n;
"""


def document(kind: str, name: str, spec: str) -> str:
    """A document in its envelope."""
    environment = "" if kind == "Environment" else ", environment: e"
    return HEAD.format(kind=kind, name=name, environment=environment, spec=spec)


def definitions(dsn: str, folder: Path) -> str:
    """One phase a target, each of a table with a key and one without."""
    found = psycopg.conninfo.conninfo_to_dict(dsn)
    secret = folder / "password.json"
    secret.write_text('{"password": "not asked for"}')
    system = (
        f"{{postgres: {{host: {found['host']}, port: {found.get('port', 5432)}, database: {found['dbname']}, "
        f"user: {found['user']}, password: 'file://{secret}#password'}}}}"
    )
    systems = {
        "legacy": system,
        "postgres": system,
        "duckdb": f"{{duckdb: {{path: {folder}/w.duckdb}}}}",
        "sqlite": f"{{sqlite: {{path: {folder}/w.db}}}}",
        "files": f"{{files: {{root: {folder}/lake}}}}",
    }
    phases = {}
    for target in TARGETS:
        place = "copied_" if target == "postgres" else ""
        datasets = ", ".join(
            f"{table}: {{source: {{connection: legacy, relation: {table}}}, verification: full, "
            f"chunkBytes: 100000, target: {{connection: {target}, relation: {place}{table}}}}}"
            for table in ("orders", "loose")
        )
        phases[target] = f"{{department: sales, datasets: {{{datasets}}}}}"
    plan = "{phases: {" + ", ".join(f"{name}: {phase}" for name, phase in phases.items()) + "}}"
    return "---\n".join(
        [
            document("Environment", "e", "{}"),
            document("Department", "sales", "{}"),
            *[document("Connection", name, spec) for name, spec in systems.items()],
            document("Plan", "p", plan),
        ]
    )


@pytest.fixture
def database(postgres_database: str) -> str:
    """A database with the tables."""
    with psycopg.connect(postgres_database) as connection:
        connection.execute(CREATE)
    return postgres_database


def test_a_postgres_of_mixed_types_reaches_every_target_whole(
    database: str, engine: EngineProcess, tmp_path: Path
) -> None:
    with engine.client() as client:
        declare(client, definitions(database, tmp_path), tmp_path / "plan.yaml")
        started = client.runs.StartRun(
            run_pb2.StartRunRequest(parent="environments/e/plans/p"), metadata=client.metadata, timeout=120
        )
        run = ended(client, started.name)
    assert run.state == run_pb2.RUN_STATE_SUCCEEDED, run.failure
    for target in TARGETS:
        for table, rows in (("orders", ROWS), ("loose", 1_000)):
            dataset = run.phases[target].datasets[table]
            found = dataset.verification
            assert found.source_rows == found.target_rows == rows
            assert found.source_checksum == found.target_checksum != ""
            if target == "postgres":  # rows pass undecoded, and both servers hash their own
                assert dataset.path == "postgres_binary"
                assert found.transfer_checksum.startswith("xxh3-chunks:")
            else:
                assert dataset.path == "arrow"
                assert found.transfer_checksum == found.target_checksum
    decoded = {run.phases[target].datasets["orders"].verification.target_checksum for target in DECODED}
    assert len(decoded) == 1
    with psycopg.connect(database) as connection:
        differences = connection.execute(
            f"SELECT count(*) FROM (SELECT {COLUMNS} FROM orders EXCEPT SELECT {COLUMNS} FROM copied_orders) AS d"
        ).fetchone()
        columns = connection.execute(
            "SELECT column_name FROM information_schema.columns WHERE table_name = 'copied_orders'"
        ).fetchall()
    assert differences == (0,)
    assert len(columns) == 12


def test_a_duckdb_file_is_read_into_a_server_and_into_another_file(
    postgres_database: str, engine: EngineProcess, tmp_path: Path
) -> None:
    with duckdb.connect(tmp_path / "legacy.duckdb") as legacy:
        legacy.execute(
            "CREATE TABLE orders AS SELECT n AS id, n * 1.25::DECIMAL(9, 2) AS amount, 'Käufer ' || n AS customer, "
            f"n::HUGEINT AS large, [n, NULL] AS marks, TIMESTAMPTZ '2020-01-01 00:00:00+00' + to_minutes(n) AS placed "
            f"FROM range({ROWS}) AS t (n)"
        )
    found = psycopg.conninfo.conninfo_to_dict(postgres_database)
    server = f"{{postgres: {{host: {found['host']}, port: {found['port']}, database: {found['dbname']}, user: {found['user']}}}}}"
    phases = ", ".join(
        f"{target}: {{department: sales, datasets: {{orders: {{source: {{connection: legacy, relation: orders}}, lanes: 2, "
        f"verification: full, chunkBytes: 100000, target: {{connection: {target}, relation: orders}}}}}}}}"
        for target in ("server", "file")
    )
    documents = [
        document("Environment", "e", "{}"),
        document("Department", "sales", "{}"),
        document("Connection", "legacy", f"{{duckdb: {{path: {tmp_path}/legacy.duckdb}}}}"),
        document("Connection", "server", server),
        document("Connection", "file", f"{{duckdb: {{path: {tmp_path}/w.duckdb}}}}"),
        document("Plan", "p", f"{{phases: {{{phases}}}}}"),
    ]
    with engine.client() as client:
        declare(client, "---\n".join(documents), tmp_path / "plan.yaml")
        started = client.runs.StartRun(
            run_pb2.StartRunRequest(parent="environments/e/plans/p"), metadata=client.metadata, timeout=120
        )
        run = ended(client, started.name)
    assert run.state == run_pb2.RUN_STATE_SUCCEEDED, run.failure
    digests = {phase.datasets["orders"].verification.target_checksum for phase in run.phases.values()}
    assert len(digests) == 1
    with duckdb.connect(tmp_path / "w.duckdb", read_only=True) as copied:
        copied.execute(f"ATTACH '{tmp_path}/legacy.duckdb' AS legacy (READ_ONLY)")
        read = "SELECT id, amount, customer, large::VARCHAR, marks::VARCHAR, placed FROM"
        assert copied.execute(f"{read} orders EXCEPT {read} legacy.orders").fetchall() == []
        assert copied.execute("SELECT count(*) FROM orders").fetchall() == [(ROWS,)]
