"""Credentials that a Vault makes in a real PostgreSQL: their roles log in, live as long as their lease, and are gone with it."""

from collections.abc import Iterator
from contextlib import closing

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from pymigrate.engine.adapters.connectors.postgres import PostgresConnector
from pymigrate.engine.adapters.secrets.reading import BackendSecrets, Source
from pymigrate.engine.domain.errors import SecretsUnavailable
from pymigrate.engine.entrypoints.worker.systems import system_spec
from pymigrate.engine.ports.redaction import Redactor
from pymigrate.engine.ports.relations import SourceRelation
from pymigrate.engine.ports.secrets import HIDDEN, Secret, SecretRef
from pymigrate.engine.testing.clock import HastyClock
from pymigrate.v1 import connection_pb2
from tests.passwords import asks_for_passwords
from tests.vaults.scene import VaultScene, stand_in_scene
from tests.vaults.server import Fault

SECONDS = 60.0
CREATION = [
    "CREATE ROLE \"{{name}}\" WITH LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}' IN ROLE by_password",
    'GRANT SELECT ON ALL TABLES IN SCHEMA public TO "{{name}}"',
]
REVOCATION = [
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{{name}}'",
    'DROP OWNED BY "{{name}}"',
    'DROP ROLE IF EXISTS "{{name}}"',
]


class Legacy:
    """A database with a table, a Vault that makes roles in it, and a connection whose user and password are the Vault's."""

    def __init__(self, vault: VaultScene, dsn: str) -> None:
        self.vault = vault
        self.dsn = dsn
        self.clock = HastyClock()
        self.redactor = Redactor()
        self.mount = vault.mount("databases", "database")
        config = {"plugin_name": "postgresql-database-plugin", "connection_url": dsn}
        role = {
            "db_name": "legacy",
            "creation_statements": CREATION,
            "revocation_statements": REVOCATION,
            "default_ttl": f"{SECONDS:g}s",
            "max_ttl": "1h",
        }
        vault.admin.adapter.post(f"/v1/{self.mount}/config/legacy", json=config)
        vault.admin.adapter.post(f"/v1/{self.mount}/roles/reader", json=role)
        policy = vault.policy(
            f'path "{self.mount}/creds/reader" {{ capabilities = ["read"] }}\n'
            'path "sys/leases/revoke" { capabilities = ["update"] }'
        )
        vault.clock = self.clock
        login = vault.app_role(policy, token_ttl="1h")
        self.secrets = BackendSecrets(
            {"vault": Source(lambda: vault.by_app_role(*login))}, self.redactor, self.clock, has_thread=False
        )
        self.run("CREATE TABLE orders (id int PRIMARY KEY)", "INSERT INTO orders SELECT generate_series(1, 100)")

    def run(self, *statements: str) -> None:
        with psycopg.connect(self.dsn) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def roles(self) -> set[str]:
        with psycopg.connect(self.dsn) as connection:
            rows = connection.execute("SELECT rolname FROM pg_roles WHERE rolname LIKE 'v-%'").fetchall()
        return {str(name) for (name,) in rows}

    def reference(self, key: str) -> str:
        return f"vault://{self.mount}/creds/reader#{key}"

    def read(self, key: str) -> Secret:
        return self.secrets.read(SecretRef("vault", f"{self.mount}/creds/reader", key))

    def rows(self) -> int:
        """How many rows a source reads that is opened with the connection's references."""
        where = conninfo_to_dict(self.dsn)
        connection = connection_pb2.Connection(name="environments/prod/connections/legacy")
        connection.postgres.host, connection.postgres.port = str(where["host"]), int(str(where["port"]))
        connection.postgres.database = str(where["dbname"])
        connection.postgres.user, connection.postgres.password = self.reference("username"), self.reference("password")
        with closing(PostgresConnector().open_source(system_spec(connection, self.secrets))) as source:
            relation = SourceRelation("public.orders")
            columns = source.describe(relation).columns
            return sum(chunk.rows for chunk in source.chunks(relation, columns, None))

    def pass_seconds(self, seconds: float) -> None:
        """For the Vault and for who reads, who renews what is due."""
        self.vault.faults.vault.advance(seconds)
        self.clock.wait(seconds)
        self.secrets.tend()


@pytest.fixture
def legacy(postgres_database: str) -> Iterator[Legacy]:
    with asks_for_passwords(postgres_database), stand_in_scene() as vault:
        made = Legacy(vault, postgres_database)
        try:
            yield made
        finally:
            made.secrets.close()


def test_a_connection_logs_in_with_the_role_that_was_made_for_it(legacy: Legacy) -> None:
    assert legacy.rows() == 100
    assert legacy.roles() == {legacy.read("username").reveal()}
    assert legacy.redactor.clean(f"as {legacy.read('username').reveal()}") == f"as {HIDDEN}"


def test_a_role_is_valid_no_longer_than_its_lease_and_longer_when_that_is_renewed(legacy: Legacy) -> None:
    name = legacy.read("username").reveal()
    for _ in range(3):
        legacy.pass_seconds(41.0)
        assert legacy.read("username").reveal() == name
        assert legacy.rows() == 100
    with psycopg.connect(legacy.dsn) as connection:
        until = sql.SQL("SELECT rolvaliduntil FROM pg_roles WHERE rolname = {}").format(sql.Literal(name))
        row = connection.execute(until).fetchone()
    assert row is not None
    left = (row[0] - legacy.vault.faults.vault.now()).total_seconds()
    assert left == pytest.approx(SECONDS, abs=2.0)


def test_a_role_is_gone_when_whoever_read_it_ends(legacy: Legacy) -> None:
    assert legacy.rows() == 100
    legacy.secrets.close()
    assert legacy.roles() == set()


def test_roles_that_were_revoked_in_the_middle_are_noticed_and_others_made(legacy: Legacy) -> None:
    before = legacy.read("username").reveal()
    assert legacy.rows() == 100
    legacy.vault.admin.sys.revoke_prefix(f"{legacy.mount}/creds")
    assert legacy.roles() == set()
    legacy.pass_seconds(41.0)
    assert legacy.rows() == 100
    assert legacy.read("username").reveal() != before
    assert len(legacy.roles()) == 1


def test_a_vault_that_is_away_disturbs_nobody_before_the_lease_ends(legacy: Legacy) -> None:
    legacy.rows()
    legacy.vault.faults.faults.append(Fault(503, ("Vault is sealed",)))
    legacy.clock.wait(41.0)
    legacy.secrets.tend()
    assert legacy.rows() == 100
    legacy.clock.wait(20.0)
    with pytest.raises(SecretsUnavailable, match="sealed"):
        legacy.rows()
    legacy.vault.faults.faults.clear()
    assert legacy.rows() == 100
