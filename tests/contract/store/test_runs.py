"""Runs and their parts come back as they were, and a part is written only over the version that it was read at."""

from collections.abc import Sequence
from dataclasses import fields, replace
from datetime import timedelta, timezone

import pytest

from pymigrate.engine.domain.errors import AlreadyExists, StaleWrite
from pymigrate.engine.domain.run import DatasetRun, Lane, PhaseRun, RunAggregate, Task
from pymigrate.engine.domain.run_states import TaskKind
from pymigrate.engine.ports.store import Store, Unit
from tests.contract.store.records import (
    NOW,
    PLAN,
    RUN,
    full_aggregate,
    insert_run,
    load,
    new_lane,
    new_run,
    parts,
    saving,
)


async def test_a_run_comes_back_with_every_field_of_every_part(store: Store) -> None:
    aggregate = full_aggregate()
    await store.transact(lambda unit: unit.runs.insert(aggregate, b"\x00revision"))
    assert await load(store) == aggregate
    assert [part.version for part in parts(aggregate)] == [1, 1, 1, 1, 1]
    assert await store.read(lambda unit: unit.runs.revision(RUN)) == b"\x00revision"
    assert await store.read(lambda unit: unit.runs.get(RUN)) == aggregate.run


def test_the_full_run_leaves_no_field_at_its_default() -> None:
    for part in parts(full_aggregate()):
        left = [
            each.name for each in fields(part) if getattr(part, each.name) == each.default and each.name != "version"
        ]
        assert left == [], f"give {type(part).__name__} a value there, so that the store is tried with it"


async def test_every_part_is_saved_with_every_field(store: Store) -> None:
    aggregate = full_aggregate()
    plain = RunAggregate(
        new_run(),
        {"flights": PhaseRun("flights", "x")},
        {("flights", "flights"): DatasetRun("flights", "flights", "", "", "", "", "")},
        {"flights.flights": Lane("flights.flights", "", "")},
        {"copy.flights": Task("copy.flights", TaskKind.VERIFY, "", 1, (), "", "")},
    )
    await store.transact(lambda unit: unit.runs.insert(plain, b""))
    for part in parts(aggregate):
        part.version = 1
    await store.transact(lambda unit: unit.runs.save(RUN, parts(aggregate)))
    assert await load(store) == aggregate
    assert {part.version for part in parts(aggregate)} == {2}


async def test_parts_come_back_in_the_order_of_their_ids(store: Store) -> None:
    await insert_run(store, new_lane("b"), new_lane("a"), new_lane("c"))
    assert list((await load(store)).lanes) == ["a", "b", "c"]


async def test_times_come_back_in_utc_to_the_microsecond(store: Store) -> None:
    elsewhere = NOW.astimezone(timezone(timedelta(hours=5, minutes=30)))
    await insert_run(store, run=new_run(create_time=elsewhere))
    stored = (await load(store)).run.create_time
    assert stored == NOW
    assert stored.tzinfo is not None


async def test_a_time_that_is_not_aware_is_refused(store: Store) -> None:
    with pytest.raises(ValueError, match="aware"):
        await insert_run(store, run=new_run(create_time=NOW.replace(tzinfo=None)))
    assert await store.read(lambda unit: unit.runs.get(RUN)) is None


async def test_what_was_loaded_is_a_copy(store: Store) -> None:
    aggregate = await insert_run(store, new_lane())
    aggregate.lanes["flights.1"].rows = 99
    aggregate.run.triggers["late"] = "yes"
    loaded = await load(store)
    loaded.lanes["flights.1"].rows = 98
    loaded.run.triggers["later"] = "yes"
    again = await load(store)
    assert again.lanes["flights.1"].rows == 0
    assert again.run.triggers == {}


async def test_nothing_is_found_of_a_run_that_is_not_there(store: Store) -> None:
    def look(unit: Unit) -> Sequence[object]:
        runs = unit.runs
        return [
            runs.load(RUN),
            runs.get(RUN),
            runs.revision(RUN),
            runs.by_key(PLAN, "k"),
            list(runs.events(RUN, 0, 9)),
        ]

    assert await store.read(look) == [None, None, None, None, []]


@pytest.mark.parametrize(("name", "key"), [(RUN, "other"), (f"{PLAN}/runs/other", "k1")])
async def test_a_run_whose_name_or_key_is_taken_is_refused_whole(store: Store, name: str, key: str) -> None:
    await insert_run(store)
    twin = RunAggregate(new_run(name, key=key), lanes={"x": new_lane("x")})
    with pytest.raises(AlreadyExists):
        await store.transact(lambda unit: unit.runs.insert(twin, b"twin"))
    assert (await load(store)).lanes == {}
    assert await store.read(lambda unit: unit.runs.revision(RUN)) == b"revision"
    assert (twin.run.version, twin.lanes["x"].version) == (0, 0)


async def test_the_same_key_may_be_used_in_another_plan(store: Store) -> None:
    await insert_run(store)
    other = f"{PLAN}2"
    await insert_run(store, run=new_run(f"{other}/runs/r1", other))
    found = await store.read(lambda unit: unit.runs.by_key(other, "k1"))
    assert found is not None
    assert found.name == f"{other}/runs/r1"


async def test_a_revision_is_replaced(store: Store) -> None:
    await insert_run(store)
    await store.transact(lambda unit: unit.runs.set_revision(RUN, b"checked"))
    assert await store.read(lambda unit: unit.runs.revision(RUN)) == b"checked"
    with pytest.raises(StaleWrite):
        await store.transact(lambda unit: unit.runs.set_revision(f"{RUN}0", b"checked"))


async def test_a_save_adds_one_to_the_version_each_time(store: Store) -> None:
    lane = (await insert_run(store, new_lane())).lanes["flights.1"]
    for rows in (10, 20):
        lane.rows = rows
        await store.transact(lambda unit: unit.runs.save(RUN, [lane]))
    assert lane.version == 3
    assert (await load(store)).lanes["flights.1"] == lane


async def test_one_unit_may_save_the_same_part_twice(store: Store) -> None:
    lane = (await insert_run(store, new_lane())).lanes["flights.1"]

    def save(unit: Unit) -> None:
        unit.runs.save(RUN, [lane])
        lane.rows = 5
        unit.runs.save(RUN, [lane, lane])

    await store.transact(save)
    assert lane.version == 4
    assert (await load(store)).lanes["flights.1"] == lane


@pytest.mark.parametrize("place", range(5))
async def test_a_stale_part_is_refused_and_leaves_everything_as_it_was(store: Store, place: int) -> None:
    await store.transact(lambda unit: unit.runs.insert(full_aggregate(), b""))
    mine, theirs = await load(store), await load(store)
    await store.transact(lambda unit: unit.runs.save(RUN, [parts(theirs)[place]]))
    before = await load(store)
    mine.run.lanes_max = 99
    with pytest.raises(StaleWrite):
        await store.transact(lambda unit: unit.runs.save(RUN, parts(mine)))
    assert await load(store) == before
    assert {part.version for part in parts(mine)} == {1}, "what was undone takes its versions back"


async def test_a_part_of_version_0_is_inserted_unless_it_is_there(store: Store) -> None:
    await insert_run(store, new_lane("a"))
    fresh = new_lane("b")
    await store.transact(lambda unit: unit.runs.save(RUN, [fresh]))
    assert (fresh.version, list((await load(store)).lanes)) == (1, ["a", "b"])
    with pytest.raises(StaleWrite):
        await store.transact(lambda unit: unit.runs.save(RUN, [new_lane("a")]))


async def test_nothing_is_saved_into_a_run_that_is_not_there(store: Store) -> None:
    for entity in (new_lane(), new_run(), replace(new_lane(), version=1)):
        with pytest.raises(StaleWrite):
            await store.transact(saving(entity))
    assert await store.read(lambda unit: unit.runs.load(RUN)) is None


async def test_datasets_and_tasks_of_one_id_are_told_apart(store: Store) -> None:
    aggregate = RunAggregate(
        new_run(),
        datasets={(phase, "same"): DatasetRun(phase, "same", phase, "", "", "", "") for phase in ("a", "b")},
        lanes={"same": Lane("same", "a", "same")},
        tasks={"same": Task("same", TaskKind.PUBLISH, "a", 1, ("same",), "", "")},
    )
    await store.transact(lambda unit: unit.runs.insert(aggregate, b""))
    assert await load(store) == aggregate
