"""Looks at both sides of datasets: all that stands against them, raised at once for a run, and told dataset by dataset for an estimate."""

import asyncio
from itertools import count

import pytest

from pymigrate.engine.application.inquiries import Inquiries
from pymigrate.engine.application.inspections import Inspections
from pymigrate.engine.application.joint_looks import JointLooks
from pymigrate.engine.domain.errors import InvalidDefinition, SourceMissing, SystemUnavailable
from pymigrate.engine.testing.clock import ManualClock
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


async def test_those_who_want_to_know_the_same_share_a_look_until_a_host_takes_it() -> None:
    ids = count()
    inquiries = Inquiries(lambda: f"q{next(ids)}", lambda: None)
    inspections = Inspections(inquiries, JointLooks(ManualClock()))
    revisions = [uninspected("a") for _ in range(3)]

    async def ask(number: int) -> "asyncio.Task[None]":
        asking = asyncio.create_task(inspections.require(revisions[number], ["sales"]))
        for _ in range(10):
            await asyncio.sleep(0)
        return asking

    def answer(path: str) -> None:
        inquiries.finish(given.id, given.fence, worker_pb2.TaskResult(inspect=run_pb2.Inspection(path=path)))

    early = [await ask(0), await ask(1)]
    affinity = next(iter(inquiries.demand()))
    assert inquiries.demand() == {affinity: 1}
    waiting = inquiries.waiting(affinity)
    assert waiting is not None
    given = inquiries.lease(waiting, "h", 15)
    late = await ask(2)
    answer("arrow")
    await asyncio.gather(*early)
    assert [revision.inspections["sales/a"].path for revision in revisions[:2]] == ["arrow", "arrow"]
    assert not late.done()
    for _ in range(10):
        await asyncio.sleep(0)
    waiting = inquiries.waiting(affinity)
    assert waiting is not None
    given = inquiries.lease(waiting, "h", 15)
    answer("csv")
    await late
    assert revisions[2].inspections["sales/a"].path == "csv"
