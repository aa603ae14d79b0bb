"""What is kept of Git sources: where each stands, its revisions, and what a side declares."""

from dataclasses import replace

import pytest

from pymigrate.engine.domain.errors import StaleWrite
from pymigrate.engine.ports.git_records import REVISIONS_KEPT
from pymigrate.engine.ports.store import Resource, Store, state_of
from tests.contract.store.records import BoomError, each, resource

UID = "u1"
SHA = "a" * 40


async def test_a_status_is_written_by_who_read_the_one_before(store: Store) -> None:
    assert await store.read(lambda unit: unit.git_records.status(UID)) is None
    await store.transact(lambda unit: unit.git_records.set_status(UID, b"\x00one", 0))
    assert await store.read(lambda unit: unit.git_records.status(UID)) == (1, b"\x00one")
    await store.transact(lambda unit: unit.git_records.set_status(UID, b"two", 1))
    assert await store.read(lambda unit: unit.git_records.status(UID)) == (2, b"two")
    assert await store.read(lambda unit: unit.git_records.status("u2")) is None


@pytest.mark.parametrize("expected", [0, 2])
async def test_a_status_that_somebody_else_wrote_is_not_written_over(store: Store, expected: int) -> None:
    await store.transact(lambda unit: unit.git_records.set_status(UID, b"one", 0))
    with pytest.raises(StaleWrite):
        await store.transact(lambda unit: unit.git_records.set_status(UID, b"two", expected))
    assert await store.read(lambda unit: unit.git_records.status(UID)) == (1, b"one")


async def test_a_first_status_is_not_the_second(store: Store) -> None:
    with pytest.raises(StaleWrite):
        await store.transact(lambda unit: unit.git_records.set_status(UID, b"two", 1))


async def add(store: Store, *numbers: int, uid: str = UID, commit: str = SHA) -> None:
    await store.transact(each(*numbers, do=lambda unit, n: unit.git_records.add_revision(uid, n, commit, b"r%d" % n)))


async def test_revisions_come_in_pages_the_newest_first(store: Store) -> None:
    await add(store, 1, 2, 3)
    await add(store, 1, uid="u2")

    async def page(before: int, limit: int) -> list[tuple[int, bytes]]:
        return await store.read(lambda unit: list(unit.git_records.revisions(UID, before, limit)))

    assert await page(0, 2) == [(3, b"r3"), (2, b"r2")]
    assert await page(2, 2) == [(1, b"r1")]
    assert await page(1, 2) == []


async def test_of_many_revisions_the_newest_are_kept(store: Store) -> None:
    await add(store, 1, uid="u2")
    await add(store, *range(1, REVISIONS_KEPT + 3))
    kept = await store.read(lambda unit: [n for n, _ in unit.git_records.revisions(UID, 0, REVISIONS_KEPT + 3)])
    assert kept == list(range(REVISIONS_KEPT + 2, 2, -1))
    assert await store.read(lambda unit: len(unit.git_records.revisions("u2", 0, 2))) == 1


@pytest.mark.parametrize("number", [1, 2, 4])
async def test_a_revision_has_the_next_number(store: Store, number: int) -> None:
    await add(store, 1, 2)
    with pytest.raises(StaleWrite):
        await add(store, number)
    await add(store, 3)


async def test_the_newest_revision_of_a_commit_is_found(store: Store) -> None:
    await add(store, 1)
    await add(store, 2, commit="b" * 40)
    await add(store, 3)
    assert await store.read(lambda unit: unit.git_records.newest_of(UID, SHA)) == (3, b"r3")
    assert await store.read(lambda unit: unit.git_records.newest_of(UID, "b" * 40)) == (2, b"r2")
    assert await store.read(lambda unit: unit.git_records.newest_of(UID, "c" * 40)) is None
    assert await store.read(lambda unit: unit.git_records.newest_of("u2", SHA)) is None


async def test_a_revision_is_replaced_where_it_is(store: Store) -> None:
    await add(store, 1, 2)
    await store.transact(lambda unit: unit.git_records.set_revision(UID, 1, b"other"))
    assert await store.read(lambda unit: unit.git_records.newest_of(UID, SHA)) == (2, b"r2")
    assert await store.read(lambda unit: list(unit.git_records.revisions(UID, 2, 9))) == [(1, b"other")]
    with pytest.raises(StaleWrite):
        await store.transact(lambda unit: unit.git_records.set_revision(UID, 3, b"other"))


async def test_a_source_that_is_forgotten_begins_anew_and_others_stay(store: Store) -> None:
    await add(store, 1, 2)
    await add(store, 1, uid="u2")
    await store.transact(lambda unit: unit.git_records.set_status(UID, b"one", 0))
    await store.transact(lambda unit: unit.git_records.drop(UID))
    assert await store.read(lambda unit: unit.git_records.status(UID)) is None
    assert await store.read(lambda unit: list(unit.git_records.revisions(UID, 0, 9))) == []
    assert await store.read(lambda unit: list(unit.git_records.revisions("u2", 0, 9))) == [(1, b"r1")]
    await add(store, 1)


async def test_records_of_a_unit_that_is_undone_are_not_kept(store: Store) -> None:
    def work(unit):  # type: ignore[no-untyped-def]  # a unit of work
        unit.git_records.set_status(UID, b"one", 0)
        unit.git_records.add_revision(UID, 1, SHA, b"r1")
        raise BoomError

    with pytest.raises(BoomError):
        await store.transact(work)
    assert await store.read(lambda unit: unit.git_records.status(UID)) is None
    assert await store.read(lambda unit: unit.git_records.newest_of(UID, SHA)) is None


async def test_what_a_side_declares_is_told_by_name_with_its_state(store: Store) -> None:
    mine = [replace(resource(f"environments/{name}"), managed_by="git/w") for name in ("b", "a")]
    other = replace(resource("environments/c"), managed_by="git/warehouse")
    await store.transact(each(*mine, other, do=lambda unit, made: unit.resources.insert(made)))
    changed = replace(mine[0], version=2, resolved=b"x")
    await store.transact(lambda unit: unit.resources.update(changed, 1))

    def told(of: Resource) -> tuple[str, str, int]:
        return of.name, of.uid, state_of(of.version, of.resolved)

    assert await store.read(lambda unit: list(unit.resources.owned("git/w"))) == [told(mine[1]), told(changed)]
    assert await store.read(lambda unit: list(unit.resources.owned("git"))) == []
