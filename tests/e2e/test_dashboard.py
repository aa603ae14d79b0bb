"""The dashboard of a real engine over REST: a run that waits for a person, is published, and one that fails."""

import json
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.engines import EngineProcess, ended, wait_until

PLAN = "environments/e/plans/p"
SECONDS_MAX = 60


class Scene:
    """An engine with REST, and a plan of one table."""

    def __init__(self, engine: EngineProcess, folder: Path) -> None:
        self.engine = engine
        self.source = folder / "crm.db"
        with sqlite3.connect(self.source) as database:
            database.execute("create table customers (id integer primary key, name text)")
            database.executemany("insert into customers (name) values (?)", [(f"n{at}",) for at in range(100)])
        database.close()
        token = (engine.home / "token").read_text().strip()
        self.http = httpx.Client(
            base_url=f"http://{(engine.home / 'rest-endpoint').read_text().strip()}/v1",
            headers={"authorization": f"Bearer {token}"},
            timeout=SECONDS_MAX,
            trust_env=False,
        )
        self.post("environments", {}, environmentId="e")
        self.post("environments/e/departments", {"owner": "Ann"}, departmentId="sales")
        self.post("environments/e/connections", {"sqlite": {"path": str(self.source)}}, connectionId="crm")
        target = {"duckdb": {"path": str(folder / "w.duckdb")}}
        self.post("environments/e/connections", target, connectionId="warehouse")
        dataset = {
            "source": {"connection": "crm", "relation": "customers"},
            "target": {"connection": "warehouse", "relation": "customers", "loadMode": "replace"},
            "key": ["id"],
        }
        phase = {
            "department": "sales",
            "datasets": {"customers": dataset},
            "gates": {"look": {"point": "before_publication"}},
        }
        self.post("environments/e/plans", {"displayName": "Warehouse", "phases": {"sales": phase}}, planId="p")

    def post(self, path: str, body: dict[str, Any], **query: str) -> dict[str, Any]:
        told = self.http.post(f"/{path}", params=query, json=body)
        assert told.status_code == 200, told.text
        found: dict[str, Any] = told.json()
        return found

    def dashboard(self) -> dict[str, Any]:
        told = self.http.get("/dashboard")
        assert told.status_code == 200, told.text
        found: dict[str, Any] = told.json()
        return found

    def risks(self) -> dict[str, dict[str, Any]]:
        """The risks by their reason."""
        return {risk["reason"]: risk for risk in self.dashboard().get("risks", [])}

    def command(self, *arguments: str) -> str:
        """What `pymigrate` prints."""
        done = subprocess.run(
            [sys.executable, "-m", "pymigrate.engine.main.cli", *arguments, "--home", str(self.engine.home)],
            capture_output=True,
            text=True,
            timeout=SECONDS_MAX,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    monkeypatch.setenv("PYMIGRATE_REST_LISTEN", "127.0.0.1:0")
    engine = EngineProcess(tmp_path / "home", is_warm=True)
    engine.start()
    scene = Scene(engine, tmp_path)
    yield scene
    scene.http.close()
    engine.stop()


def test_a_run_is_shown_while_it_waits_and_once_it_is_published(scene: Scene) -> None:
    assert scene.dashboard()["plans"][0]["displayName"] == "Warehouse"
    with scene.http.stream("GET", "/dashboard:watch") as response:
        told = (json.loads(line[6:]) for line in response.iter_lines() if line.startswith("data: "))
        assert not next(told).get("isChange")
        scene.post(f"{PLAN}/runs", {"runId": "r"})
        assert next(told)["isChange"]
        wait_until(lambda: "GATE_WAITING" in scene.risks())
        waiting = scene.risks()["GATE_WAITING"]
        assert waiting["subject"] == f"{PLAN}/runs/r/phases/sales"
        said = scene.command("dashboard")
        assert "GATE_WAITING" in said
        scene.command(*waiting["message"].partition("`pymigrate ")[2].partition("`")[0].split())
        states = (each for answer in told for each in answer["dashboard"].get("plans", []))
        assert any(each["kpis"].get("state") == "succeeded" for each in states)
    picture = scene.dashboard()
    assert picture["plans"][0]["kpis"]["completion"] == 1
    assert picture["plans"][0]["kpis"]["rows"] == 100
    assert "risks" not in picture
    assert {found["kind"] for found in picture["milestones"]} == {"RUN_SEALED"}


def test_a_run_that_fails_is_shown_with_why_and_how_to_go_on(scene: Scene) -> None:
    scene.post(f"{PLAN}/runs", {"runId": "r", "run": {"desiredState": "paused"}})
    assert set(scene.risks()) == {"RUN_PAUSED"}
    with sqlite3.connect(scene.source) as database:
        database.execute("drop table customers")
    database.close()
    scene.post(f"{PLAN}/runs/r:resume", {})
    with scene.engine.client() as client:
        ended(client, f"{PLAN}/runs/r")
    wait_until(lambda: "RUN_FAILED" in scene.risks())
    found = scene.risks()["RUN_FAILED"]
    assert found["severity"] == "critical"
    assert "customers" in found["message"] + scene.risks()["PHASE_FAILED"]["message"]
    told = json.loads(scene.command("dashboard", "environments/e", "--json"))
    assert told["plans"][0]["kpis"]["state"] == "failed"
