"""data.pymigrate_impact: what it asks of the engine, how long it waits, and what becomes of the answer."""

import math
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from tf.gen import tfplugin_pb2 as pb
from tf.utils import to_dynamic_value

from pymigrate.provider.data_sources.impact import REHEARSE_TIMEOUT_SECONDS, ImpactDataSource
from pymigrate.provider.sdk.servicer import Servicer
from pymigrate.provider.sdk.values import read_value
from pymigrate.v1 import environment_pb2, impact_pb2, plan_pb2
from tests.unit.provider.impact_engine import ImpactEngine, configured, refuse, stay_away

PLAN = "environments/small/plans/small"
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[ImpactEngine]:
    """An engine that tells an impact of a plan of one phase."""
    engine = ImpactEngine(tmp_path / "engine")
    engine.analyze = lambda request, call: impact()
    yield engine
    engine.stop()


def impact() -> impact_pb2.Impact:
    """An impact with a little of everything."""
    told = impact_pb2.Impact(
        plan=PLAN,
        plan_hash="abc",
        draws=200,
        seed=7,
        critical_path=["sales"],
        lane_uses=[impact_pb2.LaneUse(seconds=0.5, lanes=2)],
        resources=impact_pb2.Resources(connections_peak={"crm": 3}, staging_bytes=-1),
        unknowns=["Rows of `people` are not known."],
    )
    told.start_time.FromJsonString("2026-01-01T00:00:00Z")
    told.summary.rating = impact_pb2.IMPACT_RATING_HIGH
    told.summary.downtime_seconds.p50 = 12.5
    told.summary.makespan_seconds.p50 = math.nan
    told.summary.makespan_seconds.p90 = math.inf
    told.summary.costs["EUR"].p50 = 1_200
    phase = told.phases["sales"]
    phase.department = "sales"
    phase.downtime_policy = plan_pb2.DOWNTIME_POLICY_READ_ONLY
    phase.downtime_seconds.p50 = 0
    phase.end_time.p50.FromJsonString("2026-01-01T00:01:00Z")
    phase.systems.add(
        department="sales", system="crm", effect="read_only", criticality=environment_pb2.CRITICALITY_HIGH
    )
    phase.datasets["people"].basis = "measured"
    told.departments["sales"].users = 40
    return told


def read(servicer: Servicer, **config: Any) -> tuple[Any, list[Any]]:
    """Reads as Terraform does: the state and the diagnostics."""
    whole = dict.fromkeys(ImpactDataSource.get_schema().by_name) | {"plan": PLAN} | config
    request = pb.ReadDataSource.Request(type_name="pymigrate_impact", config=to_dynamic_value(whole))
    answer = servicer.ReadDataSource(request, None)
    return read_value(answer.state), list(answer.diagnostics)


def test_the_answer_is_told_in_the_contracts_words_with_maps_by_name(engine: ImpactEngine) -> None:
    state, problems = read(configured(engine.home))
    assert not problems
    assert state["summary"]["rating"] == "high"
    assert float(state["summary"]["downtime_seconds"]["p50"]) == 12.5
    assert state["summary"]["costs"]["EUR"]["p50"] == 1_200
    phase = state["phases"]["sales"]
    assert (phase["downtime_policy"], phase["end_time"]["p50"]) == ("read_only", "2026-01-01T00:01:00Z")
    assert (phase["systems"][0]["criticality"], phase["datasets"]["people"]["basis"]) == ("high", "measured")
    assert state["departments"]["sales"]["users"] == 40
    assert state["resources"]["connections_peak"] == {"crm": 3}
    assert (state["critical_path"], state["plan_hash"]) == (["sales"], "abc")


def test_a_zero_is_told_as_a_zero_and_what_is_not_there_as_null(engine: ImpactEngine) -> None:
    state, _ = read(configured(engine.home))
    assert state["phases"]["sales"]["downtime_seconds"] == {"p50": 0, "p90": 0}
    assert state["phases"]["sales"]["breaches"] == []
    assert state["phases"]["sales"]["window"] is None
    assert state["phases"]["sales"]["rating"] is None
    assert state["summary"]["best_start_time"] is None
    assert state["resources"]["staging_bytes"] == -1


def test_a_figure_that_is_no_number_is_null(engine: ImpactEngine) -> None:
    state, problems = read(configured(engine.home))
    assert not problems
    assert state["summary"]["makespan_seconds"] == {"p50": None, "p90": None}


def test_every_field_of_the_request_and_the_answer_is_there_but_lanes_over_time() -> None:
    fields = {*impact_pb2.AnalyzeImpactRequest.DESCRIPTOR.fields_by_name, *impact_pb2.Impact.DESCRIPTOR.fields_by_name}
    assert fields - ImpactDataSource.get_schema().by_name.keys() == {"lane_uses"}


def test_what_was_not_given_is_told_as_the_engine_chose_it(engine: ImpactEngine) -> None:
    state, _ = read(configured(engine.home))
    assert (state["draws"], state["seed"], state["start_time"]) == (200, 7, "2026-01-01T00:00:00Z")


def test_every_argument_reaches_the_engine_and_stays_as_it_was_written(engine: ImpactEngine) -> None:
    config = {
        "draws": 50,
        "seed": 3,
        "start_time": "2026-02-01T01:00:00+01:00",
        "probe_seconds_max": -1,
        "remeasures": True,
    }
    state, _ = read(configured(engine.home), **config)
    (asked,) = engine.asked
    assert (asked.plan, asked.draws, asked.seed, asked.probe_seconds_max) == (PLAN, 50, 3, -1)
    assert asked.remeasures
    assert asked.start_time.ToJsonString() == "2026-02-01T00:00:00Z"
    assert {name: state[name] for name in config} == config


@pytest.mark.parametrize(("asked", "probing"), [(None, 30), (0, 30), (-1, 0), (600, 600)])
def test_it_waits_as_long_as_the_engine_may_probe_and_rehearse(
    engine: ImpactEngine, asked: int | None, probing: int
) -> None:
    read(configured(engine.home), probe_seconds_max=asked)
    (left,) = engine.seconds_left
    assert probing + REHEARSE_TIMEOUT_SECONDS - 10 < left <= probing + REHEARSE_TIMEOUT_SECONDS + 1


def test_a_time_that_is_none_is_refused_at_its_attribute_without_a_call(engine: ImpactEngine) -> None:
    _, (problem,) = read(configured(engine.home), start_time="tomorrow")
    assert problem.attribute.steps[0].attribute_name == "start_time"
    assert "2026-01-31T12:00:00Z" in problem.detail
    assert not engine.asked


def test_an_error_of_the_engine_is_one_of_the_data_source(engine: ImpactEngine) -> None:
    engine.analyze = refuse(grpc.StatusCode.NOT_FOUND, "there is no environments/small/plans/small")
    _, (problem,) = read(configured(engine.home))
    assert problem.summary == f"The impact of {PLAN} can't be told"
    assert "there is no" in problem.detail


def test_an_engine_that_tells_no_impact_is_said_to_be_older(tmp_path: Path) -> None:
    engine = ImpactEngine(tmp_path / "engine", has_impact=False)
    _, (problem,) = read(configured(engine.home))
    engine.stop()
    assert "older than this provider" in problem.detail


def test_an_interruption_ends_the_wait(engine: ImpactEngine) -> None:
    engine.analyze = stay_away
    servicer = configured(engine.home)
    problems: list[Any] = []
    reading = threading.Thread(target=lambda: problems.extend(read(servicer)[1]))
    reading.start()
    assert engine.under_way.wait(30)
    servicer.stopping.set()
    reading.join(30)
    assert "interrupted" in problems[0].summary


@pytest.mark.parametrize(("given", "sent"), [(TRACEPARENT, [TRACEPARENT]), ("", []), ("nonsense\n", [])])
def test_the_trace_of_whoever_runs_terraform_goes_along(
    engine: ImpactEngine, given: str, sent: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACEPARENT", given)
    heard: list[str] = []

    def analyze(request: Any, call: Any) -> impact_pb2.Impact:
        heard.extend(value for key, value in call.invocation_metadata() if key == "traceparent")
        return impact()

    engine.analyze = analyze
    read(configured(engine.home))
    assert heard == sent
