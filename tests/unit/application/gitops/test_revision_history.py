"""What was applied before, as going back looks at it."""

from datetime import UTC, datetime

import pytest

from pymigrate.engine.application.gitops.revision_history import KnownHashes, has_been, history_of, newest_stored
from pymigrate.engine.ports.store import Unit
from pymigrate.engine.testing.store import MemoryStore
from pymigrate.v1 import git_source_pb2

APPLIED, REFUSED = git_source_pb2.GIT_REVISION_STATE_APPLIED, git_source_pb2.GIT_REVISION_STATE_REFUSED
P, Q = "environments/e/plans/p", "environments/e/plans/q"


def add(unit: Unit, number: int, plans: dict[str, str], state: int = APPLIED) -> None:
    revision = git_source_pb2.GitRevision(commit=f"c{number}", tree=f"t{sorted(plans.items())}", state=state)  # type: ignore[arg-type]  # one of its states
    revision.time.FromDatetime(datetime(2026, 3, 1, 0, number, tzinfo=UTC))
    for plan, letter in plans.items():
        revision.plans.add(plan=plan, plan_hash=letter * 64)
    unit.git_records.add_revision("u", number, revision.commit, revision.SerializeToString())


@pytest.fixture
async def store() -> MemoryStore:
    """Four revisions, of which one was refused."""
    found = MemoryStore()

    def fill(unit: Unit) -> None:
        add(unit, 1, {P: "a"})
        add(unit, 2, {P: "b", Q: "a"})
        add(unit, 3, {P: "e"}, REFUSED)
        add(unit, 4, {P: "c", Q: "a"})

    await found.transact(fill)
    return found


async def test_history_goes_back_to_where_each_plan_was_last_as_it_is_wanted(store: MemoryStore) -> None:
    history, is_whole = await store.read(lambda unit: history_of(unit, "u", {P: "b" * 64}))
    assert [(each.number, each.commit) for each in history] == [(2, "c2"), (4, "c4")]
    assert not is_whole
    whole, is_whole = await store.read(lambda unit: history_of(unit, "u", {P: "f" * 64, Q: ""}))
    assert [each.number for each in whole] == [1, 2, 4], "what was refused is no history"
    assert is_whole
    assert dict(whole[0].plans) == {P: "a" * 64}


async def test_hashes_are_known_that_any_revision_tells_of_and_those_that_come_later(store: MemoryStore) -> None:
    known, asked = KnownHashes(), {letter * 64 for letter in "abcdef"}
    assert await store.read(lambda unit: known.of(unit, "u", asked)) == {letter * 64 for letter in "abce"}
    await store.transact(lambda unit: add(unit, 5, {P: "d"}))
    assert await store.read(lambda unit: known.of(unit, "u", asked)) == {letter * 64 for letter in "abcde"}
    assert await store.read(lambda unit: known.of(unit, "other", asked)) == set()


async def test_a_folder_is_known_that_was_so_before_what_it_is_now(store: MemoryStore) -> None:
    def look(unit: Unit) -> list[bool]:
        trees = [f"t{sorted(plans.items())}" for plans in ({P: "a"}, {P: "c", Q: "a"}, {P: "e"})]
        return [has_been(unit, "u", tree) for tree in trees]

    assert await store.read(look) == [True, False, False]
    newest = await store.read(lambda unit: newest_stored(unit, "u"))
    assert newest is not None
    assert newest.commit == "c4"
    assert await store.read(lambda unit: newest_stored(unit, "other")) is None
