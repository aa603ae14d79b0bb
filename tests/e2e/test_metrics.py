"""The page of metrics of a real engine through a real run: its figures are the run's, a plugin makes business metrics of them, and a
scraper that asks and never listens holds nobody up."""

import socket
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from pymigrate.v1 import run_pb2
from tests.e2e.engines import EngineProcess, declare, ended, wait_until
from tests.e2e.test_connectors import plan
from tests.integration.metrics.plugins import install
from tests.metrics_page import series

ROWS = 1_000
ROWS_PER_INVOICE = 5


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[EngineProcess]:
    """An engine that serves the page on an address of its own, with the example of a plugin installed, and no REST."""
    install(tmp_path / "site")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    monkeypatch.setenv("PYMIGRATE_METRICS_LISTEN", "127.0.0.1:0")
    started = EngineProcess(tmp_path / "home")
    started.start()
    yield started
    if started.process is not None and started.process.poll() is None:
        started.stop()


def address(engine: EngineProcess) -> str:
    return (engine.home / "metrics-endpoint").read_text().strip()


def page(engine: EngineProcess) -> bytes:
    """What a scraper gets."""
    headers = {"authorization": f"Bearer {(engine.home / 'token').read_text().strip()}"}
    return httpx.get(f"http://{address(engine)}/metrics", headers=headers, timeout=60, trust_env=False).content


def deaf_scraper(engine: EngineProcess) -> socket.socket:
    """Asks for the page, and never reads it."""
    host, _, port = address(engine).rpartition(":")
    asking = socket.create_connection((host, int(port)))
    token = (engine.home / "token").read_text().strip()
    asking.sendall(f"GET /metrics HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n".encode())
    return asking


def test_the_page_tells_what_a_run_did_and_what_a_plugin_makes_of_it(engine: EngineProcess, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "shop.db") as database:
        database.execute("create table orders (id integer primary key, name text)")
        database.executemany("insert into orders (name) values (?)", [(f"n{at}",) for at in range(ROWS)])
    database.close()
    definitions = plan(
        {
            "shop": {"sqlite": {"path": f"{tmp_path}/shop.db"}},
            "warehouse": {"duckdb": {"path": f"{tmp_path}/w.duckdb"}},
        },
        {
            "orders": {
                "source": {"connection": "shop", "relation": "orders"},
                "target": {"connection": "warehouse", "relation": "orders"},
            }
        },
    )
    with deaf_scraper(engine), engine.client() as client:
        declare(client, definitions, tmp_path / "plan.yaml")
        asked = run_pb2.StartRunRequest(parent="environments/e/plans/p")
        run = ended(client, client.runs.StartRun(asked, metadata=client.metadata, timeout=120).name)
        assert run.state == run_pb2.RUN_STATE_SUCCEEDED, run.failure
        told = page(engine)
        assert list(series(told, "pymigrate_rows_total", "environment", "department").values()) == [ROWS]
        assert series(told, "pymigrate_plan_rows", "environment", "plan") == {("e", "p"): ROWS}
        assert series(told, "pymigrate_plan_state", "plan", "state") == {("p", "succeeded"): 1}
        assert series(told, "pymigrate_runs_total", "environment", "state")["e", "succeeded"] == 1
        assert series(told, "pymigrate_run_duration_seconds_count", "environment") == {("e",): 1}
        assert series(told, "pymigrate_phase_rows", "phase") == {}
        assert sum(series(told, "pymigrate_hosts", "environment", "state").values()) == 1
        assert series(told, "pymigrate_store_duration_seconds_count", "kind")["write",] > 0
        assert ("RunService", "StartRun", "OK") in series(
            told, "pymigrate_grpc_request_duration_seconds_count", "service", "method", "code"
        )
        assert set(series(told, "pymigrate_store_failures_total", "kind").values()) == {0}
        arrived = {("e", "p"): ROWS / ROWS_PER_INVOICE}
        wait_until(lambda: series(page(engine), "invoices_arrived", "environment", "plan") == arrived)
    failures = series(page(engine), "pymigrate_collector_failures_total", "collector")
    assert failures["plugin:invoices",] == 0
    assert set(failures.values()) == {0}
    assert engine.stop() == 0
    assert not (engine.home / "metrics-endpoint").exists()
