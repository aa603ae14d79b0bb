"""Rows that are refused: they go to the quarantine once, with the chunk that they were in, as long as the budget lasts."""

import json
from collections.abc import Sequence
from dataclasses import replace

import pytest

from pymigrate.engine.domain.errors import DataRefused, SystemUnavailable, VerificationFailed
from pymigrate.engine.domain.types import ColumnInfo, ColumnType
from pymigrate.engine.ports.transform import (
    CastAll,
    CastTo,
    Filter,
    Gate,
    Mask,
    Masked,
    MaskMethod,
    Merge,
    Rename,
    TransformSpec,
)
from pymigrate.engine.transfer.attempt import copy_lane
from pymigrate.engine.transfer.publication import publish, rollback
from pymigrate.engine.transfer.transforms.quarantine import Quarantine, beside
from pymigrate.engine.transfer.verification import Verification, verify
from pymigrate.engine.transfer.verification_job import Level, VerifyJob
from tests.unit.transfer.lanes import Asked, Row, orders
from tests.unit.transfer.test_transformed_lane import ShapedLane, draining_after
from tests.unit.transfer.transforms.pipelines import opened, run

ROWS = [(at, "bad" if at % 10 == 3 else str(at)) for at in range(95)]
GOOD = [row for row in ROWS if row[1] != "bad" and row[0] >= 20]
BAD = [at for at, name in ROWS if name == "bad" and at >= 20]
SPECS: tuple[TransformSpec, ...] = (
    Rename({"id": "number"}),
    Filter("number >= 20"),
    CastAll({"name": CastTo(ColumnType("int64"))}),
    CastAll({"name": CastTo(ColumnType("string"))}),
    Gate(),
)


class QuarantinedLane(ShapedLane):
    """The lane with a quarantine of at most so many rows."""

    def __init__(
        self, rows: Sequence[Row] = ROWS, rows_max: int = 100, share_max: float = 0.0, *, has_state: bool = True
    ) -> None:
        super().__init__(rows, SPECS, has_state=has_state)
        self.quarantine = Quarantine(beside(self.job.staging, ""), rows_max, share_max)
        self.job = replace(self.job, quarantine=self.quarantine)

    def kept(self) -> list[tuple[int, int]]:
        """Chunk and row number of what is staged for the quarantine."""
        rows = self.target.staged[self.quarantine.staging.id].table().to_pylist()
        return [(row["chunk"], row["row_number"]) for row in rows]

    def verified(self, level: Level = Level.FULL) -> Verification:
        job = VerifyJob(
            "orders",
            self.job.relation,
            self.job.staging,
            ("lane",),
            level,
            is_transformed=True,
            quarantine=self.quarantine,
        )
        return verify(job, self.open_source, self.open_target, Asked())


def test_refused_rows_are_kept_with_their_place_and_reason_and_as_they_were_read() -> None:
    lane = QuarantinedLane()
    lane.attempt()
    assert lane.staged() == GOOD
    rows = lane.target.staged[lane.quarantine.staging.id].table().to_pylist()
    assert [row["row_number"] for row in rows] == [at + 1 for at in BAD]
    assert {key: value for key, value in rows[0].items() if key != "content"} == {
        "dataset": "orders",
        "lane": "lane",
        "chunk": 3,
        "row_number": 24,
        "column_name": "name",
        "reason": "the value is no int64, or not without losing a part of it",
    }
    assert json.loads(rows[0]["content"]) == {"id": 23, "name": "bad"}
    found = lane.verified()
    assert (found.source_rows, found.target_rows) == (95, len(GOOD))


@pytest.mark.parametrize("has_state", [True, False])
@pytest.mark.parametrize("is_after", [True, False])
@pytest.mark.parametrize("step", ["commit", "read", "claim", "prepare"])
@pytest.mark.parametrize("nth", [1, 3, 6])
def test_a_crash_at_any_step_loses_and_doubles_no_refused_row(
    has_state: bool, is_after: bool, step: str, nth: int
) -> None:
    lane = QuarantinedLane(has_state=has_state)
    faults = lane.source.faults if step == "read" else lane.target.faults
    faults.fail(step, nth, is_after=is_after)
    for _ in range(5):
        try:
            lane.attempt()
            break
        except SystemUnavailable:
            continue
    assert lane.staged() == GOOD
    assert [row for _, row in lane.kept()] == [at + 1 for at in BAD]
    lane.verified()


def test_a_committed_part_that_changed_is_given_up_with_what_it_refused() -> None:
    lane = QuarantinedLane(has_state=False)
    asked = Asked()
    copy_lane(lane.next(), lane.open_source, lane.open_target, asked, draining_after(asked, 5))
    assert lane.kept()
    others = [(at, "bad" if at % 10 == 7 else str(at)) for at in range(95)]
    lane.source.put("orders", lane.source.relations["orders"].columns, others)
    lane.attempt()
    assert [row for _, row in lane.kept()] == [at + 1 for at, name in others if name == "bad" and at >= 20]


def test_a_lane_that_refuses_more_than_its_budget_fails_and_names_the_first_reasons() -> None:
    lane = QuarantinedLane(rows_max=3)
    with pytest.raises(DataRefused, match=r"4 rows are refused, and 3 are the most; row 54, column `name`: .*no int64"):
        lane.attempt()
    assert len(lane.kept()) == 3


@pytest.mark.parametrize(("rows_max", "share_max", "is_borne"), [(8, 0.0, True), (0, 0.1, True), (0, 0.05, False)])
def test_the_budget_holds_for_all_lanes_together_and_for_the_share_of_what_was_read(
    rows_max: int, share_max: float, is_borne: bool
) -> None:
    lane = QuarantinedLane(rows_max=rows_max, share_max=share_max)
    lane.attempt()
    if is_borne:
        lane.verified(Level.COUNT)
        return
    with pytest.raises(DataRefused, match=r"8 of 95 rows are refused, and a share of 0\.05 is the most"):
        lane.verified(Level.COUNT)


def test_a_quarantine_that_does_not_hold_what_was_refused_is_found_by_verification() -> None:
    lane = QuarantinedLane()
    lane.attempt()
    staged = lane.target.staged
    staged[lane.quarantine.staging.id] = staged[lane.quarantine.staging.id].holding(())
    with pytest.raises(VerificationFailed, match="8 rows were refused and 0 are staged for orders_quarantine"):
        lane.verified()


def test_a_quarantine_is_published_replaced_and_taken_back_with_its_dataset() -> None:
    lane = QuarantinedLane()
    lane.attempt()
    stagings = [lane.job.staging, lane.quarantine.staging]
    publish(stagings, lane.open_target)
    assert len(lane.target.read("orders_quarantine")) == len(BAD)
    rollback(stagings, lane.open_target)
    assert "orders_quarantine" not in lane.target.relations


def test_the_gate_refuses_what_the_targets_types_would() -> None:
    columns = (
        ColumnInfo("id", ColumnType("int64")),
        ColumnInfo("code", ColumnType("uuid")),
        ColumnInfo("extra", ColumnType("json")),
        ColumnInfo("name", ColumnType("string"), is_required=True),
    )
    code = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"
    rows = [
        (1, code, "{}", "a"),
        (None, code, None, "a"),
        (3, code.upper(), None, "a"),
        (4, None, "{", "a"),
        (5, None, None, None),
        (6, None, None, "a\0b"),
    ]
    with opened([Gate(["id"], refuses_nul=True)], columns) as pipeline:
        kept, refusals = run(pipeline, rows)
    assert kept == [rows[0]]
    assert [(each.row, each.column) for each in refusals] == [
        (1, "id"),
        (2, "code"),
        (3, "extra"),
        (4, "name"),
        (5, "name"),
    ]


def test_what_is_masked_is_not_shown_in_the_quarantine_either() -> None:
    key = b"0123456789abcdef"
    mask = Mask({"name": Masked(MaskMethod.HASH)}, key)
    with opened([Rename({"price": "cost"}), mask]) as pipeline:
        assert pipeline.hidden == {"name"}
    merged = Mask({"both": Masked(MaskMethod.HASH)}, key)
    with opened([Merge(["name", "price"], " ", "both"), merged]) as pipeline:
        assert pipeline.hidden == {"id", "name", "price"}
    lane = ShapedLane(orders(3), (mask, CastAll({"id": CastTo(ColumnType("bool"))})))
    source = lane.open_source()
    columns = source.describe(lane.job.relation).columns
    [chunk] = source.chunks(lane.job.relation, columns, None)
    assert json.loads(chunk.refused[0].content) == {"id": 2, "name": "[masked]"}
