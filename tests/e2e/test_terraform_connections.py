"""Every kind of system through the real terraform, with its options: declared, read from and written to, changed and imported."""

import gzip
import sqlite3
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict
from pyiceberg.catalog.sql import SqlCatalog

from pymigrate.v1 import connection_pb2, run_pb2
from tests.apis import ApiServer
from tests.e2e.terraforms import SMALL, Terraform, connections
from tests.e2e.test_connectors import ORDERS, by_cursor
from tests.e2e.test_own_connector import LINES, installed
from tests.e2e.test_terraform import RUN, terraform
from tests.servers import MariadbDatabase

pytestmark = pytest.mark.measured

__all__ = ["installed", "terraform"]
PLAN = "environments/small/plans/small"
ROWS = 400
# Kind of system to what the connection says; each is read from by one dataset, but for the last two.
CONNECTIONS = {
    "shop": """mysql = { host = "%(mysql_host)s", port = %(mysql_port)s, database = "%(mysql_database)s", user = "app",
               password = "file://%(folder)s/password", ssl_mode = "disable" }
    lanes_max = 2
    rows_per_second_max = 1000000""",
    "crm": """http = { base_url = "%(api)s", headers = { Authorization = "file://%(folder)s/token" }, requests_per_second_max = 250.5,
               timeout_seconds = 20, retries_max = 3 }
    labels = { owner = "sales" }""",
    "erp": """sqlalchemy = { url = "sqlite:///%(folder)s/erp.db" }
    latency_factor_max = 2.5""",
    "exports": """files = { root = "file://%(folder)s/exports" }
    bytes_per_second_max = 500000000""",
    "letters": """plugin = { kind = "lines", options = { root = "%(folder)s/letters" } }""",
    "lake": """iceberg = { catalog_path = "%(folder)s/catalog.db", warehouse = "%(folder)s/lake", catalog_name = "group" }""",
    "server": """postgres = { host = "%(host)s", port = %(port)s, database = "%(database)s", user = "%(user)s", ssl_mode = "disable" }""",
    "archive": """files = { root = "s3://archive/2013", options = { key = "env://ARCHIVE_KEY", secret = "env://ARCHIVE_SECRET",
               client_kwargs = "{\\"endpoint_url\\": \\"https://storage.internal\\"}" } }""",
}
SOURCES = {
    "customers": """{ connection = "shop", relation = "customers" }""",
    "orders": """{ connection = "crm", relation = "v1/orders",
      http_json = { records = "data.orders", total = "total", cursor = { next = "next", parameter = "after" } },
      columns = { id = { type = "int64" }, price = { type = "decimal(9,2)" }, extra = { type = "json" } } }""",
    "people": """{ connection = "erp", relation = "people" }""",
    "exports": """{ connection = "exports", relation = "*.csv.gz", csv = { null_values = ["-"], delimiter = ";" } }""",
    "letters": """{ connection = "letters", relation = "all.txt" }""",
}
KEYS = {"orders": '["id"]', "exports": '["id"]'}


def configuration(places: dict[str, object]) -> str:
    """Everything in one phase; the rows of the files go into PostgreSQL, and those of all others into Iceberg tables."""
    datasets = "\n".join(
        f"    {name} = {{\n      source = {source}\n"
        f"      target = {{ connection = {target(name)} }}\n"
        f'      verification = "full"\n' + (f"      key = {KEYS[name]}\n" if name in KEYS else "") + "    }"
        for name, source in SOURCES.items()
    )
    names = ", ".join(f"pymigrate_connection.{name}" for name in CONNECTIONS)
    phase = (
        'resource "pymigrate_phase" "airlines" {\n  plan = pymigrate_plan.small.name\n  phase_id = "all"\n'
        f"  department = pymigrate_department.sales.department_id\n  datasets = {{\n{datasets}\n  }}\n  depends_on = [{names}]\n}}\n"
    )
    return SMALL + connections(CONNECTIONS) % places + phase + RUN


def target(name: str) -> str:
    """Where a dataset goes."""
    return f'"server", relation = "{name}"' if name == "exports" else f'"lake", relation = "group.{name}"'


@pytest.fixture
def places(
    installed: Path, api: ApiServer, mariadb_database: MariadbDatabase, postgres_database: str, tmp_path: Path
) -> dict[str, object]:
    """The systems, with their rows, and how the configuration names them."""
    mariadb_database.run("CREATE TABLE customers (id INT PRIMARY KEY, name VARCHAR(40))")
    mariadb_database.run(f"INSERT INTO customers SELECT seq, CONCAT('name ', seq) FROM seq_1_to_{ROWS}")
    mariadb_database.run("CREATE USER IF NOT EXISTS app IDENTIFIED BY 'pa55word'")
    mariadb_database.run(f"GRANT ALL ON {mariadb_database.name}.* TO app")
    (tmp_path / "password").write_text("pa55word")
    (tmp_path / "token").write_text("Bearer t0ken")
    api.answer = by_cursor
    with closing(sqlite3.connect(tmp_path / "erp.db")) as erp, erp:
        erp.execute("CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT)")
        erp.executemany("INSERT INTO people VALUES (?, ?)", [(n, f"name {n}") for n in range(ROWS)])
    (tmp_path / "exports").mkdir()
    for part in range(2):
        text = "id;note\n" + "".join(f"{n};{'-' if n % 5 == 0 else f'note {n}'}\n" for n in range(part, ROWS, 2))
        (tmp_path / "exports" / f"{part}.csv.gz").write_bytes(gzip.compress(text.encode()))
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "all.txt").write_text("".join(f"{line}\n" for line in LINES))
    found = conninfo_to_dict(postgres_database)
    options = mariadb_database.options()
    return {
        "folder": tmp_path,
        "api": api.url,
        "mysql_host": options["host"],
        "mysql_port": options["port"],
        "mysql_database": options["database"],
        "host": found["host"],
        "port": found["port"],
        "database": found["dbname"],
        "user": found["user"],
    }


def test_every_kind_of_system_is_declared_migrated_imported_and_changed(
    places: dict[str, object], terraform: Terraform, postgres_database: str, tmp_path: Path
) -> None:
    whole = configuration(places)
    terraform.write(whole)
    terraform.apply()
    assert terraform.changes() == 0
    with terraform.engine.client() as client:
        run = client.runs.ListRuns(run_pb2.ListRunsRequest(parent=PLAN), metadata=client.metadata).runs[0]
        asked = connection_pb2.GetConnectionRequest(name="environments/small/connections/crm")
        crm = client.connections.GetConnection(asked, metadata=client.metadata, timeout=30)
    assert run.state == run_pb2.RUN_STATE_SUCCEEDED, run.failure
    datasets = run.phases["all"].datasets
    assert {name: dataset.rows for name, dataset in datasets.items()} == {
        "customers": ROWS, "orders": len(ORDERS), "people": ROWS, "exports": ROWS, "letters": len(LINES),
    }  # fmt: skip
    assert datasets["exports"].path == "csv"
    assert all(dataset.verification.is_verified for dataset in datasets.values())
    with psycopg.connect(postgres_database) as connection:
        rows = connection.execute("SELECT id::integer, note FROM exports ORDER BY 1").fetchall()
    assert rows == [(n, None if n % 5 == 0 else f"note {n}") for n in range(ROWS)]
    with closing(SqlCatalog("group", uri=f"sqlite:///{tmp_path}/catalog.db")) as catalog:
        assert sorted(name for _, name in catalog.list_tables("group")) == ["customers", "letters", "orders", "people"]
    assert (crm.http.requests_per_second_max, crm.http.timeout_seconds, crm.http.retries_max) == (250.5, 20, 3)
    terraform.must("state", "rm", *(f"pymigrate_connection.{name}" for name in CONNECTIONS))
    for name in CONNECTIONS:
        terraform.must("import", f"pymigrate_connection.{name}", f"environments/small/connections/{name}")
    assert terraform.changes() == 0
    terraform.write(whole.replace("retries_max = 3", "retries_max = 4").replace("lanes_max = 2", "lanes_max = 3"))
    assert "0 added, 2 changed, 0 destroyed" in terraform.must("apply", "-auto-approve")
    assert terraform.changes() == 0  # how a system is spoken to makes no other run due


WRONG = {
    "mysql_mode": ('mysql = { host = "h", database = "d", user = "u", ssl_mode = "maybe" }', "ssl_mode"),
    "mysql_password": ('mysql = { host = "h", database = "d", user = "u", password = "pa55word" }', "password"),
    "http_header": ('http = { base_url = "https://a", headers = { Authorization = "Bearer t0ken" } }', "headers"),
    "http_retries": ('http = { base_url = "https://a", retries_max = 99 }', "retries_max"),
    "http_timeout": ('http = { base_url = "https://a", timeout_seconds = 4000 }', "timeout_seconds"),
    "alchemy_url": ('sqlalchemy = { url = "oracle://reader:secret@host/erp" }', "url"),
    "plugin_kind": ('plugin = { kind = "postgres" }', "kind"),
    "iceberg_path": ('iceberg = { catalog_path = "catalog.db", warehouse = "/lake" }', "catalog_path"),
    "files_secret": ('files = { root = "s3://a/b", options = { secret = "aSecretOfItself" } }', "options"),
}


# What is told when planning already, so that a configuration with one of them is never applied.
WRITTEN_SECRETS = frozenset({"mysql_password", "http_header", "alchemy_url", "files_secret"})


@pytest.mark.parametrize("wrong", [WRITTEN_SECRETS, frozenset(WRONG) - WRITTEN_SECRETS], ids=["secrets", "options"])
def test_options_that_no_system_can_have_are_all_refused_at_their_attributes(
    terraform: Terraform, wrong: frozenset[str]
) -> None:
    terraform.write(SMALL + connections({name: text for name, (text, _) in WRONG.items() if name in wrong}))
    terraform.must("init")
    refused = terraform.run("apply", "-auto-approve")
    assert refused.code == 1
    told = refused.output.split("Error: ")
    for name, (_, attribute) in WRONG.items():
        if name not in wrong:
            continue
        [mine] = [part for part in told if f"with pymigrate_connection.{name}," in part]
        assert attribute in mine, mine
    with terraform.engine.client() as client:
        request = connection_pb2.ListConnectionsRequest(parent="environments/small")
        if wrong != WRITTEN_SECRETS:  # else not even their environment is there
            assert not client.connections.ListConnections(request, metadata=client.metadata, timeout=30).connections
