"""A revision made ready to be rehearsed: its limits, gates and windows are those of a run, and nothing of it is started."""

from datetime import timedelta

import pytest

from pymigrate.engine.application.estimating import estimates_of
from pymigrate.engine.application.rehearsing import Stage, stage_of
from pymigrate.engine.domain.drawing import drawn
from pymigrate.engine.domain.errors import FailedPrecondition
from pymigrate.engine.domain.run_states import RunState
from pymigrate.engine.testing.clock import START
from pymigrate.v1 import plan_pb2, run_pb2
from tests.unit.application.inquirers import a_revision


def stage(revision: run_pb2.PlanRevision, *, environment_lanes: int = 0, lanes: int = 50) -> Stage:
    found = estimates_of(revision, {}, lambda place, basis: {})
    return stage_of(revision, found, environment_lanes, lanes, START)


def makespan(found: Stage) -> float:
    rehearsed, _ = found.median(START)
    return rehearsed.makespan_seconds


def lanes_peak(found: Stage) -> int:
    rehearsed, _ = found.median(START)
    return rehearsed.lanes_peak


def test_a_rehearsal_ends_as_a_run_does_and_leaves_the_stage_as_it_was() -> None:
    found = stage(a_revision("items", "orders"))
    _, aggregate = found.median(START)
    assert aggregate.run.state is RunState.SUCCEEDED
    assert found.aggregate.run.state is RunState.PENDING
    assert makespan(found) == makespan(found) > 0


@pytest.mark.parametrize(
    ("plan", "environment", "engine", "connection", "peak"),
    [(0, 0, 50, 0, 8), (3, 0, 50, 0, 3), (0, 2, 50, 0, 2), (0, 0, 5, 0, 5), (4, 3, 50, 1, 1)],
)
def test_lanes_are_limited_as_a_runs_are(plan: int, environment: int, engine: int, connection: int, peak: int) -> None:
    revision = a_revision("items", "orders", lanes=4)
    revision.plan.lanes_max = plan
    revision.connections["legacy"].lanes_max = connection
    assert lanes_peak(stage(revision, environment_lanes=environment, lanes=engine)) == peak


def test_a_rate_of_a_source_is_kept() -> None:
    revision = a_revision("orders")
    revision.connections["legacy"].bytes_per_second_max = 100_000  # of 100 MB
    assert makespan(stage(revision)) == pytest.approx(1_000, rel=0.05)


def test_gates_are_approved_when_they_are_first_waited_at() -> None:
    revision = a_revision("orders")
    before = makespan(stage(revision))
    for name, point in (("start", plan_pb2.GATE_POINT_BEFORE_START), ("end", plan_pb2.GATE_POINT_BEFORE_PUBLICATION)):
        revision.plan.phases["sales"].gates[name].point = point
    assert makespan(stage(revision)) == before


def test_plans_that_it_depends_on_have_succeeded() -> None:
    revision = a_revision("orders")
    revision.plan.dependencies.append("other")
    assert makespan(stage(revision)) > 0


def test_a_window_is_waited_for() -> None:
    revision = a_revision("orders")
    before = makespan(stage(revision))
    revision.plan.schedule.windows["w"].start, revision.plan.schedule.windows["w"].end = "02:00", "06:00"
    assert makespan(stage(revision)) == pytest.approx(before + timedelta(hours=2).total_seconds(), abs=1)


def test_a_plan_without_datasets_that_fit_any_window_is_refused() -> None:
    revision = a_revision("orders")
    revision.plan.schedule.windows["w"].start, revision.plan.schedule.windows["w"].end = "02:00", "02:30"
    revision.plan.schedule.blackouts["b"].start, revision.plan.schedule.blackouts["b"].end = "2020-01-01", "2099-01-01"
    with pytest.raises(FailedPrecondition, match="would wait for ever"):
        stage(revision).median(START)


def test_draws_of_a_stage_vary_around_its_median() -> None:
    found = stage(a_revision("orders"))
    draws = sorted(drawn(found.drawing(START, 1), found.aggregate, 101).makespans)
    assert draws[50] == pytest.approx(makespan(found), rel=0.2)
    assert draws[0] < makespan(found) < draws[-1]
