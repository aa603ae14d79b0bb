"""A real host process against an engine of the test's own: real SQLite in, real DuckDB out."""

import os
import signal
import sqlite3
from pathlib import Path

import duckdb
import pytest

from pymigrate.engine.adapters.executors import processes
from pymigrate.v1 import connection_pb2, plan_pb2, worker_pb2
from tests.integration.worker.conftest import StartHost
from tests.integration.worker.engine import EngineDouble, Lanes

ROWS = 20_000


@pytest.fixture
def lanes(tmp_path: Path) -> Lanes:
    """Twenty thousand orders in SQLite, in chunks of a few thousand, into DuckDB."""
    with sqlite3.connect(tmp_path / "legacy.db") as legacy:
        legacy.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, customer INTEGER, note TEXT, price REAL)")
        legacy.executemany(
            "INSERT INTO orders VALUES (?, ?, ?, ?)",
            ((at, at % 7, None if at % 5 == 0 else f"note {at}", at / 4) for at in range(ROWS)),
        )
    legacy.close()
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


EXPECTED = [(ROWS, ROWS, sum(at % 7 for at in range(ROWS)), ROWS - ROWS // 5)]


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
    assert warehouse_rows(tmp_path) == EXPECTED


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
    first = start_host("file:warehouse")
    lanes.freeze(engine.run(lanes.inspect()))
    engine.give(lanes.copy())
    engine.wait(lambda: any(report.progress.chunks for report in engine.reports))
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    committed = max(report.progress.rows for report in engine.reports)
    engine.reports.clear()
    second = start_host("file:warehouse")
    assert engine.run(lanes.copy()).result.copy.rows == ROWS
    assert engine.reports[0].progress.rows >= committed
    assert engine.run(lanes.verify()).result.verify.is_verified
    engine.run(lanes.publish())
    second.send_signal(signal.SIGTERM)
    assert second.wait(60) == 0
    assert warehouse_rows(tmp_path) == EXPECTED


def test_a_missing_source_is_a_problem_of_the_dataset(
    engine: EngineDouble, start_host: StartHost, lanes: Lanes
) -> None:
    lanes.dataset.dataset.source.relation = "order"
    start_host()
    [problem] = engine.run(lanes.inspect()).result.inspect.problems
    assert problem.field == "source.relation"
    assert "did you mean `orders`?" in problem.description
