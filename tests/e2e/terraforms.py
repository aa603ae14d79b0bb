"""A terraform working directory of a test's own: its home, its provider installed as a user installs it, and an engine to talk to."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pymigrate.v1 import run_pb2
from tests.e2e.engines import EngineProcess

COMMAND_SECONDS = 240
HEADER = """
terraform {
  required_providers {
    pymigrate = { source = "pymigrate/pymigrate" }
  }
}
provider "pymigrate" {}
"""
# What every small configuration begins with: its plan is `environments/small/plans/small`.
SMALL = """
resource "pymigrate_environment" "small" { environment_id = "small" }
resource "pymigrate_department" "sales" {
  environment   = pymigrate_environment.small.name
  department_id = "sales"
  owner         = "Sales"
}
resource "pymigrate_plan" "small" {
  environment = pymigrate_environment.small.name
  plan_id     = "small"
}
"""


def connections(systems: Mapping[str, str]) -> str:
    """A connection of the small environment to each system, by name; what the system is, with its options, is HCL."""
    return "".join(
        f'resource "pymigrate_connection" "{name}" {{\n'
        "  environment   = pymigrate_environment.small.name\n"
        f'  connection_id = "{name.replace("_", "-")}"\n'
        f"  {system}\n}}\n"
        for name, system in systems.items()
    )


@cache
def installed() -> Mapping[str, tuple[bytes, int]]:
    """The files that `pymigrate provider install` puts into a user's home, with their modes: the same for everybody."""
    with tempfile.TemporaryDirectory() as home:
        command = [sys.executable, "-m", "pymigrate.engine.main.cli", "provider", "install"]
        kept = {name: value for name, value in os.environ.items() if not name.startswith("XDG_")}
        subprocess.run(command, env=kept | {"HOME": home}, check=True, capture_output=True)
        files = [path for path in Path(home).rglob("*") if path.is_file()]
        return {str(path.relative_to(home)): (path.read_bytes(), path.stat().st_mode & 0o777) for path in files}


@dataclass(frozen=True)
class Done:
    """How a command ended: exit code and everything that it printed."""

    code: int
    output: str


class Terraform:
    """Runs the real terraform against an engine, with no CLI configuration."""

    def __init__(self, program: str, folder: Path, engine: EngineProcess) -> None:
        self.program = program
        self.folder = folder
        self.engine = engine
        self.home = folder / "user"
        for file, (content, mode) in installed().items():
            (self.home / file).parent.mkdir(parents=True, exist_ok=True)
            (self.home / file).write_bytes(content)
            (self.home / file).chmod(mode)

    def environment(self) -> dict[str, str]:
        """A user's environment: nothing of terraform's is set."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("TF_", "XDG_"))}
        return kept | {"HOME": str(self.home), "PYMIGRATE_HOME": str(self.engine.home), "CHECKPOINT_DISABLE": "1"}

    def write(self, configuration: str, *, has_header: bool = True) -> None:
        """Replaces the configuration."""
        (self.folder / "main.tf").write_text((HEADER if has_header else "") + configuration)

    def run(self, *arguments: str) -> Done:
        """Runs a command to its end."""
        done = subprocess.run(
            self.command(*arguments),
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )
        return Done(done.returncode, done.stdout + done.stderr)

    def must(self, *arguments: str) -> str:
        """Runs a command that must succeed; what it printed."""
        done = self.run(*arguments)
        assert done.code == 0, done.output
        return done.output

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        """Starts a command, for a test that interrupts it."""
        return subprocess.Popen(
            self.command(*arguments),
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def command(self, *arguments: str) -> list[str]:
        """A command line without colours and questions."""
        if arguments[0] == "state":
            return [self.program, f"-chdir={self.folder}", *arguments]
        asks = {"plan", "apply", "import", "init", "refresh"}
        quiet = ["-no-color", *(["-input=false"] if arguments[0] in asks else [])]
        return [self.program, f"-chdir={self.folder}", arguments[0], *quiet, *arguments[1:]]

    def apply(self) -> str:
        """init and apply."""
        self.must("init")
        return self.must("apply", "-auto-approve")

    def changes(self) -> int:
        """The exit code of `plan -detailed-exitcode`: 0 nothing to change, 2 something."""
        done = self.run("plan", "-detailed-exitcode")
        assert done.code in {0, 2}, done.output
        return done.code

    def resources(self) -> dict[str, dict[str, Any]]:
        """The values in the state, by address."""
        shown = json.loads(self.must("show", "-json"))
        found = shown.get("values", {}).get("root_module", {}).get("resources", [])
        return {resource["address"]: resource["values"] for resource in found}


def only_run(terraform: Terraform) -> run_pb2.Run:
    """The one run of the small plan, as the engine has it."""
    with terraform.engine.client() as client:
        request = run_pb2.ListRunsRequest(parent="environments/small/plans/small")
        (run,) = client.runs.ListRuns(request, metadata=client.metadata, timeout=30).runs
        return run


def interrupt(process: "subprocess.Popen[str]") -> str:
    """Ctrl-C: SIGINT to the whole process group, as a terminal does it; what was printed."""
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=COMMAND_SECONDS)
    return output
