"""Watchers of many runs: whatever happens, and at whatever speed each reads, each ends with the newest state of every run."""

import asyncio
from collections.abc import AsyncGenerator

from hypothesis import given, settings
from hypothesis import strategies as st

from pymigrate.engine.application.kinds import ENVIRONMENTS
from pymigrate.engine.application.runs_watching import RunsWatching
from pymigrate.engine.application.watching import INTERVAL_SECONDS, Told
from pymigrate.engine.domain.run_states import RunState
from pymigrate.engine.ports.store import Unit
from pymigrate.v1 import environment_pb2, run_pb2
from tests.unit.application.engines import ME, Engine
from tests.unit.application.test_runs_watching import ended

PLANS = ("environments/e/plans/a", "environments/e/plans/b", "environments/f/plans/a")
RUNS = tuple(f"{plan}/runs/e{number:05d}" for plan in PLANS for number in range(3))
PARENTS = ("environments/-/plans/-", "environments/e/plans/-", "environments/f/plans/-", PLANS[1])
READS_MAX = 1_000

# What happens one after the other: a run changes, a watcher takes a message, time goes by, a watcher goes and comes back.
steps = st.lists(
    st.one_of(
        st.tuples(st.just("change"), st.integers(0, len(RUNS) - 1)),
        st.tuples(st.just("read"), st.integers(0, 2)),
        st.tuples(st.just("wait"), st.integers(1, 3)),
        st.tuples(st.just("again"), st.integers(0, 2)),
    ),
    max_size=60,
)
watchers = st.lists(st.sampled_from(PARENTS), min_size=3, max_size=3)


class Watcher:
    """Who takes one message after the other, and remembers the last that was told of each run."""

    def __init__(self, engine: Engine, watching: RunsWatching, parent: str) -> None:
        self.parent = parent
        self.last: dict[str, int] = {}
        self.messages = 0
        self._engine = engine
        self._watching = watching
        self._watch: AsyncGenerator[Told[run_pb2.WatchRunsResponse], None] | None = None
        self._next: asyncio.Task[Told[run_pb2.WatchRunsResponse]] | None = None

    async def read(self) -> bool:
        """Takes a message, if there is one by now."""
        if self._watch is None:
            self._watch = self._watching.watch(self.parent, active_only=False)
        if self._next is None:
            self._next = asyncio.ensure_future(anext(self._watch))
        await self._engine.clock.run_for(0)
        if not self._next.done():
            return False
        message, self._next = self._next.result().message, None
        names = [run.name for run in message.runs]
        assert len(set(names)) == len(names), "a run is told once in a message"
        for run in message.runs:
            assert run.lanes_max >= self.last.get(run.name, 0), "what was told is never taken back"
            self.last[run.name] = run.lanes_max
        self.messages += 1
        return True

    async def leave(self) -> None:
        """Hangs up; whoever comes back begins anew."""
        if self._next is not None:
            self._next.cancel()
            await asyncio.gather(self._next, return_exceptions=True)
        if self._watch is not None:
            await self._watch.aclose()
        self._watch = self._next = None

    @property
    def sees(self) -> set[str]:
        """The runs that it watches."""
        within = self.parent.replace("/-", "")
        return {
            name for name in RUNS if within == "environments/plans" or name.startswith(within.removesuffix("/plans"))
        }


async def _watched(happened: list[tuple[str, int]], parents: list[str], changes_max: int) -> None:
    engine = Engine()

    def declare(unit: Unit) -> None:
        for name in ("e", "f"):
            engine.catalog.create(unit, ENVIRONMENTS, "", name, environment_pb2.Environment(), ME)

    await engine.store.transact(declare)
    for plan in PLANS:
        await ended(engine, 3, plan, state=RunState.PAUSED)
    await engine.board.restore()
    watching = RunsWatching(engine.store, engine.board, engine.views, engine.topics, engine.clock, changes_max)
    limits = dict.fromkeys(RUNS, 0)
    everybody = [Watcher(engine, watching, parent) for parent in parents]
    for what, number in happened:
        match what:
            case "change":
                limits[RUNS[number]] += 1
                await engine.runs.scale(RUNS[number], limits[RUNS[number]], ME)
            case "read":
                await everybody[number].read()
            case "again":
                await everybody[number].leave()
            case _:
                await engine.clock.run_for(number * INTERVAL_SECONDS)
    for watcher in everybody:
        for _ in range(READS_MAX):
            if not await watcher.read():
                await engine.clock.run_for(2 * INTERVAL_SECONDS)
                if not await watcher.read():
                    break
        assert watcher.last == {name: limits[name] for name in watcher.sees}
        await watcher.leave()
    assert (len(engine.topics), engine.topics.watchers) == (0, 0)


@settings(deadline=None, max_examples=150)
@given(happened=steps, parents=watchers, changes_max=st.sampled_from([1, 2, 5, 100]))
def test_whoever_reads_at_whatever_speed_ends_with_the_newest_state_of_every_run(
    happened: list[tuple[str, int]], parents: list[str], changes_max: int
) -> None:
    asyncio.run(_watched(happened, parents, changes_max))
