"""Many runs that are watched at once: all that there are, then each that changes, once and as it stands, however slow the receiver is."""

import asyncio
from contextlib import aclosing
from datetime import timedelta
from typing import TypeVar

import pytest

from pymigrate.engine.application.runs_watching import CHANGES_MAX, PAGE_RUNS_MAX, RunChanges, RunsWatching
from pymigrate.engine.application.watching import INTERVAL_SECONDS
from pymigrate.engine.domain.errors import EngineUnavailable, InvalidDefinition, NotFound, TooManyWatchers
from pymigrate.engine.domain.happenings import Progressed
from pymigrate.engine.domain.run import DatasetRun, Lane, PhaseRun, Run, RunAggregate
from pymigrate.engine.domain.run_states import DesiredState, PhaseState, RunState
from pymigrate.engine.ports.store import Unit
from pymigrate.engine.testing.store import MemoryStore
from pymigrate.v1 import run_pb2
from tests.unit.application.engines import ENVIRONMENT, ME, PLAN, Engine
from tests.unit.application.test_board import RUN, begun, start
from tests.unit.application.test_run_watching import CountingStore

Result = TypeVar("Result")
Answer = run_pb2.WatchRunsResponse
EVERYTHING = "environments/-/plans/-"


async def ended(engine: Engine, count: int, plan: str = PLAN, state: RunState = RunState.SUCCEEDED) -> None:
    """So many runs that came to this state long ago, and are in the store alone."""
    long_ago = engine.clock.now() - timedelta(days=1)

    def insert(unit: Unit) -> None:
        for number in range(count):
            run = Run(f"{plan}/runs/e{number:05d}", plan, f"k{number}", "hash", long_ago, "git")
            run.state, run.end_time = state, None if state is RunState.PAUSED else long_ago
            run.desired = DesiredState.PAUSED if state is RunState.PAUSED else DesiredState.RUNNING
            phase_state = PhaseState.PENDING if state is RunState.PAUSED else PhaseState.SEALED
            aggregate = RunAggregate(run, {"a": PhaseRun("a", "sales", state=phase_state)})
            aggregate.datasets["a", "x"] = DatasetRun("a", "x", "legacy", "x", "warehouse", "x", "shared")
            aggregate.lanes["x"] = Lane("x", "a", "x", rows=7)
            unit.runs.insert(aggregate, b"")

    await engine.store.transact(insert)


async def first(engine: Engine, parent: str = EVERYTHING, *, active_only: bool = False) -> list[Answer]:
    """The messages until everything was told."""
    answers: list[Answer] = []
    async with aclosing(engine.runs.watch_many(parent, active_only=active_only)) as watch:
        async for answer in watch:
            answers.append(answer.message)
            if answer.message.is_complete:
                break
    return answers


def names(answers: list[Answer]) -> list[str]:
    """The runs that were told, in order."""
    return [run.name for answer in answers for run in answer.runs]


class Following:
    """A watch, and what it has told."""

    def __init__(self, engine: Engine, parent: str = EVERYTHING, *, active_only: bool = False) -> None:
        self.told: list[Answer] = []
        self._watch = engine.runs.watch_many(parent, active_only=active_only)
        self.task = asyncio.create_task(self._follow())

    async def _follow(self) -> None:
        async for answer in self._watch:
            self.told.append(answer.message)

    async def end(self) -> None:
        """Hangs up."""
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


async def test_everything_that_there_is_is_told_first_in_pages_whose_last_says_so() -> None:
    engine, _ = await begun(MemoryStore())
    await ended(engine, 2 * PAGE_RUNS_MAX)
    answers = await first(engine)
    assert names(answers) == [*(f"{PLAN}/runs/e{number:05d}" for number in range(2 * PAGE_RUNS_MAX)), RUN]
    assert [answer.is_complete for answer in answers] == [False, False, True]
    assert (answers[0].runs[0].rows, answers[0].runs[0].lane_counts.pending) == (7, 1)


async def test_where_there_are_none_that_is_told() -> None:
    engine = Engine()
    assert await first(engine) == [Answer(is_complete=True)]
    assert await first(engine, active_only=True) == [Answer(is_complete=True)]


async def test_the_first_picture_is_read_in_few_reads_and_kept_nowhere() -> None:
    store = CountingStore()
    engine, _ = await begun(store)
    await ended(engine, PAGE_RUNS_MAX - 1)
    store.reads = 0
    assert len(names(await first(engine))) == PAGE_RUNS_MAX
    assert store.reads == 2, "one for the names, one for the runs"
    before = store.reads
    assert names(await first(engine, active_only=True)) == [RUN]
    assert store.reads == before, "what is under way is in memory"
    assert [core.run.name for core in engine.board.active()] == [RUN]


async def test_a_page_of_a_list_is_read_in_few_reads_too() -> None:
    store = CountingStore()
    engine, _ = await begun(store)
    await ended(engine, 150)
    store.reads = 0
    found, _ = await engine.runs.page(PLAN, 100, "")
    assert ([run.name for run in found][:2], len(found)) == ([RUN, f"{PLAN}/runs/e00149"], 100)
    assert store.reads == 2


@pytest.mark.parametrize(
    ("parent", "told"),
    [
        (PLAN, ["p"]),
        (f"{ENVIRONMENT}/plans/-", ["p", "p2"]),
        (EVERYTHING, ["p", "p2", "p"]),
        (f"{ENVIRONMENT}/plans/p3", []),
    ],
)
async def test_runs_of_a_plan_an_environment_or_all_are_told(parent: str, told: list[str]) -> None:
    engine = Engine()
    await engine.declare({})
    for plan in (PLAN, f"{ENVIRONMENT}/plans/p2", "environments/e2/plans/p"):
        await ended(engine, 1, plan)
    assert [name.split("/")[3] for name in names(await first(engine, parent))] == told


async def test_what_changes_is_told_and_nothing_else() -> None:
    engine, host = await begun(MemoryStore())
    watches = [Following(engine, parent) for parent in (PLAN, f"{ENVIRONMENT}/plans/-", EVERYTHING)]
    elsewhere = Following(engine, f"{ENVIRONMENT}/plans/other")
    await engine.clock.run_for(10)
    assert [len(watch.told) for watch in (*watches, elsewhere)] == [1, 1, 1, 1]
    await engine.runs.steer(RUN, DesiredState.PAUSED, ME)
    await engine.clock.run_for(1)
    for watch in watches:
        assert [run.state for run in watch.told[-1].runs] == [run_pb2.RUN_STATE_PAUSED]
        assert watch.told[-1].is_complete
        assert len(watch.told) == 2
    assert len(elsewhere.told) == 1
    await engine.runs.steer(RUN, DesiredState.RUNNING, ME)
    await host.work()
    await engine.clock.run_for(1)
    assert watches[0].told[-1].runs[0].state == run_pb2.RUN_STATE_SUCCEEDED
    for watch in (*watches, elsewhere):
        assert not watch.task.done(), "the end of a run is not that of a watch of many"
        await watch.end()
    assert (len(engine.topics), engine.topics.watchers) == (0, 0)


async def test_of_many_changes_the_newest_state_is_told_at_most_ten_times_a_second() -> None:
    engine, host = await begun(MemoryStore())
    task = await host.claim()
    assert task is not None
    watch = Following(engine)
    await engine.clock.run_for(1)
    for step in range(1, 101):
        await engine.board.report(RUN, Progressed(task.id, task.fence, chunks=step, rows=step, bytes=step))
        await engine.clock.run_for(0.01)
    await engine.clock.run_for(1)
    told = [answer.runs[0].rows for answer in watch.told[1:]]
    assert told[-1] == 100
    assert told == sorted(set(told))
    assert len(told) <= 1 / INTERVAL_SECONDS + 2
    await watch.end()


async def test_who_reads_slowly_gets_each_run_once_and_as_it_stands() -> None:
    engine, host = await begun(MemoryStore())
    task = await host.claim()
    assert task is not None
    slow = engine.runs.watch_many(EVERYTHING, active_only=False)
    await anext(slow)
    quick = Following(engine)
    await engine.clock.run_for(1)
    for step in range(1, 50):
        await engine.board.report(RUN, Progressed(task.id, task.fence, chunks=step, rows=step, bytes=step))
        await engine.clock.run_for(INTERVAL_SECONDS)
    answer = (await anext(slow)).message
    assert [(run.name, run.rows) for run in answer.runs] == [(RUN, 49)]
    assert len(quick.told) > 40
    late = asyncio.ensure_future(anext(slow))
    await engine.clock.run_for(1)
    assert not late.done(), "everything was told"
    late.cancel()
    await asyncio.gather(late, return_exceptions=True)
    await slow.aclose()
    await quick.end()


async def test_what_many_are_told_is_made_once() -> None:
    store = CountingStore()
    engine, _ = await begun(store)
    watches = [engine.runs.watch_many(EVERYTHING, active_only=True) for _ in range(50)]
    for watch in watches:
        await anext(watch)
    await engine.runs.steer(RUN, DesiredState.PAUSED, ME)
    store.reads = 0
    await engine.clock.run_for(INTERVAL_SECONDS)
    answers = [await anext(watch) for watch in watches]
    assert all(answer is answers[0] for answer in answers)
    assert store.reads == 0
    for watch in watches:
        await watch.aclose()


async def test_those_that_had_ended_are_left_out_where_only_active_ones_are_wanted() -> None:
    engine, host = await begun(MemoryStore())
    await ended(engine, 1)
    watch = Following(engine, active_only=True)
    await engine.clock.run_for(1)
    assert names(watch.told) == [RUN]
    await host.work()
    await engine.clock.run_for(1)
    assert watch.told[-1].runs[0].state == run_pb2.RUN_STATE_SUCCEEDED
    await watch.end()
    assert names(await first(engine, active_only=True)) == []


async def test_a_run_that_somebody_looked_at_has_not_changed() -> None:
    engine, _ = await begun(MemoryStore())
    await ended(engine, 1)
    watch = Following(engine)
    await engine.clock.run_for(1)
    await engine.runs.get(f"{PLAN}/runs/e00000")
    await engine.clock.run_for(1)
    assert len(watch.told) == 1
    await watch.end()


async def test_a_change_during_the_first_picture_is_told_after_it() -> None:
    engine, _ = await begun(MemoryStore())
    await ended(engine, PAGE_RUNS_MAX)
    watch = engine.runs.watch_many(EVERYTHING, active_only=False)
    assert not (await anext(watch)).message.is_complete
    await ended(engine, 1, f"{ENVIRONMENT}/plans/a")  # before what was told already
    await engine.runs.steer(RUN, DesiredState.PAUSED, ME)
    assert (await anext(watch)).message.runs[0].state == run_pb2.RUN_STATE_PAUSED
    assert [run.name for run in (await anext(watch)).message.runs] == [RUN]
    await watch.aclose()


async def test_nothing_is_noted_while_nobody_watches() -> None:
    changes = RunChanges(CHANGES_MAX)
    assert not changes.note(RUN)
    with changes.kept(), changes.kept():
        assert changes.note(RUN)
        assert changes.note(RUN)
        assert len(changes) == 1
    assert len(changes) == 0
    assert not changes.reaches(0)


async def test_changes_are_paged_from_the_oldest_to_the_newest() -> None:
    changes = RunChanges(CHANGES_MAX)
    with changes.kept():
        for number in range(PAGE_RUNS_MAX + 2):
            changes.note(f"{PLAN}/runs/r{number}")
        changes.note(f"{PLAN}/runs/r0")
        page, last = changes.page("", 0, changes.number)
        assert list(page)[:2] == [f"{PLAN}/runs/r1", f"{PLAN}/runs/r2"]
        assert (len(page), last) == (PAGE_RUNS_MAX, PAGE_RUNS_MAX + 1)
        page, last = changes.page("", last, changes.number)
        assert (list(page), last) == ([f"{PLAN}/runs/r{PAGE_RUNS_MAX + 1}", f"{PLAN}/runs/r0"], changes.number)
        assert changes.page("environments/e2/plans", 0, changes.number) == ({}, changes.number)


async def test_who_is_too_far_behind_is_told_everything_again_with_what_has_ended() -> None:
    engine, host = await begun(MemoryStore())
    await ended(engine, 2)
    watching = RunsWatching(engine.store, engine.board, engine.views, engine.topics, engine.clock, changes_max=2)
    slow = watching.watch(EVERYTHING, active_only=True)
    assert [run.name for run in (await anext(slow)).message.runs] == [RUN]
    for number in range(3):
        await start(engine, f"s{number}", host)
    await host.work()
    told = (await anext(slow)).message
    assert [run.name.rpartition("/")[2] for run in told.runs] == ["e00000", "e00001", "r", "s0", "s1", "s2"]
    assert all(run.state == run_pb2.RUN_STATE_SUCCEEDED for run in told.runs)
    await slow.aclose()


@pytest.mark.parametrize(
    "parent",
    [
        "",
        "environments/e",
        "environments/-/plans/p",
        "environments/e/plans/",
        f"{PLAN}/runs/r",
        "environments/E/plans/-",
    ],
)
async def test_what_has_no_runs_is_refused_with_how_to_write_it(parent: str) -> None:
    engine = Engine()
    with pytest.raises(InvalidDefinition, match="parent: write it as environments/prod/plans/warehouse"):
        await first(engine, parent)
    assert engine.topics.watchers == 0


async def test_an_environment_that_is_not_there_is_refused() -> None:
    engine, _ = await begun(MemoryStore())
    with pytest.raises(NotFound, match="there is no environments/e1; did you mean `e`"):
        await first(engine, "environments/e1/plans/-")
    assert engine.topics.watchers == 0


async def test_a_watch_counts_among_the_watchers_and_ends_with_the_engine() -> None:
    engine, _ = await begun(MemoryStore())
    watch = Following(engine)
    await engine.clock.run_for(1)
    assert engine.topics.watchers == 1
    engine.topics.watchers_max = 1
    with pytest.raises(TooManyWatchers):
        await first(engine)
    engine.topics.close()
    with pytest.raises(EngineUnavailable, match="watch again"):
        await watch.task
    assert engine.topics.watchers == 0
