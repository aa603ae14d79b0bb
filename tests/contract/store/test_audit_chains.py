"""Every entry of the stream is a link of a chain, whatever was undone in between; what proves the chains is kept and read."""

import asyncio
from dataclasses import replace

import pytest

from pymigrate.engine.domain.audit_chain import NOTHING, UNLINKED, Head, Seal, Written, link_hash
from pymigrate.engine.domain.errors import StaleWrite
from pymigrate.engine.domain.run_states import RunState
from pymigrate.engine.ports.audit import LOOKED_MAX, AuditFilter
from pymigrate.engine.ports.feed import FeedEntry, as_written
from pymigrate.engine.ports.store import AuditEntry, Store, Unit
from tests.contract.store.records import FAILURE, NOW, PLAN, RUN, BoomError, at, event, insert_run, new_run

STAMPED = AuditEntry(
    NOW,
    "ann",
    "update",
    PLAN,
    7,
    "spec.owner: “Änn” → “Bob”",
    "sha256:abc",
    origin="10.1.2.3 (cli)",
    method="PlanService/UpdatePlan",
    request_id="r-1",
    trace_id="4bf92f3577b34da6a3ce929d0e0e4736",
    before_digest="b" * 64,
    after_digest="a" * 64,
    outcome="PERMISSION_DENIED",
)


def note(unit: Unit, subject: str) -> None:
    unit.audit.append(AuditEntry(NOW, "ann", "create", subject, 1))


async def entries_of(store: Store) -> list[FeedEntry]:
    found, _ = await store.read(lambda unit: unit.feed.after("", 9_999))
    return list(found)


def require_whole(entries: list[FeedEntry]) -> dict[str, int]:
    """Every chain counts from 1 without a gap, and each link has the hash of what it says behind the one before; how long they are."""
    heads: dict[str, tuple[int, bytes]] = {}
    for entry in entries:
        place, before = heads.get(entry.chain, (0, NOTHING))
        assert entry.place == place + 1
        assert entry.hash == link_hash(before, as_written(entry))
        heads[entry.chain] = entry.place, entry.hash
    return {chain: place for chain, (place, _) in heads.items()}


async def test_what_a_call_was_is_kept_with_the_entry(store: Store) -> None:
    await store.transact(lambda unit: unit.audit.append(STAMPED))
    (kept,) = await store.read(lambda unit: unit.audit.list(0, 9))
    assert replace(kept, sequence=0, chain="", place=0, hash=b"") == STAMPED
    (entry,) = await entries_of(store)
    assert (entry.origin, entry.outcome, entry.after_digest) == ("10.1.2.3 (cli)", "PERMISSION_DENIED", "a" * 64)


async def test_steps_of_a_run_are_a_chain_and_everything_else_is_in_another(store: Store) -> None:
    await insert_run(store)
    await store.transact(lambda unit: note(unit, "a"))
    await store.transact(lambda unit: unit.runs.append(RUN, [event(1), event(2, FAILURE)]))
    await store.transact(lambda unit: note(unit, "b"))
    await store.transact(lambda unit: unit.runs.append(RUN, [event(3)]))
    entries = await entries_of(store)
    lengths = require_whole(entries)
    assert lengths.pop(RUN) == 3
    assert sum(lengths.values()) == 2
    assert all(chain.startswith("writers/") for chain in lengths)


async def test_units_that_are_undone_leave_no_gap_and_use_no_place_twice(store: Store) -> None:
    await insert_run(store)

    def failing(unit: Unit) -> None:
        note(unit, "lost")
        unit.runs.append(RUN, [event(1)])
        raise BoomError

    def noting(unit: Unit) -> None:
        unit.audit.append_all([AuditEntry(NOW, "ann", "create", "kept", at) for at in range(2)])
        note(unit, "kept too")

    works = [noting, failing, noting, failing, failing, noting]
    await asyncio.gather(*(store.transact(work) for work in works), return_exceptions=True)
    await store.transact(lambda unit: unit.runs.append(RUN, [event(1)]))
    lengths = require_whole(await entries_of(store))
    assert lengths.pop(RUN) == 1
    assert sum(lengths.values()) == 9


async def test_what_is_read_to_be_verified_is_what_was_hashed(store: Store) -> None:
    await insert_run(store)
    await store.transact(lambda unit: unit.audit.append(STAMPED))
    await store.transact(lambda unit: unit.runs.append(RUN, [event(1, FAILURE), event(2)]))
    passed = await store.read(lambda unit: unit.seals.passed("", "", 99))
    entries = await entries_of(store)
    assert list(passed.entries) == [as_written(entry) for entry in entries]
    assert all(type(each) is Written for each in passed.entries)
    assert passed.position == entries[-1].position
    middle = entries[1].position
    before = await store.read(lambda unit: unit.seals.passed("", middle, 99))
    behind = await store.read(lambda unit: unit.seals.passed(middle, "", 99))
    assert [each.sequence for each in (*before.entries, *behind.entries)] == [entry.id for entry in entries]
    assert len(before.entries) == 2
    assert (await store.read(lambda unit: unit.seals.passed(passed.position, "", 9))).position == passed.position


async def test_heads_that_have_moved_are_the_last_link_of_each_chain(store: Store) -> None:
    await insert_run(store)
    await store.transact(lambda unit: unit.runs.append(RUN, [event(1), event(2)]))
    await store.transact(lambda unit: note(unit, "a"))
    entries = await entries_of(store)
    moved = await store.read(lambda unit: unit.seals.moved("", 99))
    assert {(head.chain, head.place, head.hash) for head in moved.heads} == {
        (entry.chain, entry.place, entry.hash) for entry in entries[1:]
    }
    assert (moved.count, moved.position) == (3, entries[-1].position)
    first = await store.read(lambda unit: unit.seals.moved("", 1))
    assert [(head.chain, head.place) for head in first.heads] == [(RUN, 1)]
    rest = await store.read(lambda unit: unit.seals.moved(first.position, 99))
    assert rest.heads == moved.heads
    assert (await store.read(lambda unit: unit.seals.moved(rest.position, 99))).count == 0


def seal(number: int, position: str = "0.5") -> Seal:
    return Seal(number, at(number), 2, b"r" * 32, b"p" * 32, b"s" * 64, b"k" * 32, position)


async def test_seals_are_kept_in_order_with_their_heads(store: Store) -> None:
    heads = [Head("a", 3, b"a" * 32), Head("b", 1, b"b" * 32), Head("a", 2, b"c" * 32, is_base=True)]
    assert await store.read(lambda unit: unit.seals.last()) is None
    await store.transact(lambda unit: unit.seals.add(seal(1), heads))
    await store.transact(lambda unit: unit.seals.add(seal(2), []))
    assert await store.read(lambda unit: unit.seals.last()) == seal(2)
    assert list(await store.read(lambda unit: unit.seals.list(0, 9))) == [seal(1), seal(2)]
    assert list(await store.read(lambda unit: unit.seals.list(1, 9))) == [seal(2)]
    assert list(await store.read(lambda unit: unit.seals.list(0, 1))) == [seal(1)]
    assert list(await store.read(lambda unit: unit.seals.heads(1))) == heads
    assert list(await store.read(lambda unit: unit.seals.heads(2))) == []


@pytest.mark.parametrize("number", [0, 1, 3])
async def test_a_seal_that_is_not_the_next_one_is_refused(store: Store, number: int) -> None:
    await store.transact(lambda unit: unit.seals.add(seal(1), []))
    with pytest.raises(StaleWrite):
        await store.transact(lambda unit: unit.seals.add(seal(number), []))


async def test_entries_are_found_by_what_is_asked_of_them(store: Store) -> None:
    await insert_run(store)
    await store.transact(lambda unit: unit.runs.append(RUN, [event(1)]))
    await store.transact(lambda unit: unit.audit.append(STAMPED))
    await store.transact(lambda unit: unit.audit.append(AuditEntry(at(9), "bob", "approve load/go", f"{PLAN}s/x", 1)))
    environment = "/".join(PLAN.split("/")[:2])

    async def sequences(asked: AuditFilter) -> list[str]:
        found = await store.read(lambda unit: unit.audit.find(asked, 0, 9))
        assert found.is_end
        return [entry.type for entry in found.entries]

    assert await sequences(AuditFilter()) == ["lane.running", "update", "approve load/go"]
    assert await sequences(AuditFilter(environment=environment)) == ["lane.running", "update", "approve load/go"]
    assert await sequences(AuditFilter(environment=environment[:-1])) == []
    assert await sequences(AuditFilter(subject=PLAN)) == ["lane.running", "update"]
    assert await sequences(AuditFilter(subject=RUN)) == ["lane.running"]
    assert await sequences(AuditFilter(subject=PLAN.upper())) == []
    assert await sequences(AuditFilter(principal="bob")) == ["approve load/go"]
    assert await sequences(AuditFilter(action="approve")) == ["approve load/go"]
    assert await sequences(AuditFilter(action="approve load/go")) == ["approve load/go"]
    assert await sequences(AuditFilter(action="appr")) == []
    assert await sequences(AuditFilter(outcome="OK")) == ["lane.running", "approve load/go"]
    assert await sequences(AuditFilter(outcome="PERMISSION_DENIED", principal="ann")) == ["update"]
    assert await sequences(AuditFilter(start=at(9))) == ["approve load/go"]
    assert await sequences(AuditFilter(end=at(9))) == ["lane.running", "update"]


async def test_a_search_goes_on_where_the_page_before_ended_and_looks_at_no_more_than_it_may(store: Store) -> None:
    many = [AuditEntry(NOW, "ann" if number % 100 else "bob", "a", str(number), 1) for number in range(LOOKED_MAX + 50)]
    await store.transact(lambda unit: unit.audit.append_all(many))
    bob = AuditFilter(principal="bob")
    first = await store.read(lambda unit: unit.audit.find(bob, 0, 3))
    assert ([entry.subject for entry in first.entries], first.is_end) == (["0", "100", "200"], False)
    second = await store.read(lambda unit: unit.audit.find(bob, first.last, 1))
    assert [entry.subject for entry in second.entries] == ["300"]
    nobody = await store.read(lambda unit: unit.audit.find(AuditFilter(principal="eve"), 0, 3))
    assert (list(nobody.entries), nobody.is_end) == ([], False)
    rest = await store.read(lambda unit: unit.audit.find(AuditFilter(principal="eve"), nobody.last, 3))
    assert (list(rest.entries), rest.is_end) == ([], True)


async def test_the_newest_entries_about_objects_come_first_and_no_steps_of_runs(store: Store) -> None:
    await insert_run(store)
    await store.transact(lambda unit: unit.runs.append(RUN, [event(1)]))
    for number, subject in enumerate((PLAN, "other", PLAN, "lanes/1")):
        await store.transact(lambda unit, n=number, s=subject: unit.audit.append(AuditEntry(NOW, "ann", str(n), s, 1)))  # type: ignore[misc]  # bound
    found = await store.read(lambda unit: unit.audit.about([PLAN, "lanes/1"], 9))
    assert [entry.action for entry in found] == ["3", "2", "0"]
    assert [entry.action for entry in await store.read(lambda unit: unit.audit.about([PLAN], 1))] == ["2"]
    assert list(await store.read(lambda unit: unit.audit.about([], 9))) == []


async def test_only_what_nobody_needs_any_more_may_go(store: Store) -> None:
    ended = new_run(f"{PLAN}/runs/ended", key="k2")
    ended.state = RunState.SUCCEEDED
    await insert_run(store)
    await insert_run(store, run=ended)
    for name in (RUN, ended.name):
        await store.transact(lambda unit, name=name: unit.runs.append(name, [event(1), event(2)]))  # type: ignore[misc]  # bound
    olds = [AuditEntry(at(3), "ann", "create", "old", 1), AuditEntry(at(99), "ann", "create", "new", 1)]
    await store.transact(lambda unit: unit.audit.append_all(olds))
    end = await store.read(lambda unit: unit.feed.end())

    async def removable(until: str = end, begin: str = "") -> list[tuple[str, int]]:
        found = await store.read(lambda unit: unit.seals.removable(begin, until, at(50), 99))
        return [(each.run or each.subject, each.place) for each in found.entries]

    may_go = [(ended.name, 1), ("old", 1)]
    assert await removable() == may_go, "the last link of each chain stays"
    entries = await entries_of(store)
    assert await removable(entries[3].position) == may_go[:1]
    assert await removable(begin=entries[3].position) == may_go[1:]
    assert await store.transact(lambda unit: [c.entry.id for c in unit.outbox.claim("mail", 9, NOW, at(1))]) != []
    assert await removable() == [], "the consumer holds them"
    await store.transact(lambda unit: unit.outbox.done("mail", [entry.id for entry in entries]))
    assert await removable() == may_go
    await store.transact(lambda unit: unit.outbox.begin("late", ""))
    assert await removable() == [], "a consumer has not come to them yet"


async def test_looking_for_what_may_go_ends_with_what_is_old(store: Store) -> None:
    for seconds in (1, 2, 99):
        entry = AuditEntry(at(seconds), "ann", "create", "a", 1)
        await store.transact(lambda unit, entry=entry: unit.audit.append(entry))  # type: ignore[misc]  # bound
    entries = await entries_of(store)
    end = entries[-1].position
    found = await store.read(lambda unit: unit.seals.removable("", end, at(50), 99))
    assert found.position == entries[1].position
    rest = await store.read(lambda unit: unit.seals.removable(found.position, end, at(50), 99))
    assert (list(rest.entries), rest.position) == ([], found.position)
    assert (await store.read(lambda unit: unit.seals.removable("", end, at(50), 1))).position == entries[0].position


async def test_what_a_base_covers_is_taken_away_and_the_rest_goes_on_from_it(store: Store) -> None:
    for subject in ("a", "b", "c"):
        await store.transact(lambda unit, subject=subject: note(unit, subject))  # type: ignore[misc]  # bound
    a, b, c = await entries_of(store)
    base = Head(b.chain, b.place, b.hash, is_base=True)
    if a.chain == b.chain == c.chain:
        await store.transact(lambda unit: unit.seals.remove([base], [a.id, b.id]))
        assert [entry.subject for entry in await entries_of(store)] == ["c"]
        assert list(await store.read(lambda unit: unit.seals.bases())) == [base]
        await store.transact(lambda unit: note(unit, "d"))
        last = (await entries_of(store))[-1]
        assert (last.place, last.id > c.id) == (4, True)
        assert last.hash == link_hash(c.hash, as_written(last))


async def test_the_store_lets_nothing_go_that_no_base_covers(store: Store) -> None:
    await store.transact(lambda unit: note(unit, "a"))
    (a,) = await entries_of(store)
    for bases in ([], [Head(a.chain, a.place - 1, NOTHING, is_base=True)], [Head(UNLINKED, 9, NOTHING, is_base=True)]):
        with pytest.raises(Exception, match=r"only added to|refused"):
            await store.transact(lambda unit, bases=bases: unit.seals.remove(bases, [a.id]))  # type: ignore[misc]  # bound
    assert [entry.subject for entry in await entries_of(store)] == ["a"]
    assert list(await store.read(lambda unit: unit.seals.bases())) == []
