"""The spans of calls over real sockets: below what the caller says of its trace, and told as they ended."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
import structlog
from grpc_health.v1 import health_pb2, health_pb2_grpc
from structlog.testing import capture_logs

from pymigrate.engine.adapters.clock import SystemClock
from pymigrate.engine.entrypoints.call_spans import CallSpans
from pymigrate.engine.entrypoints.cli.client import Client
from pymigrate.engine.entrypoints.rest.server import RestServer
from pymigrate.engine.ports.tracing import NoTracing, Span, SpanContext, Tracing
from pymigrate.engine.testing.tracing import RecordedTracing
from pymigrate.v1 import connection_pb2, environment_pb2, plan_pb2, run_pb2
from tests.integration.engine.served import BEARERS, SECONDS_MAX, TOKEN, ServedEngine
from tests.unit.application.engines import PLAN, phase, systems

ROUNDS_MAX = 1_000
CALLER = SpanContext("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331")
START = "pymigrate.v1.RunService/StartRun"
LIST = "pymigrate.v1.EnvironmentService/ListEnvironments"


class Traced:
    """An engine whose calls have spans, over gRPC and REST."""

    def __init__(self, home: Path, tracing: Tracing) -> None:
        self.tracing = tracing
        spans = CallSpans(tracing, SystemClock())
        self.engine = ServedEngine(home, spans)
        self.engine.start()
        self.rest = RestServer(self.engine.servicers, BEARERS, spans=spans)
        self.port = self.engine.do(self.rest.start("127.0.0.1:0"))
        self.client = self.engine.client("api")

    def close(self) -> None:
        self.client.channel.close()
        self.engine.do(self.rest.stop())
        self.engine.stop()
        self.engine.close()

    def spans(self, name: str, count: int) -> list[Span]:
        """The spans of that name, once there are so many: one is recorded a moment after its call was answered."""
        assert isinstance(self.tracing, RecordedTracing)
        for _ in range(ROUNDS_MAX):
            if len(self.tracing.named(name)) >= count:
                break
            self.engine.do(asyncio.sleep(0.01))
        assert len(self.tracing.named(name)) == count
        return self.tracing.named(name)

    def get(self, path: str, headers: dict[str, str] | list[tuple[str, str]]) -> httpx.Response:
        token = [("authorization", f"Bearer {TOKEN}")]
        given = list(headers.items()) if isinstance(headers, dict) else headers
        url = f"http://127.0.0.1:{self.port}{path}"
        return httpx.get(url, headers=[*token, *given], trust_env=False, timeout=SECONDS_MAX)


@pytest.fixture
def tracing() -> RecordedTracing:
    return RecordedTracing()


@pytest.fixture
def traced(tmp_path: Path, tracing: RecordedTracing) -> Iterator[Traced]:
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    found = Traced(tmp_path, tracing)
    yield found
    found.close()
    structlog.reset_defaults()


def with_trace(client: Client, *traceparents: str) -> tuple[tuple[str, str], ...]:
    return (*client.metadata, *(("traceparent", each) for each in traceparents))


def list_environments(traced: Traced, *traceparents: str) -> None:
    request = environment_pb2.ListEnvironmentsRequest()
    metadata = with_trace(traced.client, *traceparents)
    traced.client.environments.ListEnvironments(request, metadata=metadata, timeout=SECONDS_MAX)


def test_a_grpc_call_is_below_the_caller_s_span(traced: Traced) -> None:
    list_environments(traced, str(CALLER))
    span = traced.spans(LIST, 1)[0]
    assert span.parent == CALLER
    assert span.is_call
    assert not span.failure
    assert span.attributes["rpc.grpc.status_code"] == 0


def test_health_is_watched_beside_the_spans_of_calls_and_is_part_of_no_trace(
    traced: Traced, tracing: RecordedTracing
) -> None:
    health: Any = health_pb2_grpc.HealthStub(traced.client.channel)
    request = health_pb2.HealthCheckRequest(service="pymigrate.v1.PlanService")
    watching = health.Watch(request, timeout=SECONDS_MAX)
    assert next(watching).status == health_pb2.HealthCheckResponse.SERVING
    traced.engine.do(traced.engine.server.tell_draining())
    assert next(watching).status == health_pb2.HealthCheckResponse.NOT_SERVING
    watching.cancel()
    list_environments(traced, str(CALLER))
    traced.spans(LIST, 1)
    assert {span.name for span in tracing.spans} == {LIST}


def test_a_rest_call_is_below_the_caller_s_span_and_has_the_same_name(traced: Traced) -> None:
    assert traced.get("/v1/environments", {"traceparent": str(CALLER)}).status_code == 200
    span = traced.spans(LIST, 1)[0]
    assert span.parent == CALLER
    assert span.attributes["http.response.status_code"] == 200


@pytest.mark.parametrize("given", [(), ("nonsense",)])
def test_without_a_valid_traceparent_a_call_is_the_first_of_its_own_trace(
    traced: Traced, given: tuple[str, ...]
) -> None:
    list_environments(traced, *given)
    traced.get("/v1/environments", [("traceparent", each) for each in given])
    over_grpc, over_rest = traced.spans(LIST, 2)
    assert over_grpc.parent is over_rest.parent is None
    assert len({over_grpc.context.trace_id, over_rest.context.trace_id, CALLER.trace_id}) == 3


def test_a_caller_that_names_two_traces_is_in_neither(traced: Traced) -> None:
    traced.get("/v1/environments", [("traceparent", str(CALLER)), ("traceparent", str(CALLER.derived("other")))])
    assert traced.spans(LIST, 1)[0].parent is None


def test_what_the_caller_asks_wrongly_is_no_failure_of_the_engine(traced: Traced) -> None:
    request = run_pb2.GetRunRequest(name=f"{PLAN}/runs/none")
    with pytest.raises(grpc.RpcError):
        traced.client.runs.GetRun(request, metadata=traced.client.metadata, timeout=SECONDS_MAX)
    assert traced.get(f"/v1/{PLAN}/runs/none", {}).status_code == 404
    over_grpc, over_rest = traced.spans("pymigrate.v1.RunService/GetRun", 2)
    assert over_grpc.attributes["rpc.grpc.status_code"] == grpc.StatusCode.NOT_FOUND.value[0]
    assert over_rest.attributes["http.response.status_code"] == 404
    assert not over_grpc.failure
    assert not over_rest.failure


def test_a_call_without_the_token_has_a_span_too(traced: Traced) -> None:
    with pytest.raises(grpc.RpcError):
        traced.client.environments.ListEnvironments(environment_pb2.ListEnvironmentsRequest(), timeout=SECONDS_MAX)
    code = grpc.StatusCode.UNAUTHENTICATED.value[0]
    assert [span.attributes["rpc.grpc.status_code"] for span in traced.spans(LIST, 1)] == [code]


def test_a_stream_that_its_watcher_leaves_ends_as_cancelled(traced: Traced) -> None:
    traced.engine.outcomes["copy"] = run_pb2.Failure(reason="UNAVAILABLE", message="away", is_temporary=True)
    name = started(traced)
    watch = traced.client.runs.WatchRun(run_pb2.WatchRunRequest(name=name), metadata=traced.client.metadata)
    next(iter(watch))
    watch.cancel()
    span = traced.spans("pymigrate.v1.RunService/WatchRun", 1)[0]
    assert span.attributes["rpc.grpc.status_code"] == grpc.StatusCode.CANCELLED.value[0]
    assert not span.failure


def test_a_run_keeps_the_call_that_started_it(traced: Traced) -> None:
    name = started(traced, str(CALLER))
    stored = traced.engine.do(traced.engine.engine.store.read(lambda unit: unit.runs.get(name)))
    assert stored is not None
    call = traced.spans(START, 1)[0]
    assert stored.traceparent == str(call.context)
    assert call.parent == CALLER


def test_the_calls_of_worker_hosts_have_no_spans(traced: Traced, tracing: RecordedTracing) -> None:
    started(traced)
    assert not [span for span in tracing.spans if "WorkerService" in span.name]


class Broken:
    """A service of which every call fails in a way that nobody expects."""

    async def CreateEnvironment(self, request: environment_pb2.CreateEnvironmentRequest, context: object) -> None:
        raise ZeroDivisionError


async def test_what_a_call_logs_names_its_span_and_its_request() -> None:
    server = RestServer({"EnvironmentService": Broken()}, BEARERS, spans=CallSpans(NoTracing(), SystemClock()))
    transport = httpx.ASGITransport(server.application)
    headers = {"authorization": f"Bearer {TOKEN}", "traceparent": str(CALLER), "idempotency-key": "a-key"}
    with capture_logs(processors=[structlog.contextvars.merge_contextvars]) as lines:
        async with httpx.AsyncClient(transport=transport, base_url="http://engine") as client:
            answer = await client.post("/v1/environments?environmentId=e", json={}, headers=headers)
    assert answer.status_code == 500
    failed = next(line for line in lines if line["event"] == "call.failed")
    assert (failed["trace_id"], failed["span_id"]) == (CALLER.trace_id, CALLER.span_id)
    assert failed["request_id"] == "a-key"


def test_what_happens_in_a_run_is_logged_with_the_trace_of_the_call_that_started_it(tmp_path: Path) -> None:
    traced = Traced(tmp_path, NoTracing())
    try:
        with capture_logs(processors=[structlog.contextvars.merge_contextvars]) as lines:
            name = started(traced, str(CALLER))
            watch = traced.client.runs.WatchRun(run_pb2.WatchRunRequest(name=name), metadata=traced.client.metadata)
            assert [picture.run for picture in watch][-1].end_time.seconds
    finally:
        traced.close()
    moments = [line for line in lines if line["event"].startswith("phase.")]
    assert moments
    assert {line["trace_id"] for line in moments} == {CALLER.trace_id}
    assert {line["run"] for line in moments} == {name}


def started(traced: Traced, *traceparents: str) -> str:
    """A run over gRPC, of a plan that is declared for it."""
    client, metadata = traced.client, traced.client.metadata
    environment = environment_pb2.CreateEnvironmentRequest(environment_id="e")
    client.environments.CreateEnvironment(environment, metadata=metadata, timeout=SECONDS_MAX)
    department = environment_pb2.CreateDepartmentRequest(parent="environments/e", department_id="sales")
    client.environments.CreateDepartment(department, metadata=metadata, timeout=SECONDS_MAX)
    for name, system in systems().items():
        connection = connection_pb2.CreateConnectionRequest(
            parent="environments/e", connection_id=name, connection=system
        )
        client.connections.CreateConnection(connection, metadata=metadata, timeout=SECONDS_MAX)
    plan = plan_pb2.CreatePlanRequest(
        parent="environments/e", plan_id="p", plan=plan_pb2.Plan(phases={"sales": phase("orders")})
    )
    client.plans.CreatePlan(plan, metadata=metadata, timeout=SECONDS_MAX)
    request = run_pb2.StartRunRequest(parent=PLAN)
    return client.runs.StartRun(request, metadata=with_trace(client, *traceparents), timeout=SECONDS_MAX).name
