"""Figures beyond bounds while anything may happen: values that come and go, stores that fail or lose an answer, engines that are killed,
and runs that end and are retried. Each crossing is told once, and so is its end."""

import asyncio
import contextlib
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from pymigrate.engine.application.findings import finding_of
from pymigrate.engine.domain.errors import StoreUnavailable
from pymigrate.engine.domain.run_states import RunState
from tests.unit.application.engines import Engine
from tests.unit.application.test_board import FailingStore
from tests.unit.application.watched import Watched

BOUND = 10
MATCH = {"kpi": {"figure": "quarantined_rows", "isAbove": True, "bound": BOUND, "hysteresis": 0.2}}
VALUES = st.integers(0, 2 * BOUND).map(lambda value: ("value", value))
LOOKS = st.sampled_from([0.1, 0.5, 5.0]).map(lambda seconds: ("look", seconds))
EVENTS = st.sampled_from([("killed", 0), ("fails", 0), ("lost", 0), ("ends", 0), ("retried", 0)])
STORIES = st.lists(st.one_of(VALUES, LOOKS, LOOKS, EVENTS), max_size=40)


class Story:
    """A run that is watched, whatever happens."""

    def __init__(self) -> None:
        self.store = FailingStore()
        self.watched = Watched(Engine(self.store))

    async def told(self, events: list[tuple[str, float]]) -> list[tuple[str, float]]:
        """Lets everything happen, then the run end and be looked at in peace; what was told, with its values."""
        await self.watched.declare(MATCH)
        for word, number in events:
            await self._happen(word, number)
        self.store.writes_to_fail = self.store.answers_to_lose = 0
        if self.watched.run.state is RunState.RUNNING:
            self.watched.end()
        for _ in range(3):
            await self.watched.look(5.0)
        assert await self.watched.kept() == 0
        found = [(entry.action, finding_of(entry.detail)) for entry in await self.watched.entries()]
        return [(action, finding.value) for action, finding in found if finding is not None]

    async def _happen(self, word: str, number: float) -> None:
        watched, is_running = self.watched, self.watched.run.state is RunState.RUNNING
        match word:
            case "value" if is_running:
                watched.tell(quarantined_rows=int(number))
            case "look":
                with contextlib.suppress(StoreUnavailable):
                    await watched.look(number)
            case "killed":
                watched.engine.clock.advance(1)
                self.watched = await watched.again()
                self.watched.tell()
            case "fails":
                self.store.writes_to_fail = 1
            case "lost":
                self.store.answers_to_lose = 1
            case "ends" if is_running:
                watched.end(RunState.FAILED)
            case "retried" if not is_running:
                version = watched.run.version + 1
                watched.run = replace(watched.run, state=RunState.RUNNING, end_time=None, version=version)
                watched.tell()
            case _:
                pass


@given(STORIES)
@settings(max_examples=150)
def test_each_crossing_is_told_once_and_so_is_its_end_whatever_happens(events: list[tuple[str, float]]) -> None:
    told = asyncio.run(Story().told(events))
    assert [action for action, _ in told[::2]] == ["kpi.crossed"] * len(told[::2])
    assert [action for action, _ in told[1::2]] == ["kpi.recovered"] * (len(told) // 2)
    assert len(told) % 2 == 0
    assert all(value > BOUND for action, value in told if action == "kpi.crossed")


@given(STORIES, st.integers(BOUND + 1, 2 * BOUND))
@settings(max_examples=50)
def test_what_is_beyond_its_bound_when_a_run_that_is_watched_ends_is_always_told(
    events: list[tuple[str, float]], value: int
) -> None:
    calm = [event for event in events if event[0] not in {"ends", "retried"}]
    told = asyncio.run(
        Story().told([*calm, ("look", 5.0), ("look", 5.0), ("value", value), ("ends", 0), ("killed", 0)])
    )
    assert [action for action, _ in told[-2:]] == ["kpi.crossed", "kpi.recovered"]
