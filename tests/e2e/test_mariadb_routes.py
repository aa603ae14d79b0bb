"""A MariaDB of mixed types to where consolidated data goes, and a PostgreSQL to a MariaDB: counted, hashed, read back whole, and equal."""

from datetime import date, datetime
from pathlib import Path

import psycopg

from pymigrate.v1 import run_pb2
from tests.e2e.engines import EngineProcess, declare, ended
from tests.e2e.test_routes import document
from tests.servers import MariadbDatabase

ROWS = 5_000
COLUMNS = (
    "id bigint unsigned PRIMARY KEY, customer varchar(60), amount decimal(12,2) NOT NULL, placed timestamp(6) NULL, at datetime, "
    "day date, paid tinyint(1), weight double, small float, raw varbinary(40), extra json, kind enum('a','b'), flags bit(3), t time"
)
VALUES = (
    "seq + 9223372036854775807, IF(seq % 7 = 0, NULL, CONCAT('Käufer \\\\ \\t ', seq)), seq * 1.25, "
    "FROM_UNIXTIME(1500000000 + seq + 0.123456), '2020-01-01' + INTERVAL seq MINUTE, '2020-01-01' + INTERVAL seq DAY, seq % 2, "
    "seq / 3e0, seq / 7e0, UNHEX(MD5(seq)), JSON_OBJECT('n', seq, 'x', 1.10), ELT(1 + seq % 2, 'a', 'b'), seq % 8, "
    "SEC_TO_TIME(seq)"
)
DECODED = ("duckdb",)


def server(kind: str, options: dict[str, str]) -> str:
    """A connection to a server."""
    return f"{{{kind}: {{" + ", ".join(f"{name}: {value!r}" for name, value in options.items()) + "}}"


def definitions(legacy: MariadbDatabase, dsn: str, folder: Path) -> str:
    """One phase a target, each of a table with a key and one without."""
    found = psycopg.conninfo.conninfo_to_dict(dsn)
    mysql = legacy.options()
    port = mysql.pop("port")
    systems = {
        "legacy": server("mysql", {**mysql, "sslMode": mysql.pop("ssl_mode")}).replace("}}", f", port: {port}}}}}"),
        "postgres": f"{{postgres: {{host: {found['host']}, port: {found['port']}, database: {found['dbname']}, user: {found['user']}}}}}",
        "duckdb": f"{{duckdb: {{path: {folder}/w.duckdb}}}}",
    }
    phases = []
    for target in ("postgres", *DECODED):
        datasets = ", ".join(
            f"{table}: {{source: {{connection: legacy, relation: {table}, columns: {{{columns}}}}}, verification: full, "
            f"chunkBytes: 100000, target: {{connection: {target}, relation: {table}}}}}"
            for table, columns in (("orders", "paid: {type: bool}"), ("loose", ""))
        )
        phases.append(f"{target}: {{department: sales, datasets: {{{datasets}}}}}")
    return "---\n".join(
        [
            document("Environment", "e", "{}"),
            document("Department", "sales", "{}"),
            *[document("Connection", name, spec) for name, spec in systems.items()],
            document("Plan", "p", f"{{phases: {{{', '.join(phases)}}}}}"),
        ]
    )


def test_a_mariadb_of_mixed_types_reaches_every_target_whole(
    mariadb_database: MariadbDatabase, postgres_database: str, engine: EngineProcess, tmp_path: Path
) -> None:
    mariadb_database.run(f"CREATE TABLE orders ({COLUMNS})")
    mariadb_database.run(f"INSERT INTO orders SELECT {VALUES} FROM seq_1_to_{ROWS}")
    mariadb_database.run("CREATE TABLE loose AS SELECT seq % 10 AS a, 'x' AS b FROM seq_1_to_1000")
    with engine.client() as client:
        declare(client, definitions(mariadb_database, postgres_database, tmp_path), tmp_path / "plan.yaml")
        started = client.runs.StartRun(
            run_pb2.StartRunRequest(parent="environments/e/plans/p"), metadata=client.metadata, timeout=120
        )
        run = ended(client, started.name)
    assert run.state == run_pb2.RUN_STATE_SUCCEEDED, run.failure
    for target in ("postgres", *DECODED):
        for table, rows in (("orders", ROWS), ("loose", 1_000)):
            dataset = run.phases[target].datasets[table]
            found = dataset.verification
            assert found.source_rows == found.target_rows == rows
            assert found.source_checksum == found.target_checksum != ""
            if (target, table) == (
                "postgres",
                "orders",
            ):  # the server writes what PostgreSQL reads, and nothing is decoded
                assert dataset.path == "postgres_text"
                assert found.transfer_checksum.startswith("xxh3-chunks:")
            else:
                assert dataset.path == "arrow"
                assert found.transfer_checksum == found.target_checksum
    assert "`loose` has no key" in run.phases["postgres"].datasets["loose"].path_reason
    with psycopg.connect(postgres_database) as connection:
        row = connection.execute(
            "SELECT id, customer, amount, placed::text, at::text, paid, flags FROM orders ORDER BY id LIMIT 1"
        )
        first = row.fetchone()
    assert first is not None
    assert (int(first[0]), first[1], str(first[2]), *first[4:]) == (
        2**63, "Käufer \\ \t 1", "1.25", "2020-01-01 00:01:00", True, "001",
    )  # fmt: skip


BACK = """
CREATE TABLE customers (
  id bigint PRIMARY KEY, name text NOT NULL, born date, seen timestamptz, share double precision, raw bytea, extra jsonb
);
INSERT INTO customers SELECT n, 'Käufer \\ ' || n, date '1970-01-01' + n, timestamptz '2020-01-01 00:00:00Z' + n * interval '1 minute',
  n / 3.0, decode(md5(n::text), 'hex'), jsonb_build_object('n', n) FROM generate_series(1, 3000) AS n;
"""


def test_a_postgres_reaches_a_mariadb_whole_and_replaces_what_was_there(
    mariadb_database: MariadbDatabase, postgres_database: str, engine: EngineProcess, tmp_path: Path
) -> None:
    mariadb_database.run("CREATE TABLE customers (id int)")
    mariadb_database.run("INSERT INTO customers VALUES (1)")
    with psycopg.connect(postgres_database) as connection:
        connection.execute(BACK)
    text = definitions(mariadb_database, postgres_database, tmp_path)
    phase = (
        "{department: sales, datasets: {customers: {source: {connection: postgres, relation: customers}, verification: full, "
        "chunkBytes: 100000, target: {connection: legacy, relation: customers, loadMode: replace}}}}"
    )
    *head, _ = text.split("---\n")
    with engine.client() as client:
        plan = document("Plan", "back", f"{{phases: {{back: {phase}}}}}")
        declare(client, "---\n".join([*head, plan]), tmp_path / "back.yaml")
        started = client.runs.StartRun(
            run_pb2.StartRunRequest(parent="environments/e/plans/back"), metadata=client.metadata, timeout=120
        )
        run = ended(client, started.name)
    assert run.state == run_pb2.RUN_STATE_SUCCEEDED, run.failure
    found = run.phases["back"].datasets["customers"].verification
    assert found.source_rows == found.target_rows == 3_000
    assert found.source_checksum == found.target_checksum == found.transfer_checksum != ""
    assert mariadb_database.run("SELECT name, born, seen FROM customers WHERE id = 7") == [
        ("Käufer \\ 7", date(1970, 1, 8), datetime.fromisoformat("2020-01-01T00:07:00"))
    ]
    [(_, definition)] = mariadb_database.run("SHOW CREATE TABLE customers")
    assert "PRIMARY KEY (`id`)" in str(definition)
