"""A terraform working directory whose provider is a program of the tests: started by terraform itself, or held and reattached."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pymigrate.provider.install import target

SHELF = Path(__file__).with_name("shelf.py")
STOCK_SHELF = Path(__file__).with_name("stock_shelf.py")
COMMAND_SECONDS = 120
HEADER = """
terraform {
  required_providers {
    shelf = { source = "pymigrate/shelf" }
  }
}
"""


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    output: str


class Workspace:
    """Runs the real terraform in a folder with a home of its own. `program` is the provider that `init` finds there."""

    def __init__(self, terraform: str, folder: Path, program: Path = SHELF) -> None:
        self.terraform = terraform
        self.folder = folder / "work"
        self.home = folder / "user"
        self.shelf = folder / "shelf"
        self.attached = ""
        for made in (self.folder, self.home, self.shelf):
            made.mkdir(parents=True)
        os.mkfifo(self.started)
        mirror = self.home / ".terraform.d/plugins/registry.terraform.io/pymigrate/shelf/0.1.0" / target()
        mirror.mkdir(parents=True)
        launcher = mirror / "terraform-provider-shelf_v0.1.0"
        launcher.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{program}" "$@"\n')
        launcher.chmod(0o755)

    @property
    def started(self) -> Path:
        """The pipe that a slow book writes its process's id to."""
        return self.shelf / "started"

    def environment(self, **more: str) -> dict[str, str]:
        """A user's environment: nothing of terraform's is set, but what the test says."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("TF_", "XDG_", "PLUGIN_"))}
        attached = {"TF_REATTACH_PROVIDERS": self.attached} if self.attached else {}
        own = {"HOME": str(self.home), "SHELF_FOLDER": str(self.shelf), "CHECKPOINT_DISABLE": "1"}
        return kept | own | attached | more

    def write(self, book: str, more: str = "") -> None:
        """Replaces the configuration by one book with these arguments."""
        body = f'resource "shelf_book" "a" {{\n{book}\n}}\n' if book else ""
        (self.folder / "main.tf").write_text(HEADER + body + more)

    def run(self, *arguments: str, **environment: str) -> Done:
        """Runs a command to its end."""
        done = subprocess.run(
            self._command(*arguments),
            env=self.environment(**environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )
        return Done(done.returncode, done.stdout + done.stderr)

    def must(self, *arguments: str, **environment: str) -> str:
        """Runs a command that must succeed; what it printed."""
        done = self.run(*arguments, **environment)
        assert done.code == 0, done.output
        return done.output

    def apply(self, book: str) -> str:
        """Applies one book."""
        self.write(book)
        return self.must("apply", "-auto-approve")

    def fails(self, book: str) -> str:
        """Applies one book, which must fail; what it printed."""
        self.write(book)
        done = self.run("apply", "-auto-approve")
        assert done.code == 1, done.output
        return done.output

    def changes(self) -> bool:
        """Whether a plan would change anything."""
        done = self.run("plan", "-detailed-exitcode")
        assert done.code in {0, 2}, done.output
        return done.code == 2

    def planned(self, book: str) -> dict[str, Any]:
        """The change of the book that a plan shows."""
        self.write(book)
        file = self.folder / "plan"
        self.must("plan", f"-out={file}")
        change: dict[str, Any] = json.loads(self.must("show", "-json", str(file)))["resource_changes"][0]["change"]
        return change

    def state(self) -> dict[str, Any] | None:
        """The book in the state, with `tainted`; None when there is none."""
        file = self.folder / "terraform.tfstate"
        resources = json.loads(file.read_text())["resources"] if file.exists() else []
        for resource in [found for found in resources if found["type"] == "shelf_book"]:
            for instance in resource["instances"]:
                return {**instance["attributes"], "tainted": instance.get("status") == "tainted"}
        return None

    def books(self) -> list[dict[str, Any]]:
        """What really stands on the shelf."""
        return [json.loads(file.read_text()) for file in sorted(self.shelf.glob("*.json"))]

    @contextlib.contextmanager
    def applying(self, **environment: str) -> Iterator[tuple["subprocess.Popen[str]", int]]:
        """An apply in the middle of a slow creation, and the provider's pid. Neither is left behind."""
        process = subprocess.Popen(
            self._command("apply", "-auto-approve"),
            env=self.environment(**environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        provider = 0
        try:
            provider = int(self.started.read_text())
            yield process, provider
        finally:
            process.kill()
            process.communicate()
            if provider:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(provider, signal.SIGKILL)

    def _command(self, *arguments: str) -> list[str]:
        quiet = [] if arguments[0] in {"state", "show"} else ["-no-color"]
        asks = ["-input=false"] if arguments[0] in {"plan", "apply", "import", "init"} else []
        return [self.terraform, f"-chdir={self.folder}", arguments[0], *quiet, *asks, *arguments[1:]]


@contextlib.contextmanager
def attached(workspace: Workspace, program: Path = SHELF) -> Iterator[Workspace]:
    """The workspace with a provider that is held for all of its commands, so that none needs an `init`."""
    process = subprocess.Popen(
        [sys.executable, "-u", str(program), "--reattach"],
        env=workspace.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        # Stock `tf` says more than what is needed.
        line = next(line for line in process.stdout if "{" in line)
        workspace.attached = line[line.index("{") : line.rindex("}") + 1]
        yield workspace
    finally:
        process.terminate()
        process.communicate(timeout=COMMAND_SECONDS)
