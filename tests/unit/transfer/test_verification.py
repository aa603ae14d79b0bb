"""What is compared before publication, at every level, and what is said when it differs."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import count
from typing import Any

import pyarrow as pa
import pytest

from pymigrate.engine.domain.errors import (
    FailedPrecondition,
    FenceLost,
    InvalidDefinition,
    SourceChanged,
    SystemUnavailable,
    VerificationFailed,
)
from pymigrate.engine.ports.ranges import Position, ranges_between
from pymigrate.engine.ports.relations import SourceRelation
from pymigrate.engine.ports.staging import ReferenceCheck, Staging
from pymigrate.engine.ports.target import Target
from pymigrate.engine.testing.memory_target import MemoryTarget
from pymigrate.engine.transfer.bisection import ROWS_MAX
from pymigrate.engine.transfer.signals import Drained, LeaseLost
from pymigrate.engine.transfer.verification import Verification, verify
from pymigrate.engine.transfer.verification_job import Level, NamedReference, VerifyJob
from tests.unit.transfer.lanes import COLUMNS, Asked, Lane, Row, orders

ROWS = 700
LEVELS = list(Level)
FENCES = count(2)


def a_copied_lane(rows: list[Row] | None = None, *, has_state: bool = True) -> Lane:
    lane = Lane(orders(ROWS) if rows is None else rows, has_state=has_state)
    lane.freeze()
    lane.attempt()
    return lane


def verified_in_part(lane: Lane, open_target: Callable[[], Target] | None = None) -> Verification:
    """At `sampled`, where every relation is too large to be read back whole."""
    sampled = replace(job(lane, Level.SAMPLED), sampled_bytes_max=0)
    return verify(sampled, lane.open_source, open_target or lane.open_target, Asked())


def job(lane: Lane, level: Level, **references: NamedReference) -> VerifyJob:
    return VerifyJob("orders", lane.job.relation, lane.job.staging, ("lane",), level, references, fence=next(FENCES))


def verified(
    lane: Lane, level: Level, open_target: Callable[[], Target] | None = None, asked: Asked | None = None
) -> Verification:
    return verify(job(lane, level), lane.open_source, open_target or lane.open_target, asked or Asked())


def stage(lane: Lane, rows: Sequence[Row]) -> None:
    """The target stores something else than it was given."""
    batch = pa.RecordBatch.from_pylist([{"id": at, "name": name} for at, name in rows], schema=pa.schema(
        [("id", pa.int64()), ("name", pa.string())]
    ))  # fmt: skip
    lane.target.staged["s1"] = lane.target.staged["s1"].holding((batch,))


class Unrepairable(MemoryTarget):
    """Finds what differs, and exchanges no rows."""

    def repair(self, *arguments: Any) -> None:
        raise FailedPrecondition("nothing tells one row from another here")


def test_full_reads_both_sides_again_and_finds_three_equal_digests() -> None:
    found = verified(a_copied_lane(), Level.FULL)
    assert found.source_rows == found.target_rows == found.compared_rows == ROWS
    assert found.transfer_checksum == found.source_checksum == found.target_checksum != ""


def test_sampled_reads_a_small_target_back_whole_and_not_the_source() -> None:
    lane = a_copied_lane()
    reads = lane.source.faults.seen("read")
    found = verified(lane, Level.SAMPLED)
    assert (found.compared_rows, found.source_checksum) == (ROWS, "")
    assert found.target_checksum == found.transfer_checksum
    assert lane.source.faults.seen("read") == reads


def test_sampled_compares_a_seventh_of_a_large_relation_on_both_sides() -> None:
    lane = a_copied_lane()
    reads = lane.source.faults.seen("read")
    found = verified_in_part(lane)
    assert found.compared_rows == ROWS / 7
    assert found.source_checksum == found.target_checksum != found.transfer_checksum
    assert lane.source.faults.seen("read") - reads <= 12  # of 70


def test_sampled_finds_rows_that_the_target_gives_in_another_order() -> None:
    lane = a_copied_lane()
    stage(lane, list(reversed(orders(ROWS))))
    assert verified_in_part(lane).compared_rows == ROWS / 7


@pytest.mark.parametrize("rows", [[(5, "twice")] * 70, [(at % 7, "few") for at in range(70)]])
def test_sampled_counts_equal_rows_as_often_as_they_are_there(rows: list[Row]) -> None:
    lane = a_copied_lane(rows)
    lane.job = replace(lane.job, staging=replace(lane.job.staging, key=()))
    assert verified_in_part(lane).compared_rows == 10
    stage(lane, [(6, "x"), *rows[1:]])
    assert verified_in_part(lane).repair.rows == 1
    assert lane.staged() == sorted(rows)


def test_sampled_sees_a_row_more_often_in_the_target_than_in_the_source() -> None:
    lane = a_copied_lane()
    lane.job = replace(lane.job, staging=replace(lane.job.staging, key=()))
    stage(lane, [orders(2)[1]] * ROWS)
    with pytest.raises(
        VerificationFailed,
        match="of 100 rows read back from the staging of orders, 99 are not in orders: 699 rows differ",
    ):
        verified_in_part(lane, open_target=lambda: Unrepairable(lane.target))


def test_count_reads_no_row_again() -> None:
    lane = a_copied_lane()
    reads = lane.source.faults.seen("read")
    found = verified(lane, Level.COUNT)
    assert (found.source_rows, found.target_rows, found.compared_rows) == (ROWS, ROWS, 0)
    assert found.transfer_checksum
    assert found.source_checksum == found.target_checksum == ""
    assert lane.source.faults.seen("read") == reads
    assert lane.target.faults.seen("read_staging") == 0


@pytest.mark.parametrize("level", LEVELS)
def test_an_empty_relation_is_equal_to_itself(level: Level) -> None:
    assert verified(a_copied_lane([]), level).target_rows == 0


@pytest.mark.parametrize("level", [level for level in LEVELS if level is not Level.NONE])
def test_a_row_that_is_missing_or_doubled_is_found_by_counting_and_mended(level: Level) -> None:
    for rows, kind in ((orders(ROWS - 1), "not staged"), ([*orders(ROWS), orders(1)[0]], "staged once too often")):
        lane = a_copied_lane()
        stage(lane, rows)
        counted = rf"dataset orders: 700 rows were read .* and {len(rows)} are staged for orders: 1 rows differ, such as .*{kind}"
        with pytest.raises(VerificationFailed, match=counted):
            verified(lane, level, open_target=partial(Unrepairable, lane.target))
        found = verified(lane, level)
        assert (found.repair.rows, found.target_rows) == (1, ROWS)
        assert kind in str(found.repair.examples[0])
        assert lane.staged() == sorted(orders(ROWS), key=str)


@pytest.mark.parametrize("level", [Level.SAMPLED, Level.FULL])
def test_a_cell_that_the_target_stores_otherwise_is_found(level: Level) -> None:
    lane = a_copied_lane()
    stage(lane, [*orders(ROWS)[:-1], (ROWS - 1, "other")])
    told = r"digest duckdb-hash.* and what was written has duckdb-hash.* 1 rows differ, such as 699 \(other values in name\)"
    with pytest.raises(VerificationFailed, match=told):
        verified(lane, level, open_target=lambda: Unrepairable(lane.target))
    found = verified(lane, level)
    assert [str(each) for each in found.repair.examples] == ["699 (other values in name)"]
    assert found.target_checksum == found.transfer_checksum
    assert lane.staged() == sorted(orders(ROWS), key=str)


def test_a_source_that_changed_since_the_copy_is_told_from_a_target_that_errs() -> None:
    lane = a_copied_lane()
    lane.source.put("orders", COLUMNS, orders(ROWS, "other"))
    with pytest.raises(SourceChanged, match="stop what writes to it"):
        verified(lane, Level.FULL)
    silent = a_copied_lane(has_state=False)
    silent.source.put("orders", COLUMNS, orders(ROWS, "other"))
    with pytest.raises(SourceChanged, match=r"700 rows with digest .* 700 rows with digest") as changed:
        verified(silent, Level.FULL)
    assert changed.value.field == "source.relation"


def test_nothing_is_read_back_and_counts_are_compared_at_level_none() -> None:
    lane = a_copied_lane()
    found = verified(lane, Level.NONE)
    assert (found.source_rows, found.target_rows, found.compared_rows, found.target_checksum) == (ROWS, ROWS, 0, "")
    stage(lane, orders(ROWS)[:-1])
    with pytest.raises(VerificationFailed, match=r"700 rows were read .* 699 are staged"):
        verified(lane, Level.NONE)


def test_level_none_replaces_no_relation_that_holds_rows() -> None:
    lane = a_copied_lane()
    replacing = replace(job(lane, Level.NONE), staging=replace(lane.job.staging, is_replace=True))
    assert verify(replacing, lane.open_source, lane.open_target, Asked()).target_rows == ROWS
    lane.target.put("orders", COLUMNS, orders(3))
    with pytest.raises(VerificationFailed, match="holds 3 rows, and verification `none`") as refused:
        verify(replacing, lane.open_source, lane.open_target, Asked())
    assert refused.value.field == "verification"


@pytest.mark.parametrize("level", [level for level in LEVELS if level is not Level.NONE])
def test_lanes_that_read_a_silent_source_at_different_times_are_compared_with_one_reading(level: Level) -> None:
    halves = [SourceRelation("orders", range=span) for span in ranges_between([Position("500")])]
    for mark, outcome in (("order", None), ("other", SourceChanged)):
        lane = Lane(orders(ROWS), has_state=False)
        for number, half in enumerate(halves, 1):
            lane.attempt(job=replace(lane.next(), relation=half, lane=f"lane{number}", is_alone=False))
            lane.source.put("orders", COLUMNS, orders(ROWS, mark))
        both = replace(job(lane, level), lanes=("lane1", "lane2"))
        if outcome is None:
            assert verify(both, lane.open_source, lane.open_target, Asked()).source_checksum
        else:
            with pytest.raises(outcome, match="it changed in between"):
                verify(both, lane.open_source, lane.open_target, Asked())


def test_a_repair_that_a_crash_followed_is_told_by_the_target() -> None:
    lane = a_copied_lane()
    stage(lane, orders(ROWS - 2))
    lane.target.faults.fail("repair", is_after=True)
    with pytest.raises(SystemUnavailable):
        verified(lane, Level.FULL)
    assert lane.staged() == sorted(orders(ROWS), key=str)
    found = verified(lane, Level.FULL)
    assert (found.repair.rows, [each.row for each in found.repair.examples]) == (2, ["698", "699"])


def test_a_crash_before_a_repair_takes_hold_leaves_it_to_the_next_host() -> None:
    lane = a_copied_lane()
    stage(lane, orders(ROWS - 2))
    lane.target.faults.fail("repair")
    with pytest.raises(SystemUnavailable):
        verified(lane, Level.FULL)
    assert len(lane.staged()) == ROWS - 2
    stale = replace(job(lane, Level.FULL), fence=1)
    with pytest.raises(FenceLost):
        verify(stale, lane.open_source, lane.open_target, Asked())
    assert verified(lane, Level.FULL).repair.rows == 2


def test_storage_that_changes_rows_again_is_not_mended_twice() -> None:
    lane = a_copied_lane()
    stage(lane, orders(ROWS - 2))
    assert verified(lane, Level.FULL).repair.rows == 2
    stage(lane, orders(ROWS - 1))
    with pytest.raises(VerificationFailed, match=r"1 rows differ, such as 699 .* 2 rows were repaired already"):
        verified(lane, Level.FULL)
    assert len(lane.staged()) == ROWS - 1


def test_storage_that_changes_what_a_repair_brings_fails_the_dataset() -> None:
    lane = a_copied_lane()
    stage(lane, orders(ROWS - 2))

    class Changing(MemoryTarget):
        def repair(self, *arguments: Any) -> None:
            super().repair(*arguments)
            stage(lane, orders(ROWS, "other"))

    with pytest.raises(VerificationFailed, match="after 2 rows were repaired"):
        verified(lane, Level.SAMPLED, open_target=lambda: Changing(lane.target))


def test_rows_that_are_too_many_to_be_an_accident_are_not_mended() -> None:
    rows = orders(ROWS_MAX + 100)
    lane = a_copied_lane(rows)
    stage(lane, orders(0))
    with pytest.raises(VerificationFailed, match=r"10,100 rows differ, such as 0 .*too many to repair"):
        verified(lane, Level.COUNT)
    assert lane.staged() == []


def test_a_source_that_changed_silently_mends_nothing() -> None:
    for level in (Level.COUNT, Level.SAMPLED):
        lane = a_copied_lane(has_state=False)
        lane.source.put("orders", COLUMNS, orders(ROWS, "other"))
        stage(lane, orders(ROWS - 1))
        with pytest.raises(SourceChanged, match="no longer is what was copied"):
            verified(lane, level)
        assert lane.staged() == sorted(orders(ROWS - 1), key=str)


def test_a_digest_in_flight_of_another_version_is_not_compared() -> None:
    lane = a_copied_lane()
    at = lane.target.lanes["s1", "lane"]
    lane.target.lanes["s1", "lane"] = replace(at, checkpoint=replace(at.checkpoint, checksum="duckdb-hash-0.9.0:00"))
    with pytest.raises(VerificationFailed, match="retry the run"):
        verified(lane, Level.FULL)


def test_a_claimed_key_must_be_unique_and_the_values_are_named() -> None:
    lane = a_copied_lane([(1, "a"), (2, "b"), (1, "c")])
    with pytest.raises(
        VerificationFailed, match=r"1 values of the key \(id\) occur more than once.* such as 1:"
    ) as failed:
        verified(lane, Level.COUNT)
    assert failed.value.field == "key"


def test_what_dangles_is_reported_or_fails_as_the_reference_says() -> None:
    lane = a_copied_lane([(1, "a"), (2, "b"), (3, "b"), (4, None)])
    lane.target.put("names", COLUMNS, [(1, "a")])
    reference = NamedReference(ReferenceCheck(("name",), "names", ("name",)))
    found = verify(job(lane, Level.FULL, named=reference), lane.open_source, lane.open_target, Asked())
    assert (found.dangling["named"].rows, found.dangling["named"].values, found.dangling["named"].examples) == (
        2,
        1,
        ("b",),
    )
    fatal = job(lane, Level.FULL, named=replace(reference, is_fatal=True))
    with pytest.raises(VerificationFailed, match="2 rows refer by") as failed:
        verify(fatal, lane.open_source, lane.open_target, Asked())
    assert failed.value.field == "references.named"


def test_a_reference_to_what_is_not_there_names_the_reference() -> None:
    lane = a_copied_lane()
    reference = NamedReference(ReferenceCheck(("name",), "nowhere", ("name",)))
    with pytest.raises(InvalidDefinition) as refused:
        verify(job(lane, Level.COUNT, named=reference), lane.open_source, lane.open_target, Asked())
    assert refused.value.field == "references.named"


@pytest.mark.parametrize("level", [Level.SAMPLED, Level.FULL])
@pytest.mark.parametrize(("asked", "end"), [(Asked(draining=True), Drained), (Asked(lost=True), LeaseLost)])
def test_a_verification_ends_early_when_it_is_asked_to(level: Level, asked: Asked, end: type[Exception]) -> None:
    with pytest.raises(end):
        verified(a_copied_lane(), level, asked=asked)


def test_the_target_is_closed_however_it_ends() -> None:
    lane = a_copied_lane()
    closed: list[bool] = []

    class Failing(MemoryTarget):
        def read_staging(self, staging: Staging) -> Iterator[Any]:
            raise RuntimeError("driver")

        def close(self) -> None:
            closed.append(True)

    with pytest.raises(RuntimeError):
        verified(lane, Level.FULL, open_target=lambda: Failing(lane.target))
    assert closed == [True]
