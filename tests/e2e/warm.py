"""Engines that start warm: a template with everything imported, one for each worker of the suite, forks each engine that is asked for.

A start costs a second of imports otherwise, and some tests start engines by the dozen. What runs is the same: `pymigrate serve` in a
process and a session of its own, with its own environment, which kill -9 ends like any other.
"""

import multiprocessing
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path

from tests.measuring import COVERAGE

TEMPLATE = multiprocessing.get_context("forkserver")
# Neither opens a file nor starts a thread when it is imported, so that a fork of them is as good as new.
TEMPLATE.set_forkserver_preload(
    [
        "uvloop",
        "pymigrate.engine.main.cli",
        "pymigrate.engine.entrypoints.cli.commands",
        "pymigrate.engine.main.serve",
        "pymigrate.engine.main.operator",
        "alembic.command",  # every engine of a test makes its store
    ]
)
ANSWER_SECONDS = 60.0


class WarmProcess:
    """A forked process with what tests need of `subprocess.Popen`."""

    def __init__(self, module: str, arguments: Sequence[str], folder: Path, environment: Mapping[str, str], log: Path):
        run = (module, list(arguments), folder, dict(environment), log)
        # A daemon is ended with the suite where a test has left it, rather than waited for.
        self._process = TEMPLATE.Process(target=_run, args=run, daemon=True)
        # The template is not measured, or everything that is forked from it would be.
        asked = os.environ.pop(COVERAGE, None)
        try:
            self._process.start()
        finally:
            if asked is not None:
                os.environ[COVERAGE] = asked
        assert self._process.pid is not None
        self.pid: int = self._process.pid

    def poll(self) -> int | None:
        """The exit code, or the negative number of the signal; None while it runs."""
        return self._process.exitcode

    def wait(self, timeout: float = ANSWER_SECONDS) -> int:
        """The same once it has ended."""
        self._process.join(timeout)
        code = self._process.exitcode
        assert code is not None, f"process {self.pid} did not end within {timeout:g} s"
        return code

    def send_signal(self, number: int) -> None:
        """A signal to it, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """kill -9."""
        self.send_signal(signal.SIGKILL)


def _run(module: str, arguments: list[str], folder: Path, environment: dict[str, str], log: Path) -> None:
    """What `python -m module arguments` does, in the forked process."""
    os.setsid()
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    if COVERAGE in environment:
        from coverage import process_startup

        process_startup()
    with log.open("ab") as output:
        sys.stdout.flush()
        sys.stderr.flush()
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    sys.argv = [module, *arguments]
    import_module(module).main()
