"""Looks at both sides of datasets: all that stands against them, raised at once for a run, and told dataset by dataset for an estimate."""

import pytest

from pymigrate.engine.application.inspections import Inspections
from pymigrate.engine.domain.errors import InvalidDefinition, SourceMissing, SystemUnavailable
from pymigrate.v1 import plan_pb2, run_pb2, worker_pb2
from tests.unit.application.inquirers import AnsweredInquiries, a_revision

PLACES = [("sales", name) for name in ("a", "away", "gone", "odd")]


async def told(task: worker_pb2.Task) -> worker_pb2.TaskResult:
    """What a host finds of a dataset of this name."""
    match task.inspect.dataset.dataset_id:
        case "away":
            raise SystemUnavailable("no answer from legacy", field="source.connection")
        case "gone":
            raise SourceMissing("there is no relation `gone`", field="source.relation")
        case "odd":
            problem = plan_pb2.Problem(field="key", description="is no key")
            return worker_pb2.TaskResult(inspect=run_pb2.Inspection(path="csv", problems=[problem]))
        case _:
            return worker_pb2.TaskResult(inspect=run_pb2.Inspection(path="arrow"))


def uninspected(*datasets: str) -> run_pb2.PlanRevision:
    revision = a_revision(*datasets)
    revision.ClearField("inspections")
    return revision


async def test_what_stands_against_datasets_is_told_of_each_and_fails_nothing() -> None:
    revision = uninspected("a", "away", "gone", "odd")
    problems = await Inspections(AnsweredInquiries(told).inquiries).gather(revision, PLACES)
    assert {place: [(p.field, p.description) for p in found] for place, found in problems.items()} == {
        ("sales", "away"): [("phases.sales.datasets.away", "no answer from legacy")],
        ("sales", "gone"): [("phases.sales.datasets.gone.source.relation", "there is no relation `gone`")],
        ("sales", "odd"): [("phases.sales.datasets.odd.key", "is no key")],
    }
    assert sorted(revision.inspections) == ["sales/a", "sales/odd"]


async def test_a_dataset_without_problems_is_not_told_of() -> None:
    assert await Inspections(AnsweredInquiries(told).inquiries).gather(uninspected("a"), PLACES[:1]) == {}


async def test_a_run_is_refused_with_all_problems_at_once() -> None:
    with pytest.raises(InvalidDefinition) as raised:
        await Inspections(AnsweredInquiries(told).inquiries).require(uninspected("a", "gone", "odd"), ["sales"])
    assert [problem.field.rpartition(".")[2] for problem in raised.value.problems] == ["relation", "key"]


async def test_a_run_is_refused_for_now_where_a_system_is_away() -> None:
    with pytest.raises(SystemUnavailable, match="no answer from legacy"):
        await Inspections(AnsweredInquiries(told).inquiries).require(uninspected("a", "away"), ["sales"])


async def test_the_host_that_may_write_to_the_target_is_asked() -> None:
    asked = AnsweredInquiries(told)
    revision = uninspected("a")
    revision.connections["warehouse"].duckdb.path = "/w.duckdb"
    await Inspections(asked.inquiries).require(revision, ["sales"])
    assert asked.affinities == ["file:/w.duckdb@e"]
