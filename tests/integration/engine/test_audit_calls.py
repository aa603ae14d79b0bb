"""AuditService over gRPC and REST: who did what, page by page and as a stream, and what is noted of those who look."""

import json
from collections.abc import Iterator
from typing import Any

import grpc
import httpx
import pytest

from pymigrate.engine.adapters.clock import SystemClock
from pymigrate.engine.application.audit.trail_lines import read_line
from pymigrate.engine.entrypoints.cli.client import Client
from pymigrate.engine.entrypoints.engine_access import EngineAccess
from pymigrate.engine.entrypoints.grpc.channel import EngineChannel
from pymigrate.engine.entrypoints.rest.remote import remote_services
from pymigrate.engine.entrypoints.rest.remote_identity import RemoteBearers
from pymigrate.engine.entrypoints.rest.server import RestServer
from pymigrate.v1 import audit_pb2, connection_pb2, environment_pb2
from tests.integration.engine.served import BEARERS, SECONDS_MAX, TOKEN, ServedEngine, ask

ListRequest, ExportRequest = audit_pb2.ListAuditEventsRequest, audit_pb2.ExportAuditRequest
NDJSON = {"accept": "application/x-ndjson"}


@pytest.fixture(params=["in the engine", "as a client"])
def http(served: ServedEngine, request: pytest.FixtureRequest) -> Iterator[httpx.Client]:
    """REST of the engine, or in a process of its own."""
    channel = EngineChannel(EngineAccess(served.home))
    is_remote = request.param == "as a client"

    async def start() -> tuple[RestServer, int]:
        servicers = remote_services(channel) if is_remote else served.servicers
        server = RestServer(servicers, RemoteBearers(channel, SystemClock()) if is_remote else BEARERS)
        return server, await server.start("127.0.0.1:0")

    server, port = served.do(start())
    bearer = {"authorization": f"Bearer {TOKEN}"}
    url = f"http://127.0.0.1:{port}"
    with httpx.Client(base_url=url, headers=bearer, timeout=SECONDS_MAX, trust_env=False, verify=False) as client:
        yield client
    served.do(server.stop())
    served.do(channel.close())


def declare(client: Client, count: int) -> None:
    """So many environments."""
    for number in range(count):
        request = environment_pb2.CreateEnvironmentRequest(environment_id=f"e{number}", environment={})  # type: ignore[arg-type]  # an empty one
        ask(client, client.environments.CreateEnvironment, request)


def events(client: Client, **asked: Any) -> list[audit_pb2.AuditEvent]:
    return list(ask(client, client.audit.ListAuditEvents, ListRequest(**asked)).audit_events)


def test_what_was_done_is_listed_with_who_did_it(client: Client) -> None:
    declare(client, 3)
    found = events(client, action="create")
    assert [(event.subject, event.principal) for event in found] == [
        (f"environments/e{each}", "local") for each in range(3)
    ]
    assert [event.subject for event in events(client, environment="environments/e1")] == ["environments/e1"]
    assert all(len(event.hash) == 32 and event.chain and event.place for event in found)


def test_looking_at_the_trail_is_noted_in_the_trail(client: Client) -> None:
    events(client)
    events(client, subject="environments/e")
    noted = events(client, action="read")
    assert [(event.method, event.subject) for event in noted] == [
        ("AuditService/ListAuditEvents", ""),
        ("AuditService/ListAuditEvents", "environments/e"),
    ]


def test_looking_behind_a_connection_is_noted_where_it_is_answered(client: Client) -> None:
    with pytest.raises(grpc.RpcError):
        ask(
            client,
            client.connections.DiscoverSchema,
            connection_pb2.DiscoverSchemaRequest(name="environments/e/connections/c"),
        )
    assert events(client, action="read") == []


def test_an_export_is_the_whole_trail_with_itself_noted(client: Client) -> None:
    declare(client, 3)
    pieces = list(client.audit.ExportAudit(ExportRequest(), metadata=client.metadata, timeout=SECONDS_MAX))
    lines = [read_line(line) for piece in pieces for line in piece.lines.splitlines()]
    assert [kind for kind, _ in lines] == ["header", "event", "event", "event", "position"]
    more = ExportRequest(resume_token=pieces[-1].resume_token)
    (piece,) = client.audit.ExportAudit(more, metadata=client.metadata, timeout=SECONDS_MAX)
    assert [read_line(line)[1].get("method") for line in piece.lines.splitlines()] == ["AuditService/ExportAudit", None]


def test_seals_come_with_the_public_key(client: Client, served: ServedEngine) -> None:
    answer = ask(client, client.audit.ListAuditSeals, audit_pb2.ListAuditSealsRequest())
    assert answer.public_key == served.audit_key.public_key


def test_over_rest_the_trail_is_lines_to_whoever_accepts_them(client: Client, http: httpx.Client) -> None:
    declare(client, 3)
    answer = http.get("/v1/audit:export", headers=NDJSON)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/x-ndjson")
    lines = [read_line(line) for line in answer.content.splitlines() if line]
    assert [kind for kind, _ in lines] == ["header", "event", "event", "event", "position"]
    token = lines[-1][1]["resumeToken"]
    rest = http.get("/v1/audit:export", params={"resumeToken": token}, headers=NDJSON)
    assert [read_line(line)[0] for line in rest.content.splitlines()] == ["event", "position"]


def test_over_rest_the_trail_is_events_to_everybody_else(client: Client, http: httpx.Client) -> None:
    declare(client, 1)
    answer = http.get("/v1/audit:export", params={"format": "cloud_events"})
    assert answer.headers["content-type"] == "text/event-stream"
    blocks = [block for block in answer.text.split("\n\n") if block.startswith("id: ")]
    assert len(blocks) == 1
    assert answer.text.endswith("event: end\ndata: {}\n\n")


def test_over_rest_the_trail_is_listed_and_a_wrong_token_is_a_problem(client: Client, http: httpx.Client) -> None:
    declare(client, 3)
    page = http.get("/v1/auditEvents", params={"pageSize": 2, "action": "create"}).json()
    assert [event["subject"] for event in page["auditEvents"]] == ["environments/e0", "environments/e1"]
    more = {"pageSize": 2, "action": "create", "pageToken": page["nextPageToken"]}
    assert [each["subject"] for each in http.get("/v1/auditEvents", params=more).json()["auditEvents"]] == [
        "environments/e2"
    ]
    refused = http.get("/v1/auditEvents", params=more | {"action": "delete"})
    assert (refused.status_code, refused.json()["field"]) == (400, "page_token")
    refused = http.get("/v1/audit:export", params={"resumeToken": "x"}, headers=NDJSON)
    assert (refused.status_code, json.loads(refused.content)["field"]) == (400, "resume_token")
    assert http.get("/v1/auditSeals").status_code == 200
