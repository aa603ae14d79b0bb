"""What escalates, and what is beyond a bound now."""

from dataclasses import replace

import pytest

from pymigrate.engine.domain.delivery import Condition, Incident
from pymigrate.engine.domain.errors import AlreadyExists, StaleWrite
from pymigrate.engine.ports.store import Store, Unit
from tests.contract.store.deliveries import PROD, incident
from tests.contract.store.records import NOW, PLAN, RUN, BoomError, at, each

FULL = Incident("i", PROD, "failures", "t", at(1), [3, 2**40], 2, at(2), at(3), "bob")
LAG = Condition(PROD, "lag", RUN, at(1), at(2))


async def insert(store: Store, *incidents: Incident) -> None:
    await store.transact(lambda unit: unit.incidents.insert(incidents))


async def stored(store: Store, id: str) -> Incident | None:
    return await store.read(lambda unit: unit.incidents.get(id))


async def put(store: Store, *conditions: Condition) -> None:
    await store.transact(each(*conditions, do=lambda unit, condition: unit.conditions.put(condition)))


async def conditions(store: Store) -> list[Condition]:
    return await store.read(lambda unit: list(unit.conditions.all()))


async def test_an_incident_comes_back_with_everything_that_it_had(store: Store) -> None:
    mine = replace(FULL)
    await insert(store, mine)
    assert await stored(store, "i") == mine == replace(FULL, version=1)
    assert await stored(store, "none") is None


async def test_what_is_kept_of_an_incident_is_nobodys_to_change(store: Store) -> None:
    mine = incident("i", entries=[1])
    await insert(store, mine)
    mine.entries.append(2)
    read = await stored(store, "i")
    assert read is not None
    read.entries.append(3)
    assert await stored(store, "i") == incident("i", entries=[1], version=1)


async def test_an_incident_is_saved_where_nobody_else_has_changed_it(store: Store) -> None:
    await insert(store, incident("i"), incident("j"))
    mine, late = await stored(store, "i"), await stored(store, "i")
    assert mine is not None
    assert late is not None
    mine.step, mine.next_time, mine.acknowledger, mine.acknowledge_time = 1, None, "bob", at(5)
    await store.transact(lambda unit: unit.incidents.save([mine, mine]))
    assert await stored(store, "i") == mine
    assert mine.version == 2
    for stale in (late, incident("none"), incident("gone", version=1)):
        with pytest.raises(StaleWrite, match="changed or deleted in between"):
            await store.transact(lambda unit, stale=stale: unit.incidents.save([stale]))  # type: ignore[misc]  # bound
    await store.transact(lambda unit: unit.incidents.save([]))
    assert late.version == 1


@pytest.mark.parametrize("is_same_call", [True, False])
async def test_an_incident_that_exists_is_not_opened_again(store: Store, is_same_call: bool) -> None:
    if not is_same_call:
        await insert(store, incident("i"))
    again = [incident("h"), incident("i"), incident("i")]
    with pytest.raises(AlreadyExists):
        await insert(store, *(again if is_same_call else again[:2]))
    assert [one.version for one in again] == [0, 0, 0]
    assert await stored(store, "h") is None
    await insert(store)


async def test_the_incident_of_a_thread_is_the_one_that_is_under_way(store: Store) -> None:
    await insert(
        store,
        incident("old", thread="t", next_time=None, open_time=at(9)),
        incident("open", thread="t"),
        incident("ended", thread="u", next_time=None),
        incident("first", thread="v"),
        incident("second", thread="v", open_time=at(1)),
        incident("other", thread="w"),
    )
    found = await store.read(lambda unit: unit.incidents.open_of(["t", "u", "v", "none", "t"]))
    assert {thread: one.id for thread, one in found.items()} == {"t": "open", "v": "second"}
    assert dict(await store.read(lambda unit: unit.incidents.open_of([]))) == {}


async def test_incidents_whose_next_step_is_due_come_the_earliest_first(store: Store) -> None:
    await insert(
        store,
        incident("b", next_time=at(-1)),
        incident("a", next_time=at(-1)),
        incident("now", next_time=NOW),
        incident("first", next_time=at(-9)),
        incident("later", next_time=at(1)),
        incident("ended", next_time=None),
    )
    assert [one.id for one in await store.read(lambda unit: unit.incidents.due(NOW, 99))] == ["first", "a", "b", "now"]
    assert [one.id for one in await store.read(lambda unit: unit.incidents.due(NOW, 2))] == ["first", "a"]
    assert await store.read(lambda unit: unit.incidents.next_time()) == at(-9)


async def test_nothing_is_next_where_nothing_escalates(store: Store) -> None:
    assert await store.read(lambda unit: unit.incidents.next_time()) is None
    await insert(store, incident("ended", next_time=None))
    assert await store.read(lambda unit: unit.incidents.next_time()) is None


async def test_old_incidents_are_forgotten_when_they_have_ended_the_oldest_first(store: Store) -> None:
    await insert(
        store,
        incident("open", open_time=at(-99)),
        incident("old", open_time=at(-9), next_time=None),
        incident("older", open_time=at(-10), next_time=None),
        incident("young", next_time=None),
    )
    purged = [await store.transact(lambda unit: unit.incidents.purge(NOW, 1)) for _ in range(3)]
    assert purged == [1, 1, 0]
    assert [name for name in ("open", "old", "older", "young") if await stored(store, name)] == ["open", "young"]


async def test_a_unit_that_is_undone_gives_back_the_versions_of_incidents_and_conditions(store: Store) -> None:
    old, new, holding, fresh = incident("old"), incident("new"), replace(LAG), replace(LAG, subject=PLAN)
    await insert(store, old)
    await put(store, holding)

    def work(unit: Unit) -> None:
        old.step, holding.told_time = 3, at(99)
        unit.incidents.save([old])
        unit.incidents.insert([new])
        unit.conditions.put(holding)
        unit.conditions.put(fresh)
        unit.conditions.delete(holding)
        raise BoomError

    with pytest.raises(BoomError):
        await store.transact(work)
    assert [one.version for one in (old, new, holding, fresh)] == [1, 0, 1, 0]
    assert await stored(store, "old") == incident("old", version=1)
    assert await conditions(store) == [replace(LAG, version=1)]


async def test_a_time_of_an_incident_or_a_condition_that_is_not_aware_is_refused(store: Store) -> None:
    naive = NOW.replace(tzinfo=None)
    with pytest.raises(ValueError, match="aware"):
        await insert(store, incident("i", open_time=naive))
    with pytest.raises(ValueError, match="aware"):
        await put(store, replace(LAG, told_time=naive))


async def test_conditions_come_back_by_environment_rule_and_subject(store: Store) -> None:
    made = [
        replace(LAG, subject=f"{RUN}2"),
        replace(LAG),
        replace(LAG, rule="drift", told_time=None),
        replace(LAG, environment="environments/a"),
    ]
    await put(store, *made)
    assert await conditions(store) == [made[3], made[2], made[1], made[0]]
    assert {one.version for one in made} == {1}


async def test_a_condition_is_put_where_nobody_else_has_changed_it(store: Store) -> None:
    mine = replace(LAG)
    await put(store, mine)
    late = (await conditions(store))[0]
    mine.told_time = at(50)
    await put(store, mine)
    assert await conditions(store) == [mine]
    assert mine.version == 2
    for stale in (late, replace(LAG), replace(LAG, subject="none", version=1)):
        before = stale.version
        with pytest.raises(StaleWrite, match="was changed"):
            await put(store, stale)
        assert stale.version == before
    assert await conditions(store) == [mine]


async def test_a_condition_that_is_over_is_forgotten_once_and_may_begin_again(store: Store) -> None:
    await put(store, replace(LAG), replace(LAG, rule="drift"))
    for _ in range(2):
        await store.transact(lambda unit: unit.conditions.delete(LAG))
        assert [one.rule for one in await conditions(store)] == ["drift"]
    again = replace(LAG)
    await put(store, again)
    assert again.version == 1
