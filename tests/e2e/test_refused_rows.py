"""Rows that are set apart, by a real engine: hosts that are killed meanwhile lose and double none of them, and a share is the most."""

import contextlib
import json
import os
import signal
import sqlite3
from pathlib import Path
from typing import Any

import psycopg
import pytest

from pymigrate.engine.entrypoints.cli.client import Client
from pymigrate.v1 import run_pb2
from tests.e2e.engines import EngineProcess, declare, ended, is_alive, wait_until
from tests.e2e.test_connectors import plan
from tests.e2e.test_sagas import postgres

ROWS, EACH = 20_000, 50
KILLS = 4
ROWS_PER_SECOND = 4_000  # so that a run is still under way when the last of the hosts is killed
REFUSED = [row for row in range(1, ROWS + 1) if row % EACH == 0]


@pytest.fixture
def legacy(tmp_path: Path) -> Path:
    """Orders of which every fiftieth has a price that is none."""
    path = tmp_path / "legacy.db"
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, price TEXT, note TEXT)")
        rows = ((n, "free" if n % EACH == 0 else f"{n}.50", "x" * 200) for n in range(1, ROWS + 1))
        connection.executemany("INSERT INTO orders VALUES (?, ?, ?)", rows)
    return path


def definitions(legacy: Path, dsn: str, quarantine: dict[str, Any], lanes: int, rows_per_second_max: int = 0) -> str:
    """One dataset, which casts the prices."""
    dataset = {
        "source": {"connection": "legacy", "relation": "orders"},
        "target": {"connection": "warehouse", "relation": "orders"},
        "key": ["id"],
        "transforms": [{"cast": {"columns": {"price": {"type": "decimal(9,2)"}}}}],
        "quarantine": quarantine,
        "chunkBytes": 65_536,
        "verification": "full",
        "lanes": lanes,
    }
    system = {"sqlite": {"path": str(legacy)}, "rowsPerSecondMax": rows_per_second_max}
    return plan({"legacy": system, "warehouse": postgres(dsn)}, {"orders": dataset})


def start(client: Client, text: str, file: Path) -> str:
    """A run of the plan."""
    declare(client, text, file)
    request = run_pb2.StartRunRequest(parent="environments/e/plans/p")
    return client.runs.StartRun(request, metadata=client.metadata, timeout=120).name


def chunks(client: Client, name: str) -> int:
    """How many are committed, of all lanes."""
    request = run_pb2.ListLanesRequest(parent=name)
    return sum(lane.chunks for lane in client.runs.ListLanes(request, metadata=client.metadata, timeout=60).lanes)


def kill_hosts(engine: EngineProcess) -> None:
    """kill -9 of every host that there is."""
    pids = engine.host_pids()
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not any(is_alive(pid) for pid in pids))


@pytest.mark.parametrize("lanes", [1, 3])
def test_hosts_that_are_killed_while_rows_are_set_apart_lose_and_double_none_of_them(
    legacy: Path, engine: EngineProcess, postgres_database: str, tmp_path: Path, lanes: int
) -> None:
    text = definitions(legacy, postgres_database, {"rowsMax": ROWS}, lanes, ROWS_PER_SECOND)
    killed_at = [0]
    with engine.client() as client:
        name = start(client, text, tmp_path / "plan.yaml")
        for _ in range(KILLS):
            wait_until(lambda: chunks(client, name) > killed_at[-1], interval_seconds=0.01)
            killed_at.append(chunks(client, name))
            kill_hosts(engine)
        run = ended(client, name)
    assert run.state == run_pb2.RUN_STATE_SUCCEEDED, run.failure
    dataset = run.phases["all"].datasets["orders"]
    assert dataset.verification.target_rows == ROWS - len(REFUSED)
    with psycopg.connect(postgres_database) as connection:
        kept = connection.execute("SELECT id FROM orders ORDER BY id").fetchall()
        apart = connection.execute("SELECT column_name, content FROM orders_quarantine").fetchall()
        places = connection.execute("SELECT count(DISTINCT (lane, row_number)) FROM orders_quarantine").fetchone()
    assert [row for (row,) in kept] == [row for row in range(1, ROWS + 1) if row % EACH]
    contents = [content if isinstance(content, dict) else json.loads(content) for _, content in apart]
    assert sorted(content["id"] for content in contents) == REFUSED
    assert {column for column, _ in apart} == {"price"}
    assert places == (len(REFUSED),)


@pytest.mark.parametrize(("share_max", "is_borne"), [(0.02, True), (0.0199, False)])
def test_a_dataset_that_sets_apart_more_than_its_share_fails_and_nothing_of_it_is_published(
    legacy: Path, engine: EngineProcess, postgres_database: str, tmp_path: Path, share_max: float, is_borne: bool
) -> None:
    with engine.client() as client:
        name = start(client, definitions(legacy, postgres_database, {"shareMax": share_max}, 2), tmp_path / "plan.yaml")
        run = ended(client, name)
    with psycopg.connect(postgres_database) as connection:
        tables = connection.execute("SELECT to_regclass('orders')::text, to_regclass('orders_quarantine')::text")
        found = tables.fetchone()
    if is_borne:
        assert run.state == run_pb2.RUN_STATE_SUCCEEDED, run.failure
        assert found == ("orders", "orders_quarantine")
        return
    assert run.state == run_pb2.RUN_STATE_FAILED
    failure = run.phases["all"].failure
    said = f"dataset orders: its quarantine's budget is exceeded: {len(REFUSED):,} of {ROWS:,} rows are refused"
    assert said in failure.message
    assert f"a share of {share_max:g} is the most" in failure.message
    assert failure.field.endswith("datasets.orders.quarantine")
    assert found == (None, None)
