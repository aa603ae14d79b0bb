"""ScaleRun and WatchRuns over both surfaces, and from the command line."""

import contextlib
import json
from collections.abc import Generator, Iterator
from typing import Any

import grpc
import httpx
import pytest

from pymigrate.engine.entrypoints.cli.client import Client
from pymigrate.engine.entrypoints.rest.server import RestServer
from pymigrate.v1 import run_pb2
from tests.integration.engine.command_line import CommandLine
from tests.integration.engine.served import BEARERS, SECONDS_MAX, TOKEN, ServedEngine, ask
from tests.unit.application.engines import PLAN, phase

RUN = f"{PLAN}/runs/r"
PAUSED = run_pb2.StartRunRequest(parent=PLAN, run_id="r", run=run_pb2.Run(desired_state=run_pb2.DESIRED_STATE_PAUSED))
EVERYTHING = "environments/-/plans/-"


@pytest.fixture
def http(served: ServedEngine) -> Iterator[httpx.Client]:
    """A client of the engine's REST server."""

    async def start() -> tuple[RestServer, int]:
        server = RestServer(served.servicers, BEARERS)
        return server, await server.start("127.0.0.1:0")

    server, port = served.do(start())
    headers = {"authorization": f"Bearer {TOKEN}"}
    base = f"http://127.0.0.1:{port}"
    with httpx.Client(base_url=base, headers=headers, timeout=SECONDS_MAX, trust_env=False, verify=False) as one:
        yield one
    served.do(server.stop())


@pytest.fixture
def paused(served: ServedEngine, client: Client) -> ServedEngine:
    """An engine with a run that is paused."""
    served.do(served.engine.declare({"a": phase("orders")}))
    ask(client, client.runs.StartRun, PAUSED)
    return served


def watched(client: Client, parent: str = EVERYTHING, *, active_only: bool = False) -> Generator[Any, None, None]:
    """What WatchRuns tells; closing the iterator hangs up."""
    request = run_pb2.WatchRunsRequest(parent=parent, active_only=active_only)
    call = client.runs.WatchRuns(request, metadata=client.metadata, timeout=SECONDS_MAX)
    try:
        yield from call
    finally:
        call.cancel()


def scale(client: Client, lanes_max: int, name: str = RUN) -> run_pb2.Run:
    """Calls ScaleRun."""
    found: run_pb2.Run = ask(client, client.runs.ScaleRun, run_pb2.ScaleRunRequest(name=name, lanes_max=lanes_max))
    return found


def test_a_run_is_scaled_and_whoever_watches_runs_is_told(paused: ServedEngine, client: Client) -> None:
    with contextlib.closing(watched(client)) as watch:
        first = next(watch)
        assert ([run.name for run in first.runs], first.is_complete) == ([RUN], True)
        assert (first.runs[0].lanes_max, first.runs[0].lane_counts.pending) == (0, 1)
        assert scale(client, 3).lanes_max == 3
        assert [run.lanes_max for run in next(watch).runs] == [3]
        client.runs.ResumeRun(run_pb2.ResumeRunRequest(name=RUN), metadata=client.metadata, timeout=SECONDS_MAX)
        states = [run.state for answer in until_succeeded(watch) for run in answer.runs]
    assert states[-1] == run_pb2.RUN_STATE_SUCCEEDED
    assert ask(client, client.runs.GetRun, run_pb2.GetRunRequest(name=RUN)).lane_counts.done == 1
    with contextlib.closing(watched(client, PLAN, active_only=True)) as watch:
        assert next(watch) == run_pb2.WatchRunsResponse(is_complete=True)


def until_succeeded(watch: Iterator[Any]) -> Iterator[Any]:
    """What is told until the run has succeeded."""
    for answer in watch:
        yield answer
        if any(run.state == run_pb2.RUN_STATE_SUCCEEDED for run in answer.runs):
            return


@pytest.mark.parametrize("lanes_max", [-1, 1_001, 2**31 - 1, -(2**31)])
def test_a_limit_out_of_bounds_is_refused_with_its_field(paused: ServedEngine, client: Client, lanes_max: int) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        scale(client, lanes_max)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "lanes_max: must be 0 to 1,000" in str(refused.value.details())


def test_a_run_that_has_ended_or_is_not_there_is_not_scaled(paused: ServedEngine, client: Client) -> None:
    ask(client, client.runs.CancelRun, run_pb2.CancelRunRequest(name=RUN))
    with pytest.raises(grpc.RpcError) as ended:
        scale(client, 1)
    assert ended.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    with pytest.raises(grpc.RpcError) as missing:
        scale(client, 1, f"{PLAN}/runs/none")
    assert missing.value.code() is grpc.StatusCode.NOT_FOUND


def test_rest_scales_and_watches_runs(paused: ServedEngine, http: httpx.Client) -> None:
    assert http.post(f"/v1/{RUN}:scale", json={"lanesMax": 4}).json()["lanesMax"] == 4
    refused = http.post(f"/v1/{RUN}:scale", json={"lanesMax": 5_000})
    assert (refused.status_code, refused.json()["violations"][0]["field"]) == (400, "lanes_max")
    with http.stream("GET", f"/v1/{EVERYTHING}/runs:watch", params={"activeOnly": "true"}) as response:
        lines = response.iter_lines()
        told = json.loads(next(line for line in lines if line.startswith("data:")).removeprefix("data: "))
    assert ([run["lanesMax"] for run in told["runs"]], told["isComplete"]) == ([4], True)


def test_an_engine_that_ends_ends_a_watch_of_runs(paused: ServedEngine, client: Client) -> None:
    watch = watched(client)
    next(watch)

    async def close() -> None:
        paused.engine.topics.close()

    paused.do(close())
    with pytest.raises(grpc.RpcError) as error:
        next(watch)
    assert error.value.code() is grpc.StatusCode.UNAVAILABLE
    assert "watch again" in str(error.value.details())


def test_the_command_line_scales_a_run(paused: ServedEngine) -> None:
    pymigrate = CommandLine(paused.home)
    assert pymigrate("scale", RUN, "2") == f"{RUN} paused, at most 2 lanes at once\n"
    assert pymigrate("scale", RUN, "0") == f"{RUN} paused, no limit of its own\n"
