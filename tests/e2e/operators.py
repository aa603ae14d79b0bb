"""The operator in a process of its own, between a real API server and a real engine."""

import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.e2e.engines import ROOT, STOP_SECONDS, wait_until
from tests.e2e.warm import WarmProcess

MODULE = "pymigrate.engine.main.cli"


class OperatorProcess:
    """`pymigrate operator` with probes on a free port. One that `is_warm` is forked from a template instead of started anew."""

    def __init__(
        self,
        home: Path,
        kubeconfig: Path,
        environment: Mapping[str, str] | None = None,
        name: str = "operator",
        *,
        is_warm: bool = False,
    ) -> None:
        self.home = home
        self.environment = {
            "PYMIGRATE_OPERATOR_KUBECONFIG": str(kubeconfig),
            "PYMIGRATE_OPERATOR_LISTEN": "127.0.0.1:0",
            "PYMIGRATE_OPERATOR_LEASE_NAMESPACE": "default",
            **(environment or {}),
        }
        self.log = home / f"{name}.log"
        self._is_warm = is_warm
        self._process: subprocess.Popen[bytes] | WarmProcess | None = None

    @property
    def process(self) -> "subprocess.Popen[bytes] | WarmProcess":
        assert self._process is not None
        return self._process

    def start(self) -> None:
        """Starts it and waits until it tells where its probes are."""
        endpoint = self.home / "operator-endpoint"
        endpoint.unlink(missing_ok=True)
        arguments, environment = ["operator", "--home", str(self.home)], os.environ | self.environment
        if self._is_warm:
            self._process = WarmProcess(MODULE, arguments, ROOT, environment, self.log)
        else:
            with self.log.open("ab") as output:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", MODULE, *arguments],
                    cwd=ROOT,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                )
        wait_until(lambda: endpoint.exists() or self.process.poll() is not None)
        assert endpoint.exists(), self.log.read_text()[-4000:]
        self.endpoint = endpoint.read_text().strip()

    def get(self, path: str) -> str:
        """What it answers to a probe."""
        with urllib.request.urlopen(f"http://{self.endpoint}{path}", timeout=10) as answer:
            return str(answer.read().decode())

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_SECONDS)

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        self.process.wait()


@contextmanager
def running_operator(
    home: Path, kubeconfig: Path, environment: Mapping[str, str] | None = None, name: str = "operator"
) -> Iterator[OperatorProcess]:
    """One that works until the end."""
    operator = OperatorProcess(home, kubeconfig, environment, name)
    operator.start()
    try:
        yield operator
    finally:
        if operator.process.poll() is None:
            operator.kill()
