"""Attack: a caller writes where it calls from. The audit trail would name somebody else."""

import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

import grpc
import httpx
import pytest

from pymigrate.engine.adapters.clock import SystemClock
from pymigrate.engine.application.caller import Caller
from pymigrate.engine.entrypoints.grpc.server import Server
from pymigrate.engine.entrypoints.identity import Bearers, caller
from pymigrate.engine.entrypoints.origins import Origins
from pymigrate.engine.entrypoints.rest.server import RestServer
from pymigrate.v1 import environment_pb2, environment_pb2_grpc

TOKEN = "a-token-of-the-test"
FORGED = "203.0.113.7"


class Environments(environment_pb2_grpc.EnvironmentServiceServicer):
    """Keeps who called."""

    who = Caller("nobody")

    async def ListEnvironments(self, request: Any, context: Any) -> environment_pb2.ListEnvironmentsResponse:
        self.who = caller()
        return environment_pb2.ListEnvironmentsResponse()


@pytest.fixture
def environments() -> Environments:
    return Environments()  # type: ignore[abstract]  # the one call that is made


async def called(environments: Environments, surface: str, trusted: Sequence[str] = ()) -> str:
    """Where a call comes from that says that it comes from elsewhere."""
    bearers = Bearers(TOKEN, SystemClock(), origins=Origins(trusted))
    said = {"authorization": f"Bearer {TOKEN}", "x-forwarded-for": FORGED}
    servicers = {"EnvironmentService": environments}
    if surface == "rest":
        transport = httpx.ASGITransport(RestServer(servicers, bearers).application, client=("127.0.0.1", 40_000))
        async with httpx.AsyncClient(transport=transport, base_url="http://rest") as client:
            assert (await client.get("/v1/environments", headers=said)).status_code == 200
    else:
        async with served(Server(servicers, bearers)) as channel:
            stub = environment_pb2_grpc.EnvironmentServiceStub(channel)
            await stub.ListEnvironments(environment_pb2.ListEnvironmentsRequest(), metadata=tuple(said.items()))
    return environments.who.origin


@contextlib.asynccontextmanager
async def served(server: Server) -> AsyncIterator[grpc.aio.Channel]:
    """A channel to a server, for as long as it is used."""
    port = await server.start("127.0.0.1:0")
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield channel
    await server.stop(0)


@pytest.mark.parametrize("surface", ["rest", "grpc"])
async def test_nobody_says_where_it_calls_from(environments: Environments, surface: str) -> None:
    assert await called(environments, surface) == "127.0.0.1"


@pytest.mark.parametrize("surface", ["rest", "grpc"])
async def test_but_a_proxy_that_is_trusted(environments: Environments, surface: str) -> None:
    assert await called(environments, surface, ["127.0.0.0/8"]) == FORGED
