"""A home with the engine's side of dispatch, and real dispatcher processes over it."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.dispatcher.served import ALLOWED, ServedDispatch

StartDispatcher = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[ServedDispatch]:
    """It serves, with nothing declared yet."""
    home = tmp_path / "home"
    home.mkdir()
    served = ServedDispatch(home)
    served.start()
    yield served
    served.stop()
    served.close()


@pytest.fixture
def start_dispatcher(tmp_path: Path) -> Iterator[StartDispatcher]:
    """Starts a dispatcher as the engine does, or by hand where it has no parent; what still runs at the end is killed."""
    started: list[subprocess.Popen[bytes]] = []

    def start(name: str = "d1", parent: int | None = None) -> "subprocess.Popen[bytes]":
        home = tmp_path / "home"
        if parent is None:
            command = ["-m", "pymigrate.engine.main.cli", "dispatcher", f"--home={home}"]
        else:
            command = [
                "-m",
                "pymigrate.engine.main.dispatcher",
                f"--home={home}",
                f"--name={name}",
                f"--parent={parent}",
            ]
        with (tmp_path / f"{name}.log").open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, *command],
                stdout=output,
                stderr=output,
                env=os.environ | ALLOWED,
                start_new_session=True,
            )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
        process.wait()
