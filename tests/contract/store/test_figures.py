"""Figures of runs that have ended: the last ones that were kept of each plan."""

from dataclasses import replace

import pytest

from pymigrate.engine.ports.figures import KeptFigures
from pymigrate.engine.ports.store import Store
from tests.contract.store.records import PLAN, RUN, BoomError, each

FIGURES = KeptFigures(PLAN, RUN, 7, 1, b"\x00\xfffigures")
OTHER = replace(FIGURES, plan=f"{PLAN}-old", run=f"{PLAN}-old/runs/r1")


async def put(store: Store, *figures: KeptFigures) -> None:
    await store.transact(each(*figures, do=lambda unit, kept: unit.figures.put(kept)))


async def of_plans(store: Store, *plans: str) -> list[KeptFigures]:
    return await store.read(lambda unit: list(unit.figures.of_plans(plans)))


async def test_figures_come_back_as_they_were_kept_ordered_by_plan(store: Store) -> None:
    await put(store, OTHER, FIGURES)
    assert await of_plans(store, OTHER.plan, PLAN, PLAN, "environments/prod/plans/none") == [FIGURES, OTHER]
    assert await of_plans(store, OTHER.plan) == [OTHER]
    assert await of_plans(store) == []


async def test_later_figures_take_the_place_of_those_that_were_kept_of_the_plan(store: Store) -> None:
    await put(store, FIGURES, OTHER)
    later = KeptFigures(PLAN, f"{PLAN}/runs/r2", 3, 2, b"")
    await put(store, later)
    assert await of_plans(store, PLAN, OTHER.plan) == [later, OTHER]


async def test_figures_of_a_unit_that_is_undone_are_not_kept(store: Store) -> None:
    await put(store, FIGURES)

    def work(unit):  # type: ignore[no-untyped-def]  # a unit of work
        unit.figures.put(replace(FIGURES, version=8))
        raise BoomError

    with pytest.raises(BoomError):
        await store.transact(work)
    assert await of_plans(store, PLAN) == [FIGURES]
