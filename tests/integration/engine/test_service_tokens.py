"""Tokens of services over real calls: made at the command line, shown over gRPC and REST, and ended at once."""

from collections.abc import Iterator

import grpc
import httpx
import pytest

from pymigrate.engine.entrypoints.cli import service_token_commands
from pymigrate.engine.entrypoints.rest.server import RestServer
from pymigrate.v1 import access_pb2, access_pb2_grpc
from tests.integration.engine.command_line import CommandLine
from tests.integration.engine.served import SECONDS_MAX, ServedEngine


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedEngine]:
    engine = ServedEngine(tmp_path_factory.mktemp("home"))
    engine.start()
    yield engine
    engine.stop()
    engine.close()


@pytest.fixture
def pymigrate(served: ServedEngine) -> CommandLine:
    return CommandLine(served.home, service_token_commands)


def told(output: str) -> str:
    """The token that a command printed."""
    return next(line for line in output.splitlines() if line.startswith("pms_"))


def principal(served: ServedEngine, token: str) -> str:
    """Who calls that shows a token. Raises what gRPC does."""
    with grpc.insecure_channel(served.endpoint) as channel:
        stub = access_pb2_grpc.AccessServiceStub(channel)
        metadata = (("authorization", f"Bearer {token}"),)
        found: access_pb2.CallerInfo = stub.GetCaller(
            access_pb2.GetCallerRequest(), metadata=metadata, timeout=SECONDS_MAX
        )
        return found.principal


def is_refused(served: ServedEngine, token: str) -> bool:
    """Whether nobody is let in by it."""
    with pytest.raises(grpc.RpcError) as refused:
        principal(served, token)
    return bool(refused.value.code() is grpc.StatusCode.UNAUTHENTICATED)


def test_a_token_is_made_rotated_and_ended_at_the_command_line(served: ServedEngine, pymigrate: CommandLine) -> None:
    made = pymigrate("service-tokens", "create", "ci", "--description", "the pipeline")
    assert "of service/ci, until it is deleted" in made
    first = told(made)
    assert principal(served, first) == "service/ci"
    second = told(pymigrate("service-tokens", "rotate", "ci", "--overlap-seconds", "600"))
    assert principal(served, first) == principal(served, second) == "service/ci"
    listed = pymigrate.json("service-tokens", "list")["serviceTokens"]
    assert [(each["name"], each["description"], each["creator"]) for each in listed] == [
        ("serviceTokens/ci", "the pipeline", "local")
    ]
    assert "the one before until" in pymigrate("service-tokens", "list")
    third = told(pymigrate("service-tokens", "rotate", "serviceTokens/ci", "--expires", "2100-01-01T00:00:00Z"))
    assert is_refused(served, second)
    pymigrate("service-tokens", "delete", "ci")
    assert is_refused(served, third)


def test_an_end_that_is_no_time_is_told(pymigrate: CommandLine) -> None:
    assert "2027-01-31T00:00:00Z" in pymigrate("service-tokens", "create", "x", "--expires", "tomorrow", code=1)


async def test_a_token_is_shown_over_rest_too(served: ServedEngine, pymigrate: CommandLine) -> None:
    token = told(pymigrate("service-tokens", "create", "rest"))
    transport = httpx.ASGITransport(RestServer(served.servicers, served.bearers).application)
    async with httpx.AsyncClient(transport=transport, base_url="http://rest") as client:
        found = await client.get("/v1/caller", headers={"authorization": f"Bearer {token}"})
        assert found.json()["principal"] == "service/rest"
        wrong = await client.get("/v1/caller", headers={"authorization": f"Bearer {token[:-1]}"})
        assert (wrong.status_code, wrong.json()["reason"]) == (401, "UNAUTHENTICATED")


async def test_two_credentials_are_none_over_rest(served: ServedEngine, pymigrate: CommandLine) -> None:
    token = told(pymigrate("service-tokens", "create", "twice"))
    shown = [("authorization", f"Bearer {token}"), ("authorization", f"Bearer {token}")]
    transport = httpx.ASGITransport(RestServer(served.servicers, served.bearers).application)
    async with httpx.AsyncClient(transport=transport, base_url="http://rest") as client:
        assert (await client.get("/v1/caller", headers=shown)).status_code == 401
