"""Phases whose sources are written to all the while: what arrives is exactly what the source holds when writes to it are blocked."""

import os
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import psycopg
import pytest
from psycopg import errors
from psycopg.conninfo import conninfo_to_dict

from pymigrate.engine.entrypoints.cli.client import Client
from pymigrate.v1 import run_pb2
from tests.e2e.crash_scene import CommitWatcher
from tests.e2e.engines import EngineProcess, declare, ended, wait_until
from tests.e2e.test_sagas import approve, definitions, postgres, start, state_of

ROWS = 1_000
TARGETS = ("postgres", "duckdb", "sqlite")
TABLES = {name: f"of_{name}" for name in TARGETS}
CREATE = """
CREATE TABLE {0} (
  id bigint PRIMARY KEY, customer text, amount numeric(12,2) NOT NULL, placed timestamptz, day date, paid boolean,
  weight double precision, tag character(5), raw bytea, code uuid, extra jsonb, at time, mood mood, spans int4range[], long text
);
ALTER TABLE {0} ALTER COLUMN long SET STORAGE EXTERNAL;
"""
ROW = """
SELECT n, CASE WHEN n % 7 = 0 THEN NULL ELSE 'Käufer "' || n || E'\\n' END, n * 1.25,
  timestamptz '2020-01-01 00:00:00.123456Z' + n * interval '1 min',
  date '0099-01-01' + n, n % 2 = 0, CASE n % 5 WHEN 0 THEN 'Infinity' WHEN 1 THEN '-0' WHEN 2 THEN '5e-324' ELSE n / 3.0 END, n % 100,
  decode(md5(n::text), 'hex'), md5(n::text)::uuid, jsonb_build_object('n', n, 'x', 1.10), time '00:00' + n * interval '1 second',
  CASE WHEN n % 2 = 0 THEN 'sad'::mood ELSE 'ok' END, ARRAY[int4range(n, n + 5), NULL], repeat(md5(n::text), 100)
FROM generate_series({1}, {2}) AS n
"""


class Writer:
    """Changes tables until it is kept out of each: rows come, change, change their key and go, some in transactions that are taken back."""

    def __init__(self, dsn: str, tables: list[str], first: int) -> None:
        self._dsn = dsn
        self._tables = list(tables)
        self._next = first
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._write)
        self.kept_out: list[str] = []
        self.rounds = 0

    def __enter__(self) -> "Writer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join()

    def _write(self) -> None:
        with psycopg.connect(self._dsn, autocommit=True) as connection:
            while self._tables and not self._ending.is_set():
                for table in list(self._tables):
                    try:
                        self._change(connection, table)
                    except errors.ReadOnlySqlTransaction:
                        self._tables.remove(table)
                        self.kept_out.append(table)
                self.rounds += 1

    def _change(self, connection: psycopg.Connection, table: str) -> None:
        n, self._next = self._next, self._next + 5
        with connection.transaction():
            connection.execute(f"INSERT INTO {table} {ROW.format(table, n, n + 4)}".encode())
            connection.execute(
                f"UPDATE {table} SET amount = amount + 1 WHERE id % 97 = {n % 97}".encode()
            )  # `long` is not told
        with connection.transaction():
            connection.execute(f"UPDATE {table} SET id = -id, tag = 'moved' WHERE id = {n + 1}".encode())
            connection.execute(f"DELETE FROM {table} WHERE id IN ({n + 2}, {n % ROWS})".encode())
            connection.execute(f"UPDATE {table} SET long = NULL, at = NULL WHERE id = {n + 3}".encode())
        with suppress(ZeroDivisionError), connection.transaction():
            connection.execute(f"DELETE FROM {table} WHERE id % 2 = 0".encode())
            raise ZeroDivisionError


@pytest.fixture
def source(postgres_database: str) -> str:
    """A database with a table a target."""
    with psycopg.connect(postgres_database) as connection:
        connection.execute("CREATE TYPE mood AS ENUM ('sad', 'ok')")
        for table in TABLES.values():
            connection.execute(CREATE.format(table).encode())
            connection.execute(f"INSERT INTO {table} {ROW.format(table, 1, ROWS)}".encode())
    return postgres_database


def dataset(table: str, target: str, **more: Any) -> dict[str, Any]:
    """A table that is followed."""
    return {
        "source": {"connection": "source", "relation": table},
        "target": {"connection": target, "relation": f"copied_{table}"},
        "catchUp": {"logical": {}},
        "chunkBytes": 65_536,
        **more,
    }


def online(*names: str, **more: Any) -> dict[str, Any]:
    """A phase that moves a table to each of the targets."""
    datasets = {name: dataset(TABLES[name], name, **more) for name in names}
    return {"department": "sales", "downtimePolicy": "online", "datasets": datasets}


def targets(source: str, folder: Path) -> dict[str, Any]:
    """The systems by name."""
    return {
        "source": postgres(source),
        "postgres": postgres(source),
        "duckdb": {"duckdb": {"path": f"{folder}/w.duckdb"}},
        "sqlite": {"sqlite": {"path": f"{folder}/w.db"}},
    }


def kept(dsn: str) -> list[Any]:
    """What a source still keeps for PyMigrate: slots and publications."""
    with psycopg.connect(dsn) as connection:
        slots = connection.execute(
            "SELECT slot_name FROM pg_replication_slots WHERE database = current_database()"
        ).fetchall()
        return [*slots, *connection.execute("SELECT pubname FROM pg_publication").fetchall()]


def differences(dsn: str, table: str) -> list[Any]:
    """Rows that one of both sides has and the other has not."""
    with psycopg.connect(dsn) as connection:
        return connection.execute(
            f"(SELECT p::text FROM {table} AS p EXCEPT ALL SELECT c::text FROM copied_{table} AS c) UNION ALL "
            f"(SELECT c::text FROM copied_{table} AS c EXCEPT ALL SELECT p::text FROM {table} AS p) LIMIT 3".encode()
        ).fetchall()


def may_write(dsn: str, table: str) -> bool:
    """Whether a source lets writes in."""
    with psycopg.connect(dsn) as connection:
        try:
            connection.execute(f"DELETE FROM {table} WHERE id = 0".encode())
        except errors.ReadOnlySqlTransaction:
            return False
    return True


def run_of(client: Client, name: str) -> run_pb2.Run:
    run: run_pb2.Run = client.runs.GetRun(run_pb2.GetRunRequest(name=name), metadata=client.metadata, timeout=60)
    return run


def approve_once_caught_up(client: Client, name: str, phase: str) -> None:
    """Approves the gate as soon as the engine takes that. What a run tells of its lag may be of a round that is under way, or above the
    bound: only the engine says when a phase has caught up."""

    def is_approved() -> bool:
        assert state_of(client, name, phase) == run_pb2.PHASE_STATE_STAGING
        try:
            approve(client, name, phase)
        except grpc.RpcError as error:
            if error.code() is not grpc.StatusCode.FAILED_PRECONDITION:
                raise
            return False
        return True

    wait_until(is_approved)


def test_what_is_written_while_it_is_copied_arrives_exactly_and_can_be_taken_back(
    engine: EngineProcess, source: str, tmp_path: Path
) -> None:
    phases = {name: online(name, verification="full", lanes=3) for name in TARGETS}
    with engine.client() as client, Writer(source, list(TABLES.values()), ROWS + 1) as writer:
        wait_until(lambda: writer.rounds > 3)
        declare(client, definitions(targets(source, tmp_path), phases, tmp_path / "none.db"), tmp_path / "plan.yaml")
        name = start(client)
        run = ended(client, name, 90)
        assert run.state == run_pb2.RUN_STATE_SUCCEEDED, run.failure
        wait_until(lambda: len(writer.kept_out) == len(TARGETS))
        for target in TARGETS:
            found = run.phases[target].datasets[target]
            assert found.changes > 0
            assert 0 <= found.lag_seconds < 10
            assert found.path == "arrow"
            assert found.verification.source_checksum == found.verification.target_checksum != ""
        assert kept(source) == []
        assert differences(source, TABLES["postgres"]) == []
        client.runs.RollbackRun(run_pb2.RollbackRunRequest(name=name), metadata=client.metadata, timeout=60)
        assert ended(client, name, 60).state == run_pb2.RUN_STATE_ROLLED_BACK
    assert all(may_write(source, table) for table in TABLES.values())


def test_a_phase_catches_up_until_its_gate_is_approved_and_a_cancelled_one_leaves_nothing(
    engine: EngineProcess, source: str, tmp_path: Path
) -> None:
    gated = {name: {**online(name), "gates": {"go": {}}} for name in ("postgres", "sqlite")}
    with engine.client() as client, Writer(source, [TABLES["postgres"]], ROWS + 1) as writer:
        declare(client, definitions(targets(source, tmp_path), gated, tmp_path / "none.db"), tmp_path / "plan.yaml")
        name = start(client)
        wait_until(lambda: all(0 <= run_of(client, name).phases[p].datasets[p].lag_seconds < 10 for p in gated))
        before = run_of(client, name).phases["postgres"].datasets["postgres"].changes
        wait_until(lambda: run_of(client, name).phases["postgres"].datasets["postgres"].changes > before)
        assert state_of(client, name, "postgres") == run_pb2.PHASE_STATE_STAGING
        assert len(kept(source)) == 4
        assert all("pymigrate_postgres_postgres_" in n or "pymigrate_sqlite_sqlite_" in n for (n,) in kept(source))
        approve_once_caught_up(client, name, "postgres")
        wait_until(lambda: state_of(client, name, "postgres") == run_pb2.PHASE_STATE_PUBLISHED)
        assert writer.kept_out == [TABLES["postgres"]]
        assert differences(source, TABLES["postgres"]) == []
        client.runs.CancelRun(run_pb2.CancelRunRequest(name=name), metadata=client.metadata, timeout=60)
        assert ended(client, name, 60).state == run_pb2.RUN_STATE_CANCELLED
    assert kept(source) == []
    assert may_write(source, TABLES["sqlite"])
    assert not may_write(source, TABLES["postgres"])


def test_a_change_that_the_target_can_not_hold_fails_the_phase_and_leaves_nothing(
    engine: EngineProcess, source: str, tmp_path: Path
) -> None:
    phases = {"sqlite": {**online("sqlite"), "gates": {"go": {}}}}
    with engine.client() as client:
        declare(client, definitions(targets(source, tmp_path), phases, tmp_path / "none.db"), tmp_path / "plan.yaml")
        name = start(client)
        wait_until(lambda: run_of(client, name).phases["sqlite"].datasets["sqlite"].lag_seconds >= 0)
        with psycopg.connect(source) as connection:
            connection.execute("UPDATE of_sqlite SET weight = 'NaN' WHERE id = 7")
        run = ended(client, name, 60)
    assert run.state == run_pb2.RUN_STATE_FAILED
    assert run.failure.reason == "DATA_REFUSED"
    assert "column `weight`" in run.failure.message
    assert run.failure.field == "phases.sqlite.datasets.sqlite.source.columns.weight"
    assert kept(source) == []
    assert may_write(source, TABLES["sqlite"])


def test_a_host_that_is_killed_at_commits_while_it_catches_up_loses_and_doubles_nothing(
    monkeypatch: pytest.MonkeyPatch, create_postgres_database: Callable[[], str], source: str, tmp_path: Path
) -> None:
    monkeypatch.setenv("PYMIGRATE_HOSTS_SHARED_MAX", "1")
    engine, target = EngineProcess(tmp_path / "home", is_warm=True), create_postgres_database()
    watcher = CommitWatcher(int(str(conninfo_to_dict(target)["port"])))
    systems = {"source": postgres(source), "postgres": postgres(target)}
    systems["postgres"]["postgres"]["port"] = watcher.port
    phases = {"postgres": {**online("postgres"), "gates": {"go": {}}}}
    table = TABLES["postgres"]
    engine.start()
    try:
        with engine.client() as client, Writer(source, [table], ROWS + 1):
            declare(client, definitions(systems, phases, tmp_path / "none.db"), tmp_path / "plan.yaml")
            name = start(client)
            wait_until(lambda: run_of(client, name).phases["postgres"].datasets["postgres"].lag_seconds >= 0)
            for commit, side in enumerate(("before", "after") * 2, 1):
                watcher.order(side, commit, engine.host_pid())
                wait_until(lambda: not watcher.is_ordered)
            before = run_of(client, name).phases["postgres"].datasets["postgres"].changes
            wait_until(lambda: run_of(client, name).phases["postgres"].datasets["postgres"].changes > before)
            approve_once_caught_up(client, name, "postgres")
            run = ended(client, name, 90)
            assert run.state == run_pb2.RUN_STATE_SUCCEEDED, run.failure
    finally:
        pids = engine.host_pids()
        engine.stop()
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        watcher.close()
    assert kept(source) == []
    with psycopg.connect(source) as one, psycopg.connect(target) as other:
        columns = "id, customer, amount, placed, day, paid, weight, tag, raw, code, extra::text, at, mood::text, spans::text, long"
        statement = f"SELECT {columns} FROM {{}} ORDER BY id"
        expected = one.execute(statement.format(table).encode()).fetchall()
        assert other.execute(statement.format(f"copied_{table}").encode()).fetchall() == expected


def test_a_growing_column_is_followed_and_a_deletion_that_it_does_not_tell_is_found_at_the_end(
    engine: EngineProcess, source: str, tmp_path: Path
) -> None:
    following = {"catchUp": {"column": {"name": "version"}, "opensSource": True}}
    phases = {name: {**online(name, **following), "gates": {"go": {}}} for name in ("duckdb", "sqlite")}
    touch = "UPDATE {} SET version = nextval('versions'), customer = 'changed' WHERE id % 10 = 1"
    with psycopg.connect(source) as connection:
        connection.execute("CREATE SEQUENCE versions")
        for name in phases:
            connection.execute(
                f"ALTER TABLE {TABLES[name]} ADD COLUMN version bigint NOT NULL DEFAULT nextval('versions')".encode()
            )
    with engine.client() as client:
        declare(client, definitions(targets(source, tmp_path), phases, tmp_path / "none.db"), tmp_path / "plan.yaml")
        name = start(client)
        wait_until(lambda: all(run_of(client, name).phases[p].datasets[p].lag_seconds >= 0 for p in phases))
        with psycopg.connect(source) as connection:
            for table in (TABLES["duckdb"], TABLES["sqlite"]):
                connection.execute(touch.format(table).encode())
            connection.execute("DELETE FROM of_sqlite WHERE id = 5")
        for phase in phases:
            approve_once_caught_up(client, name, phase)
        run = ended(client, name, 60)
    assert run.phases["duckdb"].state == run_pb2.PHASE_STATE_PUBLISHED, run.phases["duckdb"].failure
    verification = run.phases["duckdb"].datasets["duckdb"].verification
    assert verification.source_checksum == verification.target_checksum != ""
    assert run.phases["sqlite"].failure.reason == "VERIFICATION_FAILED"
    assert f"has {ROWS - 1:,} rows and {ROWS:,} are staged" in run.phases["sqlite"].failure.message
    assert all(may_write(source, TABLES[name]) for name in phases)
