"""Sixty waits for one run at once, through the real terraform: an interrupt loses nothing that the engine accepted, and a Terraform that is
killed leaves no provider behind."""

import contextlib
import os
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.engines import EngineProcess, is_alive, wait_until
from tests.e2e.terraforms import SMALL, Terraform, connections, interrupt
from tests.e2e.test_terraform import AIRLINES

WAITS = 60
RUN = """
resource "pymigrate_run" "small" {
  plan          = pymigrate_plan.small.name
  triggers      = { airlines = pymigrate_phase.airlines.definition_hash }
  desired_state = "%s"
}
resource "pymigrate_run_gate" "each" {
  count = 60
  run   = pymigrate_run.small.name
}
"""


def configuration(folder: Path, desired_state: str) -> str:
    """A small plan with its run, and sixty gates that wait for it."""
    systems = {
        "legacy": f'sqlite = {{ path = "{folder}/legacy.db" }}',
        "warehouse": f'duckdb = {{ path = "{folder}/warehouse.duckdb" }}',
    }
    phase = AIRLINES % {"connection": "legacy", "relation": "airlines"}
    return SMALL + connections(systems) + phase + RUN % desired_state


@pytest.fixture
def terraform(require_terraform: str, tmp_path: Path, engine: EngineProcess) -> Terraform:
    """A working directory whose run rests, so that whoever waits for it waits on."""
    with contextlib.closing(sqlite3.connect(tmp_path / "legacy.db")) as legacy:
        legacy.executescript("CREATE TABLE airlines (carrier TEXT PRIMARY KEY); INSERT INTO airlines VALUES ('UA');")
    terraform = Terraform(require_terraform, tmp_path / "terraform", engine)
    terraform.write(configuration(tmp_path, "paused"))
    terraform.must("init")
    return terraform


@contextlib.contextmanager
def waiting(terraform: Terraform) -> Iterator["subprocess.Popen[str]"]:
    """An apply in which every gate waits; it is gone afterwards."""
    process = terraform.start("apply", "-auto-approve", f"-parallelism={WAITS + 10}")
    try:
        assert process.stdout is not None
        begun = (line for line in process.stdout if "pymigrate_run_gate.each" in line and "Creating..." in line)
        assert len([next(begun) for _ in range(WAITS)]) == WAITS
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def children(pid: int) -> list[int]:
    """The processes that a process has started and that are not gone."""
    found = Path(f"/proc/{pid}/task").glob("*/children")  # each thread has its own
    return [int(child) for path in found for child in path.read_text().split()]


def test_ctrl_c_with_sixty_waits_in_flight_leaves_everything_that_was_accepted_in_the_state(
    terraform: Terraform, tmp_path: Path
) -> None:
    with waiting(terraform) as process:
        output = interrupt(process)
    assert "was interrupted" in output
    state = terraform.resources()
    gates = [address for address in state if address.startswith("pymigrate_run_gate.")]
    assert len(gates) == WAITS
    assert state.keys() - set(gates) == {
        "pymigrate_connection.legacy",
        "pymigrate_connection.warehouse",
        "pymigrate_department.sales",
        "pymigrate_environment.small",
        "pymigrate_phase.airlines",
        "pymigrate_plan.small",
        "pymigrate_run.small",
    }
    terraform.write(configuration(tmp_path, "running"))
    terraform.must("apply", "-auto-approve", f"-parallelism={WAITS}")
    assert terraform.resources()["pymigrate_run_gate.each[59]"]["state"] == "succeeded"
    assert terraform.changes() == 0


def test_a_terraform_that_is_killed_with_sixty_waits_in_flight_leaves_no_provider(terraform: Terraform) -> None:
    with waiting(terraform) as process:
        providers = children(process.pid)
        assert providers
        process.kill()
        wait_until(lambda: not any(is_alive(pid) for pid in providers), seconds=30)
