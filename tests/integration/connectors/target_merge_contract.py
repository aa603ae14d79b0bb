"""The contract of Target, merging by key into what a relation holds, sealing, and publications that are prepared first."""

from dataclasses import replace

import pytest

from pymigrate.engine.domain.errors import CannotUndo, FailedPrecondition, InvalidDefinition, MergeConflict
from pymigrate.engine.domain.types import ColumnInfo, ColumnType
from pymigrate.engine.ports.staging import MergePolicy, Staging
from tests.integration.connectors.target_harness import (
    ID,
    NAME,
    Harness,
    LaneWriter,
    a_staging,
    after,
    numbered,
    pairs,
    published,
    rows_of,
    staged,
)

Row = tuple[int, str | None]


def merging(policy: MergePolicy = MergePolicy.FAIL, relation: str = "orders") -> Staging:
    """A new attempt that merges by `id`."""
    return a_staging(relation, key=("id",), merge=policy)


def latest() -> Staging:
    """A new attempt that merges by `id`, where the row with the greater `name` wins."""
    return replace(merging(MergePolicy.LATEST), order_column="name")


class SealContract:
    """Sealing: the way back is dropped, for good."""

    def test_a_sealed_publication_stays_and_is_never_undone(self, harness: Harness) -> None:
        harness.make("orders", numbered(1, 5))
        target, staging = harness.open(), a_staging(is_replace=True)
        published(target, staging, numbered(7, 9))
        target.seal([staging])
        target.seal([staging])
        assert harness.read("orders") == numbered(7, 9)
        with pytest.raises(CannotUndo, match="sealed"):
            target.rollback([staging])
        target.publish([staging])
        assert harness.read("orders") == numbered(7, 9)
        assert [info.relation for info in target.relations("*", 10)] == ["orders"]

    def test_what_is_not_published_is_not_sealed(self, harness: Harness) -> None:
        target, staging = harness.open(), a_staging()
        target.seal([staging])
        staged(target, staging, numbered(1, 3))
        target.seal([staging])
        target.publish([staging])
        target.rollback([staging])
        assert target.rows("orders") is None

    def test_a_replacement_of_what_was_sealed_can_be_undone_to_it(self, harness: Harness) -> None:
        target, first, second = harness.open(), a_staging(), a_staging(is_replace=True)
        published(target, first, numbered(1, 3))
        target.seal([first])
        published(target, second, numbered(4, 6))
        target.rollback([second])
        assert harness.read("orders") == numbered(1, 3)


class MergeContract:
    """Merging, where a system has transactions."""

    def test_rows_that_are_not_there_are_inserted_and_equal_ones_are_left_alone(self, harness: Harness) -> None:
        harness.make("orders", numbered(1, 3))
        target, staging = harness.open(), merging()
        target.check(staging)
        published(target, staging, numbered(2, 5))
        assert harness.read("orders") == numbered(1, 5)
        assert target.conflicts(staging) == 0
        assert pairs(target.read_staging(staging)) == numbered(2, 5)
        assert target.count_staging(staging) == 4

    def test_a_relation_that_is_missing_is_made_and_gone_again_after_a_rollback(self, harness: Harness) -> None:
        target, staging = harness.open(), merging()
        published(target, staging, numbered(1, 3))
        assert harness.read("orders") == numbered(1, 3)
        target.rollback([staging])
        assert target.rows("orders") is None

    def test_a_conflict_fails_the_merge_and_writes_nothing(self, harness: Harness) -> None:
        harness.make("orders", [(1, "mine"), (2, "name 2"), (3, None)])
        target, staging = harness.open(), merging()
        staged(target, staging, numbered(1, 5))
        for _ in range(2):
            with pytest.raises(MergeConflict, match="2 rows with the same key") as raised:
                target.publish([staging])
            assert raised.value.field == "conflict_policy"
        assert harness.read("orders") == [(1, "mine"), (2, "name 2"), (3, None)]
        assert target.count_staging(staging) == 5
        target.rollback([staging])
        assert harness.read("orders") == [(1, "mine"), (2, "name 2"), (3, None)]

    @pytest.mark.parametrize(
        ("policy", "expected"),
        [
            (MergePolicy.KEEP_EXISTING, [(1, "mine"), (2, "name 2"), (3, None), (4, "name 4")]),
            (MergePolicy.OVERWRITE, numbered(1, 4)),
        ],
    )
    def test_a_policy_decides_about_conflicts_and_a_rollback_restores_every_row(
        self, harness: Harness, policy: MergePolicy, expected: list[Row]
    ) -> None:
        before: list[Row] = [(1, "mine"), (2, "name 2"), (3, None)]
        harness.make("orders", before)
        target, staging = harness.open(), merging(policy)
        published(target, staging, numbered(1, 4))
        target.publish([staging])
        assert harness.read("orders") == expected
        assert target.conflicts(staging) == 2
        for _ in range(2):
            target.rollback([staging])
            assert harness.read("orders") == before
        assert [info.relation for info in target.relations("*", 10)] == ["orders"]

    def test_a_merged_row_that_was_changed_since_is_not_taken_back_and_nothing_else_either(
        self, harness: Harness
    ) -> None:
        harness.make("orders", [(1, "mine")])
        target, staging = harness.open(), merging(MergePolicy.OVERWRITE)
        published(target, staging, numbered(1, 4))
        harness.change("orders", 3, "changed since")
        with pytest.raises(CannotUndo, match="keys 3 "):
            target.rollback([staging])
        assert harness.read("orders") == [(1, "name 1"), (2, "name 2"), (3, "changed since"), (4, "name 4")]

    def test_rows_that_others_wrote_since_stay(self, harness: Harness) -> None:
        harness.make("orders", numbered(1, 2))
        target, staging = harness.open(), merging()
        published(target, staging, numbered(3, 4))
        harness.append("orders", (9, "later"))
        harness.change("orders", 1, "changed since")
        target.rollback([staging])
        assert harness.read("orders") == [(1, "changed since"), (2, "name 2"), (9, "later")]

    def test_two_datasets_merge_into_one_relation_and_are_undone_one_by_one(self, harness: Harness) -> None:
        target, one, two = harness.open(), merging(), merging(MergePolicy.KEEP_EXISTING)
        staged(target, one, numbered(1, 4))
        staged(target, two, [(4, "other"), (5, "name 5")])
        target.publish([one, two])
        assert harness.read("orders") == numbered(1, 5)
        assert (target.conflicts(one), target.conflicts(two)) == (0, 1)
        target.rollback([one])
        assert harness.read("orders") == [(5, "name 5")]
        target.rollback([two])

    def test_a_key_alone_is_merged_too(self, harness: Harness) -> None:
        harness.make("orders", [(1, None)])
        target = harness.open()
        staging = a_staging(columns=(ID,), key=("id",), merge=MergePolicy.FAIL)
        target.prepare(staging)
        LaneWriter(target, staging).claim()
        target.publish([staging])
        assert harness.read("orders") == [(1, None)]
        target.rollback([staging])
        assert harness.read("orders") == [(1, None)]

    def test_a_sealed_merge_stays_and_leaves_nothing_of_its_own(self, harness: Harness) -> None:
        harness.make("orders", [(1, "mine")])
        target, staging = harness.open(), merging(MergePolicy.OVERWRITE)
        published(target, staging, numbered(1, 3))
        target.seal([staging])
        assert harness.read("orders") == numbered(1, 3)
        with pytest.raises(CannotUndo, match="sealed"):
            target.rollback([staging])

    def test_a_merge_without_a_key_or_with_columns_that_are_not_there_is_refused(self, harness: Harness) -> None:
        harness.make("orders", numbered(1, 1))
        target = harness.open()
        with pytest.raises(InvalidDefinition) as refused:
            target.check(replace(merging(), key=()))
        assert [problem.field for problem in refused.value.problems] == ["key"]
        other = replace(ID, name="number")
        with pytest.raises(InvalidDefinition) as refused:
            target.check(a_staging(columns=(ID, other), key=("id",), merge=MergePolicy.FAIL))
        assert [problem.field for problem in refused.value.problems] == ["source.columns.number"]

    def test_the_row_with_the_greater_value_wins_and_null_loses(self, harness: Harness) -> None:
        before: list[Row] = [(1, "b"), (2, "b"), (3, None), (4, "z"), (5, "same")]
        harness.make("orders", before)
        target, staging = harness.open(), latest()
        target.check(staging)
        published(target, staging, [(1, "a"), (2, "c"), (3, "x"), (4, None), (5, "same"), (6, "new")])
        assert harness.read("orders") == [(1, "b"), (2, "c"), (3, "x"), (4, "z"), (5, "same"), (6, "new")]
        assert target.conflicts(staging) == 4
        target.rollback([staging])
        assert harness.read("orders") == before

    def test_of_several_rows_of_a_staging_the_latest_is_merged(self, harness: Harness) -> None:
        harness.make("orders", [(1, "b"), (2, "y")])
        target, staging = harness.open(), latest()
        staged(target, staging, [(1, "a"), (1, "c"), (1, None), (2, "x"), (2, "x"), (3, "n"), (3, "m")])
        assert target.duplicate_keys(staging) == (0, ())
        target.publish([staging])
        assert harness.read("orders") == [(1, "c"), (2, "y"), (3, "n")]
        target.rollback([staging])
        assert harness.read("orders") == [(1, "b"), (2, "y")]

    def test_equal_rows_of_a_staging_are_one_and_others_fail_where_no_policy_settles_them(
        self, harness: Harness
    ) -> None:
        harness.make("orders", [(1, "mine")])
        target, equal = harness.open(), merging(MergePolicy.OVERWRITE)
        staged(target, equal, [(1, "b"), (1, "b"), (2, None), (2, None), (3, "c")])
        assert target.duplicate_keys(equal) == (0, ())
        target.publish([equal])
        assert harness.read("orders") == [(1, "b"), (2, None), (3, "c")]
        for policy in (MergePolicy.FAIL, MergePolicy.KEEP_EXISTING, MergePolicy.OVERWRITE):
            other = merging(policy)
            staged(target, other, [(7, "a"), (7, "b"), (8, "c"), (8, "c")])
            assert target.duplicate_keys(other) == (1, ("7",))

    def test_conflicting_rows_are_set_aside_and_the_rest_is_merged(self, harness: Harness) -> None:
        harness.make("orders", [(1, "mine"), (2, "name 2")])
        target, staging = harness.open(), merging(MergePolicy.QUARANTINE)
        staged(target, staging, [*numbered(1, 4), (5, "a"), (5, "b"), (6, "c"), (6, "c")])
        assert target.duplicate_keys(staging) == (0, ())
        target.publish([staging])
        assert harness.read("orders") == [(1, "mine"), (2, "name 2"), (3, "name 3"), (4, "name 4"), (6, "c")]
        assert target.conflicts(staging) == 2
        target.rollback([staging])
        assert harness.read("orders") == [(1, "mine"), (2, "name 2")]

    def test_a_column_to_put_rows_in_order_by_is_there_and_outside_the_key(self, harness: Harness) -> None:
        target = harness.open()
        truth = ColumnInfo("truth", ColumnType("bool"))
        for name in ("nowhere", "id", "truth"):
            staging = replace(latest(), columns=(ID, NAME, truth), order_column=name)
            with pytest.raises(InvalidDefinition) as refused:
                target.check(staging)
            assert [problem.field for problem in refused.value.problems] == ["order_column"]

    def test_what_was_never_prepared_is_not_committed_and_giving_it_up_is_fine(self, harness: Harness) -> None:
        target, staging = harness.open(), a_staging()
        staged(target, staging, numbered(1, 3))
        target.abort_publication("none")
        with pytest.raises(FailedPrecondition, match="no publication prepared"):
            target.commit_publication([staging], "none")
        assert target.rows("orders") is None


class ConflictTablesContract:
    """What of a merge's conflicts lies beside the relation, where somebody can look at it."""

    def test_rows_whose_order_is_equal_fail_and_lie_among_the_conflicts(self, harness: Harness) -> None:
        wide = (ID, NAME, ColumnInfo("at", ColumnType("int32")))
        target, first = harness.open(), a_staging(columns=wide)
        target.prepare(first)
        writer = LaneWriter(target, first).claim()
        step = after(writer.at, 2)
        target.commit(first, "lane", 1, writer.at, step, [rows_of(wide, [(1, "a", 5), (2, "b", 6)])])
        target.publish([first])
        second = a_staging(columns=wide, key=("id",), merge=MergePolicy.LATEST, order_column="at")
        target.prepare(second)
        writer = LaneWriter(target, second).claim()
        rows = rows_of(wide, [(1, "x", 5), (2, "y", 7), (3, "c", 1)])
        target.commit(second, "lane", 1, writer.at, after(writer.at, 3), [rows])
        for _ in range(2):
            with pytest.raises(MergeConflict, match="the same `at` and other content, such as 1: ") as refused:
                target.publish([second])
            assert refused.value.field == "conflict_policy"
        assert harness.read("orders") == [(1, "a"), (2, "b")]
        assert sorted(harness.read_conflicts("orders", second)) == [
            ("existing", 1, "a"), ("existing", 2, "b"), ("incoming", 1, "x"), ("incoming", 2, "y"),
        ]  # fmt: skip

    def test_what_is_set_aside_stays_there_when_the_merge_is_sealed(self, harness: Harness) -> None:
        harness.make("orders", [(1, "mine")])
        target, staging = harness.open(), merging(MergePolicy.QUARANTINE)
        published(target, staging, [(1, "other"), (2, "a"), (2, "b"), (3, "c")])
        target.seal([staging])
        assert sorted(harness.read_conflicts("orders", staging)) == [
            ("existing", 1, "mine"), ("incoming", 1, "other"), ("incoming", 2, "a"), ("incoming", 2, "b"),
        ]  # fmt: skip
        assert harness.read("orders") == [(1, "mine"), (3, "c")]
