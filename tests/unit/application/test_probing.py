"""Measuring by probes: what is asked of hosts, how long, and what is said of what could not be measured; hosts and time are the test's."""

import asyncio
from collections.abc import Callable, Mapping

import pytest

from pymigrate.engine.application.inspections import DatasetPlace
from pymigrate.engine.application.probing import Measurements, Probing, measured_hash
from pymigrate.engine.application.schedules import schedules_of
from pymigrate.engine.domain.errors import (
    DataRefused,
    EngineUnavailable,
    PyMigrateError,
    SourceMissing,
    SystemUnavailable,
)
from pymigrate.engine.testing.clock import ManualClock
from pymigrate.v1 import impact_pb2, plan_pb2, run_pb2, worker_pb2
from tests.unit.application.inquirers import AnsweredInquiries, a_revision

CHUNK_ROWS, CHUNK_BYTES, CHUNK_SECONDS = 1_000, 100_000, 0.1
OPEN_SECONDS, ANSWER_SECONDS = 0.2, 0.05
STEPS_MAX = 10_000


class Hosts:
    """Hosts that copy a chunk in a tenth of a second while two are at it at most, and each more slowly the more there are."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.asked = AnsweredInquiries(self._answer)
        self.fail: Callable[[worker_pb2.Task], PyMigrateError | None] = lambda _: None
        self.at_once = 0
        self.at_once_max = 0

    async def measure(
        self,
        revision: run_pb2.PlanRevision,
        seconds_max: float = 30.0,
        known: Mapping[DatasetPlace, impact_pb2.DatasetMeasure] | None = None,
        lanes_at_once: int = 1,
    ) -> Measurements:
        """What is found of all datasets."""
        places = [("sales", name) for name in revision.plan.phases["sales"].datasets]
        probing = Probing(self.asked.inquiries, self.clock)
        found = asyncio.create_task(probing.measure(revision, places, seconds_max, known or {}, lanes_at_once))
        for _ in range(STEPS_MAX):
            if found.done():
                break
            await self.clock.run_for(0.05)
        return await found

    @property
    def probes(self) -> list[worker_pb2.ProbeWork]:
        return [task.probe for task in self.asked.asked("probe")]

    def order(self) -> list[str]:
        """The datasets in the order in which they were first probed."""
        return list(dict.fromkeys(work.dataset.dataset_id for work in self.probes))

    async def _answer(self, task: worker_pb2.Task) -> worker_pb2.TaskResult:
        if error := self.fail(task):
            raise error
        if not task.HasField("probe"):
            return worker_pb2.TaskResult()
        self.at_once += 1
        self.at_once_max = max(self.at_once_max, self.at_once)
        await self.clock.sleep(OPEN_SECONDS)
        slower = max(1.0, self.at_once / 2)
        work, opening, each = task.probe, OPEN_SECONDS * slower, CHUNK_SECONDS * slower
        found = worker_pb2.Probed(open_seconds=opening, verify_seconds=-1, publish_seconds=-1, target_bytes=-1)
        while not found.chunks or not (
            len(found.chunks) * each >= work.seconds_max
            or (work.bytes_max and len(found.chunks) * CHUNK_BYTES >= work.bytes_max)
        ):
            found.chunks.add(rows=CHUNK_ROWS, bytes=CHUNK_BYTES, seconds=each, source_seconds=each / 2)
        if not work.is_copy_alone:
            found.verify_seconds = 0.1 + 0.02 * len(found.chunks)
            found.publish_seconds = 0.1 + 0.03 * len(found.chunks)
        spent = each * len(found.chunks) + max(0.0, found.verify_seconds) + max(0.0, found.publish_seconds)
        found.task_seconds = opening + spent
        await self.clock.sleep(opening - OPEN_SECONDS + spent + ANSWER_SECONDS)
        self.at_once -= 1
        return worker_pb2.TaskResult(probe=found)


@pytest.fixture
def hosts() -> Hosts:
    return Hosts()


async def test_a_dataset_is_measured_by_one_chunk_and_then_by_as_much_as_its_time_allows(hosts: Hosts) -> None:
    found = await hosts.measure(a_revision("orders"))
    warming, small, large = hosts.probes
    assert [warming.bytes_max, small.bytes_max, large.bytes_max] == [1, 1, 0]
    assert 5 < large.seconds_max < 30
    measure = found.measures["sales", "orders"]
    assert measure.copy.row_seconds == pytest.approx(CHUNK_SECONDS / CHUNK_ROWS)
    assert measure.copy.fixed_seconds == pytest.approx(OPEN_SECONDS)
    assert measure.verify.row_seconds == pytest.approx(0.02 / CHUNK_ROWS)
    assert measure.verify.fixed_seconds == pytest.approx(0.1)
    assert measure.publish.row_seconds == pytest.approx(0.03 / CHUNK_ROWS)
    assert measure.turnaround_seconds == pytest.approx(ANSWER_SECONDS, abs=1e-6)
    assert (measure.rows, measure.is_whole, list(measure.unknowns)) == (1_000_000, False, [])
    assert (found.unknowns, found.plan_unknowns) == ({}, [])


@pytest.mark.parametrize("seconds", [3.0, 10.0, 30.0])
@pytest.mark.parametrize("lanes", [1, 8])
async def test_measuring_ends_within_its_time(hosts: Hosts, seconds: float, lanes: int) -> None:
    revision = a_revision("a", "b", "c", lanes=4)
    found = await hosts.measure(revision, seconds, lanes_at_once=lanes)
    assert 0 < found.seconds <= seconds + 1.0


async def test_a_dataset_that_one_chunk_is_all_of_is_probed_no_more(hosts: Hosts) -> None:
    revision = a_revision("tiny", rows=CHUNK_ROWS)
    revision.inspections["sales/tiny"].source.is_exact_rows = True
    found = await hosts.measure(revision)
    assert [work.bytes_max for work in hosts.probes] == [1, 1]
    assert found.measures["sales", "tiny"].is_whole


async def test_the_largest_comes_first_and_one_of_each_kind_before_the_second_of_any(hosts: Hosts) -> None:
    revision = a_revision("a", "b", "c", "d")
    for name, rows in (("a", 1), ("b", 4), ("c", 3), ("d", 2)):
        revision.inspections[f"sales/{name}"].source.bytes = rows * 1_000_000
    revision.inspections["sales/d"].path = "csv"
    await hosts.measure(revision)
    assert hosts.order() == ["b", "d", "c", "a"]


async def test_what_there_is_no_time_for_is_said(hosts: Hosts) -> None:
    names = [f"d{number:02d}" for number in range(20)]
    found = await hosts.measure(a_revision(*names), 5.0)
    missed = [name for name in names if ("sales", name) not in found.measures]
    assert missed
    assert found.unknowns == {("sales", name): ["how long it takes: there was no time to probe it"] for name in missed}


async def test_every_probe_has_a_scratch_relation_and_a_staging_that_are_always_its_own(hosts: Hosts) -> None:
    revision = a_revision("orders", "items", lanes=3)
    revision.plan.phases["sales"].datasets["orders"].target.load_mode = plan_pb2.LOAD_MODE_MERGE
    await hosts.measure(revision, lanes_at_once=4)
    for work in hosts.probes:
        target = work.dataset.dataset.target
        assert target.relation.startswith(f"mart.{work.dataset.dataset_id}_probe")
        assert target.load_mode == plan_pb2.LOAD_MODE_REPLACE
    parts = {(work.dataset.dataset_id, work.range) for work in hosts.probes}
    assert len({work.dataset.staging_id for work in hosts.probes}) == len(parts)
    assert len({work.dataset.dataset.target.relation for work in hosts.probes}) == len(parts)
    again = Hosts()
    await again.measure(revision, lanes_at_once=4)
    assert {work.dataset.staging_id for work in again.probes} == {work.dataset.staging_id for work in hosts.probes}
    assert revision.plan.phases["sales"].datasets["orders"].target.relation == "mart.orders"


async def test_a_publication_that_was_measured_as_another_one_is_told(hosts: Hosts) -> None:
    revision = a_revision("orders")
    dataset = revision.plan.phases["sales"].datasets["orders"]
    dataset.target.load_mode = plan_pb2.LOAD_MODE_APPEND
    dataset.catch_up.SetInParent()
    measure = (await hosts.measure(revision)).measures["sales", "orders"]
    assert [each.partition(":")[0] for each in measure.unknowns] == [
        "how long rows take to be added to those that are there",
        "how long changes take to be brought in",
    ]


async def test_lanes_are_probed_at_once_as_a_run_would_have_them_and_half_as_many(hosts: Hosts) -> None:
    found = await hosts.measure(a_revision("a", "b", lanes=4), lanes_at_once=8)
    assert hosts.at_once_max == 8
    for name in ("a", "b"):
        slowdowns = found.measures["sales", name].slowdowns
        assert sorted(slowdowns) == [4, 8]
        assert [slowdowns[4], slowdowns[8]] == pytest.approx([2.0, 4.0])
    together = [work for work in hosts.probes if work.is_copy_alone]
    assert len(together) == 12
    assert {work.range for work in together} == {f"part {number}" for number in range(4)}


async def test_no_more_lanes_are_probed_at_once_than_a_connection_bears(hosts: Hosts) -> None:
    revision = a_revision("a", "b", lanes=4)
    revision.connections["legacy"].lanes_max = 2
    found = await hosts.measure(revision, lanes_at_once=8)
    assert hosts.at_once_max == 2
    assert dict(found.measures["sales", "a"].slowdowns) == {2: pytest.approx(1.0)}


async def test_lanes_that_there_is_no_time_for_are_told(hosts: Hosts) -> None:
    found = await hosts.measure(a_revision("a", lanes=8), 1.2, lanes_at_once=8)
    assert found.plan_unknowns == [
        "how 8 lanes disturb each other: there was no time to probe them",
        "how 4 lanes disturb each other: there was no time to probe them",
    ]


async def test_where_time_is_short_as_many_lanes_as_a_run_would_have_come_first(hosts: Hosts) -> None:
    found = await hosts.measure(a_revision("a", lanes=8), 2.0, lanes_at_once=8)
    assert sorted(found.measures["sales", "a"].slowdowns) == [8]
    assert found.plan_unknowns == ["how 4 lanes disturb each other: there was no time to probe them"]


async def test_what_is_known_is_not_measured_again(hosts: Hosts) -> None:
    revision = a_revision("a", "b")
    known = (await hosts.measure(revision, lanes_at_once=2)).measures
    again = Hosts()
    found = await again.measure(revision, known=known, lanes_at_once=2)
    assert again.probes == []
    assert found.measures == known


async def test_a_limit_of_a_connection_is_kept_to_and_shared(hosts: Hosts) -> None:
    revision = a_revision("a", "b", lanes=2)
    revision.connections["legacy"].bytes_per_second_max = 4_000_000
    revision.connections["warehouse"].rows_per_second_max = 6_000
    await hosts.measure(revision, lanes_at_once=4)
    rates = {
        (task.probe.is_copy_alone, task.rate.bytes_per_second_max, task.rate.rows_per_second_max)
        for task in hosts.asked.asked("probe")
    }
    assert rates == {(False, 4e6, 6e3), (True, 2e6, 3e3), (True, 1e6, 1.5e3)}
    assert all(work.dataset.dataset.chunk_bytes == 2_000_000 for work in hosts.probes)


def blackout(start: str, end: str) -> plan_pb2.Schedule:
    return plan_pb2.Schedule(blackouts={"freeze": plan_pb2.Blackout(start=start, end=end)})


@pytest.mark.parametrize("whose", ["the environment's", "the plan's", "the phase's"])
async def test_nothing_is_probed_in_a_blackout(hosts: Hosts, whose: str) -> None:
    revision = a_revision("a", "b", lanes=2)
    environment, plan, phase = schedules_of(revision, "sales")
    {"the environment's": environment, "the plan's": plan, "the phase's": phase}[whose].CopyFrom(
        blackout("2025-12-31", "2026-01-02")
    )
    found = await hosts.measure(revision, lanes_at_once=4)
    assert (hosts.probes, found.measures) == ([], {})
    assert set(found.unknowns) == {("sales", "a"), ("sales", "b")}
    assert found.unknowns["sales", "a"] == ["how long it takes: nothing is probed in a blackout"]


async def test_nothing_is_probed_that_a_blackout_would_meet(hosts: Hosts) -> None:
    revision = a_revision("a")
    revision.plan.schedule.CopyFrom(blackout("2026-01-01T00:01", "2026-01-02"))
    assert (await hosts.measure(revision, 30.0)).measures
    assert not (await Hosts().measure(revision, 90.0)).measures


async def test_a_closed_window_keeps_nothing_from_being_probed(hosts: Hosts) -> None:
    revision = a_revision("a")
    revision.plan.schedule.windows["night"].start, revision.plan.schedule.windows["night"].end = "03:00", "04:00"
    assert (await hosts.measure(revision)).measures


@pytest.mark.parametrize(
    "error", [SystemUnavailable("no answer from legacy"), SourceMissing("there is no relation `a`")]
)
async def test_a_dataset_whose_source_can_not_be_read_is_unknown_and_the_others_are_measured(
    hosts: Hosts, error: PyMigrateError
) -> None:
    def fail(task: worker_pb2.Task) -> PyMigrateError | None:
        return error if task.HasField("probe") and task.probe.dataset.dataset_id == "a" else None

    hosts.fail = fail
    found = await hosts.measure(a_revision("a", "b", lanes=2), lanes_at_once=4)
    assert set(found.measures) == {("sales", "b")}
    assert found.unknowns == {("sales", "a"): [f"how long it takes: {error.message}"]}


async def test_a_dataset_that_could_not_be_looked_at_is_unknown(hosts: Hosts) -> None:
    revision = a_revision("a", "b")
    del revision.inspections["sales/a"]
    found = await hosts.measure(revision)
    assert set(found.measures) == {("sales", "b")}
    assert found.unknowns == {("sales", "a"): ["how long it takes: it could not be looked at"]}


async def test_a_dataset_of_which_a_chunk_alone_could_be_copied_is_measured_by_that(hosts: Hosts) -> None:
    def fail(task: worker_pb2.Task) -> PyMigrateError | None:
        is_large = task.HasField("probe") and not task.probe.bytes_max
        return DataRefused("row 70 has no day 2026-02-30") if is_large else None

    hosts.fail = fail
    found = await hosts.measure(a_revision("a"))
    assert found.measures["sales", "a"].copy.row_seconds > 0
    assert found.unknowns == {("sales", "a"): ["how long more than a chunk takes: row 70 has no day 2026-02-30"]}


async def test_what_a_host_that_is_there_found_wrong_is_not_dropped_after_it(hosts: Hosts) -> None:
    hosts.fail = lambda task: SystemUnavailable("away") if task.HasField("probe") else None
    await hosts.measure(a_revision("a"))
    assert hosts.asked.asked("rollback") == []


async def test_what_a_lost_host_left_is_dropped(hosts: Hosts) -> None:
    hosts.fail = lambda task: EngineUnavailable("every host ended") if task.HasField("probe") else None
    found = await hosts.measure(a_revision("a"))
    (dropped,) = hosts.asked.asked("rollback")
    assert dropped.rollback.datasets[0].staging_id == hosts.probes[0].dataset.staging_id
    assert (found.measures, found.plan_unknowns) == ({}, [])
    assert "worker host" in found.unknowns["sales", "a"][0]


async def test_what_can_not_be_dropped_is_told(hosts: Hosts) -> None:
    hosts.fail = lambda _: EngineUnavailable("every host ended")
    (told,) = (await hosts.measure(a_revision("a"))).plan_unknowns
    assert told.startswith("whether `mart.a_probe")


async def test_a_defect_is_raised(hosts: Hosts) -> None:
    revision = a_revision("a")
    revision.plan.schedule.time_zone = "Nowhere/Land"
    with pytest.raises(ValueError, match="no time zone"):
        await hosts.measure(revision)


def test_a_measurement_is_of_a_dataset_and_its_connections() -> None:
    revision, place = a_revision("a"), ("sales", "a")
    before = measured_hash(revision, place)
    revision.connections["legacy"].etag = "another"
    assert measured_hash(revision, place) == before
    revision.connections["legacy"].postgres.host = "elsewhere"
    assert measured_hash(revision, place) != before
