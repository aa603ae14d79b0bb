"""Watches over both surfaces: the same answers, taken up again with their token, and nothing left behind when one side goes."""

import contextlib
import json
import threading
from collections.abc import Generator, Iterator
from typing import Any, cast

import grpc
import httpx
import pytest
from grpc_status import rpc_status

from pymigrate.engine.domain.run_states import DesiredState
from pymigrate.engine.entrypoints.cli.client import Client
from pymigrate.engine.entrypoints.rest.server import RestServer
from pymigrate.v1 import run_pb2
from pymigrate.v1.shape import to_json_data
from tests.integration.engine.served import BEARERS, SECONDS_MAX, TOKEN, ServedEngine, ask
from tests.unit.application.engines import ME, PLAN, phase

RUN = f"{PLAN}/runs/r"
PAUSED = run_pb2.StartRunRequest(parent=PLAN, run_id="r", run=run_pb2.Run(desired_state=run_pb2.DESIRED_STATE_PAUSED))
WAIT_SECONDS = 0.01


class Surface:
    """One way to watch the run of an engine."""

    def __init__(self, served: ServedEngine, client: Client, http: httpx.Client) -> None:
        self.served = served
        self.client = client
        self.http = http

    def watch(self, token: str = "") -> Generator[dict[str, Any], None, None]:
        """What is told, as JSON; closing the iterator hangs up."""
        raise NotImplementedError

    def refusal(self) -> tuple[object, str]:
        """The code and the reason of a watch that does not begin."""
        raise NotImplementedError


class Grpc(Surface):
    """RunService/WatchRun."""

    def watch(self, token: str = "") -> Generator[dict[str, Any], None, None]:
        request = run_pb2.WatchRunRequest(name=RUN, resume_token=token)
        call = self.client.runs.WatchRun(request, metadata=self.client.metadata, timeout=SECONDS_MAX)
        try:
            for answer in call:
                yield json.loads(json.dumps(to_json_data(answer)))
        finally:
            call.cancel()

    def refusal(self) -> tuple[object, str]:
        with pytest.raises(grpc.RpcError) as refused:
            next(self.watch())
        status = rpc_status.from_call(cast(grpc.Call, refused.value))  # every error of a stub is a call too
        assert status is not None
        return refused.value.code(), status.message


class Sse(Surface):
    """GET …:watch."""

    def watch(self, token: str = "") -> Generator[dict[str, Any], None, None]:
        headers = {"last-event-id": token} if token else {}
        with self.http.stream("GET", f"/v1/{RUN}:watch", headers=headers) as response:
            for line in response.iter_lines():
                if line.startswith('data: {"run"'):
                    yield json.loads(line.removeprefix("data: "))

    def refusal(self) -> tuple[object, str]:
        response = self.http.get(f"/v1/{RUN}:watch")
        return response.status_code, response.json()["detail"]


@pytest.fixture
def http(served: ServedEngine) -> Iterator[httpx.Client]:
    """A client of the engine's REST server."""

    async def start() -> tuple[RestServer, int]:
        server = RestServer(served.servicers, BEARERS)
        return server, await server.start("127.0.0.1:0")

    server, port = served.do(start())
    headers = {"authorization": f"Bearer {TOKEN}"}
    with httpx.Client(
        base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=SECONDS_MAX, trust_env=False, verify=False
    ) as one:
        yield one
    served.do(server.stop())


@pytest.fixture(params=[Grpc, Sse], ids=["grpc", "sse"])
def surface(request: pytest.FixtureRequest, served: ServedEngine, client: Client, http: httpx.Client) -> Surface:
    """Each way to watch, with a run that is paused."""
    served.do(served.engine.declare({"a": phase("orders"), "b": phase("items", needs=["a"])}))
    ask(client, client.runs.StartRun, PAUSED)
    kind: type[Surface] = request.param
    return kind(served, client, http)


def go_on(served: ServedEngine) -> None:
    """Resumes the run."""
    served.do(served.engine.runs.steer(RUN, DesiredState.RUNNING, ME))


def require_nobody_watches(served: ServedEngine) -> None:
    """Fails unless every topic has ended before long."""
    pause = threading.Event()
    for _ in range(int(SECONDS_MAX / WAIT_SECONDS)):
        if not len(served.engine.topics) and not served.engine.topics.watchers:
            return
        pause.wait(WAIT_SECONDS)
    raise AssertionError(f"{served.engine.topics.watchers} still watch")


def test_a_run_is_told_as_it_stands_then_what_changes_to_its_end(surface: Surface) -> None:
    watch = surface.watch()
    assert next(watch)["run"]["state"] == "paused"
    go_on(surface.served)
    told = list(watch)
    assert told[0]["events"][0]["type"] == "run.steered"
    assert (told[-1]["run"]["state"], told[-1]["run"]["rows"]) == ("succeeded", 20)
    sequences = [event["sequence"] for answer in told for event in answer.get("events", [])]
    assert sequences == list(range(sequences[0], int(told[-1]["resumeToken"]) + 1))
    require_nobody_watches(surface.served)


def test_a_watch_goes_on_after_its_token(surface: Surface) -> None:
    with contextlib.closing(surface.watch()) as watch:
        token = next(watch)["resumeToken"]
    go_on(surface.served)
    with contextlib.closing(surface.watch(token)) as watch:
        first = next(watch)
    assert [event["sequence"] for event in first["events"]][:2] == [int(token) + 1, int(token) + 2]


def test_both_surfaces_tell_the_same(surface: Surface) -> None:
    others = (Grpc(surface.served, surface.client, surface.http), Sse(surface.served, surface.client, surface.http))
    one, other = (next(each.watch("1")) for each in others)
    assert one == other


def test_a_client_that_goes_leaves_nothing_behind(surface: Surface) -> None:
    watches = [surface.watch() for _ in range(3)]
    for watch in watches:
        next(watch)
    assert (len(surface.served.engine.topics), surface.served.engine.topics.watchers) == (1, 3)
    for watch in watches:
        watch.close()
    require_nobody_watches(surface.served)


def test_one_watcher_too_many_is_refused_with_what_to_do(surface: Surface) -> None:
    surface.served.engine.topics.watchers_max = 0
    code, told = surface.refusal()
    assert code in {grpc.StatusCode.RESOURCE_EXHAUSTED, 429}
    assert "try again later" in told


def test_an_engine_that_ends_tells_those_who_watch_to_come_back(surface: Surface) -> None:
    watch = surface.watch()
    next(watch)

    async def close() -> None:
        surface.served.engine.topics.close()

    surface.served.do(close())
    if isinstance(surface, Grpc):
        with pytest.raises(grpc.RpcError) as error:
            next(watch)
        assert error.value.code() is grpc.StatusCode.UNAVAILABLE
        assert "watch again with the last token" in str(error.value.details())
    else:
        assert list(watch) == []
    require_nobody_watches(surface.served)
