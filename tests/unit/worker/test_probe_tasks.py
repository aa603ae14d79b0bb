"""Probes in the contract's words, over the fake connector."""

import pytest

from pymigrate.engine.domain.errors import SystemUnavailable
from pymigrate.engine.domain.sampling import SAMPLED_BYTES_MAX
from pymigrate.engine.entrypoints.worker.probing import probe_job
from pymigrate.engine.transfer.verification_job import Level
from pymigrate.v1 import plan_pb2, worker_pb2
from tests.unit.transfer.lanes import Asked
from tests.unit.worker.bench import Bench


@pytest.fixture
def bench() -> Bench:
    bench = Bench()
    bench.work.schema.CopyFrom(bench.inspect().result.inspect.source)
    return bench


def a_probe(bench: Bench, **asked: object) -> worker_pb2.FinishTaskRequest:
    """A probe of the dataset into a scratch relation."""
    work = worker_pb2.DatasetWork()
    work.CopyFrom(bench.work)
    work.dataset.target.relation = "orders_probe1"
    work.dataset.target.load_mode = plan_pb2.LOAD_MODE_REPLACE
    return bench.run(probe=worker_pb2.ProbeWork(dataset=work, seconds_max=60, **asked))  # type: ignore[arg-type]  # its fields


def test_a_probe_tells_how_long_a_sample_took_and_leaves_nothing(bench: Bench) -> None:
    found = a_probe(bench).result.probe
    assert [chunk.rows for chunk in found.chunks] == [10, 10, 10, 10, 5]
    assert (found.is_whole, found.verified_rows, list(found.notes)) == (True, 45, [])
    target = bench.target
    assert found.task_seconds > found.open_seconds + found.drop_seconds
    assert [target.relations, target.staged, target.publications, target.lanes] == [{}] * 4


def test_a_probe_ends_at_its_bytes(bench: Bench) -> None:
    found = a_probe(bench, bytes_max=150, is_copy_alone=True).result.probe
    assert (len(found.chunks), found.verify_seconds, found.publish_seconds) == (2, -1, -1)


def test_a_probe_looks_up_no_references_and_says_so(bench: Bench) -> None:
    bench.work.dataset.references["person"].relation = "nowhere"
    assert list(a_probe(bench).result.probe.notes) == [
        "references are not looked up for a sample: how long that takes is not measured"
    ]


def test_a_probe_declares_no_foreign_keys_and_says_so(bench: Bench) -> None:
    bench.work.schema.foreign_keys.add(name="fk", relation="people", columns=["id"])
    assert list(a_probe(bench).result.probe.notes) == [
        "foreign keys are not declared on a sample: how long that takes is not measured"
    ]


def test_a_probe_of_a_dataset_that_is_followed_captures_nothing(bench: Bench) -> None:
    bench.work.dataset.catch_up.SetInParent()
    assert len(a_probe(bench).result.probe.chunks) == 5


@pytest.mark.parametrize(
    ("dataset_bytes", "lanes", "is_followed", "level", "compared_lanes", "limit"),
    [
        (1_000, 1, False, Level.SAMPLED, 1, SAMPLED_BYTES_MAX),
        (1_000, 4, False, Level.SAMPLED, 2, SAMPLED_BYTES_MAX),
        (SAMPLED_BYTES_MAX + 1, 1, False, Level.SAMPLED, 1, 0),
        (1_000, 4, True, Level.FULL, 1, SAMPLED_BYTES_MAX),
        (SAMPLED_BYTES_MAX + 1, 4, True, Level.SAMPLED, 1, 0),
    ],
)
def test_a_sample_is_compared_as_its_whole_dataset_would_be(
    bench: Bench, dataset_bytes: int, lanes: int, is_followed: bool, level: Level, compared_lanes: int, limit: int
) -> None:
    if is_followed:
        bench.work.dataset.catch_up.SetInParent()
    work = worker_pb2.ProbeWork(dataset=bench.work, dataset_bytes=dataset_bytes, lanes=lanes)
    job = probe_job(worker_pb2.Task(id="t", fence=1, probe=work)).verify
    assert job is not None
    assert (job.level, len(job.lanes), job.sampled_bytes_max) == (level, compared_lanes, limit)


def test_a_probe_bears_refused_rows_and_writes_no_quarantine(bench: Bench) -> None:
    bench.work.dataset.quarantine.SetInParent()
    cast = bench.work.dataset.transforms.add().cast
    cast.columns["name"].type = "int64"
    bench.work.schema.CopyFrom(bench.inspect().result.inspect.source)
    found = a_probe(bench).result.probe
    assert list(found.notes) == ["38 rows of the sample are refused, and were left out"]
    assert not bench.target.relations


def test_a_probe_keeps_to_its_rate_whatever_is_said_of_others(bench: Bench) -> None:
    asked, work = Asked(), worker_pb2.DatasetWork()
    work.CopyFrom(bench.work)
    work.dataset.target.relation = "orders_probe1"
    task = worker_pb2.Task(id="t", fence=1, probe=worker_pb2.ProbeWork(dataset=work, seconds_max=60))
    task.rate.rows_per_second_max = 20
    bench.runner.run(task, asked, lambda _: None)
    assert sum(asked.waits) >= 4 * 10 / 20


def test_a_probe_that_fails_says_where_as_a_copy_does(bench: Bench) -> None:
    bench.source.faults.fail("read", error=SystemUnavailable("away"))
    failure = a_probe(bench).failure
    assert (failure.reason, failure.field) == ("SYSTEM_UNAVAILABLE", "phases.sales.datasets.orders.source.connection")
