"""A password that is rotated by Terraform while its migration is under way: lanes drain and go on with the new one, and no row is lost."""

import contextlib
from pathlib import Path

import pymysql
import pytest

from pymigrate.v1 import run_pb2
from tests.e2e.engines import wait_until
from tests.e2e.terraforms import SMALL, Terraform, connections, only_run
from tests.e2e.test_terraform import terraform
from tests.servers import MariadbDatabase

__all__ = ["terraform"]
ROWS = 20_000
SECONDS_MAX = 120.0
SOURCE = """mysql = { host = "%(host)s", port = %(port)s, database = "%(database)s", user = "rotated",
    password = "file://%(secret)s", ssl_mode = "disable" }
  rows_per_second_max = 2000"""
MOVED = """
resource "pymigrate_phase" "orders" {
  plan       = pymigrate_plan.small.name
  phase_id   = "orders"
  department = pymigrate_department.sales.department_id
  datasets = {
    orders = {
      source       = { connection = pymigrate_connection.shop.connection_id, relation = "orders" }
      target       = { connection = pymigrate_connection.warehouse.connection_id, relation = "orders" }
      key          = ["id"]
      chunk_bytes  = 65536
      lanes        = 2
      verification = "full"
    }
  }
}
resource "pymigrate_run" "orders" {
  plan     = pymigrate_plan.small.name
  triggers = { orders = pymigrate_phase.orders.definition_hash }
}
"""


@pytest.fixture
def shop(mariadb_database: MariadbDatabase) -> MariadbDatabase:
    """Orders, and a user of their own."""
    mariadb_database.run("CREATE TABLE orders (id INT PRIMARY KEY, note VARCHAR(80))")
    mariadb_database.run(f"INSERT INTO orders SELECT seq, REPEAT('x', 60) FROM seq_1_to_{ROWS}")
    mariadb_database.run("CREATE OR REPLACE USER rotated IDENTIFIED BY 'before'")
    mariadb_database.run(f"GRANT SELECT ON {mariadb_database.name}.* TO rotated")
    return mariadb_database


def configuration(shop: MariadbDatabase, folder: Path, secret: Path) -> str:
    """The migration, whose source is opened with what a file holds."""
    systems = {
        "shop": SOURCE % (shop.options() | {"secret": secret}),
        "warehouse": f'duckdb = {{ path = "{folder}/warehouse.duckdb" }}',
    }
    return SMALL + connections(systems) + MOVED


def test_a_run_goes_on_with_a_password_of_another_reference(
    shop: MariadbDatabase, terraform: Terraform, tmp_path: Path
) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    before.write_text("before")
    after.write_text("after")
    terraform.write(configuration(shop, tmp_path, before))
    terraform.apply()
    wait_until(lambda: only_run(terraform).rows > 0, SECONDS_MAX)
    run = only_run(terraform)
    assert run.state == run_pb2.RUN_STATE_RUNNING

    shop.run("ALTER USER rotated IDENTIFIED BY 'after'")
    terraform.write(configuration(shop, tmp_path, after))
    assert "0 added, 1 changed, 0 destroyed" in terraform.must("apply", "-auto-approve")
    before.unlink()
    for (session,) in shop.run("SELECT id FROM information_schema.processlist WHERE user = 'rotated'"):
        with contextlib.suppress(pymysql.err.OperationalError):  # it has drained meanwhile
            shop.run(f"KILL {session}")

    wait_until(lambda: bool(only_run(terraform).end_time.seconds), SECONDS_MAX)
    ended = only_run(terraform)
    assert (ended.name, ended.state) == (run.name, run_pb2.RUN_STATE_SUCCEEDED), ended.failure
    assert ended.phases["orders"].datasets["orders"].rows == ROWS
    assert ended.phases["orders"].datasets["orders"].verification.is_verified
    assert terraform.changes() == 0
