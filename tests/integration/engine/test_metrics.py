"""The page of metrics over HTTP, and what the surfaces tell of themselves on it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import httpx
import pytest

from pymigrate.engine.adapters.clock import SystemClock
from pymigrate.engine.adapters.metrics.prometheus import PrometheusMetrics
from pymigrate.engine.application.access.authorizer import own_grants
from pymigrate.engine.domain.errors import PermanentError, StoreUnavailable
from pymigrate.engine.entrypoints.grpc.server import Server
from pymigrate.engine.entrypoints.instruments import Instruments
from pymigrate.engine.entrypoints.rest.metrics import MetricsServer
from pymigrate.engine.entrypoints.rest.server import RestServer
from pymigrate.engine.entrypoints.rest.streams import Streams
from pymigrate.engine.ports.metrics import Reading
from pymigrate.v1 import environment_pb2, environment_pb2_grpc, run_pb2, run_pb2_grpc
from tests.integration.engine.served import BEARERS, SECONDS_MAX, TOKEN
from tests.metrics_page import series

BEARER = {"authorization": f"Bearer {TOKEN}"}
Tuples = dict[tuple[str, ...], float]


class Environments(environment_pb2_grpc.EnvironmentServiceServicer):
    """Knows one environment, and is away for all others."""

    async def GetEnvironment(self, request: Any, context: Any) -> environment_pb2.Environment:
        if request.name != "environments/e":
            raise StoreUnavailable("away")
        return environment_pb2.Environment(name=request.name)


class Runs(run_pb2_grpc.RunServiceServicer):
    """Answers a watcher once, and then when it is told to."""

    def __init__(self) -> None:
        self.more = asyncio.Event()

    async def WatchRun(self, request: Any, context: Any) -> AsyncIterator[run_pb2.WatchRunResponse]:
        yield run_pb2.WatchRunResponse(resume_token="1")
        await self.more.wait()


class Scene:
    """Both surfaces on one set of instruments."""

    def __init__(self) -> None:
        clock = SystemClock()
        self.metrics = PrometheusMetrics(clock)
        instruments = Instruments(self.metrics, self.metrics, clock)
        self.runs = Runs()  # type: ignore[abstract]  # the other calls are not made
        servicers = {"EnvironmentService": Environments(), "RunService": self.runs}  # type: ignore[abstract]  # as above
        self.grpc = Server(servicers, BEARERS, instruments)
        self.streams = Streams()
        self.rest = RestServer(servicers, BEARERS, self.streams, instruments)

    async def told(self, name: str, *labels: str) -> Tuples:
        """The samples of a name on the page."""
        return series((await self.metrics.page()).body, name, *labels)


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    made = Scene()
    yield made
    await made.rest.stop()
    await made.grpc.stop(0)


@pytest.fixture
async def http(scene: Scene) -> AsyncIterator[httpx.AsyncClient]:
    port = await scene.rest.start("127.0.0.1:0")
    async with httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{port}", headers=BEARER, timeout=SECONDS_MAX, trust_env=False
    ) as client:
        yield client


@pytest.fixture
async def channel(scene: Scene) -> AsyncIterator[grpc.aio.Channel]:
    port = await scene.grpc.start("127.0.0.1:0")
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as opened:
        yield opened


METADATA = (("authorization", f"Bearer {TOKEN}"),)


async def test_whoever_shows_the_token_gets_the_page_as_a_scraper_asks_for_it(http: httpx.AsyncClient) -> None:
    await http.get("/v1/environments/e")
    plain = await http.get("/metrics")
    assert plain.status_code == 200
    assert plain.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert plain.headers["content-encoding"] == "gzip"
    assert "pymigrate_rest_request_duration_seconds_count" in plain.text
    strict = await http.get(
        "/metrics", headers={"accept": "application/openmetrics-text", "accept-encoding": "identity"}
    )
    assert strict.headers["content-type"] == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    assert "content-encoding" not in strict.headers
    assert strict.text.endswith("# EOF\n")


async def test_a_head_is_the_page_without_it(http: httpx.AsyncClient) -> None:
    headed = await http.head("/metrics")
    assert headed.status_code == 200
    assert headed.content == b""


@pytest.mark.parametrize("authorization", ["", "Bearer wrong", TOKEN])
async def test_whoever_does_not_show_the_token_gets_nothing(http: httpx.AsyncClient, authorization: str) -> None:
    refused = await http.get("/metrics", headers={"authorization": authorization})
    assert refused.status_code == 401
    assert refused.headers["www-authenticate"] == "Bearer"
    assert refused.json()["reason"] == "UNAUTHENTICATED"


async def test_nothing_but_a_get_is_served(http: httpx.AsyncClient) -> None:
    refused = await http.post("/metrics")
    assert refused.status_code == 405
    assert refused.headers["allow"] == "GET, HEAD"


async def test_a_collector_that_fails_does_not_fail_the_page(http: httpx.AsyncClient, scene: Scene) -> None:
    def failing() -> list[Reading]:
        raise OSError("the disk is full")

    scene.metrics.collect("failing", failing)
    answered = await http.get("/metrics")
    assert answered.status_code == 200
    assert 'pymigrate_collector_failures_total{collector="failing"} 1.0' in answered.text


async def test_rest_calls_are_timed_by_the_route_that_they_took_and_never_by_their_path(
    http: httpx.AsyncClient, scene: Scene
) -> None:
    await http.get("/v1/environments/e")
    await http.get("/v1/environments/other")
    await http.get("/v1/environments/e", headers={"authorization": "Bearer wrong"})
    await http.get("/v1/nowhere/at/all")
    await http.request("BREW", "/v1/environments/e")
    counts = await scene.told("pymigrate_rest_request_duration_seconds_count", "method", "route", "code")
    assert counts == {
        ("GET", "/v1/{name=environments/*}", "200"): 1.0,
        ("GET", "/v1/{name=environments/*}", "503"): 1.0,
        ("GET", "none", "401"): 1.0,
        ("GET", "none", "404"): 1.0,
        ("other", "none", "405"): 1.0,
    }


async def test_grpc_calls_are_timed_by_service_method_and_code(channel: grpc.aio.Channel, scene: Scene) -> None:
    stub = environment_pb2_grpc.EnvironmentServiceStub(channel)
    get = environment_pb2.GetEnvironmentRequest
    await stub.GetEnvironment(get(name="environments/e"), metadata=METADATA, timeout=SECONDS_MAX)
    for name, metadata, code in (
        ("environments/other", METADATA, grpc.StatusCode.UNAVAILABLE),
        ("environments/e", (), grpc.StatusCode.UNAUTHENTICATED),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.GetEnvironment(get(name=name), metadata=metadata, timeout=SECONDS_MAX)
        assert refused.value.code() is code
    counts = await scene.told("pymigrate_grpc_request_duration_seconds_count", "service", "method", "code")
    assert counts == {
        ("EnvironmentService", "GetEnvironment", "OK"): 1.0,
        ("EnvironmentService", "GetEnvironment", "UNAVAILABLE"): 1.0,
        ("EnvironmentService", "GetEnvironment", "UNAUTHENTICATED"): 1.0,
    }


async def test_a_stream_is_timed_until_its_first_answer_and_counted_while_it_is_open(
    channel: grpc.aio.Channel, http: httpx.AsyncClient, scene: Scene
) -> None:
    stub = run_pb2_grpc.RunServiceStub(channel)
    name = "environments/e/plans/p/runs/r"
    watched: Any = stub.WatchRun(run_pb2.WatchRunRequest(name=name), metadata=METADATA, timeout=SECONDS_MAX)
    assert (await watched.read()).resume_token == "1"
    async with http.stream("GET", f"/v1/{name}:watch") as events:
        lines = events.aiter_lines()
        assert await anext(lines)
        assert (scene.grpc.open_streams, scene.rest.open_streams) == (1, 1)
        assert await scene.told("pymigrate_grpc_request_duration_seconds_count", "method", "code") == {
            ("WatchRun", "OK"): 1.0
        }
        rest = await scene.told("pymigrate_rest_request_duration_seconds_count", "route")
        assert list(rest.values()) == [1.0]
        scene.runs.more.set()
        assert "event: end" in [line async for line in lines]
    assert await watched.read() is grpc.aio.EOF
    assert (scene.grpc.open_streams, scene.rest.open_streams) == (0, 0)
    assert await scene.told("pymigrate_grpc_request_duration_seconds_count", "method", "code") == {
        ("WatchRun", "OK"): 1.0
    }


async def test_the_page_alone_can_have_an_address_of_its_own(scene: Scene) -> None:
    server = MetricsServer(scene.metrics, BEARERS, own_grants)
    port = await server.start("127.0.0.1:0")
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=SECONDS_MAX, trust_env=False) as client:
        assert (await client.get("/metrics", headers=BEARER)).status_code == 200
        assert (await client.get("/metrics")).status_code == 401
        assert (await client.get("/livez")).text == "alive\n"
        assert (await client.get("/v1/environments", headers=BEARER)).status_code == 404
    with pytest.raises(PermanentError, match="PYMIGRATE_METRICS_LISTEN"):
        await MetricsServer(scene.metrics, BEARERS, own_grants).start(f"127.0.0.1:{port}")
    await server.stop()
