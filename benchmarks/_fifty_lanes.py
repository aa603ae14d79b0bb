"""Fifty lanes at once through a real engine with its worker hosts, and what all hosts together hold meanwhile."""

import json
import os
import threading
from pathlib import Path

from _ground_truth import in_duckdb, in_postgres, require, told

from pymigrate.engine.entrypoints.cli.client import Client
from pymigrate.v1 import run_pb2
from tests.e2e.engines import EngineProcess, declare, ended

POLL_SECONDS = 0.05
HOSTS_TARGETS = ("postgres", "duckdb")


def definitions(system: dict[str, object], other: dict[str, object], folder: Path, relation: str, lanes: int) -> str:
    """One table into PostgreSQL and into DuckDB, each in half of the lanes."""
    where = {"environment": "bench"}
    documents: list[dict[str, object]] = [
        {"kind": "Environment", "metadata": {"name": "bench"}},
        {"kind": "Department", "metadata": {"name": "sales", **where}, "spec": {"owner": "Ann"}},
        {"kind": "Connection", "metadata": {"name": "legacy", **where}, "spec": {"postgres": system}},
        {"kind": "Connection", "metadata": {"name": "postgres", **where}, "spec": {"postgres": other}},
        {
            "kind": "Connection",
            "metadata": {"name": "duckdb", **where},
            "spec": {"duckdb": {"path": f"{folder}/w.duckdb"}},
        },
    ]
    phases = {
        target: {
            "department": "sales",
            "datasets": {
                "rows": {
                    "source": {"connection": "legacy", "relation": relation},
                    "target": {"connection": target, "relation": "copied", "loadMode": "replace"},
                    "lanes": lanes // len(HOSTS_TARGETS),
                }
            },
        }
        for target in HOSTS_TARGETS
    }
    documents.append({"kind": "Plan", "metadata": {"name": "p", **where}, "spec": {"phases": phases}})
    return "\n---\n".join(json.dumps({"apiVersion": "pymigrate.io/v1alpha1", **document}) for document in documents)


def peak_bytes(text: str, folder: Path, target: str) -> tuple[int, int, int]:
    """Runs the plan, into PostgreSQL `target` too; the most that all hosts held at a moment, how many there were, and how many lanes."""
    engine = EngineProcess(folder / "home")
    engine.start()
    try:
        with engine.client() as client:
            declare(client, text, folder / "plan.yaml")
            asked = run_pb2.StartRunRequest(parent="environments/bench/plans/p")
            name = client.runs.StartRun(asked, metadata=client.metadata, timeout=300).name
            done = threading.Event()
            found: list[tuple[int, int]] = []
            watching = threading.Thread(target=_watch, args=(engine, done, found))
            watching.start()
            try:
                run = ended(client, name, 900)
            finally:
                done.set()
                watching.join()
            if run.state != run_pb2.RUN_STATE_SUCCEEDED:
                raise AssertionError(run.failure.message)
            kept, lanes = told(client, run), _lanes(client, name)
    finally:
        engine.stop()
    require(kept, {"postgres": in_postgres(target), "duckdb": in_duckdb(folder / "w.duckdb")})
    return max(held for held, _ in found), max(hosts for _, hosts in found), lanes


def _lanes(client: Client, name: str) -> int:
    asked = run_pb2.ListLanesRequest(parent=name, page_size=1_000)
    return len(client.runs.ListLanes(asked, metadata=client.metadata, timeout=60).lanes)


def _watch(engine: EngineProcess, done: threading.Event, found: list[tuple[int, int]]) -> None:
    page = os.sysconf("SC_PAGE_SIZE")
    while not done.wait(POLL_SECONDS):
        pids = engine.host_pids()
        held = [
            int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * page
            for pid in pids
            if Path(f"/proc/{pid}").exists()
        ]
        found.append((sum(held), len(held)))
