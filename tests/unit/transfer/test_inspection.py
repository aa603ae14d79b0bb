"""A look at both sides: every problem, each on its field."""

from dataclasses import replace

import pytest

from pymigrate.engine.domain.errors import InvalidDefinition, Problem, SourceMissing, SystemUnavailable
from pymigrate.engine.domain.types import ColumnType
from pymigrate.engine.ports.relations import SourceRelation
from pymigrate.engine.ports.staging import MergePolicy, StagingId
from pymigrate.engine.transfer import inspection
from pymigrate.engine.transfer.inspection import inspect
from pymigrate.engine.transfer.inspection_job import Inspection, InspectJob
from pymigrate.engine.transfer.publication import publish, rollback
from tests.unit.transfer.lanes import COLUMNS, LEGACY, WAREHOUSE, Lane, orders


@pytest.fixture
def lane() -> Lane:
    return Lane(orders(30))


JOB = InspectJob(SourceRelation("orders", key=("id",)), StagingId("s1"), "orders", False, LEGACY, WAREHOUSE)


def look(lane: Lane, job: InspectJob = JOB) -> Inspection:
    return inspect(job, lane.open_source, lane.open_target)


def fields(found: Inspection) -> list[str]:
    return [problem.field for problem in found.problems]


def test_a_dataset_that_can_be_copied_has_no_problems(lane: Lane) -> None:
    found = look(lane)
    assert found.problems == ()
    assert found.source is not None
    assert ([column.name for column in found.source.columns], found.source.rows) == (["id", "name"], 30)
    assert (found.is_target_present, found.target_rows, found.choice.path) == (False, 0, "arrow")
    assert found.source_state == lane.open_source().state(JOB.relation)
    assert lane.target.staged == {}


class Bare:
    """A target that says nothing of what it guarantees, as one that others wrote may be."""

    def __init__(self, target: object) -> None:
        self._target = target

    def __getattr__(self, name: str) -> object:
        if name == "delivery":
            raise AttributeError(name)
        return getattr(self._target, name)


def test_what_the_target_guarantees_is_found_and_nothing_is_promised_for_one_that_does_not_say(lane: Lane) -> None:
    assert look(lane).delivery == "exactly_once"
    found = inspect(JOB, lane.open_source, lambda: Bare(lane.open_target()))  # type: ignore[arg-type,return-value]  # a Target all the same
    assert (found.problems, found.delivery) == ((), "at_least_once")


def test_a_missing_source_names_the_nearest(lane: Lane) -> None:
    found = look(lane, replace(JOB, relation=SourceRelation("order")))
    assert found.source is None
    assert fields(found) == ["source.relation"]
    assert "did you mean `orders`?" in found.problems[0].description


def test_every_problem_of_both_sides_is_found_at_once(lane: Lane) -> None:
    lane.target.put("orders", COLUMNS, orders(3))
    relation = SourceRelation("orders", columns={"nam": ColumnType("string")}, key=("idd",))
    found = look(lane, replace(JOB, relation=relation))
    assert fields(found) == ["source.columns.nam", "key", "target.load_mode"]
    assert found.problems[-1].description.startswith("`orders` holds 3 rows already: use `replace`")
    assert (found.is_target_present, found.target_rows) == (True, 3)


def test_rows_in_the_target_are_no_problem_where_they_are_to_be_replaced(lane: Lane) -> None:
    lane.target.put("orders", COLUMNS, orders(3))
    found = look(lane, replace(JOB, is_replace=True))
    assert (found.problems, found.target_rows) == ((), 3)
    lane.target.put("orders", COLUMNS, [])
    assert look(lane).problems == ()


def test_a_key_and_a_reference_name_columns_that_are_there_once(lane: Lane) -> None:
    found = look(
        lane,
        replace(JOB, relation=SourceRelation("orders", key=("id", "id")), references={"person": ("nam", "name")}),
    )
    assert fields(found) == ["key", "references.person.columns"]
    assert "did you mean `name`?" in found.problems[1].description


def test_a_relation_is_not_copied_onto_itself(lane: Lane) -> None:
    found = inspect(replace(JOB, target_system=LEGACY), lane.open_source, lambda: lane.connector.open_target(LEGACY))
    assert "target.relation" in fields(found)


def test_what_the_target_cannot_hold_is_found(lane: Lane) -> None:
    assert fields(look(lane, replace(JOB, target_relation="orders__pymigrate_x"))) == ["target.relation"]


@pytest.mark.parametrize(
    ("error", "field"),
    [
        (SystemUnavailable("it does not answer"), "{side}.connection"),
        (SourceMissing("no such file"), "{side}.connection"),
        (InvalidDefinition((Problem("path", "is no file"),)), "{side}.connection"),
        (InvalidDefinition((Problem("source.connection", "is no source"),)), "source.connection"),
    ],
)
def test_a_side_that_cannot_be_opened_is_a_problem_of_its_connection(lane: Lane, error: Exception, field: str) -> None:
    lane.source.faults.fail("open_source", error=error)
    lane.target.put("orders", COLUMNS, orders(3))
    assert fields(look(lane)) == [field.format(side="source"), "target.load_mode"]
    lane.target.faults.fail("open_target", error=error)
    assert fields(look(lane)) == [field.format(side="target")]


def test_a_system_that_goes_away_during_the_look_is_a_problem_too(lane: Lane) -> None:
    lane.source.faults.fail("describe", error=SystemUnavailable("it went away"))
    assert look(lane).problems == (Problem("source.relation", "it went away"),)


def test_publication_and_the_way_back_may_be_repeated(lane: Lane) -> None:
    lane.attempt()
    for _ in range(2):
        publish([lane.job.staging], lane.open_target)
    assert len(lane.target.read("orders")) == 30
    for _ in range(2):
        rollback([lane.job.staging], lane.open_target)
    assert "orders" not in lane.target.relations


@pytest.mark.parametrize(("lanes_max", "expected"), [(1, 0), (3, 3), (50, 30), (0, 0)])
def test_a_dataset_is_split_into_as_many_ranges_as_it_may_have_lanes(lane: Lane, lanes_max: int, expected: int) -> None:
    assert len(look(lane, replace(JOB, lanes_max=lanes_max)).ranges) == expected


@pytest.mark.parametrize(("has_state", "expected"), [(True, 3), (False, 0)])
def test_a_large_source_is_split_by_itself_only_where_it_tells_of_changes(
    monkeypatch: pytest.MonkeyPatch, has_state: bool, expected: int
) -> None:
    monkeypatch.setattr(inspection, "LANE_BYTES", 100)
    found = look(Lane(orders(30), has_state=has_state), replace(JOB, lanes_max=0))
    assert len(found.ranges) == expected


def test_rows_that_are_to_be_merged_may_meet_others(lane: Lane) -> None:
    lane.target.put("orders", COLUMNS, orders(5))
    assert fields(look(lane)) == ["target.load_mode"]
    assert fields(look(lane, replace(JOB, merge=MergePolicy.OVERWRITE))) == []


def test_rows_in_the_target_are_no_problem_where_others_are_added(lane: Lane) -> None:
    lane.target.put("orders", COLUMNS, orders(3))
    assert fields(look(lane, replace(JOB, is_append=True))) == []


def test_rows_are_not_replaced_by_rows_that_nobody_reads_back(lane: Lane) -> None:
    unverified = replace(JOB, is_replace=True, is_unverified=True)
    assert fields(look(lane, unverified)) == []
    lane.target.put("orders", COLUMNS, orders(3))
    found = look(lane, unverified)
    assert fields(found) == ["verification"]
    assert "`none` would replace the 3 rows of `orders`" in found.problems[0].description
    assert fields(look(lane, replace(unverified, is_replace=False, is_append=True))) == []


def test_a_column_that_rows_can_not_be_put_in_order_by_is_a_problem(lane: Lane) -> None:
    merge = replace(JOB, merge=MergePolicy.LATEST, order_column="changed_at")
    assert fields(look(lane, merge)) == ["order_column"]
    assert fields(look(lane, replace(merge, order_column="name"))) == []
