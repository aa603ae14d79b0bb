"""Who looks for work: what is due to be frozen, what may be tried, when there is more, and how much of a channel or rule is under way."""

import random
from datetime import datetime

from pymigrate.engine.domain.delivery import Delivery, DeliveryState
from pymigrate.engine.domain.notices import Severity
from pymigrate.engine.ports.store import Store
from tests.contract.store.deliveries import PROD, delivery, ids, inserting, named, pending, saving, sending, stored
from tests.contract.store.records import NOW, at

SEED = 20_260_504
OTHER = "environments/other"
DONE = [each for each in DeliveryState if each not in ("waiting", "pending", "sending")]


async def due(store: Store, now: datetime = NOW, limit: int = 99) -> list[str]:
    return ids(await store.read(lambda unit: unit.deliveries.due(now, limit)))


async def claimable(store: Store, now: datetime = NOW, limit: int = 99, channel: str = "smtp") -> list[str]:
    return ids(await store.read(lambda unit: unit.deliveries.claimable(channel, PROD, now, limit)))


async def test_of_what_is_due_the_gravest_comes_first_then_the_earliest_then_by_name(store: Store) -> None:
    await store.transact(
        inserting(
            delivery("c", due_time=at(-5)),
            delivery("b", due_time=at(-5)),
            delivery("late", due_time=at(-1)),
            delivery("info", severity=Severity.INFO, due_time=at(-99)),
            delivery("critical", severity=Severity.CRITICAL),
            delivery("error", severity=Severity.ERROR, due_time=at(-50)),
            delivery("not yet", severity=Severity.CRITICAL, due_time=at(0.000001)),
        )
    )
    in_order = ["critical", "error", "b", "c", "late", "info"]
    assert await due(store) == in_order
    assert [await due(store, limit=limit) for limit in (0, 1, 3)] == [[], in_order[:1], in_order[:3]]
    assert await due(store, at(1)) == ["critical", "not yet", *in_order[1:]]


async def test_only_what_waits_is_due_and_comes_whole(store: Store) -> None:
    others = [delivery(state, state=state, next_try_time=NOW, lease_until=NOW) for state in DeliveryState]
    await store.transact(inserting(*others))
    (found,) = await store.read(lambda unit: unit.deliveries.due(NOW, 9))
    assert found == await stored(store, "waiting")


async def test_what_may_be_tried_is_pending_or_has_lost_its_lease(store: Store) -> None:
    await store.transact(
        inserting(
            pending("later", 1),
            pending("now", 0),
            pending("before", -9),
            pending("grave", severity=Severity.CRITICAL),
            pending("light", -99, severity=Severity.INFO),
            sending("held", 1),
            sending("lost", -3),
            sending("just lost", 0),
            pending("elsewhere", channel="hook"),
            pending("abroad", environment=OTHER),
            delivery("waiting", due_time=at(-9)),
            delivery("never", state=DeliveryState.PENDING),
        )
    )
    in_order = ["grave", "before", "lost", "just lost", "now", "light"]
    assert await claimable(store) == in_order
    assert [await claimable(store, limit=limit) for limit in (0, 2, 4)] == [[], in_order[:2], in_order[:4]]
    assert await claimable(store, at(1)) == ["grave", "before", "lost", "just lost", "now", "held", "later", "light"]
    assert await claimable(store, channel="hook") == ["elsewhere"]
    assert await claimable(store, channel="none") == []


async def test_what_is_claimed_is_no_more_to_be_had_until_its_lease_ends(store: Store) -> None:
    await store.transact(inserting(pending("a")))
    mine = await stored(store, "a")
    mine.state, mine.lease_until = DeliveryState.SENDING, at(30)
    await store.transact(saving(mine))
    assert await claimable(store, at(29)) == []
    assert await claimable(store, at(30)) == ["a"]
    mine.state, mine.accept_time = DeliveryState.ACCEPTED, at(31)
    await store.transact(saving(mine))
    assert await claimable(store, at(99)) == []


async def test_channels_with_work_are_those_for_which_something_may_be_tried(store: Store) -> None:
    await store.transact(
        inserting(
            pending("a", channel="smtp"),
            pending("b", channel="smtp"),
            sending("c", channel="hook", environment=OTHER),
            pending("d", channel="chat"),
            pending("e", 1, channel="later"),
            sending("f", 1, channel="held"),
            delivery("g", channel="waiting"),
            delivery("h", channel="done", state=DeliveryState.ACCEPTED, next_try_time=NOW, lease_until=NOW),
        )
    )
    found = await store.read(lambda unit: unit.deliveries.channels_with_work(NOW))
    assert list(found) == [(OTHER, "hook"), (PROD, "chat"), (PROD, "smtp")]
    assert list(await store.read(lambda unit: unit.deliveries.channels_with_work(at(-1)))) == []


async def test_those_in_sending_are_with_a_dispatcher_now(store: Store) -> None:
    await store.transact(
        inserting(
            sending("held", 1),
            sending("held too", 9),
            sending("lost", 0),
            sending("elsewhere", 9, channel="hook"),
            sending("abroad", 9, environment=OTHER),
            pending("pending", 9),
        )
    )
    assert await store.read(lambda unit: unit.deliveries.in_sending(PROD, "smtp", NOW)) == 2
    assert await store.read(lambda unit: unit.deliveries.in_sending(PROD, "none", NOW)) == 0


async def test_those_that_were_tried_since_are_counted_whatever_came_of_them(store: Store) -> None:
    await store.transact(
        inserting(
            delivery("then", last_try_time=NOW, state=DeliveryState.ACCEPTED),
            sending("after", last_try_time=at(5)),
            pending("before", last_try_time=at(-0.000001)),
            pending("never"),
            pending("elsewhere", channel="hook", last_try_time=at(5)),
            pending("abroad", environment=OTHER, last_try_time=at(5)),
        )
    )
    assert await store.read(lambda unit: unit.deliveries.tried_since(PROD, "smtp", NOW)) == 2


async def test_what_a_rule_told_an_address_since_or_will_is_counted(store: Store) -> None:
    await store.transact(
        inserting(
            pending("then", frozen_time=NOW),
            delivery("after", frozen_time=at(5), state=DeliveryState.DEAD),
            delivery("waits", due_time=at(999)),
            pending("before", frozen_time=at(-1)),
            delivery("silenced", state=DeliveryState.SUPPRESSED),
            pending("escalated", frozen_time=at(5), escalation=1),
            delivery("to be escalated", escalation=1),
            pending("by another rule", frozen_time=at(5), rule="other"),
            delivery("a test", rule="", stakeholder=""),
            pending("abroad", frozen_time=at(5), environment=OTHER),
            pending("elsewhere", frozen_time=at(5), address="chat"),
            pending("bob", frozen_time=at(5), stakeholder="bob"),
            pending("not asked for", frozen_time=at(5), stakeholder="eve"),
        )
    )
    asked = [("ann", "mail"), ("ann", "chat"), ("bob", "mail"), ("bob", "chat"), ("ann", "mail")]

    async def counts(rule: str, addresses: list[tuple[str, str]]) -> dict[tuple[str, str], int]:
        return dict(await store.read(lambda unit: unit.deliveries.frozen_since(PROD, rule, addresses, NOW)))

    assert await counts("failures", asked) == {("ann", "mail"): 3, ("ann", "chat"): 1, ("bob", "mail"): 1}
    assert await counts("failures", []) == await counts("none", asked) == await counts("", [("", "mail")]) == {}


async def test_the_next_time_is_the_least_at_which_there_is_something_to_do(store: Store) -> None:
    async def next_time() -> datetime | None:
        return await store.read(lambda unit: unit.deliveries.next_time())

    assert await next_time() is None
    await store.transact(inserting(*(delivery(state, state=state, next_try_time=at(-9)) for state in DONE)))
    assert await next_time() is None
    steps = [
        (sending("sending", 30), 30),
        (delivery("waiting", due_time=at(20), severity=Severity.INFO), 20),
        (pending("pending", 10), 10),
        (delivery("grave", due_time=at(5), severity=Severity.CRITICAL), 5),
    ]
    for made, seconds in steps:
        await store.transact(inserting(made))
        assert await next_time() == at(seconds)
    made.state = DeliveryState.PENDING  # without a time it is not to be tried
    await store.transact(saving(made))
    assert await next_time() == at(10)


async def test_of_each_thread_what_waits_is_given_whole_or_else_the_newest(store: Store) -> None:
    sent = DeliveryState.ACCEPTED
    await store.transact(
        inserting(
            delivery("a1", thread="a", create_time=at(1), state=sent),
            delivery("a3", thread="a", create_time=at(3), state=DeliveryState.DEAD, entries=[4]),
            delivery("a2", thread="a", create_time=at(2), state=sent),
            delivery("b1", thread="b", state=sent),
            delivery("b2", thread="b", state=sent),
            delivery("c1", thread="c"),
            delivery("d1", thread="d", create_time=at(1), state=DeliveryState.WAITING),
            delivery("d2", thread="d", create_time=at(2), state=sent),
        )
    )
    found = await store.read(lambda unit: unit.deliveries.newest(["a", "b", "none", "b", "d"]))
    wanted = {"a": "a3", "b": "b2", "d": "d1"}
    assert dict(found) == {thread: await stored(store, name) for thread, name in wanted.items()}
    assert dict(await store.read(lambda unit: unit.deliveries.newest([]))) == {}


async def test_many_deliveries_are_worked_off_in_order_whatever_they_are(store: Store) -> None:
    rng = random.Random(SEED)
    made = [
        delivery(
            f"{number:03}",
            state=rng.choice([DeliveryState.WAITING, DeliveryState.PENDING, DeliveryState.SENDING, DeliveryState.DEAD]),
            severity=rng.choice(list(Severity)),
            due_time=at(rng.randrange(-9, 9)),
            next_try_time=at(rng.randrange(-9, 9)),
            lease_until=at(rng.randrange(-9, 9)),
        )
        for number in range(400)
    ]
    await store.transact(inserting(*made))

    def ready(each: Delivery) -> datetime:
        times = {DeliveryState.PENDING: each.next_try_time, DeliveryState.SENDING: each.lease_until}
        return times.get(each.state) or at(99)

    waiting = [each for each in made if each.state == DeliveryState.WAITING and each.due_time <= NOW]
    waiting.sort(key=lambda each: (-each.severity, each.due_time, each.name))
    tried = sorted(
        (each for each in made if ready(each) <= NOW), key=lambda each: (-each.severity, ready(each), each.name)
    )
    assert len(waiting) > 30
    assert len(tried) > 60
    for limit in (1, 7, 30, 400):
        assert await due(store, limit=limit) == ids(waiting)[:limit]
        assert await claimable(store, limit=limit) == ids(tried)[:limit]
    done: list[str] = []
    while page := await store.read(lambda unit: unit.deliveries.due(NOW, 11)):
        for each in page:
            each.state = DeliveryState.DEAD
        await store.transact(saving(*page))
        done += ids(page)
    assert done == ids(waiting)


async def test_names_come_in_the_order_of_their_characters(store: Store) -> None:
    odd = ["a_b", "a-b", "B", "a", "ä", "Z", "10", "9"]
    await store.transact(inserting(*map(delivery, odd)))
    assert await due(store) == sorted(odd)
    assert ids(await store.read(lambda unit: unit.deliveries.get_all([named(each) for each in odd]))) == sorted(odd)
