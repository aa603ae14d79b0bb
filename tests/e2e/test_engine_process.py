"""The engine as a process: what it leaves in its home, who may call it, and how it ends."""

import os
import signal
import stat
from pathlib import Path

import grpc
import pytest

from pymigrate.v1 import environment_pb2, environment_pb2_grpc, run_pb2
from tests.e2e.engines import EngineProcess, declare, ended, is_alive, quickstart, wait_until

pytestmark = pytest.mark.measured

PLAN = "environments/quickstart/plans/warehouse"


def mode(path: Path) -> int:
    """Permission bits."""
    return stat.S_IMODE(path.stat().st_mode)


def test_the_token_and_the_home_are_their_owners_alone(engine: EngineProcess) -> None:
    assert mode(engine.home / "token") == 0o600
    assert mode(engine.home) == 0o700
    assert len((engine.home / "token").read_text().strip()) >= 32


def test_a_call_without_the_token_is_refused(engine: EngineProcess) -> None:
    with grpc.insecure_channel((engine.home / "endpoint").read_text().strip()) as channel:
        stub = environment_pb2_grpc.EnvironmentServiceStub(channel)
        with pytest.raises(grpc.RpcError) as error:
            stub.ListEnvironments(environment_pb2.ListEnvironmentsRequest(), timeout=10)
    assert error.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert "token" in (error.value.details() or "")


def test_a_second_engine_on_the_same_home_is_refused_and_told_who_has_it(engine: EngineProcess, tmp_path: Path) -> None:
    import subprocess
    import sys

    command = [
        sys.executable,
        "-m",
        "pymigrate.engine.main.cli",
        "serve",
        "--home",
        str(engine.home),
        "--listen",
        "127.0.0.1:0",
    ]
    second = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert second.returncode == 1
    assert engine.process is not None
    assert str(engine.process.pid) in second.stderr


def test_an_address_that_others_can_reach_is_refused(tmp_path: Path) -> None:
    import subprocess
    import sys

    command = [
        sys.executable,
        "-m",
        "pymigrate.engine.main.cli",
        "serve",
        "--home",
        str(tmp_path / "h"),
        "--listen",
        "0.0.0.0:0",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "loopback" in done.stderr


def test_sigterm_drains_hosts_to_their_checkpoints_and_the_next_engine_goes_on(
    engine: EngineProcess, legacy: Path, tmp_path: Path
) -> None:
    with engine.client() as client:
        declare(client, quickstart(legacy, tmp_path / "w.duckdb", chunk_bytes=200_000), tmp_path / "plan.yaml")
        name = client.runs.StartRun(run_pb2.StartRunRequest(parent=PLAN), metadata=client.metadata, timeout=120).name
        stream = client.runs.WatchRun(run_pb2.WatchRunRequest(name=name), metadata=client.metadata, timeout=60)
        for picture in stream:
            if picture.run.phases["flights"].datasets["flights"].rows or picture.run.end_time.seconds:
                stream.cancel()
                break
    hosts = engine.host_pids()
    assert engine.stop() == 0
    assert not any(is_alive(pid) for pid in hosts)
    assert not (engine.home / "endpoint").exists()
    engine.start()
    with engine.client() as client:
        assert ended(client, name).state == run_pb2.RUN_STATE_SUCCEEDED


def test_who_watches_an_engine_that_is_stopped_is_told_to_come_back_and_goes_on_with_the_next_one(
    engine: EngineProcess, legacy: Path, tmp_path: Path
) -> None:
    paused = run_pb2.StartRunRequest(parent=PLAN, run=run_pb2.Run(desired_state=run_pb2.DESIRED_STATE_PAUSED))
    with engine.client() as client:
        declare(client, quickstart(legacy, tmp_path / "w.duckdb"), tmp_path / "plan.yaml")
        name = client.runs.StartRun(paused, metadata=client.metadata, timeout=120).name
        watching = run_pb2.WatchRunRequest(name=name)
        stream = client.runs.WatchRun(watching, metadata=client.metadata, timeout=60)
        watching.resume_token = next(stream).resume_token
        assert engine.stop() == 0
        with pytest.raises(grpc.RpcError) as error:
            next(stream)
        assert error.value.code() is grpc.StatusCode.UNAVAILABLE
        assert "watch again with the last token" in (error.value.details() or "")
    engine.start()
    with engine.client() as client:
        client.runs.ResumeRun(run_pb2.ResumeRunRequest(name=name), metadata=client.metadata, timeout=60)
        answers = list(client.runs.WatchRun(watching, metadata=client.metadata, timeout=120))
    sequences = [event.sequence for answer in answers for event in answer.events]
    assert sequences == list(range(int(watching.resume_token) + 1, int(answers[-1].resume_token) + 1))
    assert answers[-1].run.state == run_pb2.RUN_STATE_SUCCEEDED


def test_hosts_of_a_killed_engine_are_taken_over_and_end_with_the_next_one(
    engine: EngineProcess, legacy: Path, tmp_path: Path
) -> None:
    with engine.client() as client:
        declare(client, quickstart(legacy, tmp_path / "w.duckdb"), tmp_path / "plan.yaml")
        name = client.runs.StartRun(run_pb2.StartRunRequest(parent=PLAN), metadata=client.metadata, timeout=120).name
        assert ended(client, name).state == run_pb2.RUN_STATE_SUCCEEDED
    hosts = engine.host_pids()
    engine.kill()
    engine.start()
    wait_until(lambda: sorted(engine.host_pids()) == sorted(hosts))
    assert engine.stop() == 0
    assert not any(is_alive(pid) for pid in hosts)


def test_a_stopped_host_loses_its_lease_is_killed_and_another_goes_on(
    engine: EngineProcess, legacy: Path, tmp_path: Path
) -> None:
    with engine.client() as client:
        declare(client, quickstart(legacy, tmp_path / "w.duckdb", chunk_bytes=200_000), tmp_path / "plan.yaml")
        name = client.runs.StartRun(run_pb2.StartRunRequest(parent=PLAN), metadata=client.metadata, timeout=120).name
        (host,) = engine.host_pids()
        os.kill(host, signal.SIGSTOP)
        run = ended(client, name)
    assert run.state == run_pb2.RUN_STATE_SUCCEEDED
    assert not is_alive(host)
