"""Where notifications are measured: an engine with everybody declared, those who are told, lanes that keep the cores busy, and who kills
dispatchers."""

import contextlib
import json
import os
import random
import signal
import sqlite3
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from kpis import Helper  # noqa: E402  # the tests' engine is found from the root

from pymigrate.engine.entrypoints.cli.client import Client  # noqa: E402
from pymigrate.v1 import notification_pb2, notification_pb2_grpc, run_pb2  # noqa: E402
from tests.e2e.engines import EngineProcess, declare  # noqa: E402

ENVIRONMENT = "environments/bench"
FAULTS_SHARE = 0.1
HANG_SECONDS = 60.0
TRY_SECONDS = 0.75
AGREED_SECONDS = 5.0
WAIT_SECONDS_MAX = 180.0
POLL_SECONDS = 0.1
SOURCE_ROWS, SOURCE_ROWS_TINY = 4_000_000, 100_000
SOURCE_TABLES = 6


@dataclass(slots=True)
class Scene:
    """An engine with everybody declared, and those who are told."""

    engine: EngineProcess
    client: Client
    notifications: Any
    receivers: Helper
    recipients: int
    rounds: int = 0

    def call(self, method: str, request: Any) -> Any:
        """One call of NotificationService."""
        return getattr(self.notifications, method)(request, metadata=self.client.metadata, timeout=60)


@contextlib.contextmanager
def scene(folder: Path, recipients: int) -> Iterator[Scene]:
    """Everything that a round needs."""
    os.environ["PYMIGRATE_OUTGOING_ALLOWED"] = "127.0.0.0/8"
    receivers = Helper("_receivers.py", FAULTS_SHARE, HANG_SECONDS)
    engine = EngineProcess(folder / "home")
    try:
        ports = json.loads(receivers.heard())
        engine.start()
        with engine.client() as client:
            declare(client, definitions(folder), folder / "plan.yaml")
            stub = notification_pb2_grpc.NotificationServiceStub(client.channel)
            made = Scene(engine, client, stub, receivers, recipients)
            declare_everybody(made, ports)
            yield made
    finally:
        engine.stop()
        receivers.end()


def definitions(folder: Path) -> str:
    """What keeps lanes busy: a table that is copied several times."""
    where = {"environment": "bench"}
    datasets = {
        f"d{number}": {
            "source": {"connection": "legacy", "relation": "rows"},
            "target": {"connection": "warehouse", "relation": f"t{number}", "loadMode": "replace"},
            "verification": "full",
        }
        for number in range(SOURCE_TABLES)
    }
    documents: list[dict[str, object]] = [
        {"kind": "Environment", "metadata": {"name": "bench"}},
        {"kind": "Department", "metadata": {"name": "sales", **where}, "spec": {"owner": "Ann"}},
        {
            "kind": "Connection",
            "metadata": {"name": "legacy", **where},
            "spec": {"sqlite": {"path": f"{folder}/legacy.db"}},
        },
        {
            "kind": "Connection",
            "metadata": {"name": "warehouse", **where},
            "spec": {"duckdb": {"path": f"{folder}/warehouse.duckdb"}},
        },
        {
            "kind": "Plan",
            "metadata": {"name": "p", **where},
            "spec": {"phases": {"a": {"department": "sales", "datasets": datasets}}},
        },
    ]
    return "\n---\n".join(json.dumps({"apiVersion": "pymigrate.io/v1alpha1", **document}) for document in documents)


def declare_everybody(scene: Scene, ports: dict[str, int]) -> None:
    """Two channels, everybody with an address on each, and the rule that tells them."""
    mail = notification_pb2.SmtpChannel(
        host="127.0.0.1",
        port=ports["mail"],
        security=notification_pb2.SMTP_SECURITY_NONE,
        sender="PyMigrate <migrations@example.com>",
        connections_max=20,
    )
    hook = notification_pb2.WebhookChannel(url=f"http://127.0.0.1:{ports['hook']}/none")
    for name, channel in {
        "mail": notification_pb2.NotificationChannel(smtp=mail),
        "hook": notification_pb2.NotificationChannel(webhook=hook),
    }.items():
        channel.deliveries_max, channel.try_seconds_max, channel.tries_max = 50, TRY_SECONDS, 20
        request = notification_pb2.CreateNotificationChannelRequest(
            parent=ENVIRONMENT, notification_channel_id=name, notification_channel=channel
        )
        scene.call("CreateNotificationChannel", request)

    def add(number: int) -> None:
        addresses = {
            "mail": notification_pb2.Address(channel="mail", to=f"r{number}@example.com"),
            "hook": notification_pb2.Address(channel="hook", to=f"http://127.0.0.1:{ports['hook']}/r{number}"),
        }
        who = notification_pb2.Stakeholder(display_name=f"R {number}", roles=["engineer"], addresses=addresses)
        request = notification_pb2.CreateStakeholderRequest(
            parent=ENVIRONMENT, stakeholder_id=f"r{number}", stakeholder=who
        )
        scene.call("CreateStakeholder", request)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add, range(scene.recipients)))
    rule = notification_pb2.AlertRule(
        match=notification_pb2.EventMatch(types=["audit.update"], departments=["sales"]),
        recipients=notification_pb2.Recipients(roles=["engineer"]),
        confirm_seconds_max=AGREED_SECONDS,
    )
    scene.call(
        "CreateAlertRule",
        notification_pb2.CreateAlertRuleRequest(parent=ENVIRONMENT, alert_rule_id="all", alert_rule=rule),
    )


@contextlib.contextmanager
def busy(scene: Scene, folder: Path, *, is_tiny: bool = False) -> Iterator[list[float]]:
    """Lanes that keep both cores busy meanwhile; afterwards the list has the share of the machine that was in use."""
    _fill(folder / "legacy.db", SOURCE_ROWS_TINY if is_tiny else SOURCE_ROWS)
    asked = run_pb2.StartRunRequest(parent=f"{ENVIRONMENT}/plans/p")
    run = scene.client.runs.StartRun(asked, metadata=scene.client.metadata, timeout=60).name
    deadline = time.monotonic() + WAIT_SECONDS_MAX
    while _rows(scene, run) == 0:
        if time.monotonic() > deadline:
            raise AssertionError("no lane has begun")
        time.sleep(POLL_SECONDS)
    shares: list[float] = []
    before = _processor()
    try:
        yield shares
        after = _processor()
        shares.append((after[0] - before[0]) / max(1, after[1] - before[1]))
        state = scene.client.runs.GetRun(
            run_pb2.GetRunRequest(name=run), metadata=scene.client.metadata, timeout=60
        ).state
        if state != run_pb2.RUN_STATE_RUNNING and not is_tiny:
            raise AssertionError("the lanes had ended before everybody was told: give them more rows")
    finally:
        wanted = run_pb2.GetRunRequest(name=run)
        state = scene.client.runs.GetRun(wanted, metadata=scene.client.metadata, timeout=60).state
        if state == run_pb2.RUN_STATE_RUNNING:
            scene.client.runs.CancelRun(run_pb2.CancelRunRequest(name=run), metadata=scene.client.metadata, timeout=60)


def _rows(scene: Scene, run: str) -> int:
    asked = run_pb2.ListLanesRequest(parent=run, page_size=1_000)
    lanes = scene.client.runs.ListLanes(asked, metadata=scene.client.metadata, timeout=60).lanes
    return sum(lane.rows for lane in lanes)


def _fill(path: Path, rows: int) -> None:
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE rows (id INTEGER PRIMARY KEY, name TEXT, note TEXT, amount REAL)")
        database.execute(
            "INSERT INTO rows SELECT value, 'customer ' || value, hex(value * 7919), value / 3.0 FROM generate_series(1, ?)"
            if _has_series(database)
            else "WITH RECURSIVE n(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n WHERE value < ?) "
            "INSERT INTO rows SELECT value, 'customer ' || value, hex(value * 7919), value / 3.0 FROM n",
            (rows,),
        )


def _has_series(database: sqlite3.Connection) -> bool:
    try:
        database.execute("SELECT value FROM generate_series(1, 1)")
    except sqlite3.OperationalError:
        return False
    return True


def _processor() -> tuple[int, int]:
    """Ticks in use and ticks in all, of the whole machine since it started."""
    ticks = [int(each) for each in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return sum(ticks) - ticks[3] - ticks[4], sum(ticks)


class Killing:
    """Kills the engine's dispatcher at random moments while a round is under way."""

    def __init__(self, engine: EngineProcess, kills: int, seed: int) -> None:
        self._engine = engine
        self._left = kills
        self._rng = random.Random(seed)
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.killed = 0

    def __enter__(self) -> "Killing":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _run(self) -> None:
        while self._left and not self._is_over.wait(self._rng.uniform(0.02, 0.6)):
            for pid in _dispatchers(self._engine):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                    self.killed += 1
                    self._left -= 1


def _dispatchers(engine: EngineProcess) -> list[int]:
    """The processes of the engine's dispatchers."""
    if engine.process is None:
        raise AssertionError("it serves")
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            with contextlib.suppress(OSError):
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
                if parent == engine.process.pid and b"dispatcher" in (folder / "cmdline").read_bytes():
                    found.append(int(folder.name))
    return found
