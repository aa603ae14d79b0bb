"""A stage is to who works in it what a transaction is: every read sees every write, and what is kept is what was seen."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pymigrate.engine.application.gitops.staged import Staged
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


@given(before=steps, after=steps, loaded=st.sets(st.sampled_from(["environments/a", "environments/b"])))
def test_a_stage_answers_as_a_transaction_would_and_keeps_what_it_answered(
    before: list[tuple[str, str]], after: list[tuple[str, str]], loaded: set[str]
) -> None:
    async def work() -> None:
        store, straight = MemoryStore(), MemoryStore()

        def writing(steps: list[tuple[str, str]], first: int) -> Callable[[Unit], list[str]]:
            return lambda unit: [do(unit.resources, step, first + at) for at, step in enumerate(steps)]

        for each in (store, straight):
            await each.transact(writing(before, 0))
        expected = await straight.transact(lambda unit: (writing(after, 100)(unit), seen(unit.resources)))

        def staged(unit: Unit) -> None:
            stage = Staged(unit, loaded)
            stored = seen(unit.resources)
            raised = [do(stage.as_unit.resources, step, 100 + at) for at, step in enumerate(after)]
            assert (raised, seen(stage.as_unit.resources)) == expected
            assert seen(unit.resources) == stored
            stage.flush(unit)
            assert seen(unit.resources) == expected[1]

        await store.transact(staged)
        assert await kept(store) == await kept(straight)

    asyncio.run(work())
