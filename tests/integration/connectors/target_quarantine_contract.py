"""What every target holds to that keeps refused rows: they come and go with the chunk and the dataset that they belong to."""

import pyarrow as pa
import pytest

from pymigrate.engine.domain.errors import FenceLost
from pymigrate.engine.ports.ranges import Position
from pymigrate.engine.ports.source import RefusedRow
from pymigrate.engine.ports.staging import Checkpoint, Staging
from pymigrate.engine.ports.target import SettingApart
from pymigrate.engine.transfer.transforms.quarantine import beside, quarantined
from tests.integration.connectors.target_harness import Harness, a_batch, a_staging


def refused(number: int) -> list[pa.RecordBatch]:
    """A refused row of the chunk."""
    return quarantined("orders", "lane", number, [RefusedRow(number, "name", "is no name", '{"id": 1.10}')])


def step(chunks: int, rows: int) -> Checkpoint:
    return Checkpoint(chunks, rows, rows * 10, Position(str(rows)), "x:00")


class QuarantineContract:
    """Tests for a fixture `harness`."""

    def test_refused_rows_are_committed_with_their_chunk_and_published_with_their_dataset(
        self, harness: Harness
    ) -> None:
        staging, apart = self._prepared(harness)
        target = harness.open()
        assert isinstance(target, SettingApart)
        target.commit_apart(
            staging, "lane", 1, Checkpoint(), step(1, 2), [a_batch([(1, "a"), (2, "b")])], apart, refused(1)
        )
        target.commit_apart(staging, "lane", 1, step(1, 2), step(2, 2), [], apart, refused(2))
        target.commit_apart(staging, "lane", 1, step(2, 2), step(3, 3), [a_batch([(3, "c")])], apart, [])
        assert (target.count_staging(staging), target.count_staging(apart)) == (3, 2)
        assert {row["row_number"] for batch in target.read_staging(apart) for row in batch.to_pylist()} == {1, 2}
        with pytest.raises(FenceLost):
            target.commit_apart(staging, "lane", 1, step(2, 2), step(3, 3), [a_batch([(4, "d")])], apart, refused(3))
        assert target.count_staging(apart) == 2
        target.publish([staging, apart])
        assert (target.rows(staging.relation), target.rows(apart.relation)) == (3, 2)
        target.rollback([staging, apart])
        assert target.rows(apart.relation) is None
        target.close()

    def test_a_lane_that_starts_over_takes_its_refused_rows_back(self, harness: Harness) -> None:
        staging, apart = self._prepared(harness)
        target = harness.open()
        assert isinstance(target, SettingApart)
        target.commit_apart(staging, "lane", 1, Checkpoint(), step(1, 1), [a_batch([(1, "a")])], apart, refused(1))
        target.reset_apart(staging, "lane", 1, apart)
        assert (target.count_staging(staging), target.count_staging(apart)) == (0, 0)
        assert target.checkpoint(staging, "lane")[0] == Checkpoint()
        target.commit_apart(staging, "lane", 1, Checkpoint(), step(1, 0), [], apart, refused(1))
        assert target.count_staging(apart) == 1
        target.close()

    def test_what_an_earlier_run_refused_is_replaced_and_comes_back(self, harness: Harness) -> None:
        first, second = self._published(harness, 1), self._published(harness, 2)
        target = harness.open()
        assert target.rows(second[1].relation) == 2
        target.rollback(list(second))
        assert target.rows(first[1].relation) == 1
        target.close()

    def _published(self, harness: Harness, rows: int) -> tuple[Staging, Staging]:
        staging, apart = self._prepared(harness)
        target = harness.open()
        assert isinstance(target, SettingApart)
        for number in range(1, rows + 1):
            before = step(number - 1, 0) if number > 1 else Checkpoint()
            target.commit_apart(staging, "lane", 1, before, step(number, 0), [], apart, refused(number))
        target.publish([staging, apart])
        target.close()
        return staging, apart

    def _prepared(self, harness: Harness) -> tuple[Staging, Staging]:
        staging = a_staging(is_replace=True)
        apart = beside(staging, "")
        target = harness.open()
        for each in (staging, apart):
            target.check(each)
            target.prepare(each)
        target.claim(staging, "lane", 1)
        target.close()
        return staging, apart
