"""A stage is to who works in it what a transaction is: every read sees every write, and what is kept is what was seen."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pymigrate.engine.application.gitops.loaded import Loaded
from pymigrate.engine.application.gitops.staged import Staged
from pymigrate.engine.application.trying import WrittenOver
from pymigrate.engine.domain.errors import AlreadyExists, StaleWrite
from pymigrate.engine.ports.store import Resource, Resources, Unit
from pymigrate.engine.testing.clock import START
from pymigrate.engine.testing.store import MemoryStore

PLACES = [
    ("environments", ""),
    ("plans", "environments/a"),
    ("phases", "environments/a/plans/p"),
    ("phases", "environments/a/plans/p0"),
    ("connections", "environments/a"),
    ("plans", "environments/b"),
    ("plans", "environments/a0"),
]
IDS = ["a", "a0", "p", "p0", "q"]
NAMES = [f"{parent}/{kind}/{each}" if parent else f"{kind}/{each}" for kind, parent in PLACES for each in IDS]


def resource(name: str, uid: str, version: int) -> Resource:
    """An object of that name; uid and version tell it from others."""
    parent, kind, _ = ("", *name.rsplit("/", 2)) if name.count("/") == 1 else name.rsplit("/", 2)
    time = START + timedelta(seconds=version)
    return Resource(name, kind, parent, uid, version, uid.encode(), START, time, "git/a" if version % 2 else "api", b"")


steps = st.lists(st.tuples(st.sampled_from(["insert", "update", "delete"]), st.sampled_from(NAMES)), max_size=30)


def do(resources: Resources, step: tuple[str, str], number: int) -> str:
    """One write; the name of what it raised."""
    action, name = step
    known = resources.get(name)
    version = known.version if known is not None else 9
    try:
        match action:
            case "insert":
                resources.insert(resource(name, f"u{number}", 1))
            case "update":
                resources.update(resource(name, known.uid if known else f"u{number}", version + 1), version)
            case _:
                resources.delete(name, version)
    except (AlreadyExists, StaleWrite) as error:
        return type(error).__name__
    return ""


def seen(resources: Resources) -> list[Any]:
    """Everything that can be asked."""
    answers: list[Any] = [list(map(resources.get, NAMES)), list(resources.get_all(NAMES[::2]))]
    for kind, parent in PLACES:
        answers += [
            list(resources.list(kind, parent, "", 100)),
            list(resources.list(kind, parent, f"{parent}/{kind}/a0", 2)),
            list(resources.names(kind, parent)),
            list(resources.states(kind, parent)),
        ]
    for name in ("environments/a", "environments/a/plans/p", "environments/b", "environments/a/plans"):
        answers += [list(resources.within(name)), resources.has_children(name)]
    return [*answers, list(resources.owned("git/a"))]


async def kept(store: MemoryStore) -> Sequence[Resource]:
    return await store.read(lambda unit: unit.resources.get_all(NAMES))


Steps = list[tuple[str, str]]


@given(before=steps, after=steps, loaded=st.sets(st.sampled_from(["environments/a", "environments/b"])))
def test_a_stage_answers_as_a_transaction_would_and_keeps_what_it_answered(
    before: Steps, after: Steps, loaded: set[str]
) -> None:
    hold(before, after, loaded, Staged)


def hold(before: Steps, after: Steps, loaded: set[str], make: Callable[[Unit, set[str]], Staged]) -> None:
    """Does the same in a stage and in a transaction. Raises AssertionError where they differ."""

    async def work() -> None:
        store, straight = MemoryStore(), MemoryStore()

        def writing(steps: Steps, first: int) -> Callable[[Unit], list[str]]:
            return lambda unit: [do(unit.resources, step, first + at) for at, step in enumerate(steps)]

        for each in (store, straight):
            await each.transact(writing(before, 0))
        expected = await straight.transact(lambda unit: (writing(after, 100)(unit), seen(unit.resources)))

        def staged(unit: Unit) -> None:
            stage = make(unit, loaded)
            stored = seen(unit.resources)
            raised = [do(stage.as_unit.resources, step, 100 + at) for at, step in enumerate(after)]
            assert (raised, seen(stage.as_unit.resources)) == expected
            assert seen(unit.resources) == stored
            stage.flush(unit)
            assert seen(unit.resources) == expected[1]

        await store.transact(staged)
        assert await kept(store) == await kept(straight)

    asyncio.run(work())


class Beyond(Loaded):
    """Takes what comes after a name for what lies below it."""

    def within(self, name: str) -> Sequence[Resource]:
        return [*super().within(name), *filter(None, [self.get(f"{name}0")])]


class Blind(Loaded):
    """Sees nothing of what was not loaded."""

    def names(self, kind: str, parent: str) -> Sequence[str]:
        return [each.name for each in self.list(kind, parent, "", 1_000) if each.name.startswith("environments/a/")]


def over(loaded: type[Loaded]) -> Callable[[Unit, set[str]], Staged]:
    """A stage that reads otherwise."""

    def make(unit: Unit, environments: set[str]) -> Staged:
        stage = Staged(unit, environments)
        stage.loaded = loaded(unit.resources, environments)
        stage.resources = WrittenOver(stage.loaded)
        return stage

    return make


class Forgetful(Staged):
    """Keeps what was changed, and not what was deleted."""

    def flush(self, unit: Unit) -> None:
        unit.resources.insert_all([each for each in self.resources.written.values() if each is not None])


PLANS = [("insert", f"environments/{place}") for place in ("a", "b", "a/plans/p", "a/plans/p0", "b/plans/p")]


@pytest.mark.parametrize("make", [over(Beyond), over(Blind), Forgetful])
def test_a_stage_that_reads_or_keeps_otherwise_is_told_apart(make: Callable[[Unit, set[str]], Staged]) -> None:
    gone = [("delete", "environments/a/plans/p")]
    hold(PLANS, gone, {"environments/a"}, Staged)
    with pytest.raises(AssertionError):
        hold(PLANS, gone, {"environments/a"}, make)
