"""The engine on a PostgreSQL store: what was declared and run is there after a kill -9, for an engine with another home as well."""

import os
import signal
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest

from pymigrate.v1 import plan_pb2, run_pb2
from tests.e2e.engines import EngineProcess, declare, ended, is_alive, quickstart, wait_until

PLAN = "environments/quickstart/plans/warehouse"
PASSWORD = "the-store's-password"


def test_a_plan_and_its_run_survive_the_engine_on_a_postgres_store(
    monkeypatch: pytest.MonkeyPatch, postgres_database: str, legacy: Path, tmp_path: Path
) -> None:
    monkeypatch.setenv("PYMIGRATE_STORE", postgres_database)
    monkeypatch.setenv("PYMIGRATE_STORE_PASSWORD", "env://STORE_PASSWORD_OF_THE_TEST")
    monkeypatch.setenv("STORE_PASSWORD_OF_THE_TEST", PASSWORD)
    first, second = (EngineProcess(tmp_path / name, is_warm=True) for name in ("first", "second"))
    hosts: list[int] = []
    try:
        first.start()
        with first.client() as client:
            declare(client, quickstart(legacy, tmp_path / "w.duckdb"), tmp_path / "plan.yaml")
            request = plan_pb2.GetPlanRequest(name=PLAN)
            declared = client.plans.GetPlan(request, metadata=client.metadata, timeout=30)
            started = client.runs.StartRun(
                run_pb2.StartRunRequest(parent=PLAN), metadata=client.metadata, timeout=120
            ).name
        hosts = first.host_pids()
        first.kill()
        second.start()
        with second.client() as client:
            assert client.plans.GetPlan(request, metadata=client.metadata, timeout=30) == declared
            assert ended(client, started).state == run_pb2.RUN_STATE_SUCCEEDED
        hosts += second.host_pids()
        assert second.stop() == 0
    finally:
        for engine in (first, second):
            if engine.process is not None and engine.process.poll() is None:
                engine.kill()
        for pid in hosts:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not any(is_alive(pid) for pid in hosts))
    assert not list(tmp_path.glob("*/engine.db"))
    assert not [log for log in tmp_path.glob("*/**/*.log") if PASSWORD in log.read_text()]
    with psycopg.connect(postgres_database) as connection:
        told = connection.execute("SELECT type FROM feed_entry WHERE run = %s ORDER BY sequence", (started,)).fetchall()
    assert told[-1] == ("run.succeeded",)
