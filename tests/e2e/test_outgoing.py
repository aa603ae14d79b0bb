"""A real engine that tells receivers outside what happens: receivers that fail, hang and reset, and an engine that is killed meanwhile."""

import json
import threading
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from pymigrate.v1 import run_pb2
from tests.e2e.engines import EngineProcess, running_engine
from tests.e2e.told_run import CALLER, run_once
from tests.sinks import HttpSink, Posted, Said
from tests.unit.application.openlineage import breaches

TOKEN = "a-token-that-nobody-reads"


@pytest.fixture
def lineage() -> Iterator[HttpSink]:
    """A receiver of lineage."""
    server = HttpSink()
    yield server
    server.close()


@pytest.fixture
def engine(
    tmp_path: Path, sink: HttpSink, lineage: HttpSink, monkeypatch: pytest.MonkeyPatch
) -> Iterator[EngineProcess]:
    """An engine that tells both."""
    monkeypatch.setenv("PYMIGRATE_EVENTS_URL", f"{sink.url}/events")
    monkeypatch.setenv("PYMIGRATE_EVENTS_TOKEN", "env://RECEIVER_TOKEN")
    monkeypatch.setenv("RECEIVER_TOKEN", TOKEN)
    monkeypatch.setenv("PYMIGRATE_LINEAGE_URL", f"{lineage.url}/api/v1/lineage")
    with running_engine(tmp_path / "home") as process:
        yield process


def in_trouble(over: threading.Event) -> Any:
    """An answer that is another trouble each time, and none later on."""
    turns = count()

    def answer(_: Posted) -> Said:
        match next(turns):
            case 0:
                return Said(hangs_until=over, status=503)
            case 1 | 5:
                return Said(is_reset=True)
            case 2 | 7:
                return Said(500)
            case 3 | 9:
                return Said(429, retry_after="1")
            case _:
                return Said()

    return answer


def events_of(engine: EngineProcess, run: str) -> list[run_pb2.RunEvent]:
    """What the engine itself tells of a run."""
    with engine.client() as client:
        request = run_pb2.ListRunEventsRequest(parent=run, page_size=1_000)
        return list(client.runs.ListRunEvents(request, metadata=client.metadata, timeout=60).events)


def documents(sink: HttpSink) -> list[dict[str, Any]]:
    """What a receiver has taken, without repetitions, in the order in which each came first."""
    found = [json.loads(posted.body) for posted in list(sink.taken)]
    return list(
        {json.dumps(each.get("id") or [each["eventType"], each["run"]["runId"]]): each for each in found}.values()
    )


def test_receivers_in_trouble_and_a_killed_engine_lose_nothing_and_break_no_order(
    engine: EngineProcess, sink: HttpSink, lineage: HttpSink, tmp_path: Path
) -> None:
    over = threading.Event()
    sink.answer, lineage.answer = in_trouble(over), in_trouble(over)
    run = run_once(engine, tmp_path)
    assert run.state == run_pb2.RUN_STATE_SUCCEEDED, run
    engine.kill()
    over.set()
    engine.start()
    expected = events_of(engine, run.name)

    def of_run() -> list[dict[str, Any]]:
        return [each for each in documents(sink) if each["data"].get("run") == run.name]

    sink.wait_for(lambda: len(of_run()) >= len(expected))
    told = [(each["data"]["sequence"], each["type"].removeprefix("io.pymigrate.")) for each in of_run()]
    assert told == [(event.sequence, event.type) for event in expected]
    assert {each["traceparent"].split("-")[1] for each in of_run()} == {CALLER.trace_id}
    assert {posted.headers["authorization"] for posted in sink.asked} == {f"Bearer {TOKEN}"}
    assert "io.pymigrate.audit.start" in {each["type"] for each in documents(sink)}

    job = "prod.warehouse"
    lineage.wait_for(lambda: ("COMPLETE", job) in [(e["eventType"], e["job"]["name"]) for e in documents(lineage)])
    found = documents(lineage)
    assert [breaches(each) for each in found] == [[]] * len(found)
    written = {
        each["job"]["name"]: each["outputs"][0]["outputFacets"]["outputStatistics"]["rowCount"]
        for each in found
        if each["eventType"] == "COMPLETE" and each["job"]["name"].count(".") == 3
    }
    assert written == {f"{job}.sales.customers": 20_000, f"{job}.sales.orders": 20_000}
    assert TOKEN not in (engine.home / "engine.log").read_text()


def test_a_receiver_that_refuses_everything_stops_no_run(
    engine: EngineProcess, sink: HttpSink, lineage: HttpSink, tmp_path: Path
) -> None:
    sink.answer = lambda _: Said(400)
    run = run_once(engine, tmp_path)
    assert run.state == run_pb2.RUN_STATE_SUCCEEDED, run
    sink.wait_for(lambda: len(sink.asked) > len(events_of(engine, run.name)))
    assert engine.stop() == 0
    lines = [json.loads(line) for line in (engine.home / "engine.log").read_text().splitlines()]
    refused = [line for line in lines if line["event"] == "outgoing.refused"]
    assert {line["kind"] for line in refused} == {"cloud_events"}
    assert all("400" in line["said"] for line in refused)


def test_an_engine_whose_receiver_hangs_ends_as_any_other(
    engine: EngineProcess, sink: HttpSink, tmp_path: Path
) -> None:
    over = threading.Event()
    sink.answer = lambda _: Said(hangs_until=over)
    try:
        run = run_once(engine, tmp_path)
        sink.wait_for(lambda: bool(sink.asked))
        assert engine.stop() == 0
    finally:
        over.set()
    assert run.state == run_pb2.RUN_STATE_SUCCEEDED, run
