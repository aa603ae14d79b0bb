"""Attack: somebody who may call the engine does what no role lets them. A served engine, over gRPC and REST, by tokens of services."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
import structlog

from pymigrate.engine.domain.access import Role
from pymigrate.engine.entrypoints.cli.client import Client
from pymigrate.engine.entrypoints.rest.server import RestServer
from pymigrate.v1 import (
    access_pb2,
    access_pb2_grpc,
    definition_pb2,
    environment_pb2,
    run_pb2,
    token_pb2,
    worker_pb2,
    worker_pb2_grpc,
)
from tests.integration.engine.served import SECONDS_MAX, ServedEngine, ask

DENIED = grpc.StatusCode.PERMISSION_DENIED
RUN = "environments/e/plans/p/runs/r"
# By the role that lets it in and no other that is no admin: a call over gRPC, and the same over REST.
SAMPLES: dict[str, tuple[Any, Any, str, str]] = {
    "viewer": (
        "environments",
        environment_pb2.GetEnvironmentRequest(name="environments/e"),
        "GET",
        "/v1/environments/e",
    ),
    "operator": ("runs", run_pb2.PauseRunRequest(name=RUN), "POST", f"/v1/{RUN}:pause"),
    "approver": ("runs", run_pb2.ApproveGateRequest(name=RUN, gate="go"), "POST", f"/v1/{RUN}:approve"),
    "editor": (
        "environments",
        environment_pb2.CreateDepartmentRequest(parent="environments/e", department_id="sales"),
        "POST",
        "/v1/environments/e/departments",
    ),
    "admin": ("access", access_pb2.ListRoleBindingsRequest(), "GET", "/v1/roleBindings"),
}


class Scene:
    """An engine with the environments `e` and `other`, its admin, and services that have no role until they are bound."""

    def __init__(self, home: Path) -> None:
        self.served = ServedEngine(home)
        self.served.start()
        self.admin = self.served.client("api")
        self.access = access_pb2_grpc.AccessServiceStub(self.admin.channel)
        for name in ("e", "other"):
            made = environment_pb2.CreateEnvironmentRequest(environment_id=name)
            ask(self.admin, self.admin.environments.CreateEnvironment, made)
        self._rest = RestServer(self.served.servicers, self.served.bearers)
        self._port = self.served.do(self._rest.start("127.0.0.1:0"))

    def close(self) -> None:
        self.served.do(self._rest.stop())
        self.admin.channel.close()
        self.served.stop()
        self.served.close()

    def token(self, service: str) -> str:
        """A service's token."""
        request = access_pb2.CreateServiceTokenRequest(service_token_id=service)
        return ask(self.admin, self.access.CreateServiceToken, request).token

    def bind(self, role: str, *members: str, environment: str = "", plans: tuple[str, ...] = ()) -> str:
        """The name of a binding."""
        number = access_pb2.Role.Value(f"ROLE_{role.upper()}")
        binding = access_pb2.RoleBinding(role=number, members=members, environment=environment, plans=plans)
        count = len(ask(self.admin, self.access.ListRoleBindings, access_pb2.ListRoleBindingsRequest()).role_bindings)
        request = access_pb2.CreateRoleBindingRequest(role_binding_id=f"b{count}", role_binding=binding)
        return ask(self.admin, self.access.CreateRoleBinding, request).name

    def unbind(self, name: str) -> None:
        """Takes a role away."""
        ask(self.admin, self.access.DeleteRoleBinding, access_pb2.DeleteRoleBindingRequest(name=name))

    def code(self, token: str, call: Any, request: Any) -> grpc.StatusCode:
        """How a call ends."""
        metadata = (("authorization", f"Bearer {token}"),)
        try:
            call(request, metadata=metadata, timeout=SECONDS_MAX)
        except grpc.RpcError as error:
            return error.code()
        return grpc.StatusCode.OK

    def sampled(self, role: str, token: str) -> tuple[bool, bool]:
        """Whether a role's sample is let in, over gRPC and over REST."""
        service, request, method, path = SAMPLES[role]
        stub = self.access if service == "access" else getattr(self.admin, service)
        name = type(request).__name__.removesuffix("Request")
        code = self.code(token, getattr(stub, name), request)
        with httpx.Client(base_url=f"http://127.0.0.1:{self._port}", trust_env=False, timeout=SECONDS_MAX) as http:
            parameters = {"departmentId": "finance"} if role == "editor" else {}
            body = b"{}" if method == "POST" else b""
            headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
            answer = http.request(method, path, params=parameters, headers=headers, content=body)
        if answer.status_code == httpx.codes.FORBIDDEN:
            assert answer.json()["reason"] == "PERMISSION_DENIED"
        return code is not DENIED, answer.status_code != httpx.codes.FORBIDDEN

    def client(self, token: str) -> Client:
        """A client of a service's own."""
        client = self.served.client("api")
        client.metadata = (("authorization", f"Bearer {token}"),)
        return client


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    scene = Scene(tmp_path)
    yield scene
    scene.close()
    structlog.reset_defaults()


def test_over_grpc_and_rest_a_role_lets_in_from_its_binding_to_the_end_of_it_and_no_other_does(scene: Scene) -> None:
    token = scene.token("ci")
    for role in SAMPLES:
        assert scene.sampled(role, token) == (False, False)
        name = scene.bind(role, "service/ci")
        assert [each for each in SAMPLES if scene.sampled(each, token) == (True, True)] == (
            list(SAMPLES) if role == "admin" else list(dict.fromkeys(["viewer", role]))
        )
        scene.unbind(name)
        assert scene.sampled(role, token) == (False, False)


def test_a_lane_worker_takes_work_and_reads_nothing(scene: Scene) -> None:
    token = scene.token("worker")
    claim = worker_pb2_grpc.WorkerServiceStub(scene.admin.channel).ClaimTask
    request = worker_pb2.ClaimTaskRequest(host="workerHosts/mine")
    assert scene.code(token, claim, request) is DENIED
    scene.bind("lane_worker", "service/worker")
    assert scene.code(token, claim, request) is grpc.StatusCode.NOT_FOUND
    assert [each for each in SAMPLES if scene.sampled(each, token) != (False, False)] == []


def test_an_admin_of_one_environment_gives_itself_nothing_more(scene: Scene) -> None:
    token = scene.token("ann")
    scene.bind("admin", "service/ann", environment="environments/e")
    binding = access_pb2.RoleBinding(role=access_pb2.ROLE_ADMIN, members=["service/ann"])
    for dry in (False, True):
        request = access_pb2.CreateRoleBindingRequest(role_binding_id="me", role_binding=binding, validate_only=dry)
        assert scene.code(token, scene.access.CreateRoleBinding, request) is DENIED
    made = access_pb2.CreateServiceTokenRequest(service_token_id="another")
    assert scene.code(token, scene.access.CreateServiceToken, made) is DENIED
    assert scene.code(token, scene.admin.tokens.CreateToken, token_pb2.CreateTokenRequest()) is DENIED


def test_a_list_of_environments_shows_those_that_the_caller_may_read(scene: Scene) -> None:
    token = scene.token("ann")
    scene.bind("viewer", "service/ann", environment="environments/other")
    client = scene.client(token)
    listed = ask(client, client.environments.ListEnvironments, environment_pb2.ListEnvironmentsRequest(page_size=1))
    assert [each.name for each in listed.environments] == ["environments/other"]
    assert listed.next_page_token == ""
    client.channel.close()


DEPARTMENT = (
    "apiVersion: pymigrate.io/v1alpha1\nkind: Department\nmetadata: {{name: d, environment: {0}}}\nspec: {{}}\n"
)
ENVIRONMENT = "apiVersion: pymigrate.io/v1alpha1\nkind: Environment\nmetadata: {name: mine}\nspec: {bases: [other]}\n"


def applying(content: str, *, is_dry: bool = False, **fields: Any) -> definition_pb2.ApplyDefinitionsRequest:
    """A file to apply."""
    file = definition_pb2.DefinitionFile(path="a.yaml", content=content.encode())
    return definition_pb2.ApplyDefinitionsRequest(files=[file], validate_only=is_dry, **fields)


@pytest.mark.parametrize("is_dry", [False, True])
def test_of_many_documents_each_is_let_in_by_its_kind_and_environment(scene: Scene, is_dry: bool) -> None:
    token = scene.token("ann")
    scene.bind("editor", "service/ann", environment="environments/e")
    apply = scene.admin.definitions.ApplyDefinitions
    own, foreign = DEPARTMENT.format("e"), DEPARTMENT.format("other")
    assert scene.code(token, apply, applying(own, is_dry=is_dry)) is grpc.StatusCode.OK
    for content in (foreign, f"{own}---\n{foreign}", ENVIRONMENT):
        assert scene.code(token, apply, applying(content, is_dry=is_dry)) is DENIED
    taking = applying(own, is_dry=is_dry, environment="e", taken_over_sides=["terraform"])
    assert scene.code(token, apply, taking) is DENIED


def test_what_is_declared_no_longer_is_deleted_only_by_who_may(scene: Scene) -> None:
    backend = (
        "apiVersion: pymigrate.io/v1alpha1\nkind: SecretBackend\nmetadata: {name: aws-sm, environment: e}\n"
        "spec: {aws: {region: eu-central-1}}\n"
    )
    own, apply = DEPARTMENT.format("e"), scene.admin.definitions.ApplyDefinitions
    admin = scene.token("admin")
    scene.bind("admin", "service/admin")
    made = scene.code(admin, apply, applying(f"{own}---\n{backend}"))
    assert made is grpc.StatusCode.OK
    token = scene.token("ann")
    scene.bind("editor", "service/ann", environment="environments/e")
    pruning = applying(own, environment="e", prune_policy=definition_pb2.PRUNE_POLICY_DELETE)
    assert scene.code(token, apply, pruning) is DENIED
    assert scene.code(admin, apply, pruning) is grpc.StatusCode.OK


def test_an_environment_inherits_only_what_its_admin_may_read(scene: Scene) -> None:
    token = scene.token("ann")
    scene.bind("admin", "service/ann", environment="environments/mine")
    apply = scene.admin.definitions.ApplyDefinitions
    assert scene.code(token, apply, applying(ENVIRONMENT)) is DENIED
    scene.bind("viewer", "service/ann", environment="environments/other")
    assert scene.code(token, apply, applying(ENVIRONMENT)) is grpc.StatusCode.OK


def test_nobody_takes_away_the_last_way_in(scene: Scene) -> None:
    name = scene.bind("admin", "service/ci")
    scene.unbind(name)
    info = ask(scene.admin, scene.access.GetCaller, access_pb2.GetCallerRequest())
    assert (info.principal, [grant.role for grant in info.grants]) == (
        "local",
        [access_pb2.ROLE_ADMIN, access_pb2.ROLE_LANE_WORKER],
    )


def test_whoever_is_known_may_ask_what_it_may_do(scene: Scene) -> None:
    token = scene.token("ann")
    name = scene.bind("operator", "service/an*", environment="environments/e", plans=("p",))
    client = scene.client(token)
    info = ask(client, scene.access.GetCaller, access_pb2.GetCallerRequest())
    client.channel.close()
    grant = access_pb2.Grant(
        role=access_pb2.ROLE_OPERATOR, environment="environments/e", plans=["p"], role_binding=name
    )
    assert (info.principal, list(info.grants)) == ("service/ann", [grant])


@pytest.mark.parametrize("member", ["local", "local/x", "worker/h", "*", "*/x", "service", "service/", "link"])
def test_no_binding_names_a_way_of_logging_in_that_nobody_thought_of(scene: Scene, member: str) -> None:
    binding = access_pb2.RoleBinding(role=access_pb2.ROLE_VIEWER, members=[member])
    request = access_pb2.CreateRoleBindingRequest(role_binding_id="b", role_binding=binding)
    with pytest.raises(grpc.RpcError) as caught:
        ask(scene.admin, scene.access.CreateRoleBinding, request)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_a_dry_binding_gives_nothing(scene: Scene) -> None:
    token = scene.token("ann")
    binding = access_pb2.RoleBinding(role=access_pb2.ROLE_VIEWER, members=["service/ann"])
    request = access_pb2.CreateRoleBindingRequest(role_binding_id="b", role_binding=binding, validate_only=True)
    assert ask(scene.admin, scene.access.CreateRoleBinding, request).name == "roleBindings/b"
    assert scene.sampled(str(Role.VIEWER), token) == (False, False)


def test_a_refusal_says_which_role_would_do_where(scene: Scene) -> None:
    token = scene.token("ann")
    client = scene.client(token)
    with pytest.raises(grpc.RpcError) as caught:
        ask(client, client.runs.PauseRun, run_pb2.PauseRunRequest(name=RUN))
    client.channel.close()
    told = str(caught.value.details())
    assert told.startswith("service/ann may not call RunService/PauseRun in environments/e/plans/p: it needs the role")
    assert "`operator` or `admin`" in told
