"""The server over a real socket: who may call, what every call answers, and how errors arrive."""

from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_status import rpc_status

from pymigrate.engine.domain.errors import PermanentError
from pymigrate.engine.entrypoints.cli.client import Client
from pymigrate.engine.entrypoints.grpc.server import ADDERS, Server
from pymigrate.v1 import environment_pb2, plan_pb2, run_pb2
from tests.integration.engine.served import BEARERS, SECONDS_MAX, TOKEN, ServedEngine, ask
from tests.unit.application.engines import ENVIRONMENT, PLAN, phase

SERVICES = [module.DESCRIPTOR.services_by_name[name] for name, (module, _) in ADDERS.items()]
METHODS = [method for service in SERVICES for method in service.methods]
# A client is never told of these: a call that the engine does not understand is refused, not failed.
NEVER = {grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN}
EMPTY = environment_pb2.ListEnvironmentsRequest()


def refusal(client: Client, call: Any, request: Message, **options: Any) -> grpc.RpcError:
    """Why a call is refused."""
    with pytest.raises(grpc.RpcError) as error:
        call(request, **{"metadata": client.metadata, "timeout": SECONDS_MAX, **options})
    return error.value


def detail(error: Any, kind: type[Message]) -> Any:
    """The detail of that kind."""
    status = rpc_status.from_call(error)
    assert status is not None
    found = kind()
    assert any(packed.Unpack(found) for packed in status.details)
    return found


@pytest.mark.parametrize(
    ("metadata", "says"),
    [
        ((), "send the engine's token"),
        ((("authorization", "Bearer wrong"),), "not this engine's"),
        ((("authorization", TOKEN),), "no other scheme"),
        ((("authorization", f"Bearer {TOKEN}"), ("authorization", f"Bearer {TOKEN}")), "send one"),
        ((("authorization", f"Bearer {TOKEN}x"),), "not this engine's"),
    ],
)
def test_a_call_without_the_token_is_refused(client: Client, metadata: Any, says: str) -> None:
    error = refusal(client, client.environments.ListEnvironments, EMPTY, metadata=metadata)
    assert error.code() is grpc.StatusCode.UNAUTHENTICATED
    assert says in (error.details() or "")
    assert detail(error, error_details_pb2.ErrorInfo).reason == "UNAUTHENTICATED"


def test_a_stream_without_the_token_is_refused(client: Client) -> None:
    with pytest.raises(grpc.RpcError) as error:
        list(client.runs.WatchRun(run_pb2.WatchRunRequest(name="x"), timeout=SECONDS_MAX))
    assert error.value.code() is grpc.StatusCode.UNAUTHENTICATED


def test_a_call_with_the_token_is_served(client: Client) -> None:
    assert not ask(client, client.environments.ListEnvironments, EMPTY).environments


def test_a_side_that_nobody_knows_is_refused(served: ServedEngine) -> None:
    stranger = served.client("excel")
    error = refusal(stranger, stranger.environments.ListEnvironments, EMPTY)
    stranger.channel.close()
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "api, cli, git, kubernetes, terraform" in (error.details() or "")


def test_health_needs_no_token_and_turns_when_the_engine_drains(served: ServedEngine, client: Client) -> None:
    health: Any = health_pb2_grpc.HealthStub(client.channel)
    request = health_pb2.HealthCheckRequest(service="pymigrate.v1.PlanService")
    assert health.Check(request, timeout=SECONDS_MAX).status == health_pb2.HealthCheckResponse.SERVING
    watching = health.Watch(request, timeout=SECONDS_MAX)
    assert next(watching).status == health_pb2.HealthCheckResponse.SERVING
    served.do(served.server.tell_draining())
    assert next(watching).status == health_pb2.HealthCheckResponse.NOT_SERVING
    watching.cancel()
    assert health.Check(request, timeout=SECONDS_MAX).status == health_pb2.HealthCheckResponse.NOT_SERVING


def test_reflection_tells_every_service_to_whoever_has_the_token(client: Client) -> None:
    reflection: Any = reflection_pb2_grpc.ServerReflectionStub(client.channel)

    def questions() -> Iterator[reflection_pb2.ServerReflectionRequest]:
        yield reflection_pb2.ServerReflectionRequest(list_services="")

    (answer,) = reflection.ServerReflectionInfo(questions(), metadata=client.metadata, timeout=SECONDS_MAX)
    names = {service.name for service in answer.list_services_response.service}
    assert {service.full_name for service in SERVICES} | {"grpc.health.v1.Health"} <= names
    with pytest.raises(grpc.RpcError) as error:
        list(reflection.ServerReflectionInfo(questions(), timeout=SECONDS_MAX))
    assert error.value.code() is grpc.StatusCode.UNAUTHENTICATED


@pytest.mark.parametrize("method", METHODS, ids=[method.full_name for method in METHODS])
def test_every_call_of_the_contract_understands_a_request_that_says_nothing(client: Client, method: Any) -> None:
    path = f"/{method.containing_service.full_name}/{method.name}"
    request, answer = GetMessageClass(method.input_type), GetMessageClass(method.output_type)
    make = client.channel.unary_stream if method.server_streaming else client.channel.unary_unary
    call: Any = make(path, request.SerializeToString, answer.FromString)
    found = outcome(lambda: call(request(), metadata=client.metadata, timeout=SECONDS_MAX), method.server_streaming)
    if isinstance(found, grpc.RpcError):
        assert found.code() not in NEVER, found.details()
        assert detail(found, error_details_pb2.ErrorInfo).domain == "pymigrate.io"
    else:
        assert isinstance(found, answer)


def outcome(call: Callable[[], Any], is_stream: bool) -> Any:
    """What a call answers first, or its error."""
    try:
        return next(call()) if is_stream else call()
    except grpc.RpcError as error:
        return error


def test_a_definition_that_is_wrong_arrives_with_every_field(served: ServedEngine, client: Client) -> None:
    served.do(served.engine.declare({}))
    plan = plan_pb2.Plan(phases={"sales": phase("x", needs=["finance"]), "finance": phase("y", needs=["sales"])})
    plan.phases["sales"].department = "sails"
    error = refusal(
        client, client.plans.CreatePlan, plan_pb2.CreatePlanRequest(parent=ENVIRONMENT, plan_id="q", plan=plan)
    )
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    found = {v.field: v.description for v in detail(error, error_details_pb2.BadRequest).field_violations}
    assert "did you mean `sales`?" in found["plan.phases.sales.department"]
    assert "finance → sales → finance" in found["plan.phases.finance.dependencies"]


def test_hundreds_of_problems_arrive_as_far_as_there_is_room(served: ServedEngine, client: Client) -> None:
    served.do(served.engine.declare({}))
    phases = {f"a-phase-with-quite-a-name-{number}": phase("x" * 60, needs=["→" * 50]) for number in range(300)}
    request = plan_pb2.CreatePlanRequest(parent=ENVIRONMENT, plan_id="q", plan=plan_pb2.Plan(phases=phases))
    error = refusal(client, client.plans.CreatePlan, request)
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    found = detail(error, error_details_pb2.BadRequest).field_violations
    assert len(found) > 3
    assert "problems more" in found[-1].description


def test_an_object_of_another_side_is_refused_with_whose_it_is(served: ServedEngine, client: Client) -> None:
    theirs = served.client("terraform")
    request = environment_pb2.CreateEnvironmentRequest(environment_id="prod")
    made = ask(theirs, theirs.environments.CreateEnvironment, request)
    theirs.channel.close()
    assert made.managed_by == "terraform"
    wanted = environment_pb2.UpdateEnvironmentRequest(
        environment=environment_pb2.Environment(name=made.name, display_name="mine")
    )
    error = refusal(client, client.environments.UpdateEnvironment, wanted)
    assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert "managed by terraform" in (error.details() or "")
    (violation,) = detail(error, error_details_pb2.PreconditionFailure).violations
    assert violation.type == "NOT_OWNED"


def test_a_name_that_is_not_there_arrives_with_the_nearest(served: ServedEngine, client: Client) -> None:
    served.do(served.engine.declare({}))
    error = refusal(client, client.plans.GetPlan, plan_pb2.GetPlanRequest(name=f"{PLAN}p"))
    assert error.code() is grpc.StatusCode.NOT_FOUND
    assert "did you mean `p`?" in (error.details() or "") or "there are `p`" in (error.details() or "")


class Broken:
    """A service with mistakes in it, and without most of its calls."""

    def __getattr__(self, name: str) -> Any:
        return self.ListEnvironments

    async def ListEnvironments(self, request: Any, context: Any) -> Any:
        raise KeyError("a secret of the engine's")

    async def GetEnvironment(self, request: Any, context: Any) -> Any:
        await context.abort(grpc.StatusCode.DATA_LOSS, "said by the call itself")


@pytest.fixture
def broken(served: ServedEngine) -> Iterator[Client]:
    """A client of a server whose service is broken."""

    async def start() -> tuple[Server, int]:
        server = Server({"EnvironmentService": Broken()}, BEARERS)
        return server, await server.start("127.0.0.1:0")

    server, port = served.do(start())
    client = Client(f"127.0.0.1:{port}", TOKEN)
    yield client
    client.channel.close()
    served.do(server.stop(0))


def test_what_nobody_expected_is_told_without_any_of_it(broken: Client) -> None:
    error = refusal(broken, broken.environments.ListEnvironments, EMPTY)
    assert error.code() is grpc.StatusCode.INTERNAL
    assert "secret" not in (error.details() or "")
    assert "log" in (error.details() or "")


def test_what_a_call_says_itself_is_left_as_it_is(broken: Client) -> None:
    error = refusal(broken, broken.environments.GetEnvironment, environment_pb2.GetEnvironmentRequest())
    assert (error.code(), error.details()) == (grpc.StatusCode.DATA_LOSS, "said by the call itself")


def test_a_store_that_is_closed_is_told_as_something_that_passes(served: ServedEngine, client: Client) -> None:
    served.do(served.engine.store.close())
    error = refusal(client, client.environments.ListEnvironments, EMPTY)
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert detail(error, error_details_pb2.RetryInfo).retry_delay.ToMilliseconds() > 0


def test_an_address_that_another_process_has_is_told(served: ServedEngine) -> None:
    async def second() -> None:
        await Server({}, BEARERS).start(served.endpoint)

    with pytest.raises(PermanentError, match="another process has it"):
        served.do(second())
