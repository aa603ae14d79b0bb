"""A host with a task that hangs in a call of a driver: it logs in to a server that takes calls and never answers."""

import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from pymigrate.v1 import worker_pb2
from tests.integration.worker.conftest import StartHost
from tests.integration.worker.engine import EngineDouble


@pytest.fixture
def silent() -> Iterator[socket.socket]:
    """A server that never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(60)
        yield server


@pytest.fixture
def task(silent: socket.socket) -> worker_pb2.Task:
    """A lane whose target is that server."""
    task = worker_pb2.Task(id="run/tasks/copy.1", fence=1)
    task.copy.lane = "run/lanes/one"
    task.copy.dataset.source.sqlite.path = "/legacy.db"
    target = task.copy.dataset.target.postgres
    target.host, target.port = silent.getsockname()
    target.database = target.user = "warehouse"
    return task


def test_a_host_with_a_task_that_hangs_ends_within_its_bound(
    engine: EngineDouble, start_host: StartHost, task: worker_pb2.Task, silent: socket.socket, home: Path
) -> None:
    process = start_host(drain_seconds=0.3)
    engine.give(task)
    engine.wait(lambda: any(beat.leases for beat in engine.heartbeats))
    with silent.accept()[0]:
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    assert task.id not in engine.finished
    assert "host.abandoned_threads" in (home / "h1.log").read_text()
