"""Limits of an engine with real hosts: a system's rate is kept by all lanes together, and hosts keep to their share of the memory."""

from pathlib import Path

import pytest

from pymigrate.v1 import run_pb2
from tests.e2e.engines import EngineProcess, declare, ended
from tests.e2e.slow_source import PLAN, ROWS, definitions, laid_out

pytestmark = pytest.mark.measured

BYTES_PER_SECOND = 100_000
TABLES = ("a", "b", "c")


@pytest.fixture
def legacy(tmp_path: Path) -> Path:
    """A database of three equal tables."""
    return laid_out(tmp_path / "legacy.db", TABLES)


def test_the_lanes_of_a_limited_source_together_read_no_faster_than_it_allows(
    engine: EngineProcess, legacy: Path, tmp_path: Path
) -> None:
    with engine.client() as client:
        declare(client, definitions(legacy, tmp_path / "w.duckdb", TABLES, BYTES_PER_SECOND), tmp_path / "plan.yaml")
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
