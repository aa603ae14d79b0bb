"""The process of a worker host: `python -m pymigrate.engine.main.worker --home DIR --host NAME --affinity AFFINITY`.

It starts with the wire alone; the data plane and a kind's connector are imported when a task needs them, or right after the host has
registered where its affinity says that it will write to a file.
"""

import pymigrate.engine.main.plain_logging  # noqa: F401  (before anything imports structlog)

# isort: split
import argparse
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from pymigrate.engine.adapters.clock import ThreadClock
from pymigrate.engine.adapters.executors import processes
from pymigrate.engine.entrypoints.engine_access import HOST_TOKEN_VARIABLE, EngineAccess
from pymigrate.engine.entrypoints.worker.host import Host
from pymigrate.engine.entrypoints.worker.leases import Leases
from pymigrate.engine.entrypoints.worker.runner import Runner
from pymigrate.engine.entrypoints.worker.session import Session
from pymigrate.engine.entrypoints.worker.task_spans import TaskSpans
from pymigrate.engine.main.process import begin
from pymigrate.engine.main.secrets import build_readers
from pymigrate.engine.ports.redaction import Redactor
from pymigrate.engine.ports.secrets import Secret
from pymigrate.engine.ports.tracing import NoTracing, Tracing
from pymigrate.v1 import worker_pb2

if TYPE_CHECKING:
    from pymigrate.engine.adapters.secrets.readers import SecretReaders
    from pymigrate.engine.ports.connector import Connector
    from pymigrate.engine.ports.transform import TransformKind

COLLECTOR = "PYMIGRATE_OTLP_ENDPOINT"
CONNECTORS = "pymigrate.connectors"
TRANSFORMS = "pymigrate.transforms"
FILE_AFFINITY = "file:"
DRAIN_SECONDS = 20.0
HANGING_SECONDS = 1.0
OWN_BYTES = 200_000_000  # interpreter, drivers, Arrow and DuckDB's scanner
PART_SHARE = 0.4
PART_BYTES_MIN = 64_000_000


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the host; returns its exit code."""
    given = _parse(arguments)
    access = EngineAccess.of(given.home, os.environ)
    # Neither a reference to a secret nor a process that a plugin starts finds it.
    os.environ.pop(HOST_TOKEN_VARIABLE, None)
    redactor = begin("info", access.token_place)
    if access.host_token:
        redactor.note(Secret(access.host_token))
    ending = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ending.set())
    leases = Leases()
    pid = os.getpid()
    message = worker_pb2.WorkerHost(
        name=f"workerHosts/{given.host}",
        pid=pid,
        pid_start_ticks=processes.start_ticks(pid) or 0,
        affinity=given.affinity,
        workload=given.workload,
    )
    session = Session(access, message, leases, ending)
    memory, tracing, readers = HostMemory(), _tracing(message.name, redactor), build_readers(redactor)
    host = Host(
        session,
        leases,
        ending,
        lambda: build_runner(readers, redactor, memory),
        given.drain_seconds,
        on_memory=memory.resize,
        spans=TaskSpans(tracing, ThreadClock().now),
    )
    if given.affinity.startswith(FILE_AFFINITY):
        threading.Thread(target=host.preload, name="preload", daemon=True).start()
    code = host.run()
    readers.close()
    tracing.close()
    if host.has_tasks() or _is_hanging():
        # A thread hangs in a driver's call, and the interpreter would wait for it; its task is lost already, and nothing commits.
        structlog.get_logger(__name__).error("host.abandoned_threads", host=message.name)
        sys.stderr.flush()
        os._exit(code)
    return code


def _tracing(host: str, redactor: Redactor) -> Tracing:
    """Where the host's spans go; what it takes to tell them is imported only where the engine names a collector."""
    if not os.environ.get(COLLECTOR):
        return NoTracing()
    from pymigrate.engine.main.secrets import build_secrets
    from pymigrate.engine.main.tracing import build_tracing
    from pymigrate.engine.settings import Settings

    return build_tracing(Settings(), "pymigrate-host", host, build_secrets(redactor), redactor.clean)


def _is_hanging() -> bool:
    """Whether a thread that the interpreter would wait for does not end by itself in a moment."""
    others = [thread for thread in threading.enumerate() if thread is not threading.main_thread() and not thread.daemon]
    for thread in others:
        thread.join(timeout=HANGING_SECONDS)
    return any(thread.is_alive() for thread in others)


class HostMemory:
    """The bytes that this process may hold, told to whoever takes them: of what the process itself leaves, two fifths to the chunks of
    all lanes and two to the systems that live in this process. A fifth is what drivers and allocators hold beside. Safe on every thread."""

    def __init__(self) -> None:
        self._bytes_max = 0
        self._takers: list[Callable[[int], None]] = []
        self._lock = threading.Lock()

    def resize(self, bytes_max: int) -> None:
        """From now on so much in all."""
        with self._lock:
            self._bytes_max = bytes_max
            for take in self._takers:
                take(self._part())

    def tell(self, take: Callable[[int], None]) -> None:
        """Tells this one too, now and at every change."""
        with self._lock:
            self._takers.append(take)
            if self._bytes_max:
                take(self._part())

    def _part(self) -> int:
        return max(PART_BYTES_MIN, int((self._bytes_max - OWN_BYTES) * PART_SHARE))


def build_runner(readers: "SecretReaders", redactor: Redactor, memory: HostMemory) -> Runner:
    """The data plane with every adapter that it may need; this is where it is imported."""
    from pymigrate.engine.adapters.calls import HttpCalls
    from pymigrate.engine.entrypoints.worker.tasks import TaskRunner
    from pymigrate.engine.transfer.means import Means

    means = Means()
    memory.tell(means.budget.resize)
    finding, plugins = connectors_by_kind(memory), transforms_by_name()
    return TaskRunner(finding, readers.held, redactor, HttpCalls(), means, plugins=plugins)


def connectors_by_kind(memory: HostMemory) -> "Callable[[str], Connector]":
    """Finds a kind's connector by entry point, imports it when it is first asked for, and keeps it."""
    from importlib.metadata import entry_points

    from pymigrate.engine.domain.errors import FailedPrecondition
    from pymigrate.engine.ports.connector import MemoryLimited

    built: dict[str, Connector] = {}
    building = threading.Lock()

    def find(kind: str) -> "Connector":
        with building:
            if kind not in built:
                found = tuple(entry_points(group=CONNECTORS, name=kind))
                if not found:
                    raise FailedPrecondition(
                        f"this worker host has no connector for {kind}: install the package that brings it, and start the engine again"
                    )
                made = built[kind] = found[0].load()()
                if isinstance(made, MemoryLimited):
                    memory.tell(made.limit_memory)
            return built[kind]

    return find


def transforms_by_name() -> "Callable[[str], TransformKind]":
    """Finds a transform's kind by entry point, and imports it."""
    from importlib.metadata import entry_points

    from pymigrate.engine.domain.errors import InvalidDefinition, Problem
    from pymigrate.engine.domain.names import nearest

    def find(name: str) -> "TransformKind":
        known = {point.name: point for point in entry_points(group=TRANSFORMS)}
        if name not in known:
            said = (
                f"this worker host has no transform `{name}`{nearest(name, known)}: install the package that brings it"
            )
            raise InvalidDefinition((Problem("plugin.name", said),))
        kind: TransformKind = known[name].load()()
        return kind

    return find


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="pymigrate-worker", description="Runs tasks of the engine that serves from a home."
    )
    parser.add_argument("--home", type=Path, required=True, help="folder with the engine's endpoint and token")
    parser.add_argument("--host", required=True, help="the host's name")
    parser.add_argument("--affinity", required=True, help="which tasks it takes")
    parser.add_argument(
        "--workload", default="", help="what runs it, where that is not a process of the engine's machine"
    )
    parser.add_argument("--drain-seconds", type=float, default=DRAIN_SECONDS, help="how long ending may take")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
