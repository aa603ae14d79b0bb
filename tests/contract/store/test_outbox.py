"""Each consumer is given every entry at least once, holds it while its lease lasts, and is done with it when it says so."""

import asyncio
from collections.abc import Iterable, Sequence
from datetime import datetime

import pytest

from pymigrate.engine.ports.feed import CLAIMS_MAX, Claim
from pymigrate.engine.ports.store import AuditEntry, Store, Unit
from tests.contract.store.records import NOW, BoomError, at

MAIL = "notifications"


async def happen(store: Store, *subjects: str) -> None:
    def work(unit: Unit) -> None:
        for subject in subjects:
            unit.audit.append(AuditEntry(NOW, "alice", "create", subject, 1))

    await store.transact(work)


async def claim(
    store: Store, limit: int = 99, seconds: float = 0, until: float = 10, consumer: str = MAIL
) -> Sequence[Claim]:
    return await store.transact(lambda unit: unit.outbox.claim(consumer, limit, at(seconds), at(until)))


async def done(store: Store, claims: Iterable[Claim], consumer: str = MAIL) -> None:
    await store.transact(lambda unit: unit.outbox.done(consumer, [each.entry.id for each in claims]))


async def release(store: Store, claims: Iterable[Claim], until: datetime) -> None:
    await store.transact(lambda unit: unit.outbox.release(MAIL, [each.entry.id for each in claims], until))


def named(claims: Iterable[Claim]) -> list[tuple[str, int]]:
    return [(each.entry.subject, each.attempt) for each in claims]


async def test_entries_are_given_in_order_and_each_to_one_claimant(store: Store) -> None:
    await happen(store, "a", "b", "c")
    assert named(await claim(store, 2)) == [("a", 1), ("b", 1)]
    assert named(await claim(store, 2)) == [("c", 1)]
    assert named(await claim(store)) == []


async def test_what_is_not_done_before_its_lease_ends_is_given_again_first(store: Store) -> None:
    await happen(store, "a", "b", "c")
    first = await claim(store, 2, 0, 10)
    await done(store, first[:1])
    assert named(await claim(store, 9, 9, 19)) == [("c", 1)]
    await happen(store, "d")
    assert named(await claim(store, 9, 10, 30)) == [("b", 2), ("d", 1)]
    assert named(await claim(store, 1, 31, 40)) == [("c", 2)]
    assert named(await claim(store, 9, 41, 50)) == [("b", 3), ("d", 2), ("c", 3)]


async def test_what_is_done_never_comes_again(store: Store) -> None:
    await happen(store, "a", "b")
    claims = await claim(store)
    await done(store, claims)
    await done(store, claims)
    assert named(await claim(store, seconds=99, until=100)) == []


async def test_what_is_released_comes_again_from_then_on(store: Store) -> None:
    await happen(store, "a", "b")
    claims = await claim(store, until=100)
    await release(store, claims[:1], at(5))
    assert named(await claim(store, seconds=4, until=100)) == []
    assert named(await claim(store, seconds=5, until=100)) == [("a", 2)]


async def test_consumers_do_not_take_from_each_other(store: Store) -> None:
    await happen(store, "a")
    mine = await claim(store)
    assert named(await claim(store, consumer="kpis")) == [("a", 1)]
    await done(store, mine, "kpis")
    assert named(await claim(store, seconds=11, until=20)) == [("a", 2)], "only its own consumer is done with it"
    assert named(await claim(store, seconds=11, until=20, consumer="kpis")) == []


async def test_a_consumer_that_begins_at_a_cursor_is_given_only_what_comes_after(store: Store) -> None:
    await happen(store, "a", "b")
    end = await store.read(lambda unit: unit.feed.end())
    await happen(store, "c")
    await store.transact(lambda unit: unit.outbox.begin(MAIL, end))
    await store.transact(lambda unit: unit.outbox.begin(MAIL, ""))
    assert named(await claim(store)) == [("c", 1)]


async def test_doing_or_releasing_what_is_not_held_changes_nothing(store: Store) -> None:
    await happen(store, "a")
    await store.transact(lambda unit: unit.outbox.done("unknown", [1, 2]))
    await store.transact(lambda unit: unit.outbox.release("unknown", [1, 2], at(0)))
    await store.transact(lambda unit: unit.outbox.release(MAIL, [], at(0)))
    assert named(await claim(store)) == [("a", 1)]
    await store.transact(lambda unit: unit.outbox.release(MAIL, [10**6], at(0)))
    assert named(await claim(store, seconds=1, until=2)) == []


async def test_a_claim_that_is_undone_was_never_made(store: Store) -> None:
    await happen(store, "a")

    def failing(unit: Unit) -> None:
        assert len(unit.outbox.claim(MAIL, 9, at(0), at(10))) == 1
        raise BoomError

    with pytest.raises(BoomError):
        await store.transact(failing)
    assert named(await claim(store)) == [("a", 1)]


async def test_those_who_ask_at_once_in_one_name_share_the_entries(store: Store) -> None:
    await happen(store, *(str(number) for number in range(40)))
    shares = await asyncio.gather(*(claim(store, 5) for _ in range(10)))
    given = [each.entry.subject for share in shares for each in share]
    assert sorted(given, key=int) == [str(number) for number in range(40)]


async def test_no_more_than_so_many_entries_are_out_at_once(store: Store) -> None:
    await happen(store, *(str(number) for number in range(CLAIMS_MAX + 5)))
    out = await claim(store, CLAIMS_MAX + 5)
    assert len(out) == CLAIMS_MAX
    assert named(await claim(store)) == []
    await done(store, out[:3])
    assert named(await claim(store)) == [(str(CLAIMS_MAX + number), 1) for number in range(3)]


async def test_a_limit_of_none_gives_none(store: Store) -> None:
    await happen(store, "a")
    assert named(await claim(store, 0)) == []
    assert named(await claim(store)) == [("a", 1)]
