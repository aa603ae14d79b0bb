"""Runs that are watched: begun with how they stand, resumed without a gap, pictured once for all, and over when the run is."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

import pytest

from pymigrate.engine.application.run_watching import EVENTS_MAX
from pymigrate.engine.application.watching import INTERVAL_SECONDS
from pymigrate.engine.domain.errors import InvalidDefinition, NotFound, StoreUnavailable
from pymigrate.engine.domain.happenings import Progressed
from pymigrate.engine.domain.run_states import DesiredState
from pymigrate.engine.ports.store import Unit
from pymigrate.engine.testing.store import MemoryStore
from pymigrate.v1 import run_pb2
from tests.unit.application.engines import ME, Engine, PlayedHost, phase
from tests.unit.application.test_board import RUN, FailingStore, begun, start

Result = TypeVar("Result")
Answer = run_pb2.WatchRunResponse


class CountingStore(MemoryStore):
    """Counts what is read of it."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = 0

    async def read(self, work: Callable[[Unit], Result]) -> Result:
        self.reads += 1
        return await super().read(work)


async def first(engine: Engine, token: str = "") -> Answer:
    """The first answer of a watch that ends with it."""
    watch = engine.runs.watch(RUN, token)
    try:
        return (await anext(watch)).message
    finally:
        await watch.aclose()


def following(engine: Engine, token: str = "") -> tuple[list[Answer], "asyncio.Task[None]"]:
    """Everything that a watch tells, and the watch."""
    told: list[Answer] = []

    async def follow() -> None:
        async for answer in engine.runs.watch(RUN, token):
            told.append(answer.message)  # noqa: PERF401 (what was told is looked at while the watch goes on)

    return told, asyncio.create_task(follow())


async def toggled(engine: Engine, times: int) -> None:
    """Pauses the run and lets it go on, so many times: two events each."""
    for _ in range(times):
        await engine.runs.steer(RUN, DesiredState.PAUSED, ME)
        await engine.runs.steer(RUN, DesiredState.RUNNING, ME)


async def test_a_watch_begins_with_the_run_as_it_stands_and_ends_with_it() -> None:
    engine, host = await begun(MemoryStore())
    told, watch = following(engine)
    await engine.clock.run_for(0)
    assert [answer.run.state for answer in told] == [run_pb2.RUN_STATE_RUNNING]
    await host.work()
    await engine.clock.run_for(5)
    await watch
    assert told[-1].run.state == run_pb2.RUN_STATE_SUCCEEDED
    assert told[-1].run.end_time.seconds > 0
    assert (len(engine.topics), engine.topics.watchers) == (0, 0)


async def test_a_watch_of_a_run_that_has_ended_tells_it_once() -> None:
    engine, host = await begun(MemoryStore())
    await host.work()
    told, watch = following(engine)
    await watch
    assert [answer.run.state for answer in told] == [run_pb2.RUN_STATE_SUCCEEDED]


async def test_who_watches_to_the_end_is_told_every_event_once() -> None:
    engine, host = await begun(MemoryStore())
    before = (await first(engine)).resume_token
    told, watch = following(engine)
    await engine.clock.run_for(0)
    for task in [await host.claim()]:
        assert task is not None
        await host.finish(task)
        await engine.clock.run_for(INTERVAL_SECONDS)
    await host.work()
    await engine.clock.run_for(1)
    await watch
    sequences = [event.sequence for answer in told for event in answer.events]
    assert sequences == list(range(int(before) + 1, int(told[-1].resume_token) + 1))
    assert told[-1].events[-1].type == "run.succeeded"
    assert not any(answer.is_resync for answer in told)


async def test_a_watch_resumes_without_a_gap() -> None:
    engine, host = await begun(MemoryStore())
    token = (await first(engine)).resume_token
    await host.work()
    resumed = await first(engine, token)
    sequences = [event.sequence for event in resumed.events]
    assert sequences == list(range(int(token) + 1, int(resumed.resume_token) + 1))
    assert sequences


async def test_who_resumes_beside_others_is_told_what_it_missed_and_they_are_not() -> None:
    engine, _ = await begun(MemoryStore())
    token = (await first(engine)).resume_token
    told, watch = following(engine)
    await engine.clock.run_for(0)
    await toggled(engine, 2)
    await engine.clock.run_for(1)
    shown = [event.sequence for answer in told for event in answer.events]
    assert [event.sequence for event in (await first(engine, token)).events] == shown
    assert [event.sequence for event in (await first(engine, str(shown[1]))).events] == shown[2:]
    assert [event.sequence for event in (await first(engine, "1")).events] == list(range(2, shown[-1] + 1))
    watch.cancel()
    await asyncio.gather(watch, return_exceptions=True)


async def test_a_watch_that_is_far_behind_is_told_so_and_gets_the_newest() -> None:
    engine, _ = await begun(MemoryStore())
    await toggled(engine, EVENTS_MAX // 2 + 1)
    behind = await first(engine, "1")
    assert behind.is_resync
    last = int(behind.resume_token)
    assert [event.sequence for event in behind.events] == list(range(last - EVENTS_MAX + 1, last + 1))
    assert not (await first(engine, behind.resume_token)).is_resync


async def test_a_watcher_that_was_stuck_is_told_so_and_the_others_are_not() -> None:
    engine, _ = await begun(MemoryStore())
    stuck = engine.runs.watch(RUN, "")
    seen = (await anext(stuck)).message.resume_token
    told, watch = following(engine)
    await engine.clock.run_for(0)
    for _ in range(EVENTS_MAX // 100 + 1):
        await toggled(engine, 50)
        await engine.clock.run_for(INTERVAL_SECONDS)
    newest = (await anext(stuck)).message
    assert newest.is_resync
    assert newest.resume_token == told[-1].resume_token
    assert len(newest.events) == EVENTS_MAX
    assert not any(answer.is_resync for answer in told)
    assert next(event.sequence for answer in told for event in answer.events) == int(seen) + 1
    await stuck.aclose()
    watch.cancel()
    await asyncio.gather(watch, return_exceptions=True)
    assert len(engine.topics) == 0


async def test_what_many_watch_is_read_from_the_store_once_and_encoded_once() -> None:
    store = CountingStore()
    engine, _ = await begun(store)
    watches = [engine.runs.watch(RUN, "") for _ in range(100)]
    for watch in watches:
        await anext(watch)
    store.reads = 0
    await engine.runs.steer(RUN, DesiredState.PAUSED, ME)
    await engine.clock.run_for(INTERVAL_SECONDS)
    answers = [await anext(watch) for watch in watches]
    assert store.reads == 1
    assert all(answer is answers[0] for answer in answers)
    for watch in watches:
        await watch.aclose()


async def test_a_lane_that_got_further_is_told_without_any_read() -> None:
    store = CountingStore()
    engine, host = await begun(store)
    told, watch = following(engine)
    task = await host.claim()
    assert task is not None
    await engine.clock.run_for(INTERVAL_SECONDS)
    store.reads = 0
    await engine.board.report(RUN, Progressed(task.id, task.fence, chunks=1, rows=7, bytes=70))
    await engine.clock.run_for(INTERVAL_SECONDS)
    assert [lane.rows for lane in told[-1].lanes] == [7]
    assert store.reads == 0
    watch.cancel()
    await asyncio.gather(watch, return_exceptions=True)


async def test_a_run_that_was_retried_is_watched_again() -> None:
    engine, host = await begun(MemoryStore())
    task = await host.claim()
    assert task is not None
    await host.finish(task, run_pb2.Failure(reason="SOURCE_CHANGED", message="changed"))
    await host.work()
    slow = engine.runs.watch(RUN, "")
    assert (await anext(slow)).message.run.state == run_pb2.RUN_STATE_FAILED
    retrying = asyncio.create_task(engine.runs.retry(RUN, ME))
    while not retrying.done():
        await host.work(1)
        await asyncio.sleep(0)
    await retrying
    told, watch = following(engine)
    await host.work()
    await engine.clock.run_for(1)
    await watch
    assert told[-1].run.state == run_pb2.RUN_STATE_SUCCEEDED
    with pytest.raises(StopAsyncIteration):
        await anext(slow)


async def test_whoever_watches_is_told_of_a_change_that_was_stored_though_its_answer_was_lost() -> None:
    store = FailingStore()
    engine, _ = await begun(store)
    told, watch = following(engine)
    await engine.clock.run_for(0)
    store.answers_to_lose = 1
    with pytest.raises(StoreUnavailable):
        await engine.runs.steer(RUN, DesiredState.PAUSED, ME)
    await engine.clock.run_for(INTERVAL_SECONDS)
    assert told[-1].run.state == run_pb2.RUN_STATE_PAUSED
    assert told[-1].events[-1].type == "run.paused"
    watch.cancel()
    await asyncio.gather(watch, return_exceptions=True)


async def test_a_run_that_was_looked_at_while_it_was_being_stored_tells_those_who_watch_it() -> None:
    class Gate(MemoryStore):
        """Stores, and lets others go first before it says so."""

        async def transact(self, work: Callable[[Unit], Result]) -> Result:
            result = await super().transact(work)
            for _ in range(50):
                await asyncio.sleep(0)
            return result

    engine = Engine(Gate())
    await engine.declare({"a": phase("orders")})
    host = PlayedHost(engine)
    await host.register()
    starting = asyncio.create_task(start(engine, "r", host))
    told, watch = following(engine)
    while not told:
        if watch.done():
            with pytest.raises(NotFound):
                await watch
            told, watch = following(engine)
        await asyncio.sleep(0)
    assert not starting.done(), "it is watched before the one who starts it knows that it is stored"
    await starting
    await engine.runs.steer(RUN, DesiredState.PAUSED, ME)
    await engine.clock.run_for(1)
    assert told[-1].run.state == run_pb2.RUN_STATE_PAUSED
    watch.cancel()
    await asyncio.gather(watch, return_exceptions=True)


@pytest.mark.parametrize("token", ["yesterday", "2026-01-01|r", "-1", "9" * 5_000])
async def test_a_token_that_no_watch_gave_out_is_refused(token: str) -> None:
    engine, _ = await begun(MemoryStore())
    with pytest.raises(InvalidDefinition, match="resume_token"):
        await first(engine, token)
    assert len(engine.topics) == 0


async def test_a_watch_of_no_run_is_refused() -> None:
    with pytest.raises(NotFound):
        await first(Engine())
