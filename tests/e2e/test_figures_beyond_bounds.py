"""A figure of a real run beyond a rule's bound, through a real engine and its dispatcher to a real receiver: told once, also by an engine
that was killed in between, and once more when it is over; and how that fared."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from pymigrate.engine.entrypoints.cli.client import Client
from pymigrate.v1 import notification_pb2, run_pb2
from tests.e2e.engines import EngineProcess, declare, ended, running_engine, wait_until
from tests.e2e.test_connectors import document
from tests.sinks import HttpSink

ROWS, REFUSED = 400, 5
ENVIRONMENT = "environments/e"
RULE = {
    "match": {"phases": ["*"], "kpi": {"figure": "quarantined_rows", "isAbove": True, "bound": REFUSED - 1}},
    "recipients": {"roles": ["engineer"]},
    "groupIntervalSeconds": 0.1,
    "confirmSecondsMax": 120,
}


@pytest.fixture
def engine(tmp_path: Path, sink: HttpSink, monkeypatch: pytest.MonkeyPatch) -> Iterator[EngineProcess]:
    """An engine with a plan of which some rows are refused, and that waits at a gate before it publishes."""
    monkeypatch.setenv("PYMIGRATE_OUTGOING_ALLOWED", "127.0.0.0/8")
    with closing(sqlite3.connect(tmp_path / "crm.db")) as database, database:
        database.execute("CREATE TABLE customers (id INTEGER PRIMARY KEY, price TEXT)")
        rows = ((n, "free" if n < REFUSED else f"{n}.50") for n in range(ROWS))
        database.executemany("INSERT INTO customers VALUES (?, ?)", rows)
    with running_engine(tmp_path / "home") as found:
        with found.client() as client:
            declare(client, definitions(tmp_path, sink), tmp_path / "plan.yaml")
        yield found


def definitions(folder: Path, sink: HttpSink) -> str:
    """The plan, and who is told by what."""
    dataset: dict[str, Any] = {
        "source": {"connection": "crm", "relation": "customers"},
        "target": {"connection": "warehouse", "relation": "customers"},
        "key": ["id"],
        "transforms": [{"cast": {"columns": {"price": {"type": "decimal(9,2)"}}}}],
        "quarantine": {"rowsMax": 10},
    }
    phase = {
        "department": "sales",
        "gates": {"go": {"point": "before_publication"}},
        "datasets": {"customers": dataset},
    }
    address = {"channel": "hook", "to": f"{sink.url}/ann"}
    return "---\n".join(
        [
            document("Environment", "e", {}),
            document("Department", "sales", {}),
            document("Connection", "crm", {"sqlite": {"path": str(folder / "crm.db")}}),
            document("Connection", "warehouse", {"sqlite": {"path": str(folder / "w.db")}}),
            document("Plan", "p", {"phases": {"move": phase}}),
            document("NotificationChannel", "hook", {"webhook": {"url": sink.url}}),
            document("Stakeholder", "ann", {"roles": ["engineer"], "addresses": {"hook": address}}),
            document("AlertRule", "refused", RULE),
        ]
    )


def events(sink: HttpSink) -> list[dict[str, Any]]:
    """What the receiver was told of, in the order in which it was taken."""
    return [event for posted in sink.taken for event in json.loads(posted.body)["data"]["events"]]


def figures(client: Client) -> notification_pb2.NotificationKpis:
    """How notifications fare."""
    asked = notification_pb2.GetNotificationKpisRequest(parent=ENVIRONMENT)
    return client.notifications.GetNotificationKpis(asked, metadata=client.metadata, timeout=60)


def wait_for_accepted(client: Client, count: int) -> None:
    """Until so many messages were taken and their dispatcher has said so: one that was taken and not reported comes again."""
    wait_until(lambda: figures(client).total.deliveries["accepted"] == count)


def test_a_crossing_is_told_once_whatever_engine_finds_it_and_once_more_when_it_is_over(
    engine: EngineProcess, sink: HttpSink
) -> None:
    with engine.client() as client:
        request = run_pb2.StartRunRequest(parent=f"{ENVIRONMENT}/plans/p")
        run = client.runs.StartRun(request, metadata=client.metadata, timeout=120).name
        wait_for_accepted(client, 1)
    (crossed,) = events(sink)
    assert (crossed["type"], crossed["subject"], crossed["run"]) == ("kpi.crossed", f"{run}/phases/move", run)
    assert (crossed["rule"], crossed["figure"]) == ("refused", "quarantined_rows")
    assert (crossed["value"], crossed["bound"]) == (REFUSED, REFUSED - 1)
    assert crossed["department"] == "sales"
    engine.kill()
    engine.start()
    with engine.client() as client:
        approval = run_pb2.ApproveGateRequest(name=run, phase="move", gate="go")
        client.runs.ApproveGate(approval, metadata=client.metadata, timeout=60)
        assert ended(client, run).state == run_pb2.RUN_STATE_SUCCEEDED
        wait_for_accepted(client, 2)
        kpis = figures(client)
    assert [event["type"] for event in events(sink)] == ["kpi.crossed", "kpi.recovered"]
    told = kpis.rules["refused"]
    assert (told.agreed, told.confirmed_in_time, told.late, told.share_in_time) == (2, 2, 0, 1.0)
    assert kpis.channels["hook"] == told
    assert kpis.lag_seconds == 0
