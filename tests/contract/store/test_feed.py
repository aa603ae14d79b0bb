"""Everything that happens is one stream: the audit trail, what watchers resume from, and what the outbox's consumers are given."""

from dataclasses import replace

import pytest

from pymigrate.engine.domain.errors import InvalidDefinition
from pymigrate.engine.ports.feed import FeedEntry
from pymigrate.engine.ports.store import AuditEntry, Store, Unit
from tests.contract.store.records import FAILURE, NOW, PLAN, RUN, BoomError, at, each, event, insert_run, new_run

CREATED = AuditEntry(NOW, "alice", "create", PLAN, 1, "by hand", "sha256:def")


def add_three(unit: Unit) -> None:
    unit.audit.append(CREATED)
    unit.runs.append(RUN, [event(1), event(2, FAILURE)])


async def subjects_after(store: Store, cursor: str, limit: int = 99) -> tuple[list[tuple[str, int]], str]:
    entries, end = await store.read(lambda unit: unit.feed.after(cursor, limit))
    return [(entry.subject, entry.sequence) for entry in entries], end


def unlinked(entry: FeedEntry) -> FeedEntry:
    """What it says, without its place in a chain."""
    return replace(entry, chain="", place=0, hash=b"")


async def test_what_happened_in_a_run_and_what_was_done_are_one_stream(store: Store) -> None:
    await insert_run(store)
    await store.transact(add_three)
    entries, cursor = await store.read(lambda unit: unit.feed.after("", 9))
    created, first, second = entries
    assert unlinked(created) == FeedEntry(
        created.id, created.position, NOW, "create", PLAN, "alice", version=1, revision="sha256:def", detail="by hand"
    )
    assert unlinked(second) == FeedEntry(
        id=second.id,
        position=cursor,
        time=at(2),
        type="lane.running",
        subject="lanes/1",
        actor="alice",
        run=RUN,
        sequence=2,
        from_state="pending",
        to_state="running",
        failure=FAILURE,
        revision="sha256:abc",
    )
    assert created.id < first.id < second.id


async def test_each_transition_is_in_the_audit_trail_with_the_revision_that_it_belongs_to(store: Store) -> None:
    await insert_run(store)
    await store.transact(add_three)
    trail = await store.read(lambda unit: list(unit.audit.list(0, 9)))
    assert [(entry.actor, entry.action, entry.subject, entry.detail, entry.revision) for entry in trail] == [
        ("alice", "create", PLAN, "by hand", "sha256:def"),
        ("alice", "lane.running", "lanes/1", "pending → running", "sha256:abc"),
        ("alice", "lane.running", "lanes/1", "pending → running", "sha256:abc"),
    ]


async def test_whoever_goes_on_from_the_cursor_misses_nothing_and_gets_nothing_twice(store: Store) -> None:
    await insert_run(store)
    await store.transact(add_three)
    seen: list[tuple[str, int]] = []
    cursor = ""
    for number in range(3, 7):
        page, cursor = await subjects_after(store, cursor, 2)
        seen += page
        await store.transact(lambda unit, number=number: unit.runs.append(RUN, [event(number)]))  # type: ignore[misc]  # bound
    while page := (await subjects_after(store, cursor, 2))[0]:
        seen += page
        _, cursor = await subjects_after(store, cursor, 2)
    assert seen == [(PLAN, 0), *(("lanes/1", sequence) for sequence in range(1, 7))]


async def test_an_empty_page_leaves_the_cursor_where_it_was(store: Store) -> None:
    assert await subjects_after(store, "") == ([], "")
    await insert_run(store)
    await store.transact(add_three)
    _, end = await subjects_after(store, "")
    assert await subjects_after(store, end) == ([], end)
    assert await subjects_after(store, "", 0) == ([], "")


async def test_the_end_of_the_feed_is_where_only_what_is_new_comes(store: Store) -> None:
    assert await store.read(lambda unit: unit.feed.end()) == ""
    await insert_run(store)
    await store.transact(add_three)
    end = await store.read(lambda unit: unit.feed.end())
    assert await subjects_after(store, end) == ([], end)
    await store.transact(lambda unit: unit.runs.append(RUN, [event(3)]))
    assert (await subjects_after(store, end))[0] == [("lanes/1", 3)]


async def test_a_unit_that_is_undone_leaves_nothing_in_the_stream(store: Store) -> None:
    await insert_run(store)

    def failing(unit: Unit) -> None:
        add_three(unit)
        raise BoomError

    with pytest.raises(BoomError):
        await store.transact(failing)
    assert await subjects_after(store, "") == ([], "")
    await store.transact(add_three)
    assert [entry[1] for entry in (await subjects_after(store, ""))[0]] == [0, 1, 2]


async def test_the_streams_of_several_runs_are_told_apart(store: Store) -> None:
    other = f"{PLAN}/runs/r2"
    await insert_run(store)
    await insert_run(store, run=new_run(other, key="k2"))
    for name in (RUN, other):
        await store.transact(lambda unit, name=name: unit.runs.append(name, [event(1)]))  # type: ignore[misc]  # bound
    entries, _ = await store.read(lambda unit: unit.feed.after("", 9))
    assert [(entry.run, entry.sequence) for entry in entries] == [(RUN, 1), (other, 1)]


async def test_a_cursor_that_the_feed_never_gave_is_refused(store: Store) -> None:
    for cursor in ("7", "x.1", "1.y", "1.", ".1", "1.2.3", "--1.2", "1.-2", "٣.٤", "1." + "9" * 19):
        with pytest.raises(InvalidDefinition, match="is none that the feed gave"):
            await store.read(lambda unit, cursor=cursor: unit.feed.after(cursor, 9))  # type: ignore[misc]  # bound


async def test_a_cursor_from_before_the_store_was_set_back_is_refused_and_does_not_wait_in_vain(store: Store) -> None:
    await insert_run(store)
    await store.transact(add_three)
    with pytest.raises(InvalidDefinition, match="begin at the start again"):
        await store.read(lambda unit: unit.feed.after(f"{10**15}.{10**15}", 9))


async def test_entries_are_read_by_their_numbers_in_order_and_those_that_there_are_not_are_left_out(
    store: Store,
) -> None:
    await insert_run(store)
    await store.transact(add_three)
    entries, _ = await store.read(lambda unit: unit.feed.after("", 9))
    first, second, third = (entry.id for entry in entries)
    asked = [third, first, third, 10**15, 0, -1]
    assert list(await store.read(lambda unit: unit.feed.get(asked))) == [entries[0], entries[2]]
    assert list(await store.read(lambda unit: unit.feed.get({second}))) == [entries[1]]
    assert list(await store.read(lambda unit: unit.feed.get([]))) == []


async def test_thousands_of_entries_are_read_at_once(store: Store) -> None:
    await store.transact(
        each(*range(2_000), do=lambda unit, number: unit.audit.append(replace(CREATED, version=number)))
    )
    entries, _ = await store.read(lambda unit: unit.feed.after("", 2_000))
    read = await store.read(lambda unit: unit.feed.get([entry.id for entry in entries]))
    assert [entry.version for entry in read] == list(range(2_000))
