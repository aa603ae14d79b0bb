"""A real host process against an engine of the test's own: real SQLite in, real DuckDB out."""

import os
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import duckdb
import psycopg
import pytest

from pymigrate.engine.adapters.connectors.duckdb import DuckdbConnector
from pymigrate.engine.adapters.executors import processes
from pymigrate.engine.entrypoints.worker import definitions
from pymigrate.engine.ports.connector import SystemSpec
from pymigrate.v1 import connection_pb2, plan_pb2, worker_pb2
from tests.integration.worker.conftest import StartHost
from tests.integration.worker.engine import TOKEN, EngineDouble, Lanes

ROWS = 20_000
MANY = 150_000


def fill(tmp_path: Path, rows: int) -> None:
    """Orders in SQLite."""
    with sqlite3.connect(tmp_path / "legacy.db") as legacy:
        legacy.execute(
            "CREATE TABLE IF NOT EXISTS orders (id INTEGER PRIMARY KEY, customer INTEGER, note TEXT, price REAL)"
        )
        legacy.execute("DELETE FROM orders")
        legacy.executemany(
            "INSERT INTO orders VALUES (?, ?, ?, ?)",
            ((at, at % 7, None if at % 5 == 0 else f"note {at}", at / 4) for at in range(rows)),
        )
    legacy.close()


@pytest.fixture
def lanes(tmp_path: Path) -> Lanes:
    """Twenty thousand orders in SQLite, in chunks of a few thousand, into DuckDB."""
    fill(tmp_path, ROWS)
    dataset = plan_pb2.Dataset(
        source=plan_pb2.DatasetSource(connection="legacy", relation="orders"),
        target=plan_pb2.DatasetTarget(connection="warehouse", relation="orders"),
        verification=plan_pb2.VERIFICATION_LEVEL_FULL,
        chunk_bytes=65_536,
    )
    work = worker_pb2.DatasetWork(
        run="run",
        phase="sales",
        dataset_id="orders",
        dataset=dataset,
        source=connection_pb2.Connection(
            name="environments/e/connections/legacy",
            sqlite=connection_pb2.SqliteSystem(path=str(tmp_path / "legacy.db")),
        ),
        target=connection_pb2.Connection(
            name="environments/e/connections/warehouse",
            duckdb=connection_pb2.DuckdbSystem(path=str(tmp_path / "warehouse.duckdb")),
        ),
        staging_id="s1",
    )
    return Lanes(work)


def warehouse_rows(tmp_path: Path) -> list[tuple[object, ...]]:
    with duckdb.connect(str(tmp_path / "warehouse.duckdb"), read_only=True) as warehouse:
        return warehouse.execute(
            "SELECT count(*), count(DISTINCT id), sum(customer), count(note) FROM orders"
        ).fetchall()


def expected(rows: int = ROWS) -> list[tuple[object, ...]]:
    return [(rows, rows, sum(at % 7 for at in range(rows)), rows - rows // 5)]


def test_a_host_inspects_copies_verifies_and_publishes(
    engine: EngineDouble, start_host: StartHost, lanes: Lanes, tmp_path: Path
) -> None:
    process = start_host("file:warehouse")
    lanes.freeze(engine.run(lanes.inspect()))
    copied = engine.run(lanes.copy()).result.copy
    assert (copied.rows, copied.chunks > 3, copied.bytes > 0) == (ROWS, True, True)
    found = engine.run(lanes.verify())
    proof = found.result.verify
    assert proof.is_verified, found
    assert proof.source_rows == proof.target_rows == proof.compared_rows == ROWS
    assert proof.transfer_checksum == proof.source_checksum == proof.target_checksum
    assert engine.run(lanes.publish()).WhichOneof("outcome") == "result"
    assert [report.progress.rows for report in engine.reports][-1] == ROWS
    [host] = [request.host for request in engine.registered]
    assert (host.name, host.pid, host.affinity) == ("workerHosts/h1", process.pid, "file:warehouse")
    assert processes.is_running(host.pid, host.pid_start_ticks)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    assert warehouse_rows(tmp_path) == expected()


def test_what_was_published_can_be_undone(
    engine: EngineDouble, start_host: StartHost, lanes: Lanes, tmp_path: Path
) -> None:
    process = start_host("file:warehouse")
    lanes.freeze(engine.run(lanes.inspect()))
    for task in (lanes.copy(), lanes.publish(), lanes.rollback()):
        assert engine.run(task).WhichOneof("outcome") == "result"
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    with duckdb.connect(str(tmp_path / "warehouse.duckdb"), read_only=True) as warehouse:
        assert warehouse.execute("SELECT count(*) FROM duckdb_tables() WHERE table_name = 'orders'").fetchall() == [
            (0,)
        ]


def test_a_killed_hosts_lane_goes_on_where_it_stood(
    engine: EngineDouble, start_host: StartHost, lanes: Lanes, tmp_path: Path
) -> None:
    fill(tmp_path, MANY)
    first = start_host("file:warehouse")
    lanes.freeze(engine.run(lanes.inspect()))
    engine.give(lanes.copy())
    engine.wait(lambda: any(report.progress.chunks for report in engine.reports))
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    committed = max(report.progress.rows for report in engine.reports)
    engine.reports.clear()
    second = start_host("file:warehouse")
    assert engine.run(lanes.copy()).result.copy.rows == MANY
    assert engine.reports[0].progress.rows >= committed
    assert engine.run(lanes.verify()).result.verify.is_verified
    engine.run(lanes.publish())
    second.send_signal(signal.SIGTERM)
    assert second.wait(60) == 0
    assert warehouse_rows(tmp_path) == expected(MANY)


def test_a_missing_source_is_a_problem_of_the_dataset(
    engine: EngineDouble, start_host: StartHost, lanes: Lanes
) -> None:
    lanes.dataset.dataset.source.relation = "order"
    start_host()
    [problem] = engine.run(lanes.inspect()).result.inspect.problems
    assert problem.field == "source.relation"
    assert "did you mean `orders`?" in problem.description


def test_a_host_that_is_told_to_end_drains_to_a_checkpoint_and_another_goes_on(
    engine: EngineDouble, start_host: StartHost, lanes: Lanes, tmp_path: Path
) -> None:
    fill(tmp_path, MANY)
    first = start_host("file:warehouse")
    lanes.freeze(engine.run(lanes.inspect()))
    task = lanes.copy()
    engine.give(task)
    engine.wait(lambda: any(report.progress.chunks for report in engine.reports))
    first.send_signal(signal.SIGTERM)
    assert first.wait(60) == 0
    drained = engine.outcome(task.id)
    assert drained.WhichOneof("outcome") == "drained"
    assert 0 < drained.drained.rows < MANY
    start_host("file:warehouse")
    engine.reports.clear()
    assert engine.run(lanes.copy()).result.copy.rows == MANY
    assert engine.reports[0].progress.rows >= drained.drained.rows
    assert engine.run(lanes.verify()).result.verify.is_verified


def test_a_host_outlives_its_engine_and_tells_the_next_one_what_it_did(
    engine: EngineDouble, start_host: StartHost, lanes: Lanes, tmp_path: Path
) -> None:
    fill(tmp_path, MANY)
    process = start_host("file:warehouse")
    lanes.freeze(engine.run(lanes.inspect()))
    task = lanes.copy()
    engine.give(task)
    engine.wait(lambda: any(report.progress.chunks for report in engine.reports))
    engine.stop()
    engine.start()
    assert engine.outcome(task.id).result.copy.rows == MANY
    assert process.poll() is None
    assert [lease.task_id for lease in engine.registered[1].leases] == [task.id]
    assert engine.finished[task.id].lease.fence == task.fence


def test_a_host_whose_engine_stays_away_stops_without_committing_and_ends(
    engine: EngineDouble, start_host: StartHost, lanes: Lanes, tmp_path: Path
) -> None:
    fill(tmp_path, MANY)
    engine.terms.lease_seconds = 0.6
    process = start_host("file:warehouse")
    lanes.freeze(engine.run(lanes.inspect()))
    engine.give(lanes.copy())
    engine.wait(lambda: any(report.progress.chunks for report in engine.reports))
    engine.stop()
    assert process.wait(60) == 3
    staging = definitions.staging(lanes.dataset)
    spec = SystemSpec("duckdb", "warehouse", {"path": str(tmp_path / "warehouse.duckdb")})
    with closing(DuckdbConnector().open_target(spec)) as target:
        checkpoint, fence = target.checkpoint(staging, "run/lanes/one")
        staged = target.count_staging(staging)
    assert fence == 1
    assert 0 < checkpoint.rows == staged < MANY


def test_a_host_without_a_home_or_with_another_engines_token_ends(
    engine: EngineDouble, start_host: StartHost, home: Path, tmp_path: Path
) -> None:
    engine.terms.lease_seconds = 0.3
    process = start_host()
    engine.wait(lambda: bool(engine.heartbeats))
    (home / "token").write_text("another")
    engine.stop()
    engine.start()
    (home / "token").write_text("another")
    assert process.wait(60) == 3
    again = start_host()
    home.rename(tmp_path / "elsewhere")
    assert again.wait(60) == 3


def test_a_token_that_was_renewed_is_read_again(engine: EngineDouble, start_host: StartHost, home: Path) -> None:
    (home / "token").write_text("yesterday's")
    process = start_host()
    engine.wait(lambda: engine.refused > 1)
    (home / "token").write_text(f"{TOKEN}\n")
    engine.wait(lambda: bool(engine.heartbeats))
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0


def test_a_secret_is_in_no_log_and_no_failure(
    engine: EngineDouble, start_host: StartHost, lanes: Lanes, home: Path, tmp_path: Path
) -> None:
    (tmp_path / "password").write_text("correct horse\n")
    nowhere = connection_pb2.PostgresSystem(
        host=str(tmp_path), database="none", user="u", password=f"file://{tmp_path}/password"
    )
    task = worker_pb2.Task(id="inquiries/2", fence=1)
    task.test.connection.name = "environments/e/connections/pg"
    task.test.connection.postgres.CopyFrom(nowhere)
    process = start_host()
    failure = engine.run(task).failure
    assert failure.message
    assert "correct horse" not in str(failure)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    log = (home / "h1.log").read_text()
    assert "task.started" in log
    assert "correct horse" not in log


def test_a_host_that_was_stopped_past_its_lease_commits_nothing_when_it_goes_on(
    engine: EngineDouble, start_host: StartHost, lanes: Lanes, tmp_path: Path, postgres_database: str
) -> None:
    fill(tmp_path, MANY)
    engine.terms.lease_seconds = 1.0
    where = psycopg.conninfo.conninfo_to_dict(postgres_database)
    postgres = connection_pb2.PostgresSystem(
        host=str(where["host"]), port=int(str(where["port"])), user=str(where["user"])
    )
    postgres.database = str(where["dbname"])
    lanes.dataset.target.postgres.CopyFrom(postgres)  # a system that admits another host while one is stopped
    zombie = start_host()
    lanes.freeze(engine.run(lanes.inspect()))
    first = lanes.copy()
    engine.give(first)
    engine.wait(lambda: any(report.progress.chunks for report in engine.reports))
    zombie.send_signal(signal.SIGSTOP)
    heir = start_host()
    engine.wait(lambda: len(engine.registered) == 2)
    taken = engine.run(lanes.copy())
    zombie.send_signal(signal.SIGCONT)
    assert zombie.wait(60) == 3
    if taken.HasField("failure"):  # it was stopped in the instant in which its transaction holds the checkpoint's row
        assert taken.failure.is_temporary
        taken = engine.run(lanes.copy())
    assert taken.result.copy.rows == MANY
    assert first.id not in engine.finished
    assert engine.run(lanes.verify()).result.verify.is_verified
    engine.run(lanes.publish())
    heir.send_signal(signal.SIGTERM)
    assert heir.wait(60) == 0
    with psycopg.connect(postgres_database) as warehouse:
        found = warehouse.execute(
            "SELECT count(*), count(DISTINCT id), sum(customer), count(note) FROM orders"
        ).fetchall()
    assert found == expected(MANY)
