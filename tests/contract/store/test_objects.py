"""Declared objects, hosts, kept answers and the audit trail."""

import asyncio
from dataclasses import replace

import pytest

from pymigrate.engine.application.trying import tried
from pymigrate.engine.domain.errors import AlreadyExists, StaleWrite
from pymigrate.engine.ports.store import AuditEntry, Resource, Store, Unit
from tests.contract.store.records import NOW, BoomError, at, each, host, resource


async def test_an_object_comes_back_as_it_was_written(store: Store) -> None:
    await store.transact(lambda unit: unit.resources.insert(resource("a", parent="p", uid="u")))
    assert await store.read(lambda unit: unit.resources.get("a")) == resource("a", parent="p", uid="u")
    changed = Resource("a", "plans", "q", "u2", 2, b"", at(5), at(6), "git", b"\x00held")
    await store.transact(lambda unit: unit.resources.update(changed, 1))
    assert await store.read(lambda unit: unit.resources.get("a")) == changed
    await store.transact(lambda unit: unit.resources.delete("a", 2))
    assert await store.read(lambda unit: unit.resources.get("a")) is None


async def test_everything_below_a_name_is_found_at_any_depth_and_nothing_beside_it(store: Store) -> None:
    names = ["e/a", "e/a/plans/p", "e/a/plans/p/phases/x", "e/a-b/plans/p", "e/ab/plans/p", "e/a0", "e/a/B"]

    def fill(unit: Unit) -> None:
        for name in names:
            unit.resources.insert(resource(name, uid=name))

    await store.transact(fill)
    found = await store.read(lambda unit: [each.name for each in unit.resources.within("e/a")])
    assert found == ["e/a/B", "e/a/plans/p", "e/a/plans/p/phases/x"]


async def test_what_is_tried_in_a_unit_is_seen_in_it_and_kept_nowhere(store: Store) -> None:
    def fill(unit: Unit) -> None:
        for name in ("e/a", "e/b", "e/c"):
            unit.resources.insert(resource(name, parent="e", uid=name))

    def attempt(unit: Unit) -> None:
        trial = tried(unit)
        assert tried(trial) is trial
        trial.resources.insert(resource("e/bb", parent="e", uid="new"))
        trial.resources.delete("e/a", 1)
        trial.resources.update(resource("e/c", parent="e", uid="e/c", version=2), 1)
        with pytest.raises(AlreadyExists):
            trial.resources.insert(resource("e/bb", parent="e", uid="again"))
        with pytest.raises(StaleWrite):
            trial.resources.delete("e/c", 1)
        with pytest.raises(StaleWrite):
            trial.resources.update(resource("e/a", parent="e", version=2), 1)
        names = ["e/b", "e/bb", "e/c"]
        assert [each.name for each in trial.resources.list("connections", "e", "", 9)] == names
        assert [each.name for each in trial.resources.list("connections", "e", "e/b", 1)] == ["e/bb"]
        assert list(trial.resources.names("connections", "e")) == names
        assert [each.name for each in trial.resources.within("e")] == names
        assert list(trial.resources.states("connections", "e"))[-1] == ("e/c", "e/c", 2)
        assert [each.name for each in trial.resources.get_all(["e/a", "e/c", "e/bb"])] == ["e/bb", "e/c"]
        assert trial.resources.get("e/a") is None
        for name, version in (("e/b", 1), ("e/bb", 1), ("e/c", 2)):
            assert trial.resources.has_children("e")
            trial.resources.delete(name, version)
        assert not trial.resources.has_children("e")
        trial.audit.append(AuditEntry(NOW, "me", "create", "e/bb", 1))
        assert list(trial.audit.list(0, 9)) == []

    await store.transact(fill)
    await store.transact(attempt)
    assert [name for name, _, _ in await store.read(lambda unit: unit.resources.states("connections", "e"))] == [
        "e/a",
        "e/b",
        "e/c",
    ]
    assert list(await store.read(lambda unit: unit.audit.list(0, 9))) == []


async def test_a_taken_name_or_uid_is_refused(store: Store) -> None:
    await store.transact(lambda unit: unit.resources.insert(resource("a", uid="u")))
    await store.transact(lambda unit: unit.resources.insert(resource("b", uid="v")))
    for work in (
        lambda unit: unit.resources.insert(resource("a", uid="w")),
        lambda unit: unit.resources.insert(resource("c", uid="u")),
        lambda unit: unit.resources.update(resource("b", uid="u", version=2), 1),
    ):
        with pytest.raises(AlreadyExists):
            await store.transact(work)
    names = await store.read(lambda unit: [r.name for r in unit.resources.list("connections", "", "", 9)])
    assert names == ["a", "b"]


async def test_an_object_of_another_version_is_neither_changed_nor_deleted(store: Store) -> None:
    await store.transact(lambda unit: unit.resources.insert(resource("a", version=3)))
    for work in (
        lambda unit: unit.resources.update(resource("a", version=3), 2),
        lambda unit: unit.resources.delete("a", 2),
        lambda unit: unit.resources.update(resource("b", version=1), 0),
        lambda unit: unit.resources.delete("b", 1),
    ):
        with pytest.raises(StaleWrite):
            await store.transact(work)
    assert await store.read(lambda unit: unit.resources.get("a")) == resource("a", version=3)


async def test_several_objects_are_read_at_once_in_order_and_what_there_is_not_is_left_out(store: Store) -> None:
    def fill(unit: Unit) -> None:
        for name in ("b", "a", "C"):
            unit.resources.insert(resource(name, uid=name))

    await store.transact(fill)
    found = await store.read(lambda unit: unit.resources.get_all(["b", "x", "C", "b"]))
    assert list(found) == [resource("C", uid="C"), resource("b", uid="b")]
    assert list(await store.read(lambda unit: unit.resources.get_all([]))) == []


async def test_names_of_a_kind_below_a_parent_come_in_order(store: Store) -> None:
    def fill(unit: Unit) -> None:
        for name in ("p/b", "p/a", "p/C"):
            unit.resources.insert(resource(name, "plans", "p"))
        unit.resources.insert(resource("p/x", "connections", "p"))
        unit.resources.insert(resource("q/a", "plans", "q"))

    await store.transact(fill)
    assert list(await store.read(lambda unit: unit.resources.names("plans", "p"))) == ["p/C", "p/a", "p/b"]
    assert list(await store.read(lambda unit: unit.resources.names("plans", "none"))) == []


async def test_the_states_of_a_kind_below_a_parent_tell_every_write(store: Store) -> None:
    def fill(unit: Unit) -> None:
        for name in ("p/b", "p/a", "p/C"):
            unit.resources.insert(resource(name, "plans", "p", uid=f"u-{name}"))
        unit.resources.insert(resource("p/x", "connections", "p", uid="x"))
        unit.resources.insert(resource("q/a", "plans", "q", uid="q"))

    def change(unit: Unit) -> None:
        unit.resources.update(resource("p/a", "plans", "p", uid="u-p/a", version=2), 1)
        unit.resources.delete("p/b", 1)

    await store.transact(fill)
    found = await store.read(lambda unit: unit.resources.states("plans", "p"))
    assert list(found) == [("p/C", "u-p/C", 1), ("p/a", "u-p/a", 1), ("p/b", "u-p/b", 1)]
    await store.transact(change)
    found = await store.read(lambda unit: unit.resources.states("plans", "p"))
    assert list(found) == [("p/C", "u-p/C", 1), ("p/a", "u-p/a", 2)]


async def test_objects_are_listed_by_kind_and_parent_in_pages(store: Store) -> None:
    def fill(unit: Unit) -> None:
        for name in ("p/b", "p/a", "p/C", "p/é", "p/d"):
            unit.resources.insert(resource(name, parent="p"))
        unit.resources.insert(resource("p/x", "plans", "p"))
        unit.resources.insert(resource("q/a", parent="q"))

    await store.transact(fill)

    async def names(after: str, limit: int) -> list[str]:
        return [r.name for r in await store.read(lambda unit: unit.resources.list("connections", "p", after, limit))]

    assert await names("", 9) == ["p/C", "p/a", "p/b", "p/d", "p/é"]
    assert await names("p/a", 2) == ["p/b", "p/d"]
    assert await names("p/é", 2) == []


async def test_an_object_with_something_below_it_has_children(store: Store) -> None:
    await store.transact(lambda unit: unit.resources.insert(resource("p/a", parent="p")))
    assert await store.read(lambda unit: [unit.resources.has_children(name) for name in ("p", "p/a", "")]) == [
        True,
        False,
        False,
    ]


async def test_hosts_are_put_touched_listed_and_forgotten(store: Store) -> None:
    await store.transact(each("hosts/b", "hosts/a", do=lambda unit, name: unit.hosts.put(host(name))))
    await store.transact(lambda unit: unit.hosts.put(replace(host("hosts/a"), session="second")))
    await store.transact(lambda unit: unit.hosts.touch("hosts/b", at(7)))
    await store.transact(lambda unit: unit.hosts.touch("hosts/none", at(7)))
    known = [replace(host("hosts/a"), session="second"), host("hosts/b", 7)]
    assert await store.read(lambda unit: list(unit.hosts.list())) == known
    assert await store.read(lambda unit: unit.hosts.get("hosts/b")) == known[1]
    assert await store.read(lambda unit: unit.hosts.get("hosts/none")) is None
    await store.transact(each("hosts/a", "hosts/none", do=lambda unit, name: unit.hosts.delete(name)))
    assert await store.read(lambda unit: list(unit.hosts.list())) == known[1:]


async def test_an_answer_is_kept_for_its_method_and_request_id(store: Store) -> None:
    await store.transact(lambda unit: unit.requests.put("m", "1", b"\x00digest", b"\xffanswer", NOW))
    assert await store.read(lambda unit: unit.requests.get("m", "1")) == (b"\x00digest", b"\xffanswer")
    assert await store.read(lambda unit: [unit.requests.get("m", "2"), unit.requests.get("n", "1")]) == [None, None]


async def test_the_first_answer_stays_the_answer(store: Store) -> None:
    await store.transact(lambda unit: unit.requests.put("m", "1", b"d", b"first", NOW))
    with pytest.raises(AlreadyExists):
        await store.transact(lambda unit: unit.requests.put("m", "1", b"d", b"second", NOW))
    assert await store.read(lambda unit: unit.requests.get("m", "1")) == (b"d", b"first")


async def test_old_answers_are_forgotten(store: Store) -> None:
    await store.transact(each(*range(4), do=lambda unit, n: unit.requests.put("m", str(n), b"", b"", at(n))))
    assert await store.transact(lambda unit: unit.requests.drop_before(at(2))) == 2
    assert await store.read(lambda unit: [unit.requests.get("m", str(n)) is None for n in range(4)]) == [
        True,
        True,
        False,
        False,
    ]


async def said(store: Store, after: int, limit: int) -> list[AuditEntry]:
    """What the trail says, without its links."""
    found = await store.read(lambda unit: unit.audit.list(after, limit))
    return [replace(entry, chain="", place=0, hash=b"") for entry in found]


async def test_the_store_numbers_the_audit_trail_from_1(store: Store) -> None:
    entries = [AuditEntry(at(n), "alice", "update", f"plans/{n}", n, "detail") for n in range(3)]
    await store.transact(lambda unit: unit.audit.append(entries[0]))
    await store.transact(each(*entries[1:], do=lambda unit, entry: unit.audit.append(entry)))
    numbered = [replace(entry, sequence=place) for place, entry in enumerate(entries, start=1)]
    assert await said(store, 0, 9) == numbered
    assert await said(store, 1, 1) == numbered[1:2]


async def test_an_undone_entry_is_not_in_the_audit_trail(store: Store) -> None:
    def failing(unit: Unit) -> None:
        unit.audit.append(AuditEntry(NOW, "alice", "create", "lost", 1))
        raise BoomError

    def working(unit: Unit) -> None:
        unit.audit.append(AuditEntry(NOW, "alice", "create", "kept", 1))

    works = [working, failing, working]
    await asyncio.gather(*(store.transact(work) for work in works), return_exceptions=True)
    kept = await store.read(lambda unit: list(unit.audit.list(0, 9)))
    assert [entry.subject for entry in kept] == ["kept", "kept"]
    assert kept[0].sequence < kept[1].sequence


async def test_many_objects_are_stored_at_once_or_none_of_them(store: Store) -> None:
    many = [resource(f"e/{at}", parent="e", uid=f"u{at}") for at in range(300)]
    await store.transact(lambda unit: unit.resources.insert_all(many))
    await store.transact(lambda unit: unit.resources.insert_all([]))
    found = await store.read(lambda unit: unit.resources.within("e"))
    assert list(found) == sorted(many, key=lambda each: each.name)
    again = [resource("e/new", parent="e", uid="new"), resource("e/7", parent="e", uid="another")]
    with pytest.raises(AlreadyExists):
        await store.transact(lambda unit: unit.resources.insert_all(again))
    assert await store.read(lambda unit: unit.resources.get("e/new")) is None


async def test_many_entries_are_appended_at_once_in_their_order(store: Store) -> None:
    entries = [AuditEntry(NOW, "me", "create", f"e/{at}", at) for at in range(300)]
    await store.transact(lambda unit: unit.audit.append_all(entries))
    await store.transact(lambda unit: unit.audit.append_all([]))
    found = await store.read(lambda unit: unit.audit.list(0, 1_000))
    assert [each.subject for each in found] == [each.subject for each in entries]
    assert [each.sequence for each in found] == sorted({each.sequence for each in found})
