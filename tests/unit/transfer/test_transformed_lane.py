"""A lane whose rows go through transforms: what is committed is counted by the source's rows, so that nothing is lost or doubled."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from pymigrate.engine.domain.errors import DataRefused, SourceChanged, SystemUnavailable
from pymigrate.engine.domain.types import ColumnInfo, ColumnType
from pymigrate.engine.ports.source import Source
from pymigrate.engine.ports.transform import Deduplicate, Derive, Derived, Filter, Python, Rename, TransformSpec
from pymigrate.engine.transfer.attempt import copy_lane
from pymigrate.engine.transfer.transforms.binding import Binding
from pymigrate.engine.transfer.transforms.pipeline import Pipeline
from pymigrate.engine.transfer.transforms.source import TransformedSource
from pymigrate.engine.transfer.verification import verify
from pymigrate.engine.transfer.verification_job import Level, VerifyJob
from tests.unit.transfer.lanes import Asked, Lane, Row, orders

COLUMNS = (ColumnInfo("number", ColumnType("int64")), ColumnInfo("name", ColumnType("string")))
ODD: tuple[TransformSpec, ...] = (Rename({"id": "number"}), Filter("number % 2 = 1 AND number >= 30"))


class ShapedLane(Lane):
    """The lane of orders through transforms."""

    def __init__(self, rows: Sequence[Row], specs: Sequence[TransformSpec] = ODD, *, has_state: bool = True) -> None:
        super().__init__(rows, has_state=has_state)
        self._specs = specs
        self.job = replace(self.job, staging=replace(self.job.staging, columns=COLUMNS, key=("number",)))

    def open_source(self) -> Source:
        return TransformedSource(super().open_source(), lambda columns: Pipeline(self._specs, columns, Binding().bind))

    def staged(self) -> list[tuple[object, ...]]:
        return [tuple(row.values()) for row in self.target.staged[self.job.staging.id].table().to_pylist()]


def expected(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if row[0] % 2 == 1 and row[0] >= 30]


def test_what_a_filter_leaves_out_is_read_and_not_written() -> None:
    lane = ShapedLane(orders(95))
    outcome = lane.attempt()
    assert lane.staged() == expected(orders(95))
    assert (outcome.checkpoint.rows, outcome.checkpoint.chunks) == (32, 10)


@pytest.mark.parametrize("has_state", [True, False])
@pytest.mark.parametrize("step", ["commit", "read", "claim"])
@pytest.mark.parametrize("nth", [1, 2, 4, 6])
def test_a_crash_at_any_step_loses_and_doubles_nothing(has_state: bool, step: str, nth: int) -> None:
    lane = ShapedLane(orders(95), has_state=has_state)
    faults = lane.source.faults if step == "read" else lane.target.faults
    faults.fail(step, nth)
    for _ in range(5):
        try:
            lane.attempt()
            break
        except SystemUnavailable:
            continue
    assert lane.staged() == expected(orders(95))


def test_a_lane_is_resumed_at_the_row_of_the_source_across_other_chunk_boundaries() -> None:
    lane = ShapedLane(orders(95), has_state=False)
    asked = Asked()
    job = lane.next()
    copy_lane(job, lane.open_source, lane.open_target, asked, draining_after(asked, 5))
    assert lane.checkpoint().chunks < 10
    lane.job = replace(lane.job, relation=replace(lane.job.relation, chunk_bytes=70))
    lane.attempt()
    assert lane.staged() == expected(orders(95))


def test_a_committed_part_that_changed_is_copied_anew() -> None:
    lane = ShapedLane(orders(95), has_state=False)
    asked = Asked()
    copy_lane(lane.next(), lane.open_source, lane.open_target, asked, draining_after(asked, 5))
    rows = [(at, "other") for at in range(95)]
    lane.source.put("orders", lane.source.relations["orders"].columns, rows)
    lane.attempt()
    assert lane.staged() == expected(rows)


def test_a_row_that_a_transform_refuses_fails_the_dataset_with_its_number_and_reason() -> None:
    specs = (Rename({"id": "number"}), Derive({"number": Derived("number / (number - 42)", ColumnType("int64"))}))
    lane = ShapedLane(orders(95), specs)
    with pytest.raises(DataRefused, match=r"dataset orders: .*row 2, column `number`: .*no int64"):
        lane.attempt()


def test_a_source_that_has_other_columns_by_now_is_refused() -> None:
    lane = ShapedLane(orders(95), (Rename({"id": "ident"}),))
    with pytest.raises(SourceChanged, match="no longer has the columns"):
        lane.attempt()


def draining_after(asked: Asked, chunks: int) -> Callable[[Any], None]:
    def on_progress(checkpoint: Any) -> None:
        asked.draining = checkpoint.chunks >= chunks

    return on_progress


def test_rows_that_were_seen_are_known_again_by_a_lane_that_is_resumed() -> None:
    rows: list[Row] = [(at % 40, f"order {at % 40}") for at in range(95)]
    for has_state in (True, False):
        lane = ShapedLane(rows, (Rename({"id": "number"}), Deduplicate(["number"])), has_state=has_state)
        asked = Asked()
        copy_lane(lane.next(), lane.open_source, lane.open_target, asked, draining_after(asked, 3))
        lane.attempt()
        assert lane.staged() == rows[:40]


def test_a_source_with_a_step_that_looks_back_is_not_split() -> None:
    lane = ShapedLane(orders(95), (Rename({"id": "number"}), Deduplicate(["number"])))
    assert len(lane.open_source().split(lane.job.relation, 4)) == 1
    assert len(ShapedLane(orders(95)).open_source().split(lane.job.relation, 4)) == 4


def test_code_that_does_not_give_the_same_rows_twice_is_found_by_verification() -> None:
    clock = Python("tests.unit.transfer.transforms.functions:clock", {}, {"name": ColumnType("string")}, 512 << 20, 60)
    lane = ShapedLane(orders(5), (Rename({"id": "number"}), clock))
    lane.attempt()
    job = VerifyJob("orders", lane.job.relation, lane.job.staging, ("lane",), Level.SAMPLED, has_code=True)
    with pytest.raises(SourceChanged, match="Python or plugin among its transforms does not give the same rows"):
        verify(job, lane.open_source, lane.open_target, Asked())


def test_verification_sees_the_rows_after_the_transforms() -> None:
    lane = ShapedLane(orders(95))
    lane.attempt()
    job = VerifyJob("orders", lane.job.relation, lane.job.staging, ("lane",), Level.FULL)
    found = verify(job, lane.open_source, lane.open_target, Asked())
    assert found.source_checksum == found.target_checksum == found.transfer_checksum
