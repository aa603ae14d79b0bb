"""From what probes found to durations: copying from chunks, comparing and publishing from two points, and what is not known."""

import pytest

from pymigrate.engine.application.probed_measures import Sample, measure_of, row_seconds
from pymigrate.v1 import connection_pb2, run_pb2, worker_pb2

CHUNK_ROWS = 1_000


def probed(
    chunks: int,
    *,
    row: float = 0.001,
    start: float = 0.0,
    verify: float = -1.0,
    publish: float = -1.0,
    target_bytes: int = -1,
    is_whole: bool = False,
    notes: tuple[str, ...] = (),
) -> worker_pb2.Probed:
    """So many chunks of a thousand rows and 100 kB; the first takes `start` seconds longer."""
    found = worker_pb2.Probed(
        open_seconds=0.25,
        close_seconds=0.05,
        verify_seconds=verify,
        publish_seconds=publish,
        target_bytes=target_bytes,
        is_whole=is_whole,
        notes=notes,
    )
    for at in range(chunks):
        seconds = CHUNK_ROWS * row + (start if at == 0 else 0.0)
        found.chunks.add(rows=CHUNK_ROWS, bytes=100_000, seconds=seconds, source_seconds=seconds / 4)
    return found


def a_look(rows: int = 1_000_000, size: int = 50_000_000, **fields: object) -> run_pb2.Inspection:
    source = connection_pb2.RelationSchema(rows=rows, bytes=size)
    return run_pb2.Inspection(source=source, path="csv", path_reason="as they lie", **fields)  # type: ignore[arg-type]  # the message's fields


def samples(*found: worker_pb2.Probed, turnaround: float = 0.02) -> list[Sample]:
    return [Sample(each, turnaround) for each in found]


def test_copying_takes_what_its_later_chunks_took_and_what_is_fixed_of_the_first() -> None:
    measure = measure_of(a_look(), samples(probed(1), probed(10, start=0.5)))
    assert measure.copy.row_seconds == pytest.approx(0.001)
    assert measure.copy.fixed_seconds == pytest.approx(0.25 + 0.05 + 0.5)
    assert [measure.copy.spread, measure.chunk_rows, measure.source_share] == pytest.approx([0, CHUNK_ROWS, 0.25])


def test_the_spread_is_that_of_what_a_row_took() -> None:
    found = probed(6)
    for at, chunk in enumerate(found.chunks):
        chunk.seconds = 2.0 if at % 2 else 1.0
    assert measure_of(a_look(), samples(found)).copy.spread == pytest.approx(0.4, abs=0.01)


@pytest.mark.parametrize(("chunks", "seconds"), [(1, 0.0015), (2, 0.001), (3, 0.001)])
def test_a_short_copy_is_read_from_what_there_is(chunks: int, seconds: float) -> None:
    assert row_seconds(probed(chunks, start=0.5)) == pytest.approx(seconds)


def test_comparing_and_publishing_are_read_from_the_difference_of_two_samples() -> None:
    small, large = probed(1, verify=0.3, publish=0.6), probed(9, verify=1.1, publish=2.2)
    measure = measure_of(a_look(), samples(small, large))
    assert measure.verify.row_seconds == pytest.approx(0.8 / 8_000)
    assert measure.verify.fixed_seconds == pytest.approx(0.2)
    assert measure.publish.row_seconds == pytest.approx(1.6 / 8_000)
    assert measure.publish.fixed_seconds == pytest.approx(0.4)
    assert list(measure.unknowns) == []


def test_a_larger_sample_that_took_no_longer_costs_nothing_for_its_rows() -> None:
    measure = measure_of(a_look(), samples(probed(1, verify=0.5, publish=0), probed(9, verify=0.4, publish=0)))
    assert (measure.verify.row_seconds, measure.verify.fixed_seconds) == (0.0, 0.4)


def test_one_sample_gives_what_it_took_for_as_many_rows() -> None:
    measure = measure_of(a_look(), samples(probed(1, verify=0.4, publish=0.2, is_whole=True)))
    assert measure.verify.fixed_seconds + measure.verify.row_seconds * CHUNK_ROWS == pytest.approx(0.4)
    assert list(measure.unknowns) == []


def test_one_sample_of_more_is_told_as_not_enough() -> None:
    unknowns = measure_of(a_look(), samples(probed(1, verify=0.4, publish=0.2))).unknowns
    assert list(unknowns) == [
        "how comparing grows with rows: one sample is all that there was time for",
        "how publishing grows with rows: one sample is all that there was time for",
    ]


def test_what_was_not_done_is_not_known() -> None:
    measure = measure_of(a_look(), samples(probed(1, notes=("comparing the sample failed: no",)), probed(4)))
    assert list(measure.unknowns) == [
        "comparing the sample failed: no",
        "how long comparing takes",
        "how long publishing takes",
    ]


def test_an_empty_source_takes_what_is_fixed() -> None:
    measure = measure_of(a_look(rows=0, size=0), samples(probed(0, verify=0.1, publish=0.2, is_whole=True)))
    assert (measure.rows, measure.bytes, measure.chunk_rows, measure.is_whole) == (0, 0, 0, True)
    assert [measure.copy.fixed_seconds, measure.copy.row_seconds] == pytest.approx([0.3, 0])
    assert (measure.verify.fixed_seconds, measure.publish.fixed_seconds) == (0.1, 0.2)


def test_rows_are_those_of_the_statistics_and_bytes_those_of_the_path() -> None:
    measure = measure_of(a_look(rows=1_000_000, size=1), samples(probed(4)))
    assert (measure.rows, measure.bytes) == (1_000_000, 100_000_000)


def test_what_was_copied_whole_is_counted() -> None:
    measure = measure_of(a_look(rows=77, size=1), samples(probed(4, is_whole=True)))
    assert (measure.rows, measure.bytes, measure.is_whole) == (4_000, 400_000, True)


def test_rows_that_no_statistics_tell_are_reckoned_from_the_size() -> None:
    measure = measure_of(a_look(rows=-1), samples(probed(4, verify=0, publish=0), probed(8, verify=0, publish=0)))
    assert (measure.rows, measure.bytes) == (500_000, 50_000_000)
    assert ["reckoned from the size" in each for each in measure.unknowns] == [True]


@pytest.mark.parametrize(
    ("size", "rows", "measured_bytes"), [(50_000_000, 500_000, 50_000_000), (-1, 4_000, 400_000), (1, 4_000, 400_000)]
)
def test_statistics_that_tell_of_fewer_rows_than_a_sample_had_are_not_believed(
    size: int, rows: int, measured_bytes: int
) -> None:
    measure = measure_of(a_look(rows=10, size=size), samples(probed(4)))
    assert (measure.rows, measure.bytes) == (rows, measured_bytes)
    assert "how many rows there are: the source tells of 10, and a sample alone had 4,000" in measure.unknowns


def test_rows_of_a_source_that_tells_nothing_are_not_known() -> None:
    measure = measure_of(a_look(rows=-1, size=-1), samples(probed(4)))
    assert (measure.rows, measure.bytes) == (-1, -1)
    assert "how many rows there are: the source does not tell" in measure.unknowns


@pytest.mark.parametrize(
    ("is_present", "target_bytes", "replaced"), [(False, 8_000, 0), (True, 8_000, 20), (True, -1, -1)]
)
def test_what_would_be_replaced_takes_as_much_a_row_as_the_sample(
    is_present: bool, target_bytes: int, replaced: int
) -> None:
    look = a_look(is_target_present=is_present, target_rows=10)
    measure = measure_of(look, samples(probed(4, target_bytes=target_bytes)))
    assert measure.replaced_bytes == replaced
    assert measure.target_row_bytes == max(0, target_bytes / 4_000)


def test_how_it_travels_and_the_shortest_turnaround_are_kept() -> None:
    found = [Sample(probed(1), 0.5), Sample(probed(4), 0.01)]
    measure = measure_of(a_look(ranges=["a", "b"]), found)
    assert (measure.path, measure.path_reason, measure.lanes, measure.turnaround_seconds) == (
        "csv",
        "as they lie",
        2,
        0.01,
    )
