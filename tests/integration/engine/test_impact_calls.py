"""ImpactService by its calls: what is answered, and the codes and fields of what is refused."""

import math
from typing import cast

import grpc
import pytest
from google.protobuf.message import Message
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from pymigrate.engine.entrypoints.cli.client import Client
from pymigrate.v1 import impact_pb2, plan_pb2, run_pb2
from tests.integration.engine.served import ServedEngine, ask
from tests.unit.application.engines import PLAN, phase

RUN = f"{PLAN}/runs/r"
QUICK = {"draws": 5, "probe_seconds_max": -1.0}


@pytest.fixture
def declared(served: ServedEngine, client: Client) -> Client:
    """A client of an engine with a plan of two phases."""
    served.do(served.engine.declare({"a": phase("orders"), "b": phase("items", needs=["a"])}))
    return client


def analyzing(**fields: object) -> impact_pb2.AnalyzeImpactRequest:
    return impact_pb2.AnalyzeImpactRequest(**{"plan": PLAN, **QUICK, **fields})  # type: ignore[arg-type]  # fields by name


def comparing(**fields: object) -> impact_pb2.CompareImpactRequest:
    return impact_pb2.CompareImpactRequest(**{"plan": PLAN, **QUICK, **fields})  # type: ignore[arg-type]  # fields by name


def refused(client: Client, call: str, request: Message) -> tuple[grpc.StatusCode, list[str]]:
    """The code, and the fields that it is about."""
    with pytest.raises(grpc.RpcError) as error:
        ask(client, getattr(client.impacts, call), request)
    bad, fields = error_details_pb2.BadRequest(), []
    status = rpc_status.from_call(cast(grpc.Call, error.value))  # every error of a stub is a call too
    for detail in status.details if status else ():
        if detail.Unpack(bad):
            fields = [violation.field for violation in bad.field_violations]
    return error.value.code(), fields


def test_a_plan_is_analyzed_and_compared_with_variants(declared: Client) -> None:
    found = ask(declared, declared.impacts.AnalyzeImpact, analyzing())
    assert (found.plan, found.draws, list(found.critical_path)) == (PLAN, 5, ["a", "b"])
    left_out = impact_pb2.PhaseVariant(is_left_out=True)
    variants = {"without": impact_pb2.ImpactVariant(phases={"b": left_out})}
    answer = ask(declared, declared.impacts.CompareImpact, comparing(variants=variants))
    assert answer.base.summary.downtime_seconds == found.summary.downtime_seconds
    assert list(answer.variants["without"].phases) == ["a"]
    assert any(math.isnan(row.value) for row in answer.differences if row.subject == "phases/b")


def test_a_run_is_forecast_and_estimated(declared: Client, served: ServedEngine) -> None:
    held = run_pb2.Run(desired_state=run_pb2.DESIRED_STATE_PAUSED)
    ask(declared, declared.runs.StartRun, run_pb2.StartRunRequest(parent=PLAN, run_id="r", run=held))
    found = ask(declared, declared.impacts.ForecastRun, impact_pb2.ForecastRunRequest(name=RUN))
    assert sorted(found.phases) == ["a", "b"]
    assert found.unknowns[0] == "When the run is resumed: it is reckoned as if that were now."
    served.do(served.engine.followups.step())
    told = ask(declared, declared.impacts.GetRunEstimate, impact_pb2.GetRunEstimateRequest(name=RUN))
    assert told.makespan.estimated_seconds.p50 > 0
    assert math.isnan(told.makespan.actual_seconds)


@pytest.mark.parametrize(
    ("call", "request_", "fields"),
    [
        ("AnalyzeImpact", analyzing(draws=-1), ["draws"]),
        ("AnalyzeImpact", analyzing(probe_seconds_max=0.5, draws=2_000), ["draws", "probe_seconds_max"]),
        ("CompareImpact", comparing(), ["variants"]),
        (
            "CompareImpact",
            comparing(variants={"v": impact_pb2.ImpactVariant(lanes_max=-9)}),
            ["variants.v.lanes_max"],
        ),
    ],
)
def test_a_request_that_can_not_be_is_an_invalid_argument_with_its_fields(
    declared: Client, call: str, request_: Message, fields: list[str]
) -> None:
    assert refused(declared, call, request_) == (grpc.StatusCode.INVALID_ARGUMENT, fields)


@pytest.mark.parametrize(
    ("call", "request_"),
    [
        ("AnalyzeImpact", analyzing(plan=f"{PLAN}p")),
        ("CompareImpact", comparing(plan=f"{PLAN}p", variants={"v": impact_pb2.ImpactVariant()})),
        ("ForecastRun", impact_pb2.ForecastRunRequest(name=RUN)),
        ("GetRunEstimate", impact_pb2.GetRunEstimateRequest(name=RUN)),
    ],
)
def test_what_is_not_there_is_not_found(declared: Client, call: str, request_: Message) -> None:
    assert refused(declared, call, request_)[0] is grpc.StatusCode.NOT_FOUND


def test_a_plan_that_would_wait_for_ever_is_a_failed_precondition(served: ServedEngine, client: Client) -> None:
    never = phase("orders")
    never.schedule.windows["w"].CopyFrom(plan_pb2.Window(start="02:00", end="02:30"))
    never.schedule.blackouts["b"].CopyFrom(plan_pb2.Blackout(start="2020-01-01", end="2099-01-01"))
    served.do(served.engine.declare({"a": never}))
    assert refused(client, "AnalyzeImpact", analyzing())[0] is grpc.StatusCode.FAILED_PRECONDITION


def test_negative_declared_figures_are_refused_where_they_are_declared(declared: Client) -> None:
    changed = phase("orders")
    changed.name = f"{PLAN}/phases/a"
    changed.datasets["orders"].declared.rows = -1
    with pytest.raises(grpc.RpcError) as error:
        ask(declared, declared.plans.UpdatePhase, plan_pb2.UpdatePhaseRequest(phase=changed))
    assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "declared.rows" in str(error.value.details())
