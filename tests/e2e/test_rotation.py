"""Passwords that are rotated every moment beneath a copy, with sessions ended so that logins happen: no row is lost, no lane fails."""

import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from pymigrate.engine.entrypoints.cli.client import Client
from pymigrate.v1 import run_pb2
from tests.e2e.engines import EngineProcess, declare, ended, wait_until
from tests.servers import BY_PASSWORD, MariadbDatabase, PostgresCluster, empty_database

PLAN = "environments/e/plans/p"
LANES = 4
# A minute's worth of rotations, rather than a few, for who wants it.
ROWS = 4_000_000 if os.environ.get("PYMIGRATE_TEST_LONG") else 400_000
MARIADB_ROWS = ROWS // 4
NUMBERS = count(1)


@dataclass
class Rotated:
    """A role with its secret in a file, and how its password is changed and its sessions are ended."""

    file: Path
    alter: Callable[[str], None]
    end_sessions: Callable[[], None]
    connection: dict[str, Any]
    number: int = 0
    password: str = ""
    pause: threading.Event = field(default_factory=threading.Event)

    def write(self, password: str) -> None:
        """The secret, whole at any moment."""
        beside = self.file.with_suffix(".new")
        beside.write_text(password)
        beside.replace(self.file)

    def rotate(self, gap_seconds: float) -> None:
        """A new password: the system first or the secret first, in turn, with a gap in which they differ."""
        self.number += 1
        self.password = f"password-{self.number}-of-{self.file.stem}"
        first, second = (self.alter, self.write) if self.number % 2 else (self.write, self.alter)
        first(self.password)
        self.pause.wait(gap_seconds)
        second(self.password)


@contextmanager
def rotating_postgres(dsn: str, folder: Path) -> Iterator[Rotated]:
    """A role of a PostgreSQL."""
    found, user = conninfo_to_dict(dsn), f"rotated_{next(NUMBERS)}"
    with psycopg.connect(dsn, autocommit=True) as admin:

        def run(statement: str) -> None:
            admin.execute(statement.encode())

        if not admin.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (BY_PASSWORD,)).fetchall():
            run(f"CREATE ROLE {BY_PASSWORD}")
        run(f"CREATE ROLE {user} LOGIN IN ROLE {BY_PASSWORD}")
        run(f"GRANT ALL ON DATABASE {found['dbname']} TO {user}")
        run(f"GRANT ALL ON SCHEMA public TO {user}")
        file = folder / user
        where = {"host": found["host"], "port": int(str(found["port"])), "database": found["dbname"], "user": user}
        rotated = Rotated(
            file,
            lambda password: run(f"ALTER ROLE {user} PASSWORD '{password}'"),
            lambda: run(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{user}'"),
            {"postgres": {**where, "password": f"file://{file}"}},
        )
        rotated.rotate(0)
        try:
            yield rotated
        finally:
            run(f"REASSIGN OWNED BY {user} TO postgres")
            run(f"DROP OWNED BY {user}")
            run(f"DROP ROLE {user}")


@contextmanager
def rotating_mariadb(database: MariadbDatabase, folder: Path) -> Iterator[Rotated]:
    """A user of a MariaDB."""
    user, options = f"rotated_{next(NUMBERS)}", database.options()
    database.run(f"CREATE USER '{user}'@'%'")
    database.run(f"GRANT ALL ON *.* TO '{user}'@'%'")
    file = folder / user

    def alter(password: str) -> None:
        database.run(f"ALTER USER '{user}'@'%' IDENTIFIED BY '{password}'")

    def end_sessions() -> None:
        for (number,) in database.run("SELECT id FROM information_schema.processlist WHERE user = %s", (user,)):
            database.run(f"KILL SOFT {number}")

    where = {"host": options["host"], "port": int(options["port"]), "database": database.name, "user": user}
    rotated = Rotated(
        file,
        alter,
        end_sessions,
        {"mysql": {**where, "sslMode": "disable", "password": f"file://{file}"}},
    )
    rotated.rotate(0)
    try:
        yield rotated
    finally:
        database.run(f"DROP USER '{user}'@'%'")


def definitions(source: dict[str, Any], target: dict[str, Any], relation: str) -> str:
    """A plan of one dataset in several lanes."""
    where = {"environment": "e"}
    dataset = {
        "source": {"connection": "legacy", "relation": relation},
        "target": {"connection": "warehouse", "relation": "copied"},
        "chunkBytes": 100_000,
        "lanes": LANES,
        "key": ["id"],
    }
    documents = [
        {"kind": "Environment", "metadata": {"name": "e"}},
        {"kind": "Department", "metadata": {"name": "sales", **where}, "spec": {"owner": "Ann"}},
        {"kind": "Connection", "metadata": {"name": "legacy", **where}, "spec": source},
        {"kind": "Connection", "metadata": {"name": "warehouse", **where}, "spec": target},
        {
            "kind": "Plan",
            "metadata": {"name": "p", **where},
            "spec": {"phases": {"a": {"department": "sales", "datasets": {"d": dataset}}}},
        },
    ]
    return "\n---\n".join(json.dumps({"apiVersion": "pymigrate.io/v1alpha1", **document}) for document in documents)


def lanes(client: Client, name: str) -> list[run_pb2.Lane]:
    request = run_pb2.ListLanesRequest(parent=name)
    return list(client.runs.ListLanes(request, metadata=client.metadata, timeout=60).lanes)


def events(client: Client, name: str) -> list[run_pb2.RunEvent]:
    found, token = list[run_pb2.RunEvent](), ""
    while True:
        request = run_pb2.ListRunEventsRequest(parent=name, page_size=1000, page_token=token)
        page = client.runs.ListRunEvents(request, metadata=client.metadata, timeout=60)
        found += page.events
        token = page.next_page_token
        if not token:
            return found


def start(client: Client) -> str:
    return client.runs.StartRun(run_pb2.StartRunRequest(parent=PLAN), metadata=client.metadata, timeout=120).name


class Rotator:
    """Rotates in turn, in the background, until it is told to stop. Every third time sessions are ended too."""

    def __init__(self, *rotated: Rotated, gap_seconds: float = 0.3, every_seconds: float = 1.0) -> None:
        self.rotated = rotated
        self.gap_seconds, self.every_seconds = gap_seconds, every_seconds
        self.rotations = 0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._rotate)

    def __enter__(self) -> "Rotator":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    def _rotate(self) -> None:
        while not self._stopping.wait(self.every_seconds):
            for each in self.rotated:
                each.rotate(self.gap_seconds)
                if self.rotations % 3 == 0:
                    each.end_sessions()
            self.rotations += 1


@pytest.fixture
def machine(postgres_clusters: Callable[[str], PostgresCluster]) -> PostgresCluster:
    return postgres_clusters("machine")


def test_a_password_that_is_rotated_every_second_beneath_a_copy_costs_no_row_and_no_lane(
    engine: EngineProcess, machine: PostgresCluster, tmp_path: Path
) -> None:
    with (
        empty_database(machine) as legacy,
        empty_database(machine) as warehouse,
        rotating_postgres(legacy, tmp_path) as source,
        rotating_postgres(warehouse, tmp_path) as target,
    ):
        with psycopg.connect(legacy) as connection:
            connection.execute("CREATE TABLE orders (id bigint PRIMARY KEY, note text)")
            connection.execute(
                "INSERT INTO orders SELECT n, repeat('x', 50) || n FROM generate_series(1, %s) n", (ROWS,)
            )
            connection.execute("GRANT SELECT ON orders TO PUBLIC")
        with engine.client() as client:
            declare(client, definitions(source.connection, target.connection, "orders"), tmp_path / "plan.yaml")
            name = start(client)
            with Rotator(source, target) as rotator:
                run = ended(client, name)
            found, told = lanes(client, name), events(client, name)
        assert run.state == run_pb2.RUN_STATE_SUCCEEDED, run.failure
        assert rotator.rotations >= 2
        assert {lane.state for lane in found} == {run_pb2.LANE_STATE_DONE}
        assert not [event for event in told if event.type == "lane.failed"]
        assert all(len(lane.secret_versions) == 2 for lane in found)
        assert [event for event in told if event.type == "secret.rotated"]
        with psycopg.connect(warehouse) as connection:
            counted = connection.execute("SELECT count(*), count(DISTINCT id), min(id), max(id) FROM copied").fetchone()
        assert counted == (ROWS, ROWS, 1, ROWS)


def test_a_secret_that_stays_wrong_stalls_its_lanes_with_the_reason_until_it_is_right(
    engine: EngineProcess, machine: PostgresCluster, tmp_path: Path
) -> None:
    with (
        empty_database(machine) as legacy,
        empty_database(machine) as warehouse,
        rotating_postgres(warehouse, tmp_path) as target,
    ):
        with psycopg.connect(legacy) as connection:
            connection.execute("CREATE TABLE orders (id bigint PRIMARY KEY, note text)")
            rows = "SELECT n, repeat('x', 50) || n FROM generate_series(1, %s) n"
            connection.execute(f"INSERT INTO orders {rows}".encode(), (ROWS,))
        with engine.client() as client:
            text = definitions(plain(legacy), target.connection, "orders")
            declare(client, text, tmp_path / "plan.yaml")
            name = start(client)
            wait_until(lambda: any(lane.chunks for lane in lanes(client, name)))
            right = "a-password-that-the-file-never-had"
            target.alter(right)
            target.end_sessions()
            wait_until(lambda: any(is_refused(lane) for lane in lanes(client, name)))
            (stalled, *_) = [lane for lane in lanes(client, name) if is_refused(lane)]
            target.write(right)
            run = ended(client, name)
            told = events(client, name)
        assert run.state == run_pb2.RUN_STATE_SUCCEEDED, run.failure
        user = target.connection["postgres"]["user"]
        assert "connection `warehouse`" in stalled.failure.message
        assert f"user `{user}`" in stalled.failure.message
        assert target.password not in stalled.failure.message
        assert stalled.failure.field.endswith("target.connection")
        assert not [event for event in told if event.type == "lane.failed"]
        with psycopg.connect(warehouse) as connection:
            counted = connection.execute("SELECT count(*), count(DISTINCT id), min(id), max(id) FROM copied").fetchone()
        assert counted == (ROWS, ROWS, 1, ROWS)


def plain(dsn: str) -> dict[str, Any]:
    """A connection as the superuser, who needs no password."""
    found = conninfo_to_dict(dsn)
    where = {"host": found["host"], "port": int(str(found["port"])), "database": found["dbname"]}
    return {"postgres": {**where, "user": "postgres"}}


def is_refused(lane: run_pb2.Lane) -> bool:
    return lane.state == run_pb2.LANE_STATE_STALLED and lane.failure.reason == "CREDENTIALS_REFUSED"


def test_a_password_of_mariadb_is_rotated_in_the_same_way(
    engine: EngineProcess, mariadb_database: MariadbDatabase, tmp_path: Path
) -> None:
    mariadb_database.run("CREATE TABLE orders (id bigint PRIMARY KEY, note text)")
    mariadb_database.run(f"INSERT INTO orders SELECT seq, concat(repeat('x', 50), seq) FROM seq_1_to_{MARIADB_ROWS}")
    with rotating_mariadb(mariadb_database, tmp_path) as rotated:
        with engine.client() as client:
            declare(client, definitions(rotated.connection, rotated.connection, "orders"), tmp_path / "plan.yaml")
            name = start(client)
            with Rotator(rotated) as rotator:
                run = ended(client, name)
            told = events(client, name)
        assert run.state == run_pb2.RUN_STATE_SUCCEEDED, run.failure
        assert rotator.rotations >= 1
        assert not [event for event in told if event.type == "lane.failed"]
        assert mariadb_database.run("SELECT count(*), count(DISTINCT id) FROM copied") == [(MARIADB_ROWS, MARIADB_ROWS)]
