"""Gates of a real run, of which approvers hear by mail when they begin to wait: once each, with the command that opens them, although the
engine is killed while they do."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from pymigrate.engine.entrypoints.cli.client import Client
from pymigrate.v1 import notification_pb2, run_pb2
from tests.e2e.engines import EngineProcess, declare, ended, running_engine, wait_until
from tests.e2e.test_connectors import document
from tests.mail import MailServer

ENVIRONMENT = "environments/e"
GATES = {"begin": {"point": "before_start"}, "figures": {"point": "before_publication"}}
RULE = {
    "match": {"types": ["gate.waiting"]},
    "recipients": {"roles": ["approver"]},
    "groupIntervalSeconds": 0.1,
}


@pytest.fixture
def engine(tmp_path: Path, mail_server: MailServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[EngineProcess]:
    """An engine with a plan of one phase that waits before it starts and before it publishes."""
    monkeypatch.setenv("PYMIGRATE_OUTGOING_ALLOWED", "127.0.0.0/8")
    with closing(sqlite3.connect(tmp_path / "crm.db")) as database, database:
        database.execute("CREATE TABLE customers (id INTEGER PRIMARY KEY)")
        database.executemany("INSERT INTO customers VALUES (?)", ((n,) for n in range(100)))
    with running_engine(tmp_path / "home") as found:
        with found.client() as client:
            declare(client, definitions(tmp_path, mail_server.port), tmp_path / "plan.yaml")
        yield found


def definitions(folder: Path, port: int) -> str:
    """The plan, and the approver, and somebody who approves nothing."""
    dataset = {
        "source": {"connection": "crm", "relation": "customers"},
        "target": {"connection": "warehouse", "relation": "customers"},
    }
    phase = {"department": "sales", "gates": GATES, "datasets": {"customers": dataset}}
    server = {"host": "127.0.0.1", "port": port, "security": "none", "sender": "pm@example.com"}
    return "---\n".join(
        [
            document("Environment", "e", {}),
            document("Department", "sales", {}),
            document("Connection", "crm", {"sqlite": {"path": str(folder / "crm.db")}}),
            document("Connection", "warehouse", {"sqlite": {"path": str(folder / "w.db")}}),
            document("Plan", "p", {"phases": {"move": phase}}),
            document("NotificationChannel", "mail", {"smtp": server}),
            *(
                document("Stakeholder", name, {"roles": [role], "addresses": {"mail": address_of(name)}})
                for name, role in (("ann", "approver"), ("bob", "operator"))
            ),
            document("AlertRule", "gates", RULE),
        ]
    )


def address_of(name: str) -> dict[str, str]:
    return {"channel": "mail", "to": f"{name}@example.com"}


def waited_at(client: Client, run: str) -> list[str]:
    """The gates of which the run's events say that they began to wait, in their order."""
    asked = run_pb2.ListRunEventsRequest(parent=run, page_size=1_000)
    answer = client.runs.ListRunEvents(asked, metadata=client.metadata, timeout=60)
    return [event.subject.rpartition("/")[2] for event in answer.events if event.type == "gate.waiting"]


def accepted(client: Client) -> dict[str, str]:
    """The recipients of the messages that were taken, by key."""
    request = notification_pb2.ListDeliveriesRequest(parent=ENVIRONMENT, page_size=1_000)
    answer = client.notifications.ListDeliveries(request, metadata=client.metadata, timeout=60)
    taken = (each for each in answer.deliveries if each.state == notification_pb2.DELIVERY_STATE_ACCEPTED)
    return {each.key: each.stakeholder for each in taken}


def approve(client: Client, run: str, gate: str) -> None:
    approval = run_pb2.ApproveGateRequest(name=run, phase="move", gate=gate)
    client.runs.ApproveGate(approval, metadata=client.metadata, timeout=60)


def test_approvers_are_told_once_of_each_gate_that_waits_though_the_engine_is_killed_meanwhile(
    engine: EngineProcess, mail_server: MailServer
) -> None:
    with engine.client() as client:
        request = run_pb2.StartRunRequest(parent=f"{ENVIRONMENT}/plans/p")
        run = client.runs.StartRun(request, metadata=client.metadata, timeout=120).name
        wait_until(lambda: waited_at(client, run) == ["begin"], interval_seconds=0.002)
    engine.kill()  # the message is on its way perhaps, and perhaps nobody has looked at the event yet
    engine.start()
    with engine.client() as client:
        wait_until(lambda: len(accepted(client)) == 1)
        approve(client, run, "begin")
        wait_until(lambda: len(accepted(client)) == 2)
    engine.kill()  # all is told, and the gate waits on
    engine.start()
    with engine.client() as client:
        approve(client, run, "figures")
        assert ended(client, run).state == run_pb2.RUN_STATE_SUCCEEDED
        assert waited_at(client, run) == ["begin", "figures"]
        told = accepted(client)
    assert {stakeholder.rpartition("/")[2] for stakeholder in told.values()} == {"ann"}
    by_key = {each.key: each for each in mail_server.taken}
    assert by_key.keys() == told.keys()
    for gate, mail in zip(GATES, by_key.values(), strict=True):
        assert mail.recipient == "ann@example.com"
        assert mail.message["Subject"] == f"Approval needed: Gate {gate} of phase move of p waits for an approval"
        body = mail.message.get_body(("plain",))
        assert body is not None
        assert f"pymigrate approve {run} move {gate}" in body.get_content()
