"""Calls that have no effect, noted before the caller has the answer: whatever is refused, and reads of what is sensitive."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from pymigrate.engine.application.audit.noting import Noting
from pymigrate.engine.application.caller import MANAGED_BY_DEFAULT, Caller
from pymigrate.engine.domain.errors import EngineUnavailable, NotFound, NotPermitted, Unauthenticated
from pymigrate.engine.entrypoints.grpc.server import descriptors
from pymigrate.engine.entrypoints.identity import note_caller
from pymigrate.engine.entrypoints.noted_calls import NotedIdentity, noted, subject_of
from pymigrate.engine.entrypoints.origins import NOWHERE, Peer
from pymigrate.engine.ports.feed import FeedEntry
from pymigrate.engine.ports.tracing import SpanContext, within
from pymigrate.engine.testing.clock import ManualClock
from pymigrate.engine.testing.store import MemoryStore
from pymigrate.v1 import access_pb2, audit_pb2, connection_pb2, environment_pb2, plan_pb2, run_pb2

PLAN = "environments/prod/plans/p"


class Servicer:
    """Answers every call, or raises."""

    def __init__(self) -> None:
        self.error: Exception | None = None

    def __getattr__(self, name: str) -> Any:
        async def unary(request: Any, context: Any) -> Any:
            if self.error is not None:
                raise self.error
            return name

        async def stream(request: Any, context: Any) -> AsyncIterator[Any]:
            if self.error is not None:
                raise self.error
            for number in range(3):
                yield number

        return stream if name in {"ExportAudit", "WatchRun"} else unary


class Scene:
    """Servicers that are noted, and what the trail has."""

    def __init__(self) -> None:
        self.store, self.servicer = MemoryStore(), Servicer()
        self.noting = Noting(self.store, ManualClock())
        services = descriptors(("RunService", "ConnectionService")) | dict(audit_pb2.DESCRIPTOR.services_by_name)
        self.served = noted(dict.fromkeys(services, self.servicer), services, self.noting)

    async def entries(self) -> list[FeedEntry]:
        return list((await self.store.read(lambda unit: unit.feed.after("", 100)))[0])


@pytest.fixture
def scene() -> Scene:
    """Ann calls, from an address, for Terraform."""
    note_caller(Caller("service/ann", "terraform", origin="10.1.2.3"))
    return Scene()


async def test_a_call_that_is_refused_is_noted_with_its_status_and_stays_refused(scene: Scene) -> None:
    scene.servicer.error = NotPermitted("needs operator")
    with within(SpanContext("a" * 32, "b" * 16)), pytest.raises(NotPermitted):
        await scene.served["RunService"].StartRun(run_pb2.StartRunRequest(parent=PLAN, request_id="r7"), None)
    (entry,) = await scene.entries()
    assert (entry.type, entry.actor, entry.subject, entry.outcome) == ("deny", "service/ann", PLAN, "PERMISSION_DENIED")
    assert (entry.method, entry.origin) == ("RunService/StartRun", "10.1.2.3 (terraform)")
    assert (entry.request_id, entry.trace_id) == ("r7", "a" * 32)


async def test_a_stream_that_is_refused_is_noted_too(scene: Scene) -> None:
    scene.servicer.error = NotPermitted("needs viewer")
    with pytest.raises(NotPermitted):
        async for _ in scene.served["RunService"].WatchRun(run_pb2.WatchRunRequest(name=f"{PLAN}/runs/r"), None):
            pass
    assert [(entry.type, entry.method) for entry in await scene.entries()] == [("deny", "RunService/WatchRun")]


async def test_what_fails_otherwise_and_what_is_read_from_day_to_day_is_not_noted(scene: Scene) -> None:
    await scene.served["RunService"].GetRun(run_pb2.GetRunRequest(name="x"), None)
    scene.servicer.error = NotFound("there is none")
    for service, call, request in (
        ("RunService", "GetRun", run_pb2.GetRunRequest(name="x")),
        ("ConnectionService", "TestConnection", connection_pb2.TestConnectionRequest(name="x")),
    ):
        with pytest.raises(NotFound):
            await getattr(scene.served[service], call)(request, None)
    assert await scene.entries() == []


async def test_a_sensitive_read_is_noted_before_it_is_answered(scene: Scene) -> None:
    request = connection_pb2.DiscoverSchemaRequest(name="environments/prod/connections/crm")
    assert await scene.served["ConnectionService"].DiscoverSchema(request, None) == "DiscoverSchema"
    (entry,) = await scene.entries()
    assert (entry.type, entry.subject, entry.outcome) == ("read", "environments/prod/connections/crm", "OK")
    assert entry.method == "ConnectionService/DiscoverSchema"


async def test_an_export_is_noted_once_and_before_its_first_piece(scene: Scene) -> None:
    pieces = scene.served["AuditService"].ExportAudit(audit_pb2.ExportAuditRequest(), None)
    assert await anext(pieces) == 0
    assert len(await scene.entries()) == 1
    assert [piece async for piece in pieces] == [1, 2]
    assert [entry.method for entry in await scene.entries()] == ["AuditService/ExportAudit"]


async def test_what_can_not_be_noted_is_not_told(scene: Scene) -> None:
    await scene.store.close()
    request = connection_pb2.DiscoverSchemaRequest(name="x")
    with pytest.raises(EngineUnavailable):
        await scene.served["ConnectionService"].DiscoverSchema(request, None)
    with pytest.raises(EngineUnavailable):
        await anext(scene.served["AuditService"].ExportAudit(audit_pb2.ExportAuditRequest(), None))


async def test_a_stream_that_nobody_takes_ends_what_makes_it(scene: Scene) -> None:
    ended: list[bool] = []

    class Ending(Servicer):
        async def WatchRun(self, request: Any, context: Any) -> AsyncIterator[Any]:
            try:
                yield 1
            finally:
                ended.append(True)

    served = noted({"RunService": Ending()}, descriptors(("RunService",)), scene.noting)
    answers = served["RunService"].WatchRun(run_pb2.WatchRunRequest(name="x"), None)
    await anext(answers)
    await answers.aclose()
    assert ended == [True]


async def test_whom_nobody_knows_is_noted_by_the_address(scene: Scene) -> None:
    class Strict:
        async def identify(
            self, authorizations: Sequence[str], side: str = MANAGED_BY_DEFAULT, peer: Peer = NOWHERE
        ) -> Caller:
            if not authorizations:
                raise Unauthenticated("show a token")
            return Caller("service/ann")

        def from_link(self, peer: Peer) -> Caller:
            return Caller("link", origin=peer.address)

    identity = NotedIdentity(Strict(), scene.noting)
    assert (await identity.identify(("Bearer x",))).principal == "service/ann"
    assert await scene.entries() == []
    with pytest.raises(Unauthenticated):
        await identity.identify((), "api", Peer("10.9.9.9"))
    (entry,) = await scene.entries()
    assert (entry.actor, entry.origin, entry.outcome) == ("nobody", "10.9.9.9", "UNAUTHENTICATED")
    assert identity.from_link(NOWHERE).principal == "link"


@pytest.mark.parametrize(
    ("request_", "subject"),
    [
        (run_pb2.GetRunRequest(name="a"), "a"),
        (plan_pb2.CreatePlanRequest(parent="environments/e", plan_id="p"), "environments/e"),
        (
            environment_pb2.UpdateEnvironmentRequest(environment=environment_pb2.Environment(name="environments/e")),
            "environments/e",
        ),
        (
            access_pb2.UpdateRoleBindingRequest(role_binding=access_pb2.RoleBinding(name="roleBindings/r")),
            "roleBindings/r",
        ),
        (audit_pb2.ListAuditEventsRequest(environment="environments/e", subject="s"), "s"),
        (audit_pb2.VerifyAuditRequest(), ""),
    ],
)
def test_a_call_is_about_what_its_request_names(request_: Any, subject: str) -> None:
    assert subject_of(request_) == subject
