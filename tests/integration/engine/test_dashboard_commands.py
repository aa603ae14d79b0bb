"""The dashboard at the command line, as it is followed: the whole, then what changed, until whoever follows leaves."""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from pymigrate.engine.entrypoints.cli.client import Client
from pymigrate.v1 import plan_pb2, run_pb2
from tests.integration.engine.served import SECONDS_MAX, ServedEngine, ask
from tests.unit.application.engines import PLAN, phase

RUN = f"{PLAN}/runs/r"


class Following:
    """`pymigrate dashboard --watch` in a process of its own, and what it has printed."""

    def __init__(self, home: Path, *options: str) -> None:
        command = [sys.executable, "-m", "pymigrate.engine.main.cli", "dashboard", "--watch", *options]
        self.process = subprocess.Popen(
            [*command, "--home", str(home)],
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._lines: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def line(self) -> str:
        """The next line."""
        return self._lines.get(timeout=SECONDS_MAX)

    def until(self, text: str) -> str:
        """The first line that has this in it."""
        while text not in (found := self.line()):
            pass
        return found

    def leave(self) -> None:
        """As with ctrl-c."""
        self.process.send_signal(signal.SIGINT)
        self.process.wait(SECONDS_MAX)
        self._reader.join(SECONDS_MAX)

    def _read(self) -> None:
        if self.process.stdout is not None:
            with self.process.stdout as said:
                for line in said:
                    self._lines.put(line)


@pytest.fixture
def gated(served: ServedEngine, client: Client) -> Client:
    """A plan whose one phase waits at a gate before it begins."""
    waiting = phase("orders")
    waiting.gates["go"].point = plan_pb2.GATE_POINT_BEFORE_START
    served.do(served.engine.declare({"a": waiting}))
    return client


def run_through(client: Client, following: Following) -> str:
    """Starts the run, approves at its gate once that is told, and waits for its end; the line of the gate."""
    ask(client, client.runs.StartRun, run_pb2.StartRunRequest(parent=PLAN, run_id="r"))
    waits = following.until("GATE_WAITING")
    ask(client, client.runs.ApproveGate, run_pb2.ApproveGateRequest(name=RUN, phase="a", gate="go"))
    return waits


def test_who_follows_reads_a_line_for_each_plan_that_changed_and_each_risk(served: ServedEngine, gated: Client) -> None:
    following = Following(served.home)
    try:
        assert following.line() == f"{PLAN}: never run, 0.0% done, end none\n"
        waits = run_through(gated, following)
        assert f"pymigrate approve {RUN} a go" in waits
        assert following.until("succeeded").startswith(f"{PLAN}: succeeded, 100.0% done, end ")
    finally:
        following.leave()


def test_who_follows_as_json_reads_a_change_on_each_line(served: ServedEngine, gated: Client) -> None:
    following = Following(served.home, "--json")
    try:
        first = json.loads(following.line())
        assert not first.get("isChange")
        assert [plan["plan"] for plan in first["dashboard"]["plans"]] == [PLAN]
        run_through(gated, following)
        last = json.loads(following.until('"succeeded"'))
        assert last["isChange"]
        assert "risks" not in last["dashboard"]
    finally:
        following.leave()
