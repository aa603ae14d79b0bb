"""The contract of Target, exchanging rows of a staging that a verification found wrong."""

from collections.abc import Sequence

import pytest

from pymigrate.engine.domain.errors import FailedPrecondition, FenceLost
from pymigrate.engine.ports.ranges import Position
from pymigrate.engine.ports.staging import Checkpoint, Staging
from pymigrate.engine.ports.target import Repairing, Target
from tests.integration.connectors.target_harness import (
    Harness,
    a_batch,
    a_staging,
    numbered,
    staged,
)

LANE = "repair"
STEP = Checkpoint(1, 2, position=Position("[]"))
Rows = Sequence[tuple[int, str | None]]


def exchange(target: Target, staging: Staging, surplus: Rows, missing: Rows, fence: int = 1) -> None:
    """Claim the lane of repairs, and make its step."""
    assert isinstance(target, Repairing)
    before = target.claim(staging, LANE, fence)
    target.repair(staging, LANE, fence, before, STEP, _batches(surplus), _batches(missing))


def _batches(rows: Rows) -> list[object]:
    return [a_batch(rows)] if rows else []


class RepairContract:
    """Exchanging rows."""

    @pytest.mark.parametrize("key", [(), ("id",)])
    def test_rows_go_and_come_as_often_as_they_are_given(self, harness: Harness, key: tuple[str, ...]) -> None:
        target, staging = harness.open(), a_staging(key=key)
        staged(target, staging, [*numbered(1, 4), (3, "name 3"), (3, "name 3"), (5, None), (6, "")])
        exchange(target, staging, [(3, "name 3"), (4, "name 4"), (5, None)], [(4, "right"), (5, ""), (6, None)])
        assert pairs_of(target, staging) == [
            (1, "name 1"), (2, "name 2"), (3, "name 3"), (3, "name 3"), (4, "right"), (5, ""), (6, None), (6, ""),
        ]  # fmt: skip
        assert target.checkpoint(staging, LANE) == (STEP, 1)
        assert target.checkpoint(staging, "lane")[0].rows == 8

    def test_a_host_that_was_replaced_exchanges_nothing(self, harness: Harness) -> None:
        target, staging = harness.open(), a_staging()
        staged(target, staging, numbered(1, 3))
        before = target.claim(staging, LANE, 1)
        harness.open().claim(staging, LANE, 2)
        assert isinstance(target, Repairing)
        with pytest.raises(FenceLost):
            target.repair(staging, LANE, 1, before, STEP, [a_batch(numbered(1, 1))], [])
        with pytest.raises(FenceLost):
            exchange(target, staging, numbered(1, 1), [], fence=2)
        exchange(target, staging, numbered(1, 1), [], fence=3)
        with pytest.raises(FenceLost):
            target.repair(staging, LANE, 3, before, STEP, [a_batch(numbered(2, 2))], [])
        assert pairs_of(target, staging) == numbered(2, 3)

    def test_a_row_that_is_not_there_so_often_is_no_row_to_take_out(self, harness: Harness) -> None:
        target, staging = harness.open(), a_staging()
        staged(target, staging, numbered(1, 3))
        for wrong in ([(2, "other")], [(2, "name 2"), (2, "name 2")], [(2, None)], [(9, "name 9")]):
            with pytest.raises(FailedPrecondition):
                exchange(target, staging, wrong, [(9, "new")], fence=target.checkpoint(staging, LANE)[1] + 1)
        assert pairs_of(target, staging) == numbered(1, 3)
        assert target.checkpoint(staging, LANE)[0].chunks == 0

    def test_what_was_repaired_is_published_and_taken_back_as_everything_is(self, harness: Harness) -> None:
        harness.make("orders", numbered(7, 9))
        target, staging = harness.open(), a_staging(is_replace=True)
        staged(target, staging, numbered(1, 3))
        exchange(target, staging, numbered(3, 3), [(4, "new")])
        target.publish([staging])
        assert harness.read("orders") == [*numbered(1, 2), (4, "new")]
        with pytest.raises(FenceLost):
            exchange(target, staging, numbered(1, 1), [], fence=5)
        target.rollback([staging])
        assert harness.read("orders") == numbered(7, 9)
        assert [info.relation for info in target.relations("*", 10)] == ["orders"]


def pairs_of(target: Target, staging: Staging) -> list[tuple[int, str | None]]:
    """The staged rows, by id and text."""
    return sorted(pairs_unsorted(target, staging), key=lambda row: (row[0], row[1] is not None, row[1] or ""))


def pairs_unsorted(target: Target, staging: Staging) -> list[tuple[int, str | None]]:
    """The staged rows."""
    return [(row["id"], row["name"]) for batch in target.read_staging(staging) for row in batch.to_pylist()]
