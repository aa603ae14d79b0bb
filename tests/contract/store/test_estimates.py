"""What is kept of estimates: the newest measurement, the first estimate, and every sample once."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest

from pymigrate.engine.domain.calibration import Sample
from pymigrate.engine.domain.errors import AlreadyExists
from pymigrate.engine.domain.run import RunAggregate
from pymigrate.engine.domain.run_states import RUN_ENDED, RunState
from pymigrate.engine.ports.estimates import KeptEstimate
from pymigrate.engine.ports.store import Store, Unit
from tests.contract.store.records import NOW, PLAN, RUN, at, each, new_run, sample

PROD = "environments/prod"
KEY = "csv-arrow|file|duckdb|copy|measured"
ENGINES = 6
ESTIMATE = KeptEstimate(RUN, PLAN, NOW, b"\x00\xffestimate")


async def insert_run_in(store: Store, state: RunState, name: str = RUN, attempt: int = 1) -> None:
    run = new_run(name, key=name)
    run.state, run.attempt = state, attempt
    await store.transact(lambda unit: unit.runs.insert(RunAggregate(run), b""))


async def keep(store: Store, *estimates: KeptEstimate) -> None:
    await store.transact(each(*estimates, do=lambda unit, estimate: unit.estimates.insert(estimate)))


async def add(store: Store, *samples: Sample, key: str = KEY, environment: str = PROD) -> None:
    await store.transact(lambda unit: unit.samples.add(environment, {key: samples}))


async def newest(store: Store, limit: int = 99, key: str = KEY, environment: str = PROD) -> Sequence[Sample]:
    return await store.read(lambda unit: list(unit.samples.newest(environment, key, limit)))


async def unsettled(store: Store, limit: int = 99) -> list[str]:
    return await store.read(lambda unit: list(unit.estimates.unsettled(limit)))


async def test_the_newest_measurement_of_a_place_is_kept(store: Store) -> None:
    for body in (b"first", b"\x00\xffsecond"):
        await store.transact(lambda unit, body=body: unit.measures.put(PLAN, "flights/planes", body))  # type: ignore[misc]  # bound
    assert await store.read(lambda unit: unit.measures.get(PLAN, "flights/planes")) == b"\x00\xffsecond"
    assert await store.read(lambda unit: unit.measures.get(PLAN, "flights")) is None


async def test_a_plans_measurements_are_listed_by_place_and_no_other_plans(store: Store) -> None:
    def put(unit: Unit) -> None:
        for plan, place in ((PLAN, "b"), (PLAN, "a"), (f"{PLAN}2", "c"), (PLAN, "Z")):
            unit.measures.put(plan, place, place.encode())

    await store.transact(put)
    kept = await store.read(lambda unit: unit.measures.list(PLAN))
    assert list(kept.items()) == [("Z", b"Z"), ("a", b"a"), ("b", b"b")]


async def test_engines_that_measure_the_same_at_once_leave_one_measurement(store: Store) -> None:
    bodies = [bytes([number]) for number in range(ENGINES)]
    await asyncio.gather(
        *(store.transact(lambda unit, body=body: unit.measures.put(PLAN, "a", body)) for body in bodies)  # type: ignore[misc]  # bound
    )
    kept = await store.read(lambda unit: unit.measures.list(PLAN))
    assert kept.keys() == {"a"}
    assert kept["a"] in bodies


async def test_an_estimate_comes_back_as_it_was(store: Store) -> None:
    await keep(store, ESTIMATE)
    assert await store.read(lambda unit: unit.estimates.get(RUN)) == ESTIMATE
    assert await store.read(lambda unit: unit.estimates.get(PLAN)) is None


async def test_the_first_estimate_stays_the_estimate(store: Store) -> None:
    await keep(store, ESTIMATE)
    with pytest.raises(AlreadyExists):
        await keep(store, replace(ESTIMATE, body=b"second"))
    assert await store.read(lambda unit: unit.estimates.get(RUN)) == ESTIMATE


async def test_a_plans_estimates_are_listed_the_newest_first(store: Store) -> None:
    found = [KeptEstimate(f"{PLAN}/runs/{name}", PLAN, at(s), b"") for name, s in (("c", 1), ("a", 2), ("b", 2))]
    await keep(store, *found, KeptEstimate(f"{PLAN}2/runs/a", f"{PLAN}2", at(9), b""))
    assert await store.read(lambda unit: list(unit.estimates.list(PLAN, 9))) == [found[2], found[1], found[0]]
    assert await store.read(lambda unit: list(unit.estimates.list(PLAN, 1))) == [found[2]]


@pytest.mark.parametrize("state", RunState)
async def test_the_estimate_of_a_run_is_to_be_settled_when_the_run_has_ended(store: Store, state: RunState) -> None:
    await insert_run_in(store, state)
    await keep(store, ESTIMATE)
    assert await unsettled(store) == ([RUN] if state in RUN_ENDED else [])


async def test_a_run_without_an_estimate_has_nothing_to_settle(store: Store) -> None:
    await insert_run_in(store, RunState.SUCCEEDED)
    await keep(store, replace(ESTIMATE, run=f"{RUN}2"))
    assert await unsettled(store) == []


async def test_runs_to_settle_come_in_the_order_of_their_names(store: Store) -> None:
    for name in ("b", "a", "Z"):
        await insert_run_in(store, RunState.FAILED, f"{PLAN}/runs/{name}")
        await keep(store, replace(ESTIMATE, run=f"{PLAN}/runs/{name}"))
    assert await unsettled(store, 2) == [f"{PLAN}/runs/{name}" for name in ("Z", "a")]


async def test_an_estimate_is_settled_once_for_each_attempt_of_its_run(store: Store) -> None:
    await insert_run_in(store, RunState.FAILED, attempt=2)
    await keep(store, ESTIMATE)
    assert await store.transact(lambda unit: unit.estimates.settle(RUN, 1, b"at the first attempt"))
    assert await unsettled(store) == [RUN]
    assert await store.transact(lambda unit: unit.estimates.settle(RUN, 2, b"settled"))
    assert await unsettled(store) == []
    assert not await store.transact(lambda unit: unit.estimates.settle(RUN, 2, b"again"))
    assert not await store.transact(lambda unit: unit.estimates.settle(RUN, 1, b"late"))
    assert await store.read(lambda unit: unit.estimates.get(RUN)) == replace(ESTIMATE, body=b"settled", attempt=2)


async def test_an_estimate_that_is_not_there_is_not_settled(store: Store) -> None:
    assert not await store.transact(lambda unit: unit.estimates.settle(RUN, 1, b"settled"))
    assert await store.read(lambda unit: unit.estimates.get(RUN)) is None


async def test_of_engines_that_settle_the_same_at_once_one_does(store: Store) -> None:
    await keep(store, ESTIMATE)
    done = await asyncio.gather(
        *(store.transact(lambda unit: unit.estimates.settle(RUN, 1, b"settled")) for _ in range(ENGINES))
    )
    assert sorted(done) == [False] * (ENGINES - 1) + [True]


async def test_a_sample_comes_back_as_it_was(store: Store) -> None:
    await add(store, sample())
    assert await newest(store) == [sample()]


async def test_the_newest_samples_of_a_key_come_first(store: Store) -> None:
    await add(store, sample("r1", seconds=1), sample("r3", seconds=3), sample("r2", seconds=2), sample("r3", "a", 3))
    assert [(each.run, each.place) for each in await newest(store, 3)] == [
        ("r3", "flights"),
        ("r3", "a"),
        ("r2", "flights"),
    ]


async def test_samples_of_other_keys_and_environments_are_kept_apart(store: Store) -> None:
    await add(store, sample("r1"))
    await add(store, sample("r2"), key="other")
    await add(store, sample("r3"), environment="environments/test")
    assert await newest(store) == [sample("r1")]


async def test_a_sample_that_is_there_stays_as_it_is(store: Store) -> None:
    await add(store, sample())
    await add(store, sample(actual_seconds=99), sample("r2"), sample("r2"))
    assert sorted(await newest(store), key=lambda each: each.run) == [sample(), sample("r2")]


async def test_samples_of_several_keys_are_added_together(store: Store) -> None:
    given = {"a": [sample("r1"), sample("r1", "x")], "b": [sample("r1")], "c": []}
    await store.transact(lambda unit: unit.samples.add(PROD, given))
    await store.transact(lambda unit: unit.samples.add(PROD, given | {"c": [sample("r1")]}))
    assert [len(await newest(store, key=key)) for key in "abc"] == [2, 1, 1]


async def test_the_newest_samples_of_all_keys_that_begin_alike_are_found_at_once(store: Store) -> None:
    keys = ("plans/p/a", "plans/p/b", "plans/p", "plans/p2/a", "plans/o/a")
    given = {key: [sample(f"r{number}", seconds=number) for number in range(4)] for key in keys}
    await store.transact(lambda unit: unit.samples.add(PROD, given))
    await store.transact(lambda unit: unit.samples.add("environments/test", given))
    found = await store.read(lambda unit: unit.samples.newest_below(PROD, "plans/p/", 2))
    assert list(found) == ["plans/p/a", "plans/p/b"]
    assert all(list(samples) == [sample("r3", seconds=3), sample("r2", seconds=2)] for samples in found.values())


async def test_no_samples_add_nothing(store: Store) -> None:
    await add(store)
    assert await newest(store) == []


async def test_engines_that_learn_at_once_lose_no_sample_and_add_none_twice(store: Store) -> None:
    batches = [[sample("shared"), sample(f"r{number}")] for number in range(ENGINES)]
    await asyncio.gather(*(add(store, *batch) for batch in batches))
    assert sorted(each.run for each in await newest(store)) == [*(f"r{n}" for n in range(ENGINES)), "shared"]
