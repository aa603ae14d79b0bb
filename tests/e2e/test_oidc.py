"""A real engine whose callers an OIDC issuer vouches for: over gRPC and REST, with roles for their groups, and with no token in its log."""

import json
from collections.abc import Iterator

import grpc
import httpx
import pytest

from pymigrate.engine.adapters.clock import SystemClock
from pymigrate.v1 import access_pb2, access_pb2_grpc, environment_pb2, environment_pb2_grpc
from tests.e2e.engines import EngineProcess, running_engine, wait_until
from tests.issuers import AUDIENCE, KEYS, Issuer, SigningKey

pytestmark = pytest.mark.measured

SECONDS_MAX = 60


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    with Issuer(SigningKey("first", "ES256")) as issuer:
        yield issuer


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory, issuer: Issuer) -> Iterator[EngineProcess]:
    environment = {
        "PYMIGRATE_OIDC_ISSUER": issuer.url,
        "PYMIGRATE_OIDC_AUDIENCE": AUDIENCE,
        "PYMIGRATE_REST_LISTEN": "127.0.0.1:0",
        "PYMIGRATE_LOG_LEVEL": "debug",
    }
    with running_engine(tmp_path_factory.mktemp("oidc") / "home", environment=environment) as process:
        yield process


def code(engine: EngineProcess, token: str) -> grpc.StatusCode:
    """How a call ends that shows a token."""
    with engine.client() as client:
        stub = environment_pb2_grpc.EnvironmentServiceStub(client.channel)
        try:
            stub.CreateEnvironment(
                environment_pb2.CreateEnvironmentRequest(environment_id="prod", validate_only=True),
                metadata=(("authorization", f"Bearer {token}"),),
                timeout=SECONDS_MAX,
            )
        except grpc.RpcError as error:
            found: grpc.StatusCode = error.code()
            return found
    return grpc.StatusCode.OK


def test_a_group_of_the_issuer_has_the_role_that_it_was_given(engine: EngineProcess, issuer: Issuer) -> None:
    token = issuer.token(SystemClock().now(), groups=["platform"])
    assert code(engine, token) is grpc.StatusCode.PERMISSION_DENIED
    with engine.client() as client:
        binding = access_pb2.RoleBinding(role=access_pb2.ROLE_ADMIN, members=["group/platform"])
        request = access_pb2.CreateRoleBindingRequest(role_binding_id="platform", role_binding=binding)
        stub = access_pb2_grpc.AccessServiceStub(client.channel)
        stub.CreateRoleBinding(request, metadata=client.metadata, timeout=SECONDS_MAX)
    assert code(engine, token) is grpc.StatusCode.OK
    assert code(engine, issuer.token(SystemClock().now(), groups=["data"])) is grpc.StatusCode.PERMISSION_DENIED
    assert code(engine, issuer.token(SystemClock().now(), aud="another")) is grpc.StatusCode.UNAUTHENTICATED


def test_the_keys_are_there_before_the_first_token_is(engine: EngineProcess, issuer: Issuer) -> None:
    wait_until(lambda: KEYS in issuer.asked)


def test_no_token_is_in_the_log(engine: EngineProcess, issuer: Issuer) -> None:
    shown = [
        issuer.token(SystemClock().now()),
        issuer.token(SystemClock().now(), aud="another"),
        "pms_" + "a" * 43 + ".ci",
    ]
    with engine.client() as client:
        stub = access_pb2_grpc.AccessServiceStub(client.channel)
        request = access_pb2.CreateServiceTokenRequest(service_token_id="logged")
        shown.append(stub.CreateServiceToken(request, metadata=client.metadata, timeout=SECONDS_MAX).token)
    rest = f"http://{(engine.home / 'rest-endpoint').read_text().strip()}/v1/caller"
    for token in shown:
        code(engine, token)
        httpx.get(rest, headers={"authorization": f"Bearer {token}"}, trust_env=False, timeout=SECONDS_MAX)
    log = (engine.home / "engine.log").read_text()
    for token in shown:
        secret = token.removeprefix("pms_").partition(".")[0] if token.startswith("pms_") else token.rpartition(".")[2]
        assert len(secret) > 40
        assert secret not in log


def test_rest_knows_who_calls(engine: EngineProcess, issuer: Issuer) -> None:
    rest = f"http://{(engine.home / 'rest-endpoint').read_text().strip()}/v1/caller"
    shown = {"authorization": f"Bearer {issuer.token(SystemClock().now())}"}
    found = json.loads(httpx.get(rest, headers=shown, trust_env=False, timeout=SECONDS_MAX).text)
    assert (found["principal"], found["groups"]) == ("oidc/ann", ["data"])
