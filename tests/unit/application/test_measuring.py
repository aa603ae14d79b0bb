"""What is known of a plan's datasets: measurements that are kept and when they hold, what is looked at, and what can't be reached."""

import asyncio
from typing import Any

import pytest

from pymigrate.engine.application.measuring import Known, kept_measures, places_of
from pymigrate.v1 import impact_pb2, plan_pb2, run_pb2
from tests.unit.application.analyzed import AWAY, ROWS, Analyzed
from tests.unit.application.engines import PLAN, phase
from tests.unit.application.inquirers import a_revision

NOT_PROBED = -1


@pytest.fixture
async def analyzed() -> Analyzed:
    """A plan of one phase with two datasets."""
    found = Analyzed()
    await found.declare({"a": phase("items", "orders")})
    return found


async def bases(analyzed: Analyzed, **asked: Any) -> dict[str, str]:
    """How each dataset was found."""
    found = await analyzed.analyze(draws=1, **asked)
    return {name: dataset.basis for name, dataset in found.phases["a"].datasets.items()}


async def stored(analyzed: Analyzed) -> dict[str, impact_pb2.DatasetMeasure]:
    """The measurements that are kept."""
    found = await analyzed.engine.store.read(lambda unit: dict(unit.measures.list(PLAN)))
    return {name: impact_pb2.DatasetMeasure.FromString(body) for name, body in found.items()}


async def change(analyzed: Analyzed, **fields: Any) -> None:
    """Declares `orders` otherwise."""
    changed = phase("items", "orders")
    changed.name = f"{PLAN}/phases/a"
    for name, value in fields.items():
        match name:
            case "relation":
                changed.datasets["orders"].source.relation = value
            case "declared":
                changed.datasets["orders"].declared.rows = value
            case _:
                setattr(changed, name, value)
    await analyzed.engine.update_phase(changed)


def forget(analyzed: Analyzed) -> None:
    analyzed.looked.clear()
    analyzed.probed.clear()


async def test_what_was_measured_is_kept_with_when_and_of_what(analyzed: Analyzed) -> None:
    await analyzed.analyze(draws=1)
    kept = await stored(analyzed)
    assert sorted(kept) == ["a/items", "a/orders"]
    orders = kept["a/orders"]
    assert orders.time.ToDatetime(analyzed.engine.clock.now().tzinfo) == analyzed.engine.clock.now()
    assert len(orders.hash) == 64
    assert (orders.path, orders.path_reason, orders.lanes, orders.rows) == ("arrow", "as it is", 1, ROWS)


async def test_what_is_kept_is_not_probed_again_unless_it_is_asked_for(analyzed: Analyzed) -> None:
    await analyzed.analyze(draws=1)
    forget(analyzed)
    assert await bases(analyzed) == {"items": "measured", "orders": "measured"}
    assert analyzed.probed == []
    await bases(analyzed, remeasures=True)
    assert sorted(set(analyzed.probed)) == ["items", "orders"]


async def test_where_nothing_may_be_probed_what_was_measured_is_not_even_looked_at(analyzed: Analyzed) -> None:
    await analyzed.analyze(draws=1)
    await change(analyzed, relation="archive")
    forget(analyzed)
    assert await bases(analyzed, probe_seconds_max=NOT_PROBED) == {"items": "measured", "orders": "statistics"}
    assert (analyzed.looked, analyzed.probed) == (["archive"], [])


async def test_a_measurement_holds_only_while_what_it_measured_is_declared_as_it_was(analyzed: Analyzed) -> None:
    await analyzed.analyze(draws=1)
    forget(analyzed)
    await change(analyzed, relation="archive")
    assert await bases(analyzed) == {"items": "measured", "orders": "measured"}
    assert set(analyzed.probed) == {"archive"}


@pytest.mark.parametrize("fields", [{"priority": 7}, {"declared": 9}, {"downtime_policy": 2}])
async def test_what_changes_nothing_that_is_moved_leaves_measurements_as_they_are(
    analyzed: Analyzed, fields: dict[str, Any]
) -> None:
    await analyzed.analyze(draws=1)
    forget(analyzed)
    await change(analyzed, **fields)
    assert await bases(analyzed) == {"items": "measured", "orders": "measured"}
    assert analyzed.probed == []


async def test_a_definition_that_comes_back_has_lost_its_measurement_to_the_newer_one(analyzed: Analyzed) -> None:
    await analyzed.analyze(draws=1)
    await change(analyzed, relation="archive")
    await analyzed.analyze(draws=1)
    await change(analyzed)
    assert await bases(analyzed, probe_seconds_max=NOT_PROBED) == {"items": "measured", "orders": "statistics"}


@pytest.mark.parametrize("told", [ROWS // 3, ROWS * 3])
async def test_a_source_that_has_outgrown_its_measurement_is_measured_again(analyzed: Analyzed, told: int) -> None:
    await analyzed.analyze(draws=1)
    forget(analyzed)
    analyzed.rows["orders"] = told
    found = (await analyzed.analyze(draws=1)).phases["a"].datasets
    assert set(analyzed.probed) == {"orders"}
    assert (found["orders"].rows, list(found["orders"].unknowns)) == (told, [])
    assert (await stored(analyzed))["a/orders"].rows == told


async def test_statistics_of_a_source_that_was_just_copied_whole_do_not_matter(analyzed: Analyzed) -> None:
    analyzed.rows, analyzed.told = {"items": 700, "orders": 700}, {"orders": ROWS}
    found = (await analyzed.analyze(draws=1)).phases["a"].datasets["orders"]
    assert (found.rows, list(found.unknowns)) == (700, [])


async def test_a_source_that_can_not_be_reached_any_more_is_told_and_keeps_its_measurement(analyzed: Analyzed) -> None:
    await analyzed.analyze(draws=1)
    before = await stored(analyzed)
    analyzed.failing["orders"] = AWAY
    orders = (await analyzed.analyze(draws=1)).phases["a"].datasets["orders"]
    assert (orders.basis, orders.rows, orders.path) == ("measured", ROWS, "arrow")
    assert list(orders.unknowns) == ["can't connect to legacy:5432"]
    assert await stored(analyzed) == before


async def test_a_source_that_can_not_be_reached_is_not_probed_and_nothing_is_kept_of_it(analyzed: Analyzed) -> None:
    analyzed.failing["orders"] = AWAY
    assert await bases(analyzed) == {"items": "measured", "orders": "assumed"}
    assert set(analyzed.probed) == {"items"}
    assert sorted(await stored(analyzed)) == ["a/items"]


async def test_who_analyzes_a_plan_that_is_being_probed_waits_for_what_that_finds(analyzed: Analyzed) -> None:
    request = impact_pb2.AnalyzeImpactRequest(plan=PLAN, draws=1)
    both = asyncio.gather(*(analyzed.engine.impacts.analyze(request) for _ in range(2)))

    async def answers() -> list[impact_pb2.Impact]:
        return list(await both)

    first, second = await analyzed.played(answers())
    assert sorted(analyzed.probed) == sorted([*["items"] * 3, *["orders"] * 2]), "the first one warms the host up"
    assert first.summary == second.summary


async def test_measurements_of_datasets_that_are_gone_are_passed_over(analyzed: Analyzed) -> None:
    await analyzed.analyze(draws=1)
    revision = run_pb2.PlanRevision(plan=plan_pb2.Plan(name=PLAN))
    assert await analyzed.engine.store.read(lambda unit: kept_measures(unit, revision)) == {}


def test_every_dataset_of_a_revision_has_its_place_in_order() -> None:
    revision = a_revision("b", "a")
    revision.plan.phases["crm"].datasets["z"].source.relation = "z"
    assert places_of(revision) == [("crm", "z"), ("sales", "a"), ("sales", "b")]


def test_what_is_known_can_be_had_without_some_datasets() -> None:
    places = [("a", "items"), ("a", "orders")]
    known = Known(
        dict.fromkeys(places, impact_pb2.DatasetMeasure()), {place: ["why"] for place in places}, ["plan"], 2.0
    )
    found = known.without(places[:1])
    assert (list(found.measures), list(found.unknowns)) == (places[1:], places[1:])
    assert (found.plan_unknowns, found.seconds) == (["plan"], 2.0)
