"""Online phases over a MariaDB and a SQLite file, followed by a growing column: what arrives is what the source holds when blocked."""

import os
import signal
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg
import pymysql
import pytest

from pymigrate.engine.entrypoints.cli.client import Client
from pymigrate.v1 import run_pb2
from tests.e2e.engines import EngineProcess, declare, ended, wait_until
from tests.e2e.test_online import approve_once_caught_up, run_of
from tests.e2e.test_sagas import definitions, postgres, start, state_of
from tests.servers import MariadbDatabase

ROWS = 2_000
# As often as a writer can would be all that a core does, and more than hosts beside it catch up with where cores are few.
ROUND_SECONDS = 0.01
KEPT_OUT = (pymysql.err.OperationalError, sqlite3.IntegrityError)
COLUMN = {"catchUp": {"column": {"name": "version", "overlap": 50}}}
ROUNDED = "CAST(amount * 100 AS BIGINT)"


class Shop:
    """A table that is written to. `parameter` is how statements name one."""

    parameter = ""
    connection: dict[str, Any]

    @contextmanager
    def opened(self) -> Iterator[Any]:
        """A connection of somebody else's, in autocommit mode."""
        raise NotImplementedError

    def run(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """One statement."""
        with self.opened() as connection, closing(connection.cursor()) as cursor:
            cursor.execute(statement.replace("?", self.parameter), values)
            return list(cursor.fetchall())

    def orders(self) -> list[tuple[Any, ...]]:
        """What it holds."""
        found = self.run("SELECT id, name, amount, version FROM orders ORDER BY id")
        return [(number, name, float(amount), version) for number, name, amount, version in found]

    def lets_in(self) -> bool:
        """Whether it may be written to."""
        try:
            self.run("UPDATE orders SET version = version + 1000 WHERE id = 1")
        except KEPT_OUT:
            return False
        return True

    def triggers(self) -> list[tuple[Any, ...]]:
        """What is left in it."""
        raise NotImplementedError


class MariadbShop(Shop):
    """In a database of a server."""

    parameter = "%s"

    def __init__(self, database: MariadbDatabase) -> None:
        self.database = database
        options = database.options()
        self.connection = {
            "mysql": {
                "host": options["host"], "port": int(options["port"]), "database": options["database"], "user": "root",
                "sslMode": "disable",
            }
        }  # fmt: skip
        self.run(
            "CREATE TABLE orders (id BIGINT PRIMARY KEY, name VARCHAR(80), amount DECIMAL(12,2), version BIGINT NOT NULL)"
        )
        self.run(f"INSERT INTO orders SELECT seq, CONCAT('Käufer ', seq), seq * 1.25, seq FROM seq_1_to_{ROWS}")

    @contextmanager
    def opened(self) -> Iterator[Any]:
        with closing(self.database.cluster.connect(self.database.name)) as connection:
            yield connection

    def triggers(self) -> list[tuple[Any, ...]]:
        return self.run(
            "SELECT TRIGGER_NAME FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = ?", self.database.name
        )


class SqliteShop(Shop):
    """In a file."""

    parameter = "?"

    def __init__(self, path: Path) -> None:
        self.path = path
        self.connection = {"sqlite": {"path": str(path)}}
        with self.opened() as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(
                "CREATE TABLE orders (id INTEGER PRIMARY KEY, name TEXT, amount REAL, version INTEGER NOT NULL)"
            )
            connection.execute("BEGIN")
            rows = ((n, f"Käufer {n}", n * 1.25, n) for n in range(1, ROWS + 1))
            connection.executemany("INSERT INTO orders VALUES (?, ?, ?, ?)", rows)
            connection.execute("COMMIT")

    @contextmanager
    def opened(self) -> Iterator[Any]:
        with closing(
            sqlite3.connect(self.path, isolation_level=None, timeout=30, check_same_thread=False)
        ) as connection:
            yield connection

    def triggers(self) -> list[tuple[Any, ...]]:
        return self.run("SELECT name FROM sqlite_master WHERE type = 'trigger'")


class Writer:
    """Adds and changes orders until it is kept out, each with a version above every other, some in transactions that are taken back."""

    def __init__(self, shop: Shop) -> None:
        self._shop = shop
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._write)
        self.rounds = 0
        self.is_kept_out = False

    def __enter__(self) -> "Writer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join()

    def _write(self) -> None:
        version = ROWS
        with self._shop.opened() as connection, closing(connection.cursor()) as cursor:
            while not self._ending.wait(ROUND_SECONDS):
                version += 3
                self.rounds += 1
                mark = self._shop.parameter
                try:
                    cursor.execute("BEGIN")
                    cursor.execute(f"INSERT INTO orders VALUES ({mark}, {mark}, 7, {mark})", (version, "new", version))
                    cursor.execute(
                        f"UPDATE orders SET name = {mark}, amount = amount + 1, version = {mark} WHERE id IN ({mark}, {mark})",
                        (f"changed {version}", version + 1, version % ROWS + 1, version - 30),
                    )
                    cursor.execute("ROLLBACK" if self.rounds % 5 == 0 else "COMMIT")
                except KEPT_OUT:
                    cursor.execute("ROLLBACK")
                    self.is_kept_out = True
                    return


@pytest.fixture(params=["mariadb", "sqlite"])
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> Shop:
    if request.param == "sqlite":
        return SqliteShop(tmp_path / "shop.db")
    return MariadbShop(request.getfixturevalue("mariadb_database"))


def dataset(target: str, **more: Any) -> dict[str, Any]:
    """The orders, followed."""
    return {
        "source": {"connection": "shop", "relation": "orders"},
        "target": {"connection": target, "relation": "orders"},
        "chunkBytes": 65_536,
        **COLUMN,
        **more,
    }


def declared(shop: Shop, connections: dict[str, Any], phase: dict[str, Any], folder: Path) -> str:
    """A plan of one phase."""
    phases = {"move": {"department": "sales", "downtimePolicy": "online", **phase}}
    return definitions({"shop": shop.connection, **connections}, phases, folder / "none.db")


def lag_of(client: Client, name: str, of: str) -> float:
    return float(run_of(client, name).phases["move"].datasets[of].lag_seconds)


def test_what_is_written_meanwhile_arrives_as_it_is_and_as_transforms_make_it(
    engine: EngineProcess, shop: Shop, postgres_database: str, tmp_path: Path
) -> None:
    transforms = [
        {"filter": {"condition": "id % 3 <> 0"}},
        {"derive": {"columns": {"cents": {"expression": ROUNDED, "type": "int64"}}}},
        {"drop": {"columns": ["amount"]}},
        {"rename": {"columns": {"id": "number"}}},
    ]
    phase = {
        "datasets": {
            "plain": dataset("warehouse", lanes=2, verification="full"),
            "shaped": dataset("lake", transforms=transforms, verification="count"),
        },
        "gates": {"go": {}},
    }
    connections = {"warehouse": postgres(postgres_database), "lake": {"duckdb": {"path": f"{tmp_path}/lake.duckdb"}}}
    with engine.client() as client, Writer(shop) as writer:
        wait_until(lambda: writer.rounds > 3)
        declare(client, declared(shop, connections, phase, tmp_path), tmp_path / "plan.yaml")
        name = start(client)
        wait_until(lambda: all(lag_of(client, name, each) >= 0 for each in ("plain", "shaped")))
        seen = writer.rounds
        wait_until(lambda: writer.rounds > seen + 5)
        approve_once_caught_up(client, name, "move")
        run = ended(client, name, 120)
        assert run.state == run_pb2.RUN_STATE_SUCCEEDED, run.failure
        wait_until(lambda: writer.is_kept_out)
        for each in ("plain", "shaped"):
            found = run.phases["move"].datasets[each]
            assert found.changes > 0
            assert 0 <= found.lag_seconds < 10
        assert not shop.lets_in()
        orders = shop.orders()
        with psycopg.connect(postgres_database) as connection:
            arrived = connection.execute("SELECT id, name, amount::float8, version FROM orders ORDER BY id").fetchall()
        assert arrived == orders
        shaped = [
            (number, text, round(amount * 100), version) for number, text, amount, version in orders if number % 3
        ]
        assert run.phases["move"].datasets["shaped"].verification.target_rows == len(shaped)
        client.runs.RollbackRun(run_pb2.RollbackRunRequest(name=name), metadata=client.metadata, timeout=60)
        assert ended(client, name, 60).state == run_pb2.RUN_STATE_ROLLED_BACK
    assert shop.triggers() == []
    assert shop.lets_in()


def test_a_host_that_is_killed_while_it_catches_up_and_while_writes_are_blocked_loses_nothing(
    monkeypatch: pytest.MonkeyPatch, shop: Shop, tmp_path: Path
) -> None:
    monkeypatch.setenv("PYMIGRATE_HOSTS_SHARED_MAX", "1")
    engine = EngineProcess(tmp_path / "home")
    phase = {"datasets": {"plain": dataset("archive", verification="full")}, "gates": {"go": {}}}
    connections = {"archive": {"sqlite": {"path": f"{tmp_path}/archive.db"}}}
    engine.start()
    try:
        with engine.client() as client, Writer(shop) as writer:
            declare(client, declared(shop, connections, phase, tmp_path), tmp_path / "plan.yaml")
            name = start(client)
            wait_until(lambda: lag_of(client, name, "plain") >= 0)
            _kill_hosts(engine)
            before = run_of(client, name).phases["move"].datasets["plain"].changes
            wait_until(lambda: run_of(client, name).phases["move"].datasets["plain"].changes > before)
            approve_once_caught_up(client, name, "move")
            wait_until(lambda: bool(shop.triggers()))
            _kill_hosts(engine)
            run = ended(client, name, 120)
            assert run.state == run_pb2.RUN_STATE_SUCCEEDED, run.failure
            wait_until(lambda: writer.is_kept_out)
    finally:
        pids = engine.host_pids()
        engine.stop()
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    with closing(sqlite3.connect(tmp_path / "archive.db")) as connection:
        arrived = connection.execute("SELECT id, name, amount, version FROM orders ORDER BY id").fetchall()
    assert [(number, text, float(amount), version) for number, text, amount, version in arrived] == shop.orders()


def _kill_hosts(engine: EngineProcess) -> None:
    wait_until(lambda: bool(engine.host_pids()))
    for pid in engine.host_pids():
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def test_what_a_column_can_not_tell_fails_the_phase_and_lets_writes_in_again(
    engine: EngineProcess, shop: Shop, tmp_path: Path
) -> None:
    phase = {"datasets": {"plain": dataset("archive", verification="full")}, "gates": {"go": {}}}
    connections = {"archive": {"sqlite": {"path": f"{tmp_path}/archive.db"}}}
    with engine.client() as client:
        declare(client, declared(shop, connections, phase, tmp_path), tmp_path / "plan.yaml")
        name = start(client)
        wait_until(lambda: lag_of(client, name, "plain") >= 0)
        shop.run("DELETE FROM orders WHERE id = 5")
        approve_once_caught_up(client, name, "move")
        run = ended(client, name, 60)
        assert run.failure.reason == "VERIFICATION_FAILED"
        assert f"has {ROWS - 1:,} rows and {ROWS:,} are staged" in run.failure.message
        assert shop.triggers() == []
        client.runs.RetryRun(run_pb2.RetryRunRequest(name=name), metadata=client.metadata, timeout=60)
        wait_until(lambda: state_of(client, name, "move") == run_pb2.PHASE_STATE_STAGING)
        wait_until(lambda: lag_of(client, name, "plain") >= 0)
        shop.run("UPDATE orders SET name = 'unseen' WHERE id = 7")
        approve_once_caught_up(client, name, "move")
        run = ended(client, name, 60)
    assert run.failure.reason == "VERIFICATION_FAILED"
    assert "with digest" in run.failure.message
    assert shop.triggers() == []
    assert shop.lets_in()
