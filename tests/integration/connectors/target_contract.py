"""The contract of Target, lanes and staging: every system's test module inherits it with a harness of its own."""

import random
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import pyarrow as pa
import pytest

from pymigrate.engine.domain.errors import DataRefused, FailedPrecondition, FenceLost, InvalidDefinition
from pymigrate.engine.domain.types import ColumnInfo, ColumnType
from pymigrate.engine.ports.arrow_types import arrow_schema
from pymigrate.engine.ports.staging import Checkpoint, Dangling, ReferenceCheck
from tests.integration.connectors.target_harness import (
    COLUMNS,
    ID,
    NAME,
    Harness,
    LaneWriter,
    a_batch,
    a_staging,
    after,
    numbered,
    pairs,
    staged,
)

LANES = 4


class LaneContract:
    """Claims, commits and resets."""

    def test_a_fresh_lane_stands_at_its_start(self, harness: Harness) -> None:
        target, staging = harness.open(), a_staging()
        assert target.checkpoint(staging, "lane") == (Checkpoint(), 0)
        target.prepare(staging)
        assert target.checkpoint(staging, "lane") == (Checkpoint(), 0)
        assert target.claim(staging, "lane", 3) == Checkpoint()
        assert target.checkpoint(staging, "lane") == (Checkpoint(), 3)

    def test_a_claim_needs_a_fence_above_every_one_before(self, harness: Harness) -> None:
        target, staging = harness.open(), a_staging()
        target.prepare(staging)
        target.claim(staging, "lane", 5)
        for fence in (5, 4, 0):
            with pytest.raises(FenceLost):
                harness.open().claim(staging, "lane", fence)
        assert target.checkpoint(staging, "lane") == (Checkpoint(), 5)

    def test_rows_and_checkpoint_move_together_and_outlive_the_target(self, harness: Harness) -> None:
        staging = a_staging()
        target = harness.open()
        target.prepare(staging)
        lane = LaneWriter(target, staging).claim()
        lane.commit(numbered(1, 3))
        last = lane.commit([(4, None), (5, "")])
        target.close()
        again = harness.open()
        assert again.checkpoint(staging, "lane") == (last, 1)
        assert last.rows == again.count_staging(staging) == 5
        assert pairs(again.read_staging(staging)) == [*numbered(1, 3), (4, None), (5, "")]

    def test_a_chunk_without_rows_moves_the_checkpoint_alone(self, harness: Harness) -> None:
        target, staging = harness.open(), a_staging()
        target.prepare(staging)
        LaneWriter(target, staging).claim()
        step = after(Checkpoint(), 0)
        target.commit(staging, "lane", 1, Checkpoint(), step, [])
        assert target.checkpoint(staging, "lane") == (step, 1)
        assert target.count_staging(staging) == 0
        assert pairs(target.read_staging(staging)) == []

    def test_a_commit_after_a_newer_claim_writes_nothing(self, harness: Harness) -> None:
        staging, old, new = a_staging(), harness.open(), harness.open()
        old.prepare(staging)
        zombie = LaneWriter(old, staging, fence=1).claim()
        zombie.commit(numbered(1, 2))
        heir = LaneWriter(new, staging, fence=2).claim()
        assert heir.at == zombie.at
        with pytest.raises(FenceLost):
            zombie.commit(numbered(3, 4))
        assert new.checkpoint(staging, "lane") == (heir.at, 2)
        heir.commit(numbered(3, 5))
        assert pairs(new.read_staging(staging)) == numbered(1, 5)

    def test_a_chunk_is_committed_once_and_in_its_turn(self, harness: Harness) -> None:
        target, staging = harness.open(), a_staging()
        target.prepare(staging)
        lane = LaneWriter(target, staging).claim()
        first = lane.commit(numbered(1, 2))
        with pytest.raises(FenceLost):
            target.commit(staging, "lane", 1, Checkpoint(), first, [a_batch(numbered(1, 2))])
        skipped = after(first, 1)
        with pytest.raises(FenceLost):
            target.commit(staging, "lane", 1, skipped, after(skipped, 1), [a_batch(numbered(4, 4))])
        assert target.checkpoint(staging, "lane") == (first, 1)
        assert target.count_staging(staging) == 2

    def test_a_commit_needs_a_claim(self, harness: Harness) -> None:
        target, staging = harness.open(), a_staging()
        target.prepare(staging)
        with pytest.raises(FenceLost):
            LaneWriter(target, staging).commit(numbered(1, 1))
        assert target.count_staging(staging) == 0

    def test_rows_that_the_checkpoint_does_not_count_are_a_mistake_of_the_caller(self, harness: Harness) -> None:
        target, staging = harness.open(), a_staging()
        target.prepare(staging)
        LaneWriter(target, staging).claim()
        with pytest.raises(ValueError, match="2 rows do not lead"):
            target.commit(staging, "lane", 1, Checkpoint(), after(Checkpoint(), 3), [a_batch(numbered(1, 2))])
        assert target.count_staging(staging) == 0

    def test_a_null_in_a_required_column_is_refused_with_its_row(self, harness: Harness) -> None:
        columns = (ID, ColumnInfo("name", ColumnType("string"), is_required=True))
        target, staging = harness.open(), a_staging(columns=columns)
        target.prepare(staging)
        lane = LaneWriter(target, staging).claim()
        lane.commit(numbered(1, 3))
        with pytest.raises(DataRefused, match="orders, column `name`, row 5: NULL"):
            lane.commit([(4, "x"), (5, None)])
        assert target.checkpoint(staging, "lane") == (lane.at, 1)
        assert target.count_staging(staging) == 3

    def test_lanes_of_one_staging_do_not_disturb_each_other(self, harness: Harness) -> None:
        staging = a_staging()

        def run(number: int) -> Checkpoint:
            target = harness.open()
            target.prepare(staging)
            lane = LaneWriter(target, staging, f"lane-{number}", fence=number).claim()
            for chunk in range(6):
                first = number * 1000 + chunk * 10
                lane.commit(numbered(first, first + 9))
            return lane.at

        with ThreadPoolExecutor(LANES) as pool:
            ends = list(pool.map(run, range(1, LANES + 1)))
        target = harness.open()
        assert [end.rows for end in ends] == [60] * LANES
        assert [target.checkpoint(staging, f"lane-{n}") for n in range(1, LANES + 1)] == list(
            zip(ends, range(1, LANES + 1), strict=True)
        )
        expected = sorted(row for n in range(1, LANES + 1) for row in numbered(n * 1000, n * 1000 + 59))
        assert pairs(target.read_staging(staging)) == expected

    @pytest.mark.parametrize("seed", [1, 2, 3])
    def test_hosts_that_take_a_lane_from_each_other_lose_and_double_nothing(self, harness: Harness, seed: int) -> None:
        staging = a_staging()
        chunks, fences, progress = 24, count(1), threading.Condition()
        harness.open().prepare(staging)

        def host(number: int) -> int:
            rng, target, won = random.Random(seed * 100 + number), harness.open(), 0
            for _ in range(1000):
                try:
                    lane = LaneWriter(target, staging, fence=next(fences)).claim()
                    for _ in range(rng.randrange(1, 4)):
                        if lane.at.chunks == chunks:
                            return won
                        first = lane.at.rows + 1
                        lane.commit(numbered(first, first + rng.randrange(5)))
                        won += 1
                        with progress:
                            progress.notify_all()
                except FenceLost:
                    # Lets somebody else through once in a while, or nobody ever gets to commit.
                    with progress:
                        progress.wait(rng.uniform(0.0, 0.02))
            raise AssertionError("no host ever gets through")

        with ThreadPoolExecutor(3) as pool:
            won = list(pool.map(host, range(3)))
        target = harness.open()
        at, _ = target.checkpoint(staging, "lane")
        assert sum(won) == at.chunks == chunks
        assert pairs(target.read_staging(staging)) == numbered(1, at.rows)

    def test_preparing_again_and_from_many_threads_changes_nothing(self, harness: Harness) -> None:
        staging, start = a_staging(), threading.Barrier(LANES)

        def prepare(_: int) -> int:
            target = harness.open()
            start.wait()
            target.prepare(staging)
            return target.count_staging(staging)

        with ThreadPoolExecutor(LANES) as pool:
            assert list(pool.map(prepare, range(LANES))) == [0] * LANES
        target = harness.open()
        LaneWriter(target, staging).claim().commit(numbered(1, 3))
        target.prepare(staging)
        assert target.count_staging(staging) == 3

    def test_a_reset_empties_the_staging_and_the_lane_goes_on_under_its_fence(self, harness: Harness) -> None:
        target, staging = harness.open(), a_staging()
        target.prepare(staging)
        lane = LaneWriter(target, staging, fence=4).claim()
        lane.commit(numbered(1, 3))
        target.reset(staging, "lane", 4)
        target.reset(staging, "lane", 4)
        assert target.count_staging(staging) == 0
        assert target.checkpoint(staging, "lane") == (Checkpoint(), 4)
        lane.at = Checkpoint()
        lane.commit(numbered(7, 8))
        assert pairs(target.read_staging(staging)) == numbered(7, 8)

    def test_a_reset_under_a_lost_fence_touches_nothing(self, harness: Harness) -> None:
        target, staging = harness.open(), a_staging()
        target.prepare(staging)
        LaneWriter(target, staging).claim().commit(numbered(1, 3))
        heir = LaneWriter(harness.open(), staging, fence=2).claim()
        with pytest.raises(FenceLost):
            target.reset(staging, "lane", 1)
        assert target.count_staging(staging) == heir.at.rows == 3

    def test_a_reset_does_not_take_another_lanes_rows(self, harness: Harness) -> None:
        target, staging = harness.open(), a_staging()
        target.prepare(staging)
        LaneWriter(target, staging, "one").claim().commit(numbered(1, 3))
        LaneWriter(target, staging, "two").claim().commit(numbered(4, 5))
        with pytest.raises(FailedPrecondition, match="other lanes"):
            target.reset(staging, "two", 1)
        assert target.count_staging(staging) == 5


class StagingContract:
    """What is asked of staged rows, and of definitions."""

    def test_staged_rows_are_read_in_batches_of_bounded_size(self, harness: Harness) -> None:
        target, staging = harness.open(), a_staging()
        staged(target, staging, numbered(1, 150_000))
        batches = list(target.read_staging(staging))
        assert max(batch.num_rows for batch in batches) <= 65_536
        assert all(batch.schema.equals(arrow_schema(COLUMNS)) for batch in batches)
        assert pairs(iter(batches)) == numbered(1, 150_000)

    def test_a_read_that_is_not_finished_does_not_hold_up_the_lane(self, harness: Harness) -> None:
        target, staging = harness.open(), a_staging()
        target.prepare(staging)
        lane = LaneWriter(target, staging).claim()
        lane.commit(numbered(1, 100_000))
        reading = target.read_staging(staging)
        first = next(reading)
        lane.commit(numbered(100_001, 100_002))
        rest = sum(batch.num_rows for batch in reading)
        assert first.num_rows + rest >= 100_000
        assert target.count_staging(staging) == 100_002

    def test_keys_that_occur_twice_or_hold_null_are_counted_and_shown(self, harness: Harness) -> None:
        target = harness.open()
        columns = (ColumnInfo("id", ColumnType("int64")), NAME)
        single = a_staging(columns=columns, key=("name",))
        rows = [(1, "a"), (2, "a"), (3, "b"), (4, None), (5, None), (6, "c"), (7, "c"), (8, "c")]
        staged(target, single, rows)
        found, examples = target.duplicate_keys(single)
        assert (found, sorted(examples)) == (3, ["NULL", "a", "c"])
        double = a_staging("other", key=("name", "id"))
        staged(target, double, [(1, "a"), (1, "b"), (2, "a"), (2, "a"), (3, None)])
        found, examples = target.duplicate_keys(double)
        assert (found, sorted(examples)) == (2, ["(NULL, 3)", "(a, 2)"])
        keyless = a_staging("keyless")
        staged(target, keyless, [(1, "a"), (1, "a")])
        assert target.duplicate_keys(keyless) == (0, ())

    def test_at_most_ten_examples_are_shown(self, harness: Harness) -> None:
        target, staging = harness.open(), a_staging(key=("id",))
        staged(target, staging, [*numbered(1, 30), *numbered(1, 30)])
        found, examples = target.duplicate_keys(staging)
        assert (found, len(examples), examples[:2]) == (30, 10, ("1", "2"))

    def test_references_that_find_nothing_are_counted_and_shown(self, harness: Harness) -> None:
        target, staging = harness.open(), a_staging()
        harness.make("parents", [(1, "a"), (2, "b"), (2, "b")])
        staged(target, staging, [(1, "a"), (2, "x"), (3, "b"), (3, "b"), (4, None), (2, "b")])
        assert target.dangling(staging, ReferenceCheck(("id",), "parents", ("id",))) == Dangling(3, 2, ("3", "4"))
        both = target.dangling(staging, ReferenceCheck(("id", "name"), "parents", ("id", "name")))
        assert both == Dangling(3, 2, ("(2, x)", "(3, b)"))
        assert target.dangling(staging, ReferenceCheck(("name",), "parents", ("name",))) == Dangling(1, 1, ("x",))

    def test_a_relation_that_refers_to_itself_is_looked_up_in_its_own_staging(self, harness: Harness) -> None:
        target, staging = harness.open(), a_staging("tree", (ID, ColumnInfo("name", ColumnType("string"))))
        staged(target, staging, [(1, "1"), (2, "2")])
        assert target.dangling(staging, ReferenceCheck(("id",), "tree", ("id",))) == Dangling(0, 0, ())

    def test_a_reference_to_what_is_not_there_is_a_mistake_in_the_definition(self, harness: Harness) -> None:
        target, staging = harness.open(), a_staging()
        harness.make("parents", [(1, "a")])
        staged(target, staging, numbered(1, 1))
        with pytest.raises(InvalidDefinition, match="no relation `parent`") as missing:
            target.dangling(staging, ReferenceCheck(("id",), "parent", ("id",)))
        assert missing.value.field == "references"
        with pytest.raises(InvalidDefinition, match="no column `nam`; did you mean `name`") as column:
            target.dangling(staging, ReferenceCheck(("name",), "parents", ("nam",)))
        assert column.value.field == "references"

    def test_hostile_names_are_only_names(self, harness: Harness) -> None:
        for relation in ('Ta"ble; DROP', "sélect", "ORDER", "日本 語", "it's", "per%cent ? $1 :x"):
            columns = (
                ID,
                NAME,
                *(ColumnInfo(n, ColumnType("string")) for n in ('a"b', "GROUP", "naïve'", "100% ?", "x.y")),
            )
            staging = a_staging(relation, columns, key=("id",))
            target = harness.open()
            target.check(staging)
            target.prepare(staging)
            lane = LaneWriter(target, staging, "länd\"e'").claim()
            batch = pa.record_batch([[1], *([["v"]] * 6)], schema=arrow_schema(columns))
            target.commit(staging, lane.lane, 1, lane.at, after(lane.at, 1), [batch])
            assert target.duplicate_keys(staging) == (0, ())
            assert target.dangling(staging, ReferenceCheck(('a"b',), relation, ("GROUP",))) == Dangling(0, 0, ())
            target.publish([staging])
            assert [found.to_pylist() for found in target.read_staging(staging)] == [batch.to_pylist()]
            assert relation in [info.relation for info in target.relations("*", 100)]
            target.rollback([staging])
            assert target.rows(relation) is None

    def test_definitions_that_the_target_cannot_hold_are_refused_with_their_field(self, harness: Harness) -> None:
        target = harness.open()
        text = ColumnType("string")
        cases = {
            "source.columns.NAME": a_staging(columns=(NAME, ColumnInfo("NAME", text))),
            "source.columns.": a_staging(columns=(ColumnInfo("", text),)),
            "source.columns.a\0b": a_staging(columns=(ColumnInfo("a\0b", text),)),
            "source.columns": a_staging(columns=()),
            "key": a_staging(key=("nowhere",)),
            "target.relation": a_staging("orders__pymigrate_x"),
        }
        for field, staging in cases.items():
            with pytest.raises(InvalidDefinition) as refused:
                target.check(staging)
            assert refused.value.field == field

    def test_a_good_definition_passes_and_writes_nothing(self, harness: Harness) -> None:
        target = harness.open()
        target.check(a_staging(key=("id",)))
        assert target.relations("*", 10) == []
