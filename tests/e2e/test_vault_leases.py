"""Credentials that a Vault made end beneath a copy, with the sessions of who used them: lanes go on with others, and no row is lost."""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import duckdb
import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from pymigrate.engine.entrypoints.cli.client import Client
from pymigrate.v1 import run_pb2
from tests.e2e.engines import EngineProcess, declare, ended, wait_until
from tests.e2e.test_rotation import definitions, events, lanes, start
from tests.passwords import asks_for_passwords
from tests.servers import PostgresCluster, empty_database
from tests.vaults.scene import VaultScene, stand_in_scene

ROWS = 2_000_000 if os.environ.get("PYMIGRATE_TEST_LONG") else 300_000
COPY_SECONDS_MIN = 10
LEASE_SECONDS = 3_600.0
STATEMENTS = {
    "creation_statements": [
        "CREATE ROLE \"{{name}}\" WITH LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}' IN ROLE by_password",
        'GRANT SELECT ON ALL TABLES IN SCHEMA public TO "{{name}}"',
    ],
    "revocation_statements": [
        'ALTER ROLE "{{name}}" NOLOGIN',
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{{name}}'",
        'DROP OWNED BY "{{name}}"',
        'DROP ROLE IF EXISTS "{{name}}"',
    ],
}


class Legacy:
    """A database whose users a Vault makes, and their leases."""

    def __init__(self, vault: VaultScene, dsn: str) -> None:
        self.dsn = dsn
        self.vault = vault
        self._mount = vault.mount("databases", "database")
        config = {"plugin_name": "postgresql-database-plugin", "connection_url": dsn}
        lives = {"default_ttl": f"{LEASE_SECONDS:g}s", "max_ttl": f"{LEASE_SECONDS:g}s"}
        vault.admin.adapter.post(f"/v1/{self._mount}/config/legacy", json=config)
        vault.admin.adapter.post(f"/v1/{self._mount}/roles/reader", json={"db_name": "legacy", **lives, **STATEMENTS})
        with psycopg.connect(dsn) as connection:
            connection.execute("CREATE TABLE orders (id bigint PRIMARY KEY, note text)")
            rows = "SELECT n, repeat('x', 50) || n FROM generate_series(1, %s) n"
            connection.execute(f"INSERT INTO orders {rows}".encode(), (ROWS,))

    def connection(self) -> dict[str, object]:
        """How it is declared: nobody knows its user's name beforehand."""
        found, reference = conninfo_to_dict(self.dsn), f"vault://{self._mount}/creds/reader"
        where = {"host": found["host"], "port": int(str(found["port"])), "database": found["dbname"]}
        secret = {"user": f"{reference}#username", "password": f"{reference}#password"}
        return {"postgres": where | secret, "rowsPerSecondMax": ROWS // COPY_SECONDS_MIN}

    def living(self) -> set[str]:
        """The leases that have not ended, by what tells one of them from another."""
        return {lease.rpartition("/")[2] for lease in self.vault.faults.vault.leases}

    def revoke(self) -> None:
        """An administrator does away with every lease."""
        self.vault.admin.sys.revoke_prefix(f"{self._mount}/creds")

    def expire(self) -> None:
        """Every lease comes to its end, although by the clock of who holds it there is time left."""
        self.vault.faults.vault.advance(LEASE_SECONDS + 1)


@pytest.fixture
def legacy(postgres_clusters: Callable[[str], PostgresCluster], tmp_path: Path) -> Iterator[Legacy]:
    """A source of which every user is a lease of a Vault's."""
    with empty_database(postgres_clusters("machine")) as dsn, asks_for_passwords(dsn), stand_in_scene() as vault:
        (tmp_path / "token").write_text(vault.token)
        yield Legacy(vault, dsn)


def declared(legacy: Legacy, folder: Path) -> str:
    """The plan of a dataset in several lanes, and the Vault that it reads from."""
    spec = {"vault": {"address": legacy.vault.address, "token": f"file://{folder / 'token'}"}, "timeoutSeconds": 5}
    metadata = {"name": "vault", "environment": "e"}
    backend = {"apiVersion": "pymigrate.io/v1alpha1", "kind": "SecretBackend", "metadata": metadata, "spec": spec}
    target = {"duckdb": {"path": str(folder / "w.duckdb")}}
    environment, *rest = definitions(legacy.connection(), target, "orders").split("\n---\n")
    return "\n---\n".join([environment, json.dumps(backend), *rest])


def versions(client: Client, run: str) -> set[str]:
    """Those that the run's lanes tell, of any secret."""
    return {version for lane in lanes(client, run) for version in lane.secret_versions.values()}


def test_leases_that_end_amid_a_copy_cost_no_row_and_no_lane_and_each_that_follows_is_told(
    engine: EngineProcess, legacy: Legacy, tmp_path: Path
) -> None:
    endings, ended_early = (legacy.revoke, legacy.expire, legacy.revoke), set[str]()
    with engine.client() as client:
        declare(client, declared(legacy, tmp_path), tmp_path / "plan.yaml")
        name = start(client)
        for end in endings:
            wait_until(lambda: bool(legacy.living() & versions(client, name)))
            ended_early |= legacy.living()
            end()
        wait_until(lambda: bool(legacy.living() & versions(client, name)))
        run = ended(client, name)
        found, told = versions(client, name), events(client, name)
    assert run.state == run_pb2.RUN_STATE_SUCCEEDED, run.failure
    assert not [event for event in told if event.type == "lane.failed"]
    assert len([event for event in told if event.type == "secret.rotated"]) >= len(endings)
    assert found - ended_early
    with closing(duckdb.connect(str(tmp_path / "w.duckdb"), read_only=True)) as warehouse:
        (counted,) = warehouse.sql("SELECT count(*), count(DISTINCT id), min(id), max(id) FROM copied").fetchall()
    assert counted == (ROWS, ROWS, 1, ROWS)
