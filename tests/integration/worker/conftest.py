"""A home, an engine that serves from it, and real host processes."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.worker.engine import EngineDouble

StartHost = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


@pytest.fixture
def engine(home: Path) -> Iterator[EngineDouble]:
    double = EngineDouble(home).start()
    yield double
    double.stop()


@pytest.fixture
def start_host(home: Path) -> Iterator[StartHost]:
    """Starts a host process; what still runs at the end is killed."""
    started: list[subprocess.Popen[bytes]] = []

    def start(affinity: str = "shared@e", drain_seconds: float = 20.0) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-m", "pymigrate.engine.main.worker"]
        options = [f"--home={home}", "--host=h1", f"--affinity={affinity}", f"--drain-seconds={drain_seconds}"]
        with (home / "h1.log").open("ab") as output:
            process = subprocess.Popen([*command, *options], stdout=output, stderr=output, start_new_session=True)
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
        process.wait()
