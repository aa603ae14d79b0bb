"""The audit trail of an engine's process: whose call each entry was, sealed at a clean stop, and found out where somebody altered its
file."""

import sqlite3
import stat

import pytest

from pymigrate.engine.entrypoints.cli.client import Client
from pymigrate.v1 import audit_pb2, environment_pb2
from tests.e2e.engines import EngineProcess

pytestmark = pytest.mark.measured


def create(client: Client, name: str) -> None:
    request = environment_pb2.CreateEnvironmentRequest(environment_id=name, request_id=f"make-{name}")
    client.environments.CreateEnvironment(request, metadata=client.metadata, timeout=30)


def verified(client: Client) -> audit_pb2.VerifyAuditResponse:
    return client.audit.VerifyAudit(audit_pb2.VerifyAuditRequest(), metadata=client.metadata, timeout=60)


def test_a_trail_is_stamped_and_sealed_and_whoever_alters_its_file_is_found(engine: EngineProcess) -> None:
    key = engine.home / "audit.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    with engine.client() as client:
        for name in ("a", "b"):
            create(client, name)
        asked = audit_pb2.ListAuditEventsRequest(subject="environments/a")
        (event,) = client.audit.ListAuditEvents(asked, metadata=client.metadata, timeout=30).audit_events
    assert (event.action, event.method, event.request_id) == (
        "create",
        "EnvironmentService/CreateEnvironment",
        "make-a",
    )
    assert (event.principal, event.origin, event.outcome) == ("local", "127.0.0.1 (cli)", "OK")
    assert event.after_digest
    assert engine.stop() == 0

    engine.start()
    with engine.client() as client:
        verdict = verified(client)
    assert not verdict.HasField("first_fault")
    assert verdict.seal_count >= 1
    assert engine.stop() == 0, "what was written up to a clean stop is sealed"

    with sqlite3.connect(engine.home / "engine.db") as connection:
        connection.execute("DROP TRIGGER feed_entry_whole")
        connection.execute("UPDATE feed_entry SET actor = 'eve' WHERE id = ?", (event.sequence,))
    connection.close()
    engine.start()
    with engine.client() as client:
        fault = verified(client).first_fault
    assert (fault.kind, fault.sequence) == (audit_pb2.AUDIT_FAULT_KIND_ALTERED, event.sequence)
