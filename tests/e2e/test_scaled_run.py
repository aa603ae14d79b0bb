"""A run whose lanes are limited while real hosts copy them: those beyond drain to a checkpoint, and go on from there when there is room."""

from pathlib import Path

import pytest

from pymigrate.engine.entrypoints.cli.client import Client
from pymigrate.v1 import run_pb2
from tests.e2e.engines import EngineProcess, declare, ended, wait_until
from tests.e2e.slow_source import PLAN, ROWS, definitions, laid_out

BYTES_PER_SECOND = 60_000
TABLES = ("a", "b", "c", "d")


@pytest.fixture
def legacy(tmp_path: Path) -> Path:
    """A database of four equal tables."""
    return laid_out(tmp_path / "legacy.db", TABLES)


class ScaledRun:
    """A run on an engine that may be another by the next call."""

    def __init__(self, engine: EngineProcess, name: str) -> None:
        self.engine = engine
        self.name = name

    def now(self, client: Client) -> run_pb2.Run:
        """As it stands."""
        found: run_pb2.Run = client.runs.GetRun(
            run_pb2.GetRunRequest(name=self.name), metadata=client.metadata, timeout=30
        )
        return found

    def scale(self, lanes_max: int) -> None:
        """Limits its lanes, and waits until as many are at work."""
        with self.engine.client() as client:
            request = run_pb2.ScaleRunRequest(name=self.name, lanes_max=lanes_max)
            client.runs.ScaleRun(request, metadata=client.metadata, timeout=30)
            self.require_running(client, lanes_max)

    def require_running(self, client: Client, lanes: int) -> None:
        """Fails unless that many lanes are at work before long."""
        wait_until(lambda: self.now(client).lane_counts.running == lanes)


def test_lanes_drain_and_go_on_as_the_limit_of_their_run_changes_and_over_a_restart(
    engine: EngineProcess, legacy: Path, tmp_path: Path
) -> None:
    with engine.client() as client:
        declare(client, definitions(legacy, tmp_path / "w.duckdb", TABLES, BYTES_PER_SECOND), tmp_path / "plan.yaml")
        asked = run_pb2.StartRunRequest(parent=PLAN)
        run = ScaledRun(engine, client.runs.StartRun(asked, metadata=client.metadata, timeout=120).name)
        run.require_running(client, len(TABLES))
    run.scale(1)
    engine.kill()
    engine.start()
    with engine.client() as client:
        run.require_running(client, 1)
        assert run.now(client).lanes_max == 1
    run.scale(3)
    with engine.client() as client:
        assert run.now(client).lane_counts.pending == 1
        unlimited = run_pb2.ScaleRunRequest(name=run.name)
        client.runs.ScaleRun(unlimited, metadata=client.metadata, timeout=30)
        done = ended(client, run.name)
        lanes = client.runs.ListLanes(run_pb2.ListLanesRequest(parent=run.name), metadata=client.metadata, timeout=30)
    assert done.state == run_pb2.RUN_STATE_SUCCEEDED, done.failure
    assert (done.lane_counts.done, done.rows) == (len(TABLES), ROWS * len(TABLES))
    assert [lane.rows for lane in lanes.lanes] == [ROWS] * len(TABLES)
    assert max(lane.fence for lane in lanes.lanes) > 1, "some were handed out again"
    assert not any(lane.retries for lane in lanes.lanes), "to drain is no failure"
