"""kill -9 of a worker host, of the engine, and of both, at random moments of the demo's run: it goes on, and nothing is lost."""

import contextlib
import os
import random
import signal
from pathlib import Path

import duckdb
import grpc
import pytest

from pymigrate.v1 import run_pb2
from tests.e2e.engines import EngineProcess, declare, ended, quickstart
from tools.legacy_systems import FLIGHTS

PLAN = "environments/quickstart/plans/warehouse"
# As many as there are ways: each order of victims, with a dataset of one lane and of several.
ROUNDS = int(os.environ.get("PYMIGRATE_TEST_KILL_ROUNDS", "6"))
KILLS = 3
PICTURES_MAX = 1_000
VICTIMS = ("host", "engine", "both")
COUNTS = {"airlines": 16, "airports": 1_458, "planes": 3_322, "weather": 26_115, "flights": FLIGHTS}


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_a_run_survives_kills_at_random_moments(seed: int, legacy: Path, engine: EngineProcess, tmp_path: Path) -> None:
    rng = random.Random(seed)
    warehouse = tmp_path / "warehouse.duckdb"
    with engine.client() as client:
        text = quickstart(legacy, warehouse, chunk_bytes=400_000)
        if seed % 2:  # a dataset of several lanes is killed as well as one of a single lane
            text = text.replace("chunkBytes: 400000", "lanes: 4\n          chunkBytes: 400000")
        declare(client, text, tmp_path / "plan.yaml")
        name = client.runs.StartRun(run_pb2.StartRunRequest(parent=PLAN), metadata=client.metadata, timeout=120).name
    for kill in range(KILLS):
        _watch_a_while(engine, name, rng)
        _kill(engine, VICTIMS[(seed + kill) % len(VICTIMS)], rng)
    with engine.client() as client:
        run = ended(client, name)
    assert run.state == run_pb2.RUN_STATE_SUCCEEDED, run.failure
    for dataset in (part for phase in run.phases.values() for part in phase.datasets.values()):
        found = dataset.verification
        assert found.is_verified
        assert found.transfer_checksum == found.source_checksum == found.target_checksum != ""
    if seed % 2:
        assert len(run.phases["flights"].datasets["flights"].lanes) == 4
    engine.stop()
    assert _counts(warehouse) == COUNTS


def _watch_a_while(engine: EngineProcess, name: str, rng: random.Random) -> None:
    """Lets the run get to a moment that is random, and the run's own: so many changes, or so many flights."""
    pictures = rng.randint(1, 12) if rng.random() < 0.5 else PICTURES_MAX
    flights = rng.randint(1, FLIGHTS) if pictures == PICTURES_MAX else FLIGHTS
    with engine.client() as client:
        stream = client.runs.WatchRun(run_pb2.WatchRunRequest(name=name), metadata=client.metadata, timeout=30)
        for count, picture in enumerate(stream, 1):
            if count >= pictures or picture.run.phases["flights"].datasets["flights"].rows >= flights:
                stream.cancel()
                return


def _kill(engine: EngineProcess, victim: str, rng: random.Random) -> None:
    hosts = engine.host_pids()
    if victim in {"engine", "both"}:
        engine.kill()
    if victim in {"host", "both"} and hosts:
        with contextlib.suppress(ProcessLookupError):
            os.kill(rng.choice(hosts), signal.SIGKILL)
    if victim in {"engine", "both"}:
        engine.start()


def _counts(warehouse: Path) -> dict[str, int]:
    with contextlib.closing(duckdb.connect(str(warehouse), read_only=True)) as connection:
        tables = [
            row[0]
            for row in connection.execute(
                "SELECT table_name FROM duckdb_tables() WHERE schema_name = 'main'"
            ).fetchall()
        ]
        return {table: connection.execute(f'SELECT count(*) FROM "{table}"').fetchall()[0][0] for table in tables}


def test_a_watch_that_is_cut_off_is_told_as_unavailable(engine: EngineProcess, legacy: Path, tmp_path: Path) -> None:
    with engine.client() as client:
        declare(client, quickstart(legacy, tmp_path / "warehouse.duckdb"), tmp_path / "plan.yaml")
        name = client.runs.StartRun(
            run_pb2.StartRunRequest(parent=PLAN, run=run_pb2.Run(desired_state=run_pb2.DESIRED_STATE_PAUSED)),
            metadata=client.metadata,
            timeout=120,
        ).name
        stream = client.runs.WatchRun(run_pb2.WatchRunRequest(name=name), metadata=client.metadata, timeout=60)
        assert next(stream).run.state == run_pb2.RUN_STATE_PAUSED
        engine.kill()
        with pytest.raises(grpc.RpcError) as error:
            next(stream)
        assert error.value.code() is grpc.StatusCode.UNAVAILABLE
    engine.start()
