"""The ledger of deliveries: what is kept of one, and that nobody writes over what somebody else wrote."""

import asyncio
from collections.abc import Callable
from dataclasses import MISSING, fields, replace
from typing import Any

import pytest

from pymigrate.engine.domain.delivery import Delivery, DeliveryState, TryOutcome
from pymigrate.engine.domain.errors import AlreadyExists, StaleWrite
from pymigrate.engine.domain.notices import Severity
from pymigrate.engine.ports.deliveries import WRITTEN_ONCE
from pymigrate.engine.ports.store import Store, Unit
from tests.contract.store.deliveries import (
    PROD,
    TRIES,
    delivery,
    full_delivery,
    ids,
    inserting,
    named,
    saving,
    stored,
)
from tests.contract.store.records import NOW, BoomError, at


def test_the_full_delivery_has_no_field_at_its_default() -> None:
    full = full_delivery()
    for each in fields(Delivery):
        default = each.default_factory() if each.default_factory is not MISSING else each.default
        assert each.name == "version" or getattr(full, each.name) != default, each.name


async def test_a_delivery_comes_back_with_everything_that_it_had(store: Store) -> None:
    full = full_delivery()
    await store.transact(inserting(full))
    kept = await stored(store, "full")
    assert kept == replace(full_delivery(), version=1) == full
    assert (type(kept.severity), type(kept.state), type(kept.tries[0].outcome)) == (Severity, DeliveryState, TryOutcome)


async def test_what_is_written_later_replaces_all_but_whom_it_tells(store: Store) -> None:
    await store.transact(inserting(delivery("full")))
    changed = replace(full_delivery(), version=1)
    await store.transact(saving(changed))
    once = {name: getattr(delivery("full"), name) for name in WRITTEN_ONCE}
    assert await stored(store, "full") == replace(full_delivery(), version=2, **once)
    assert changed.version == 2
    plain = delivery("full", version=2)
    await store.transact(saving(plain))
    assert await stored(store, "full") == plain


async def test_a_delivery_that_there_is_not_is_none_and_left_out_of_many(store: Store) -> None:
    await store.transact(inserting(delivery("b"), delivery("a"), delivery("c")))
    assert await store.read(lambda unit: unit.deliveries.get(named("none"))) is None
    asked = [named("c"), named("none"), named("a"), named("c")]
    assert ids(await store.read(lambda unit: unit.deliveries.get_all(asked))) == ["a", "c"]
    assert list(await store.read(lambda unit: unit.deliveries.get_all([]))) == []


async def test_what_is_kept_is_nobodys_to_change(store: Store) -> None:
    mine = delivery("a", entries=[1], tries=list(TRIES))
    await store.transact(inserting(mine))
    mine.entries.append(2)
    mine.tries.clear()
    read = await stored(store, "a")
    read.entries.append(3)
    read.tries.clear()
    assert await stored(store, "a") == delivery("a", entries=[1], tries=list(TRIES), version=1)


async def test_one_whose_key_is_taken_is_left_out_and_keeps_version_0(store: Store) -> None:
    first = delivery("first", key="k")
    again, other = delivery("again", key="k", to="elsewhere"), delivery("other")
    await store.transact(inserting(first))
    await store.transact(inserting(again, other))
    assert (first.version, again.version, other.version) == (1, 0, 1)
    asked = [named("first"), named("again"), named("other")]
    assert ids(await store.read(lambda unit: unit.deliveries.get_all(asked))) == ["first", "other"]


async def test_of_several_with_one_key_in_the_same_call_the_first_is_stored(store: Store) -> None:
    first, second = delivery("z", key="k"), delivery("a", key="k")
    await store.transact(inserting(first, second, first))
    assert (first.version, second.version) == (1, 0)
    assert (await stored(store, "z")).key == "k"
    assert await store.read(lambda unit: unit.deliveries.get(named("a"))) is None


async def test_a_repetition_is_left_out_even_under_the_same_name(store: Store) -> None:
    await store.transact(inserting(delivery("a")))
    again = delivery("a", to="elsewhere")
    await store.transact(inserting(again))
    assert again.version == 0
    assert (await stored(store, "a")).to == "ann@example.com"


@pytest.mark.parametrize("is_same_call", [True, False])
async def test_a_name_that_another_delivery_has_is_refused(store: Store, is_same_call: bool) -> None:
    first, second = delivery("a"), delivery("a", key="another key")
    calls = [inserting(first, second)] if is_same_call else [inserting(first), inserting(second)]
    for call in calls[:-1]:
        await store.transact(call)
    with pytest.raises(AlreadyExists, match="exists already"):
        await store.transact(calls[-1])
    assert second.version == 0


async def test_nothing_to_write_is_nothing_written(store: Store) -> None:
    await store.transact(inserting(delivery("a")))
    before = await stored(store, "a")
    await store.transact(inserting())
    await store.transact(saving())
    assert await stored(store, "a") == before


async def test_one_that_was_changed_or_deleted_in_between_is_stale(store: Store) -> None:
    await store.transact(inserting(delivery("a"), delivery("b")))
    a, b, gone = await stored(store, "a"), await stored(store, "b"), delivery("gone", version=1)
    await store.transact(saving(await stored(store, "b")))
    for stale in (b, gone):
        with pytest.raises(StaleWrite, match=f"{stale.name} was changed or deleted in between"):
            await store.transact(saving(stale))
        with pytest.raises(StaleWrite, match="was changed or deleted in between"):
            await store.transact(saving(a, stale))
    assert (a.version, b.version, gone.version) == (1, 1, 1)
    assert (await stored(store, "a")).version == 1


async def test_one_that_was_never_stored_is_not_saved(store: Store) -> None:
    fresh = delivery("a")
    with pytest.raises(StaleWrite):
        await store.transact(saving(fresh))
    assert fresh.version == 0


async def test_one_that_is_given_twice_is_written_once(store: Store) -> None:
    mine = delivery("a")
    await store.transact(inserting(mine, mine))
    mine.entry_count = 2
    await store.transact(saving(mine, mine))
    assert await stored(store, "a") == mine
    assert mine.version == 2


async def test_of_two_copies_of_one_delivery_the_second_is_stale(store: Store) -> None:
    await store.transact(inserting(delivery("a")))
    copies = [await stored(store, "a"), await stored(store, "a")]
    with pytest.raises(StaleWrite):
        await store.transact(saving(*copies))
    assert [copy.version for copy in copies] == [1, 1]


async def test_a_unit_that_is_undone_gives_back_the_versions(store: Store) -> None:
    old, new = delivery("old"), delivery("new")
    await store.transact(inserting(old))

    def work(unit: Unit) -> None:
        old.entry_count = 5
        unit.deliveries.save([old])
        unit.deliveries.save([old])
        unit.deliveries.insert([new])
        unit.deliveries.note_overdue([old.name])
        unit.deliveries.purge(at(99), 9)
        raise BoomError

    with pytest.raises(BoomError):
        await store.transact(work)
    assert (old.version, new.version) == (1, 0)
    assert await stored(store, "old") == delivery("old", version=1)
    assert await store.read(lambda unit: unit.deliveries.get(new.name)) is None
    await store.transact(inserting(new))
    assert new.version == 1


async def test_hundreds_are_written_at_once_and_of_many_writers_each_delivery_has_one(store: Store) -> None:
    made = [delivery(f"{number:03}") for number in range(300)]
    await store.transact(inserting(*made))
    names = [each.name for each in made]

    def claim(unit: Unit) -> int:
        claimed = [each for each in unit.deliveries.get_all(names) if each.state == DeliveryState.WAITING][:100]
        for each in claimed:
            each.state = DeliveryState.PENDING
        unit.deliveries.save(claimed)
        return len(claimed)

    assert sorted(await asyncio.gather(*(store.transact(claim) for _ in range(4)))) == [0, 100, 100, 100]
    kept = await store.read(lambda unit: unit.deliveries.get_all(names))
    assert {(each.state, each.version) for each in kept} == {(DeliveryState.PENDING, 2)}


async def test_a_unit_sees_what_it_wrote(store: Store) -> None:
    def work(unit: Unit) -> list[str]:
        unit.deliveries.insert([delivery("a", thread="t")])
        mine = unit.deliveries.newest(["t"])["t"]
        mine.state = DeliveryState.PENDING
        unit.deliveries.save([mine])
        return [each.state for each in unit.deliveries.get_all([mine.name])]

    assert await store.transact(work) == [DeliveryState.PENDING]


@pytest.mark.parametrize(
    "naive",
    [
        {"due_time": NOW.replace(tzinfo=None)},
        {"frozen_time": NOW.replace(tzinfo=None)},
        {"tries": [replace(TRIES[0], time=NOW.replace(tzinfo=None))]},
    ],
)
async def test_a_time_that_is_not_aware_is_refused(store: Store, naive: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="aware"):
        await store.transact(inserting(delivery("a", **naive)))
    assert await store.read(lambda unit: unit.deliveries.get(named("a"))) is None


@pytest.mark.parametrize(
    "write", [inserting(delivery("b")), saving(delivery("a", version=1)), lambda unit: unit.deliveries.purge(at(9), 9)]
)
async def test_a_read_can_not_write(store: Store, write: Callable[[Unit], None]) -> None:
    await store.transact(inserting(delivery("a", state=DeliveryState.DEAD)))
    with pytest.raises(RuntimeError, match="use transact"):
        await store.read(write)
    assert (await stored(store, "a")).version == 1


async def test_a_name_in_another_environment_is_another_delivery(store: Store) -> None:
    other = delivery("a", name="environments/test/deliveries/a", environment="environments/test", key="other")
    await store.transact(inserting(delivery("a"), other))
    found = await store.read(lambda unit: unit.deliveries.get(other.name))
    assert found is not None
    assert (found.environment, (await stored(store, "a")).environment) == ("environments/test", PROD)
