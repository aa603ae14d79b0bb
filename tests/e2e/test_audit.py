"""The audit trail of an engine in a process of its own: a migration, noted, sealed, taken elsewhere and proved."""

import json
import sqlite3
from pathlib import Path

import grpc
import httpx
import pytest

from pymigrate.v1 import run_pb2
from tests.e2e.engines import EngineProcess, quickstart, running_engine
from tests.e2e.test_command_line import PLAN, CommandLine, pymigrate

__all__ = ["pymigrate"]


def events(pymigrate: CommandLine, *options: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in pymigrate("audit", "list", "--json", *options).splitlines()]


@pytest.fixture
def run(pymigrate: CommandLine, legacy: Path, tmp_path: Path) -> str:
    """A run that has succeeded."""
    file = tmp_path / "plan.yaml"
    file.write_text(quickstart(legacy, tmp_path / "w.duckdb"))
    pymigrate("apply", "-f", str(file))
    return pymigrate("start", PLAN).splitlines()[0]


def test_a_migration_is_noted_and_its_export_proves_itself(
    pymigrate: CommandLine, engine: EngineProcess, run: str, tmp_path: Path
) -> None:
    (start,) = events(pymigrate, "--action", "start")
    assert (start["principal"], start["subject"], start["method"]) == ("local", run, "RunService/StartRun")
    assert "127.0.0.1 (cli)" in str(start["origin"])
    assert start["revision"]
    steps = events(pymigrate, "--subject", run, "--action", "run.succeeded")
    assert [step["run"] for step in steps] == [run]
    trail, key, seal = tmp_path / "trail.jsonl", tmp_path / "audit.pem", tmp_path / "seal.json"
    assert engine.stop() == 0  # seals what it did
    engine.start()
    key.write_text(pymigrate("audit", "seals", "--public-key"))
    seal.write_text(pymigrate("audit", "seals", "--json"))
    pymigrate("audit", "export", "--output", str(trail))
    verify = ("audit", "verify", "--file", str(trail), "--public-key", str(key), "--known-seal", str(seal))
    assert "nothing was altered" in pymigrate(*verify)
    assert "nothing was altered" in pymigrate("audit", "verify", "--known-seal", str(seal))
    engine.stop()
    with sqlite3.connect(engine.home / "engine.db") as store:
        store.execute("DROP TRIGGER feed_entry_whole")
        store.execute("UPDATE feed_entry SET actor = 'eve' WHERE subject = ? AND type = 'start'", (run,))
    store.close()
    engine.start()
    assert f"altered: event {start['sequence']}" in pymigrate("audit", "verify", code=1)


def test_whoever_is_refused_is_noted_over_both_surfaces(pymigrate: CommandLine, engine: EngineProcess) -> None:
    with engine.client() as client, pytest.raises(grpc.RpcError) as refused:
        client.runs.ListRuns(
            run_pb2.ListRunsRequest(parent="environments/-/plans/-"),
            metadata=(("authorization", "Bearer x"),),
            timeout=60,
        )
    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
    made = pymigrate("service-tokens", "create", "ci").split()[0]
    with engine.client() as client, pytest.raises(grpc.RpcError) as refused:
        client.runs.ListRuns(
            run_pb2.ListRunsRequest(parent="environments/prod/plans/-"),
            metadata=(("authorization", f"Bearer {made}"),),
            timeout=60,
        )
    assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED
    nobody, service = events(pymigrate, "--action", "deny")
    assert (nobody["principal"], nobody["origin"], nobody["outcome"]) == ("nobody", "127.0.0.1", "UNAUTHENTICATED")
    assert (service["principal"], service["method"]) == ("service/ci", "RunService/ListRuns")
    assert (service["subject"], service["outcome"]) == ("environments/prod/plans/-", "PERMISSION_DENIED")


def test_over_rest_an_export_proves_itself_too(tmp_path: Path) -> None:
    with running_engine(tmp_path / "home", environment={"PYMIGRATE_REST_LISTEN": "127.0.0.1:0"}) as engine:
        token, endpoint = ((engine.home / name).read_text().strip() for name in ("token", "rest-endpoint"))
        headers = {"authorization": f"Bearer {token}", "accept": "application/x-ndjson"}
        url = f"http://{endpoint}/v1/audit:export"
        assert httpx.get(url, timeout=60, trust_env=False).status_code == 401
        answer = httpx.get(url, headers=headers, timeout=60, trust_env=False)
        trail = tmp_path / "trail.jsonl"
        trail.write_bytes(answer.content)
        assert "1 events in 1 chains" in CommandLine(engine)("audit", "verify", "--file", str(trail))
