"""Traces of a real engine with real worker hosts, as a collector on loopback has them; and nothing of them where it is away."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pymigrate.v1 import run_pb2
from tests.collector import Collector
from tests.e2e.engines import EngineProcess, running_engine
from tests.e2e.told_run import CALLER, run_once
from tests.sinks import Said

TOKEN = "a-token-that-nobody-reads"
CALL = "pymigrate.v1.RunService/StartRun"


@pytest.fixture
def engine(tmp_path: Path, collector: Collector, monkeypatch: pytest.MonkeyPatch) -> Iterator[EngineProcess]:
    """An engine that tells the collector."""
    monkeypatch.setenv("PYMIGRATE_OTLP_ENDPOINT", collector.url)
    monkeypatch.setenv("PYMIGRATE_OTLP_TOKEN", "env://COLLECTOR_TOKEN")
    monkeypatch.setenv("COLLECTOR_TOKEN", TOKEN)
    with running_engine(tmp_path / "home") as process:
        yield process


def test_a_trace_leads_from_the_caller_down_to_a_chunk_in_another_process(
    engine: EngineProcess, collector: Collector, tmp_path: Path
) -> None:
    run = run_once(engine, tmp_path)
    assert run.state == run_pb2.RUN_STATE_SUCCEEDED, run
    engine.stop()
    collector.wait_for(lambda: bool(collector.named("chunk")) and bool(collector.named("run")))
    assert {span.trace_id for span in collector.spans()} >= {CALLER.trace_id}
    chunk = max(collector.named("chunk"), key=lambda span: int(str(span.attributes["pymigrate.chunk"])))
    assert collector.way_up(chunk) == ["host copy", "lane", "phase", "run", CALL, CALLER.span_id]
    assert chunk.trace_id == CALLER.trace_id
    assert (chunk.service, collector.named("run")[0].service) == ("pymigrate-host", "pymigrate-engine")
    assert chunk.pid != collector.named("run")[0].pid
    assert int(str(chunk.attributes["pymigrate.chunk"])) > 1
    lane_rows = sum(int(str(span.attributes["pymigrate.rows"])) for span in collector.named("lane"))
    assert sum(int(str(span.attributes["pymigrate.rows"])) for span in collector.named("chunk")) == lane_rows
    below_phase = {span.name for span in collector.spans() if collector.way_up(span)[:2] == ["phase", "run"]}
    assert below_phase >= {"wait", "lane", "verify", "publish"}
    assert {posted.headers["authorization"] for posted in collector.taken} == {f"Bearer {TOKEN}"}


def test_the_logs_of_engine_and_hosts_name_the_trace_and_no_secret(engine: EngineProcess, tmp_path: Path) -> None:
    run = run_once(engine, tmp_path)
    engine.stop()
    written = (engine.home / "engine.log").read_text()
    moments = [line for line in map(json.loads, written.splitlines()) if line["event"].startswith(("phase.", "run."))]
    assert {(line["run"], line["trace_id"]) for line in moments} == {(run.name, CALLER.trace_id)}
    hosts = "".join(path.read_text() for path in (engine.home / "logs").iterdir())
    tasks = [line for line in map(json.loads, hosts.splitlines()) if line["event"] in {"task.started", "task.ended"}]
    of_run = [line for line in tasks if line["task"].startswith(run.name)]
    assert of_run
    assert {(line["run"], line["trace_id"]) for line in of_run} == {(run.name, CALLER.trace_id)}
    assert len({line["span_id"] for line in of_run}) > 1
    assert TOKEN not in written + hosts


@pytest.mark.parametrize("trouble", ["hangs", "resets", "refuses"])
def test_a_collector_in_trouble_stops_neither_a_run_nor_the_engine_s_end(
    engine: EngineProcess, collector: Collector, tmp_path: Path, trouble: str
) -> None:
    over = threading.Event()
    said = {"hangs": Said(hangs_until=over), "resets": Said(is_reset=True), "refuses": Said(401)}[trouble]
    collector.answer = lambda _: said
    try:
        run = run_once(engine, tmp_path)
        assert run.state == run_pb2.RUN_STATE_SUCCEEDED, run
        collector.wait_for(lambda: bool(collector.asked))
        assert engine.stop() == 0
    finally:
        over.set()
    assert all(json.loads(line) for line in (engine.home / "engine.log").read_text().splitlines())
