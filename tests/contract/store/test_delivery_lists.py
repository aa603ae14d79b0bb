"""Who asks what was told: pages of the ledger, an incident's messages, what figures are counted from, what is overdue, and what is old."""

from dataclasses import replace
from datetime import datetime
from itertools import product
from typing import Any

import pytest

from pymigrate.engine.domain.delivery import Delivery, DeliveryState
from pymigrate.engine.domain.errors import StaleWrite
from pymigrate.engine.ports.deliveries import DeliveryFilter, DeliveryStanding, DeliveryTally
from pymigrate.engine.ports.store import Store, Unit
from tests.contract.store.deliveries import (
    CONTENT,
    PROD,
    delivery,
    full_delivery,
    ids,
    inserting,
    named,
    pending,
    saving,
    sending,
    stored,
)
from tests.contract.store.records import NOW, RUN, BoomError, at

OTHER = "environments/other"
ENDED = [each for each in DeliveryState if each not in ("waiting", "pending", "sending")]


async def page(
    store: Store, before: tuple[datetime, str] | None = None, limit: int = 99, **only: Any
) -> list[Delivery]:
    asked = DeliveryFilter(**{"environment": PROD, **only})
    return list(await store.read(lambda unit: unit.deliveries.list(asked, before, limit)))


async def test_the_ledger_is_listed_the_newest_first_page_after_page(store: Store) -> None:
    made = [delivery(f"{number:02}", create_time=at(number // 3)) for number in range(20)]
    await store.transact(inserting(*made, delivery("abroad", environment=OTHER)))
    seen: list[str] = []
    before = None
    while found := await page(store, before, 3):
        seen += ids(found)
        before = (found[-1].create_time, found[-1].name)
    assert seen == [f"{number:02}" for number in reversed(range(20))]
    assert await page(store, limit=0) == []


async def test_everything_that_is_asked_for_must_match(store: Store) -> None:
    await store.transact(
        inserting(
            delivery("1", create_time=at(9), run=RUN, state=DeliveryState.DEAD),
            delivery("2", create_time=at(8), run=RUN, stakeholder="bob"),
            delivery("3", create_time=at(7), run=f"{RUN}2", rule="other", state=DeliveryState.DEAD),
            delivery("4", create_time=at(6), stakeholder="bob", rule="other"),
            delivery("5", environment=OTHER, run=RUN, state=DeliveryState.DEAD),
        )
    )

    async def listed(**only: Any) -> list[str]:
        return ids(await page(store, **only))

    assert await listed() == ["1", "2", "3", "4"]
    assert await listed(stakeholder="bob") == ["2", "4"]
    assert await listed(rule="other") == ["3", "4"]
    assert await listed(run=RUN) == ["1", "2"]
    assert await listed(state=DeliveryState.DEAD) == ["1", "3"]
    assert await listed(state=DeliveryState.DEAD, rule="other") == ["3"]
    assert await listed(stakeholder="bob", rule="other", run=RUN) == []
    assert await listed(stakeholder="ann", rule="failures", state=DeliveryState.DEAD, run=RUN) == ["1"]
    assert await listed(before=(at(8), named("2")), state=DeliveryState.DEAD) == ["3"]


async def test_a_delivery_in_a_list_has_no_body_and_can_not_be_saved_without_it(store: Store) -> None:
    await store.transact(inserting(full_delivery()))
    (shown,) = await page(store)
    whole = await stored(store, "full")
    assert (shown.content.body, shown.content.html, shown.version) == ("", "", 0)
    assert (shown.content.subject, shown.content.digest) == (CONTENT.subject, CONTENT.digest)
    shown.content, shown.version = whole.content, whole.version
    assert shown == whole
    (shown,) = await page(store)
    with pytest.raises(StaleWrite):
        await store.transact(saving(shown))
    assert (await stored(store, "full")).content == CONTENT


async def test_an_incidents_messages_come_in_the_order_in_which_they_were_made(store: Store) -> None:
    await store.transact(
        inserting(
            delivery("b", incident="i", create_time=at(2), content=CONTENT),
            delivery("c", incident="i", create_time=at(1)),
            delivery("a", incident="i", create_time=at(2)),
            delivery("d", incident="j"),
            delivery("e"),
        )
    )
    found = await store.read(lambda unit: unit.deliveries.of_incident("i"))
    assert ids(found) == ["c", "a", "b"]
    assert found[2].content == CONTENT
    assert list(await store.read(lambda unit: unit.deliveries.of_incident("none"))) == []
    assert list(await store.read(lambda unit: unit.deliveries.of_incident(""))) == []


async def test_what_became_of_deliveries_is_summed_up_by_rule_channel_and_state(store: Store) -> None:
    taken = {"state": DeliveryState.ACCEPTED, "confirm_by_time": at(5)}
    await store.transact(
        inserting(
            delivery("a", accept_time=at(2.5), **taken),
            delivery("b", accept_time=at(5), **taken),
            delivery("c", accept_time=at(5.000001), **taken),
            delivery("d", accept_time=at(1), state=DeliveryState.ACCEPTED),
            delivery("e", rule="other", confirm_by_time=at(9)),
            delivery("f", rule="other", confirm_by_time=at(10)),
            delivery("g", rule="other", confirm_by_time=at(11)),
            delivery("h", channel="hook"),
            delivery("before", due_time=at(-0.000001)),
            delivery("after", due_time=at(10.000001)),
            delivery("abroad", environment=OTHER),
        )
    )
    found = await store.read(lambda unit: unit.deliveries.tallies(PROD, NOW, at(10)))
    assert [replace(each, confirm_seconds=sorted(each.confirm_seconds)) for each in found] == [
        DeliveryTally("failures", "hook", DeliveryState.WAITING, 1, 0, 0, 0, []),
        DeliveryTally("failures", "smtp", DeliveryState.ACCEPTED, 4, 3, 2, 1, [1.0, 2.5, 5.0, 5.000001]),
        DeliveryTally("other", "smtp", DeliveryState.WAITING, 3, 3, 0, 2, []),
    ]


async def test_sums_take_a_delivery_for_confirmed_when_the_domain_does(store: Store) -> None:
    moments = (None, at(1), at(2))
    every = product(("accepted", "delivered", "acknowledged"), moments, moments, moments)
    made = [
        delivery(
            f"d{number:02}",
            rule=f"r{number:02}",
            confirm_state=confirm_state,
            confirm_by_time=at(1),
            accept_time=accept,
            deliver_time=deliver,
            acknowledge_time=acknowledge,
        )
        for number, (confirm_state, accept, deliver, acknowledge) in enumerate(every)
    ]
    await store.transact(inserting(*made))
    found = await store.read(lambda unit: unit.deliveries.tallies(PROD, NOW, at(0.5)))
    for mine, tally in zip(made, found, strict=True):
        time = mine.confirm_time
        assert list(tally.confirm_seconds) == ([] if time is None else [(time - NOW).total_seconds()]), mine
        assert (tally.in_time, tally.late) == (int(mine.is_in_time), int(time is not None and not mine.is_in_time)), (
            mine
        )


async def overdue(store: Store, now: datetime = NOW, limit: int = 99) -> list[str]:
    return ids(await store.read(lambda unit: unit.deliveries.overdue(now, limit)))


async def test_what_was_not_confirmed_in_time_is_overdue_the_earliest_first(store: Store) -> None:
    await store.transact(
        inserting(
            delivery("b", confirm_by_time=at(-1)),
            pending("a", confirm_by_time=at(-1), content=CONTENT),
            delivery("dead", confirm_by_time=at(-9), state=DeliveryState.DEAD),
            delivery("now", confirm_by_time=NOW),
            delivery("later", confirm_by_time=at(1)),
            delivery("never"),
        )
    )
    assert await overdue(store) == ["dead", "a", "b", "now"]
    assert await overdue(store, limit=2) == ["dead", "a"]
    assert await overdue(store, at(1)) == ["dead", "a", "b", "now", "later"]
    found = await store.read(lambda unit: unit.deliveries.overdue(NOW, 9))
    assert found[1] == await stored(store, "a")


@pytest.mark.parametrize(
    ("agreed", "happened", "is_overdue"),
    [
        ("accepted", {}, True),
        ("accepted", {"accept_time": NOW}, False),
        ("accepted", {"deliver_time": NOW}, False),
        ("accepted", {"acknowledge_time": NOW}, False),
        ("delivered", {"accept_time": NOW}, True),
        ("delivered", {"deliver_time": NOW}, False),
        ("delivered", {"acknowledge_time": NOW}, False),
        ("acknowledged", {"accept_time": NOW, "deliver_time": NOW}, True),
        ("acknowledged", {"acknowledge_time": NOW}, False),
    ],
)
async def test_what_came_as_far_as_agreed_is_not_overdue(
    store: Store, agreed: str, happened: dict[str, datetime], is_overdue: bool
) -> None:
    await store.transact(inserting(delivery("a", confirm_by_time=NOW, confirm_state=agreed)))
    mine = await stored(store, "a")
    for name, time in happened.items():
        setattr(mine, name, time)
    await store.transact(saving(mine))
    assert await overdue(store) == (["a"] if is_overdue else [])


async def test_what_came_as_far_as_agreed_but_late_is_overdue_all_the_same(store: Store) -> None:
    await store.transact(inserting(delivery("a", confirm_by_time=at(-1)), delivery("b", confirm_by_time=at(-1))))
    for name, time in (("a", NOW), ("b", at(-1))):
        mine = await stored(store, name)
        mine.state, mine.accept_time = DeliveryState.ACCEPTED, time
        await store.transact(saving(mine))
    assert await overdue(store) == ["a"]


async def test_what_is_still_to_be_sent_or_was_given_up_is_counted_for_each_environment(store: Store) -> None:
    await store.transact(
        inserting(
            delivery("a", due_time=at(5)),
            delivery("b", due_time=at(3)),
            pending("c", due_time=at(-9)),
            sending("d", due_time=at(-1)),
            sending("e", due_time=at(-2)),
            *(delivery(f"dead{number}", state=DeliveryState.DEAD) for number in range(3)),
            delivery("lost", state=DeliveryState.UNDELIVERABLE),
            delivery("fine", state=DeliveryState.ACCEPTED),
            delivery("quiet", state=DeliveryState.SUPPRESSED),
            delivery("other", environment=OTHER),
        )
    )
    assert list(await store.read(lambda unit: unit.deliveries.standing(PROD))) == [
        DeliveryStanding(DeliveryState.WAITING, 2, at(3)),
        DeliveryStanding(DeliveryState.PENDING, 1, at(-9)),
        DeliveryStanding(DeliveryState.SENDING, 2, at(-2)),
        DeliveryStanding(DeliveryState.DEAD, 3, None),
        DeliveryStanding(DeliveryState.UNDELIVERABLE, 1, None),
    ]
    assert list(await store.read(lambda unit: unit.deliveries.standing("environments/none"))) == []


async def test_what_was_told_to_be_overdue_is_told_once_whatever_becomes_of_it(store: Store) -> None:
    await store.transact(inserting(*(delivery(each, confirm_by_time=at(-1)) for each in "abc")))
    held = await stored(store, "a")
    await store.transact(lambda unit: unit.deliveries.note_overdue([named("a"), named("c"), named("none")]))
    await store.transact(lambda unit: unit.deliveries.note_overdue([]))
    assert await overdue(store) == ["b"]
    held.state = DeliveryState.DEAD
    await store.transact(saving(held))
    assert await overdue(store, at(99)) == ["b"]


async def test_old_ones_are_forgotten_when_nothing_is_to_be_done_of_them_the_oldest_first(store: Store) -> None:
    ended = [delivery(state, state=state, create_time=at(-9 + place)) for place, state in enumerate(ENDED)]
    kept = [
        delivery("waiting", create_time=at(-99), due_time=at(9)),
        pending("pending", 9, create_time=at(-99)),
        sending("sending", 9, create_time=at(-99)),
        delivery("young", state=DeliveryState.DEAD, create_time=NOW),
    ]
    await store.transact(inserting(*ended, *kept))

    async def purge(limit: int) -> int:
        return await store.transact(lambda unit: unit.deliveries.purge(NOW, limit))

    async def left() -> set[str]:
        return set(ids(await page(store)))

    assert await purge(0) == 0
    assert await purge(2) == 2
    assert await left() == {*ENDED[2:], *ids(kept)}
    assert await purge(99) == len(ENDED) - 2
    assert await purge(99) == 0
    assert await left() == set(ids(kept))


async def test_the_key_of_one_that_was_forgotten_is_free(store: Store) -> None:
    await store.transact(inserting(delivery("a", state=DeliveryState.DEAD, create_time=at(-1))))
    await store.transact(lambda unit: unit.deliveries.purge(NOW, 9))
    again = delivery("a")
    await store.transact(inserting(again))
    assert again.version == 1


async def test_what_was_noted_or_forgotten_in_a_unit_that_is_undone_is_there_again(store: Store) -> None:
    old = delivery("a", confirm_by_time=at(-1), state=DeliveryState.DEAD, create_time=at(-9))
    await store.transact(inserting(old))

    def work(unit: Unit) -> None:
        unit.deliveries.note_overdue([old.name])
        assert unit.deliveries.purge(NOW, 9) == 1
        raise BoomError

    with pytest.raises(BoomError):
        await store.transact(work)
    assert await overdue(store) == ["a"]
