"""The contract of Target, publication and the way back."""

from dataclasses import replace

import pytest

from pymigrate.engine.domain.errors import (
    CannotUndo,
    FailedPrecondition,
    FenceLost,
    InvalidDefinition,
    TargetOccupied,
)
from pymigrate.engine.ports.staging import Checkpoint
from pymigrate.engine.ports.target import Forgetting
from tests.integration.connectors.target_harness import (
    Harness,
    LaneWriter,
    a_staging,
    numbered,
    pairs,
    published,
    staged,
)


class PublicationContract:
    """Publish, roll back, and what may be in the way."""

    def test_publication_makes_the_relation_and_its_rows_stay_readable(self, harness: Harness) -> None:
        target, staging = harness.open(), a_staging()
        assert target.rows("orders") is None
        published(target, staging, numbered(1, 3))
        assert harness.read("orders") == numbered(1, 3)
        again = harness.open()
        assert (again.rows("orders"), again.count_staging(staging)) == (3, 3)
        assert pairs(again.read_staging(staging)) == numbered(1, 3)
        [info] = again.relations("*", 10)
        assert (info.relation, [column.name for column in info.columns]) == ("orders", ["id", "name"])

    def test_publishing_twice_changes_nothing(self, harness: Harness) -> None:
        target, one, two = harness.open(), a_staging("one"), a_staging("two")
        published(target, one, numbered(1, 3))
        staged(target, two, numbered(1, 2))
        target.publish([one, two])
        target.publish([one, two])
        target.prepare(one)
        assert (harness.read("one"), harness.read("two")) == (numbered(1, 3), numbered(1, 2))

    def test_a_relation_that_holds_rows_is_not_overwritten_unasked(self, harness: Harness) -> None:
        target, free, taken = harness.open(), a_staging("free"), a_staging("taken")
        staged(target, free, numbered(1, 1))
        staged(target, taken, numbered(1, 1))
        harness.make("taken", [(9, "mine")])
        with pytest.raises(TargetOccupied, match="taken holds rows"):
            target.publish([free, taken])
        with pytest.raises(TargetOccupied):
            target.check(taken)
        assert target.rows("free") is None
        assert harness.read("taken") == [(9, "mine")]
        assert target.count_staging(taken) == 1

    def test_what_is_replaced_is_kept_and_comes_back(self, harness: Harness) -> None:
        harness.make("orders", [(9, "mine"), (10, None)])
        target, staging = harness.open(), a_staging(is_replace=True)
        target.check(staging)
        published(target, staging, numbered(1, 3))
        assert harness.read("orders") == numbered(1, 3)
        assert [info.relation for info in target.relations("*", 10)] == ["orders"]
        target.rollback([staging])
        assert harness.read("orders") == [(9, "mine"), (10, None)]
        target.rollback([staging])
        harness.open().rollback([staging])
        assert harness.read("orders") == [(9, "mine"), (10, None)]

    def test_a_staging_that_is_rolled_back_and_forgotten_is_as_new(self, harness: Harness) -> None:
        target, staging = harness.open(), a_staging()
        assert isinstance(target, Forgetting)
        for rows in (2, 3):
            published(target, staging, numbered(1, rows))
            assert harness.read("orders") == numbered(1, rows)
            target.rollback([staging])
            for _ in range(2):
                target.forget([staging])
            assert harness.open().checkpoint(staging, "lane") == (Checkpoint(), 0)
        assert target.rows("orders") is None

    def test_a_staging_that_was_never_there_is_rolled_back_and_forgotten(self, harness: Harness) -> None:
        target, staging = harness.open(), a_staging()
        assert isinstance(target, Forgetting)
        target.forget([staging])
        target.rollback([staging])
        target.forget([staging])
        published(target, staging, numbered(1, 2))
        assert harness.read("orders") == numbered(1, 2)

    def test_what_is_published_is_not_forgotten(self, harness: Harness) -> None:
        target, staging = harness.open(), a_staging()
        assert isinstance(target, Forgetting)
        published(target, staging, numbered(1, 2))
        target.forget([staging])
        target.rollback([staging])
        assert target.rows("orders") is None

    def test_an_empty_relation_is_replaced_and_comes_back(self, harness: Harness) -> None:
        harness.make("orders", [])
        target, staging = harness.open(), a_staging()
        target.check(staging)
        published(target, staging, numbered(1, 3))
        assert harness.read("orders") == numbered(1, 3)
        target.rollback([staging])
        assert target.rows("orders") == 0

    def test_rolling_back_what_replaced_nothing_removes_it(self, harness: Harness) -> None:
        target, staging = harness.open(), a_staging()
        published(target, staging, numbered(1, 3))
        target.rollback([staging])
        assert target.rows("orders") is None
        assert target.relations("*", 10) == []
        with pytest.raises(FailedPrecondition):
            target.count_staging(staging)

    def test_rolling_back_what_is_only_staged_drops_it_and_shuts_late_hosts_out(self, harness: Harness) -> None:
        harness.make("orders", [(9, "mine")])
        target, staging = harness.open(), a_staging(is_replace=True)
        target.prepare(staging)
        lane = LaneWriter(target, staging, fence=3).claim()
        lane.commit(numbered(1, 2))
        harness.open().rollback([staging])
        target.rollback([staging])
        assert harness.read("orders") == [(9, "mine")]
        assert target.checkpoint(staging, "lane") == (Checkpoint(), 0)
        with pytest.raises(FenceLost):
            lane.commit(numbered(3, 4))
        with pytest.raises(FenceLost):
            target.claim(staging, "lane", 9)
        with pytest.raises(FailedPrecondition):
            target.prepare(staging)
        with pytest.raises(FailedPrecondition):
            target.publish([staging])
        with pytest.raises(FailedPrecondition):
            target.count_staging(staging)
        assert harness.read("orders") == [(9, "mine")]

    def test_rolling_back_what_was_never_prepared_does_nothing(self, harness: Harness) -> None:
        target = harness.open()
        target.rollback([a_staging()])
        assert target.relations("*", 10) == []

    def test_a_lane_commits_nothing_after_publication(self, harness: Harness) -> None:
        target, staging = harness.open(), a_staging()
        target.prepare(staging)
        lane = LaneWriter(target, staging).claim()
        lane.commit(numbered(1, 2))
        harness.open().publish([staging])
        with pytest.raises(FenceLost):
            lane.commit(numbered(3, 4))
        assert harness.read("orders") == numbered(1, 2)
        assert target.claim(staging, "lane", 2) == replace(lane.at)

    @pytest.mark.parametrize("what", ["append", "change", "drop", "remake"])
    def test_a_publication_that_was_written_to_is_not_undone(self, harness: Harness, what: str) -> None:
        harness.make("orders", [(9, "mine")])
        target, staging, other = harness.open(), a_staging(is_replace=True), a_staging("other")
        staged(target, other, numbered(1, 2))
        published(target, staging, numbered(1, 3))
        match what:
            case "append":
                harness.append("orders", (4, "new"))
            case "change":
                harness.change("orders", 2, "name x")
            case "drop":
                harness.drop("orders")
            case _:
                harness.drop("orders")
                harness.make("orders", numbered(1, 3))
        rows = target.rows("orders")
        with pytest.raises(CannotUndo, match="orders"):
            target.rollback([other, staging])
        assert target.rows("orders") == rows
        assert target.count_staging(other) == 2

    def test_publications_of_one_relation_are_undone_last_first(self, harness: Harness) -> None:
        target, first, second = harness.open(), a_staging(), a_staging(is_replace=True)
        published(target, first, numbered(1, 3))
        published(target, second, numbered(4, 8))
        with pytest.raises(CannotUndo):
            target.rollback([first])
        with pytest.raises(FailedPrecondition):
            target.count_staging(first)
        assert harness.read("orders") == numbered(4, 8)
        target.rollback([second])
        assert harness.read("orders") == numbered(1, 3)
        assert target.count_staging(first) == 3
        target.rollback([first])
        assert target.rows("orders") is None

    def test_nothing_is_published_of_a_staging_that_was_never_prepared(self, harness: Harness) -> None:
        target, ready = harness.open(), a_staging("ready")
        staged(target, ready, numbered(1, 1))
        with pytest.raises(FailedPrecondition, match="no staging"):
            target.publish([ready, a_staging()])
        assert target.rows("ready") is None

    def test_relations_are_found_by_glob_in_order_without_our_own(self, harness: Harness) -> None:
        target = harness.open()
        for name in ("b_two", "a_one", "b_one"):
            harness.make(name, [(1, "x")])
        staged(target, a_staging("b_three"), numbered(1, 1))
        published(target, a_staging("b_two", is_replace=True), numbered(1, 1))
        assert [info.relation for info in target.relations("*", 10)] == ["a_one", "b_one", "b_two"]
        assert [info.relation for info in target.relations("b_*", 10)] == ["b_one", "b_two"]
        assert [info.relation for info in target.relations("*", 2)] == ["a_one", "b_one"]

    def test_a_target_names_its_version_and_closes_twice(self, harness: Harness) -> None:
        target = harness.open()
        assert target.version().split()[-1][0].isdigit()
        target.close()
        target.close()


class ViewContract:
    """Of systems that have views."""

    def test_a_view_is_never_replaced(self, harness: Harness) -> None:
        harness.make("base", [])
        harness.make_view("orders", "base")
        target, staging = harness.open(), a_staging(is_replace=True)
        staged(target, staging, numbered(1, 1))
        with pytest.raises(InvalidDefinition, match="is a view") as refused:
            target.check(staging)
        assert refused.value.field == "target.relation"
        with pytest.raises(InvalidDefinition, match="is a view"):
            target.publish([staging])
