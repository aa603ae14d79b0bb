"""The processes of a Kubernetes control plane on loopback, each of which a test may stop, kill and start again with its data and port.

They are those in the folder that KUBEBUILDER_ASSETS names; without one, those of `shared/kube/kube-assets.tar.xz`, beside the project or
beside what it was cloned from.
"""

import os
import signal
import socket
import subprocess
import tarfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ASSETS = Path("shared") / "kube" / "kube-assets.tar.xz"
PROGRAMS = ("etcd", "kube-apiserver", "kube-controller-manager")
STOP_SECONDS_MAX = 10.0
LOG_CHARACTERS_MAX = 2_000


def programs(folder: Path, wanted: Sequence[str]) -> Path:
    """The folder with these programs."""
    if (named := os.environ.get("KUBEBUILDER_ASSETS")) and all((Path(named) / each).exists() for each in wanted):
        return Path(named)
    origin = subprocess.run(
        ["git", "-C", ROOT, "config", "remote.origin.url"], capture_output=True, text=True, check=False
    ).stdout.strip()
    places = [*ROOT.parents, *(Path(origin).parents if origin.startswith("/") else ())]
    found = next((place / ASSETS for place in places if (place / ASSETS).exists()), None)
    if found is None:
        # No package brings them, so that their lack is nobody's fault, where CI=true either.
        pytest.skip(f"{' and '.join(wanted)} are missing: name the folder of these programs as KUBEBUILDER_ASSETS")
    with tarfile.open(found) as archive:
        members = [member for member in archive.getmembers() if Path(member.name).name in wanted]
        archive.extractall(folder, members, filter="data")
    return next(folder.rglob(wanted[0])).parent


class Program:
    """One of them, with arguments that stay."""

    def __init__(self, arguments: Sequence[object], log: Path) -> None:
        self._arguments = [str(each) for each in arguments]
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts it; what it logs is added to what it has logged."""
        assert self._process is None
        with self._log.open("ab") as file:
            self._process = subprocess.Popen(self._arguments, stdout=file, stderr=file, stdin=subprocess.DEVNULL)

    def stop(self) -> None:
        """Ends it in peace, and by force where that does not do."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Ends it as a crash does."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """Lets it be, without a word, until `go_on`."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Lets it run again."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def check(self) -> None:
        """Fails where it has ended by itself."""
        assert self._process is not None
        assert self._process.poll() is None, self._log.read_text()[-LOG_CHARACTERS_MAX:]

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(signal.SIGCONT)
        process.send_signal(how)
        try:
            process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(STOP_SECONDS_MAX)


def free_ports(count: int) -> list[int]:
    """Of loopback, that nobody has now."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
