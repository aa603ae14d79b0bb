"""A real engine in a process of its own, with real worker hosts, and the client that tests drive it with."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from string import Template

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from pymigrate.engine.entrypoints.cli import declared
from pymigrate.engine.entrypoints.cli.client import Client
from pymigrate.engine.entrypoints.cli.definition_files import definition_files
from pymigrate.engine.entrypoints.engine_access import (
    CERTIFICATE_VARIABLE,
    KEY_VARIABLE,
    TOKEN_VARIABLE,
    EngineAccess,
)
from pymigrate.v1 import run_pb2, worker_pb2
from pymigrate.v1.definition_pb2 import ApplyDefinitionsRequest
from tests.e2e.warm import WarmProcess

ROOT = Path(__file__).resolve().parents[2]
READY_SECONDS = 60
STOP_SECONDS = 60
QUICK = {"PYMIGRATE_LEASE_SECONDS": "3", "PYMIGRATE_HEARTBEAT_SECONDS": "0.5"}


class EngineProcess:
    """`pymigrate serve` on a free port, with short leases so that what is lost is found soon. One that `is_warm` is forked from a
    template instead of started anew."""

    def __init__(
        self,
        home: Path,
        module: str = "pymigrate.engine.main.cli",
        *,
        is_warm: bool = False,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.home = home
        self.environment = QUICK | dict(environment or {})
        told = (TOKEN_VARIABLE, CERTIFICATE_VARIABLE, KEY_VARIABLE)
        self.access = EngineAccess.of(home, {name: self.environment.get(name, "") for name in told})
        self._module = module
        self._is_warm = is_warm
        self.process: subprocess.Popen[bytes] | WarmProcess | None = None
        home.mkdir(parents=True, exist_ok=True)

    def start(self) -> None:
        """Starts it and waits until it serves."""
        (self.home / "endpoint").unlink(missing_ok=True)
        arguments = [
            "serve",
            "--home",
            str(self.home),
            "--listen",
            self.environment.get("PYMIGRATE_LISTEN", "127.0.0.1:0"),
        ]
        log = self.home / "engine.log"
        if self._is_warm:
            self.process = WarmProcess(self._module, arguments, ROOT, os.environ | self.environment, log)
        else:
            self.process = _started(self._module, arguments, log, self.environment)
        wait_until(lambda: (self.home / "endpoint").exists() or self.process is None or self.process.poll() is not None)
        assert (self.home / "endpoint").exists(), (self.home / "engine.log").read_text()[-4000:]
        with self.client() as client:
            wait_until(lambda: is_serving(client.channel) or self.process is None or self.process.poll() is not None)

    def kill(self) -> None:
        """kill -9."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_SECONDS)

    @contextmanager
    def client(self) -> Iterator[Client]:
        """A client of the engine as it serves now."""
        client = Client(self.access.address(), self.access.token())
        try:
            yield client
        finally:
            client.channel.close()

    def host_pids(self) -> list[int]:
        """The processes of the registered worker hosts."""
        with self.client() as client:
            answer = client.workers.ListWorkerHosts(
                worker_pb2.ListWorkerHostsRequest(), metadata=client.metadata, timeout=10
            )
        return [host.pid for host in answer.worker_hosts]

    def host_pid(self) -> int:
        """The process of a worker host, as soon as there is one."""
        found: list[int] = []

        def is_registered() -> bool:
            found[:] = self.host_pids()
            return bool(found)

        wait_until(is_registered)
        return found[0]


@contextmanager
def running_engine(
    home: Path, *, is_warm: bool = True, environment: Mapping[str, str] | None = None
) -> Iterator[EngineProcess]:
    """An engine that serves; it and everything that it started is gone afterwards. One that is to find other packages by a path of its own
    is not warm."""
    process = EngineProcess(home, is_warm=is_warm, environment=environment)
    process.start()
    try:
        yield process
    finally:
        pids: list[int] = []
        if process.process is not None and process.process.poll() is None:
            pids = process.host_pids()
            process.stop()
        for pid in filter(is_host, pids):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not any(is_host(pid) for pid in pids))


def _started(
    module: str, arguments: Sequence[str], log: Path, environment: Mapping[str, str]
) -> "subprocess.Popen[bytes]":
    with log.open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            cwd=ROOT,
            env=os.environ | dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


def is_host(pid: int) -> bool:
    """Whether a process is a worker host still: one that has ended may have left its number to another test's engine."""
    try:
        return b"pymigrate.engine.main.worker" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def is_serving(channel: grpc.Channel) -> bool:
    """Whether an engine says that it serves."""
    try:
        answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=5)  # type: ignore[attr-defined]
    except grpc.RpcError:
        return False
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


def wait_until(condition: Callable[[], bool], seconds: float = READY_SECONDS, interval_seconds: float = 0.05) -> None:
    """Waits for something that happens in another process. Fails the test when it does not happen in time."""
    pause = threading.Event()
    for _ in range(int(seconds / interval_seconds)):
        if condition():
            return
        pause.wait(interval_seconds)
    raise AssertionError(f"nothing happened within {seconds:g} s")


def declare(client: Client, definitions: str, file: Path) -> None:
    """Applies definitions through the command line's own code."""
    file.write_text(definitions)
    declared.applied(client, ApplyDefinitionsRequest(files=definition_files([file])))


def quickstart(legacy: Path, warehouse: Path, *, chunk_bytes: int = 4_000_000) -> str:
    """The quickstart's plan in its YAML form."""
    text = (ROOT / "examples/gitops/quickstart/warehouse.yaml").read_text()
    return (
        Template(text)
        .substitute(LEGACY=legacy, WAREHOUSE=warehouse)
        .replace("chunkBytes: 4000000", f"chunkBytes: {chunk_bytes}")
    )


def ended(client: Client, name: str, seconds: float = 240) -> run_pb2.Run:
    """The run once it has ended. Raises RpcError when that takes longer."""
    last = run_pb2.Run()
    for picture in client.runs.WatchRun(run_pb2.WatchRunRequest(name=name), metadata=client.metadata, timeout=seconds):
        last = picture.run
    return last


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits for its parent does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
