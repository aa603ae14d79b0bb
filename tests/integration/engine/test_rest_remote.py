"""REST as a gRPC client: what goes along with a call, and how it follows an engine that goes and comes."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from pymigrate.engine.adapters.clock import SystemClock
from pymigrate.engine.entrypoints.engine_access import EngineAccess
from pymigrate.engine.entrypoints.grpc.channel import EngineChannel
from pymigrate.engine.entrypoints.grpc.server import Server
from pymigrate.engine.entrypoints.identity import Bearers, caller
from pymigrate.engine.entrypoints.rest.remote import follow_health, remote_services
from pymigrate.engine.entrypoints.rest.remote_identity import RemoteBearers
from pymigrate.engine.entrypoints.rest.server import RestServer
from pymigrate.v1 import access_pb2, access_pb2_grpc, environment_pb2, environment_pb2_grpc

TOKEN = "a-token-of-the-test"
BEARERS = Bearers(TOKEN, SystemClock())
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Environments(environment_pb2_grpc.EnvironmentServiceServicer):
    """Keeps what came along with a call."""

    def __init__(self) -> None:
        self.metadata: dict[str, Any] = {}
        self.side = ""
        self.principal = ""

    async def ListEnvironments(self, request: Any, context: Any) -> environment_pb2.ListEnvironmentsResponse:
        self.metadata, self.side = dict(context.invocation_metadata()), caller().managed_by
        self.principal = caller().principal
        return environment_pb2.ListEnvironmentsResponse()


class Access(access_pb2_grpc.AccessServiceServicer):
    """Says who calls."""

    async def GetCaller(self, request: Any, context: Any) -> access_pb2.CallerInfo:
        return access_pb2.CallerInfo(principal=caller().principal)


class Engine:
    """A gRPC server of one service, in a home."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.environments = Environments()  # type: ignore[abstract]  # the one call that is made

    async def start(self) -> None:
        servicers = {"EnvironmentService": self.environments, "AccessService": Access()}  # type: ignore[abstract]  # the one call that is made
        self._server = Server(servicers, BEARERS)
        port = await self._server.start("127.0.0.1:0")
        (self.home / "endpoint").write_text(f"127.0.0.1:{port}\n")
        await self._server.tell_ready()

    async def stop(self) -> None:
        await self._server.stop(0)


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Engine]:
    engine = Engine(tmp_path)
    await engine.start()
    yield engine
    await engine.stop()


@pytest.fixture
async def channel(tmp_path: Path) -> AsyncIterator[EngineChannel]:
    channel = EngineChannel(EngineAccess(tmp_path))
    yield channel
    await channel.close()


async def listed(channel: EngineChannel, **headers: str) -> httpx.Response:
    given = {"authorization": f"Bearer {TOKEN}"} | headers
    bearers = RemoteBearers(channel, SystemClock())
    application = RestServer(remote_services(channel, ["EnvironmentService"]), bearers).application
    async with httpx.AsyncClient(transport=httpx.ASGITransport(application), base_url="http://rest") as client:
        return await client.get("/v1/environments", headers=httpx.Headers(given, encoding="latin-1"))


async def test_token_side_and_trace_go_along(engine: Engine, channel: EngineChannel) -> None:
    told = await listed(channel, **{"pymigrate-managed-by": "git", "traceparent": TRACE, "tracestate": "a=1"})
    assert told.status_code == 200
    assert engine.environments.side == "git"
    found = {name: engine.environments.metadata.get(name) for name in ("traceparent", "tracestate")}
    assert found == {"traceparent": TRACE, "tracestate": "a=1"}


async def test_the_engine_is_called_by_whoever_calls(engine: Engine, channel: EngineChannel) -> None:
    short = BEARERS.short_tokens.make("abc", SystemClock().now() + timedelta(minutes=1))
    assert (await listed(channel, authorization=f"Bearer {short.text}")).status_code == 200
    assert engine.environments.principal == "local/abc"


@pytest.mark.parametrize("shown", ["", "Bearer wrong", "Basic YTpi"])
async def test_without_a_credential_that_the_engine_knows_nothing_is_called(
    engine: Engine, channel: EngineChannel, shown: str
) -> None:
    assert (await listed(channel, authorization=shown)).status_code == 401
    assert engine.environments.principal == ""


async def test_the_engine_hears_where_a_call_comes_from(engine: Engine, channel: EngineChannel) -> None:
    await listed(channel, **{"x-forwarded-for": "203.0.113.7"})
    assert engine.environments.metadata["x-forwarded-for"] == "127.0.0.1"


async def test_a_trace_that_is_no_text_is_left_behind(engine: Engine, channel: EngineChannel) -> None:
    assert (await listed(channel, traceparent="\xfc")).status_code == 200
    assert "traceparent" not in engine.environments.metadata


async def test_an_engine_on_another_port_is_found(engine: Engine, channel: EngineChannel) -> None:
    assert (await listed(channel)).status_code == 200
    await engine.stop()
    away = await listed(channel)
    assert (away.status_code, away.json()["reason"]) == (503, "ENGINE_UNAVAILABLE")
    assert away.headers["retry-after"] == "1"
    await engine.start()
    assert (await listed(channel)).status_code == 200


async def test_a_home_without_an_engine_is_a_503_that_says_what_to_do(tmp_path: Path, channel: EngineChannel) -> None:
    told = await listed(channel)
    assert told.status_code == 503
    assert f"pymigrate serve --home {tmp_path}" in told.json()["detail"]


async def test_readiness_is_the_engine_s(engine: Engine, channel: EngineChannel) -> None:
    told: asyncio.Queue[bool] = asyncio.Queue()
    asked: asyncio.Queue[float] = asyncio.Queue()
    going_on = asyncio.Event()

    async def sleep(seconds: float) -> None:
        asked.put_nowait(seconds)
        await going_on.wait()

    following = asyncio.create_task(follow_health(channel, told.put_nowait, sleep))
    assert await told.get() is True
    await engine.stop()
    assert await told.get() is False
    assert await asked.get() > 0
    await engine.start()
    going_on.set()
    while not await told.get():
        pass
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
