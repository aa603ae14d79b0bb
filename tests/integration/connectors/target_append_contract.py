"""The contract of Target, appending to what a relation holds, and taking exactly those rows out again."""

from dataclasses import replace

import pytest

from pymigrate.engine.domain.errors import CannotUndo, InvalidDefinition, MergeConflict
from pymigrate.engine.ports.staging import Staging
from tests.integration.connectors.target_harness import (
    COLUMNS,
    ID,
    Harness,
    a_staging,
    numbered,
    pairs,
    published,
    staged,
)

TWICE: list[tuple[int, str | None]] = [(1, "same"), (1, "same"), (2, None), (2, None), (3, "")]


def appending(key: tuple[str, ...] = (), relation: str = "orders") -> Staging:
    """A new attempt that appends."""
    return a_staging(relation, key=key, is_append=True)


class AppendContract:
    """Appending."""

    @pytest.mark.parametrize("key", [(), ("id",)])
    def test_rows_are_added_once_and_taken_out_again(self, harness: Harness, key: tuple[str, ...]) -> None:
        harness.make("orders", numbered(1, 3))
        target, staging = harness.open(), appending(key)
        target.check(staging)
        published(target, staging, numbered(4, 9))
        target.publish([staging])
        assert harness.read("orders") == numbered(1, 9)
        again = harness.open()
        assert (again.count_staging(staging), again.conflicts(staging)) == (6, 0)
        assert pairs(again.read_staging(staging)) == numbered(4, 9)
        for _ in range(2):
            again.rollback([staging])
            assert harness.read("orders") == numbered(1, 3)
        assert [info.relation for info in again.relations("*", 10)] == ["orders"]

    def test_rows_without_a_key_are_a_multiset_of_which_exactly_the_added_ones_are_taken_out(
        self, harness: Harness
    ) -> None:
        harness.make("orders", TWICE)
        target, staging = harness.open(), appending()
        published(target, staging, [*TWICE, (1, "same"), (7, "new")])
        harness.append("orders", (2, None))
        harness.append("orders", (8, "later"))
        assert len(harness.read("orders")) == 14
        target.rollback([staging])
        assert sorted(harness.read("orders"), key=str) == sorted([*TWICE, (2, None), (8, "later")], key=str)

    @pytest.mark.parametrize("key", [(), ("id",)])
    def test_an_added_row_that_was_changed_since_is_not_taken_out_and_no_other_either(
        self, harness: Harness, key: tuple[str, ...]
    ) -> None:
        harness.make("orders", [(9, "name 3")])
        target, staging = harness.open(), appending(key)
        published(target, staging, numbered(1, 4))
        harness.change("orders", 3, "changed since")
        before = harness.read("orders")
        with pytest.raises(CannotUndo, match="written to since"):
            target.rollback([staging])
        assert harness.read("orders") == before

    def test_a_changed_row_is_noticed_where_the_relation_had_an_equal_one_before(self, harness: Harness) -> None:
        harness.make("orders", [(1, "same")])
        target, staging = harness.open(), appending()
        published(target, staging, [(1, "same"), (2, "other")])
        harness.change_one("orders", 1, "changed since")
        before = harness.read("orders")
        with pytest.raises(CannotUndo, match="written to since"):
            target.rollback([staging])
        assert harness.read("orders") == before

    def test_a_relation_that_is_gone_can_not_be_undone(self, harness: Harness) -> None:
        harness.make("orders", numbered(1, 3))
        target, staging = harness.open(), appending()
        published(target, staging, numbered(4, 9))
        harness.drop("orders")
        with pytest.raises(CannotUndo):
            target.rollback([staging])

    def test_a_relation_that_is_missing_is_made_and_gone_again_after_a_rollback(self, harness: Harness) -> None:
        target, staging = harness.open(), appending(("id",))
        target.check(staging)
        published(target, staging, numbered(1, 3))
        assert harness.read("orders") == numbered(1, 3)
        target.rollback([staging])
        assert target.rows("orders") is None

    def test_two_datasets_append_to_one_relation_and_are_undone_one_by_one(self, harness: Harness) -> None:
        target, one, two = harness.open(), appending(), appending()
        staged(target, one, [(1, "same"), (2, "one")])
        staged(target, two, [(1, "same"), (3, "two")])
        target.publish([one, two])
        assert sorted(harness.read("orders")) == [(1, "same"), (1, "same"), (2, "one"), (3, "two")]
        target.rollback([one])
        assert harness.read("orders") == [(1, "same"), (3, "two")]
        target.rollback([two])

    def test_a_key_that_is_there_already_fails_and_nothing_is_added(self, harness: Harness) -> None:
        harness.make("orders", numbered(1, 3))
        target, staging = harness.open(), appending(("id",))
        staged(target, staging, numbered(2, 5))
        for _ in range(2):
            with pytest.raises(MergeConflict, match=r"2 of the keys already.* such as 2") as refused:
                target.publish([staging])
            assert refused.value.field == "target.load_mode"
        assert harness.read("orders") == numbered(1, 3)
        assert target.count_staging(staging) == 4
        target.rollback([staging])
        assert harness.read("orders") == numbered(1, 3)

    def test_a_sealed_append_stays_and_leaves_nothing_of_its_own(self, harness: Harness) -> None:
        harness.make("orders", numbered(1, 3))
        target, staging = harness.open(), appending()
        published(target, staging, numbered(4, 5))
        for _ in range(2):
            target.seal([staging])
        with pytest.raises(CannotUndo, match="sealed"):
            target.rollback([staging])
        assert harness.read("orders") == numbered(1, 5)

    def test_a_second_append_can_be_undone_after_the_first_and_before_it(self, harness: Harness) -> None:
        target, one, two = harness.open(), appending(), appending()
        published(target, one, numbered(1, 2))
        published(target, two, numbered(3, 4))
        target.rollback([one])
        assert harness.read("orders") == numbered(3, 4)
        target.rollback([two])

    def test_nothing_is_added_by_an_empty_staging(self, harness: Harness) -> None:
        harness.make("orders", numbered(1, 3))
        target, staging = harness.open(), appending()
        published(target, staging, [])
        target.rollback([staging])
        assert harness.read("orders") == numbered(1, 3)

    def test_columns_that_the_relation_does_not_have_are_refused(self, harness: Harness) -> None:
        harness.make("orders", numbered(1, 1))
        with pytest.raises(InvalidDefinition) as refused:
            harness.open().check(a_staging(columns=(*COLUMNS, replace(ID, name="number")), is_append=True))
        assert [problem.field for problem in refused.value.problems] == ["source.columns.number"]
