"""Limits of an engine with real hosts: a system's rate is kept by all lanes together, and hosts keep to their share of the memory."""

import sqlite3
from pathlib import Path

import pytest

from pymigrate.v1 import run_pb2
from tests.e2e.engines import EngineProcess, declare, ended

pytestmark = pytest.mark.measured

BYTES_PER_SECOND = 100_000
ROWS = 4_000
TABLES = ("a", "b", "c")
PLAN = "environments/e/plans/p"


def definitions(legacy: Path, warehouse: Path) -> str:
    """Three tables of one limited source, each a lane."""
    datasets = ", ".join(
        f"{table}: {{source: {{connection: legacy, relation: {table}}}, target: {{connection: warehouse, relation: {table}}}}}"
        for table in TABLES
    )
    specs = (
        ("Environment", "name: e", "{}"),
        ("Department", "name: sales, environment: e", "{owner: Ann}"),
        (
            "Connection",
            "name: legacy, environment: e",
            f"{{sqlite: {{path: {legacy}}}, bytesPerSecondMax: {BYTES_PER_SECOND}}}",
        ),
        ("Connection", "name: warehouse, environment: e", f"{{duckdb: {{path: {warehouse}}}}}"),
        ("Plan", "name: p, environment: e", f"{{phases: {{load: {{department: sales, datasets: {{{datasets}}}}}}}}}"),
    )
    return "\n---\n".join(
        f"apiVersion: pymigrate.io/v1alpha1\nkind: {kind}\nmetadata: {{{name}}}\nspec: {spec}"
        for kind, name, spec in specs
    )


@pytest.fixture
def legacy(tmp_path: Path) -> Path:
    """A database of three equal tables."""
    path = tmp_path / "legacy.db"
    with sqlite3.connect(path) as connection:
        for table in TABLES:
            connection.execute(f"CREATE TABLE {table} (id INTEGER PRIMARY KEY, note TEXT)")
            connection.executemany(f"INSERT INTO {table} VALUES (?, ?)", ((n, f"note {n:040}") for n in range(ROWS)))
    connection.close()
    return path


def test_the_lanes_of_a_limited_source_together_read_no_faster_than_it_allows(
    engine: EngineProcess, legacy: Path, tmp_path: Path
) -> None:
    with engine.client() as client:
        declare(client, definitions(legacy, tmp_path / "w.duckdb"), tmp_path / "plan.yaml")
        asked = run_pb2.StartRunRequest(parent=PLAN)
        name = client.runs.StartRun(asked, metadata=client.metadata, timeout=120).name
        run = ended(client, name)
        lanes = client.runs.ListLanes(run_pb2.ListLanesRequest(parent=name), metadata=client.metadata, timeout=30).lanes
    assert run.state == run_pb2.RUN_STATE_SUCCEEDED, run.failure
    assert [lane.rows for lane in lanes] == [ROWS] * len(TABLES)
    assert all(lane.chunks > 1 for lane in lanes)  # a chunk holds at most a second's worth
    copied = sum(lane.bytes for lane in lanes)
    last_chunks = sum(lane.bytes / lane.chunks * 2 for lane in lanes)
    seconds = (
        max(lane.end_time.ToNanoseconds() for lane in lanes) - min(lane.start_time.ToNanoseconds() for lane in lanes)
    ) / 1e9
    assert seconds >= (copied - last_chunks) / BYTES_PER_SECOND
