"""The loop that posts the stream outside: order, repetition, and what a receiver in trouble costs whom."""

import asyncio
import json
import random
from collections.abc import Sequence
from datetime import timedelta
from itertools import pairwise

import pytest

from pymigrate.engine.domain.run import Run, RunAggregate, RunEvent
from pymigrate.engine.entrypoints.loops.outgoing import (
    BACKOFF_MAX_SECONDS,
    FAILURES_MAX,
    LEASE_SECONDS,
    POLL_SECONDS,
    Outgoing,
    measure_outgoing,
)
from pymigrate.engine.ports.feed import CLAIMS_MAX, FeedEntry
from pymigrate.engine.ports.metric_families import OUTGOING, OUTGOING_LAG
from pymigrate.engine.ports.posts import Message, Outcome, Posted
from pymigrate.engine.ports.store import Unit
from pymigrate.engine.testing.clock import ManualClock
from pymigrate.engine.testing.metrics import MemoryMetrics
from pymigrate.engine.testing.posts import MemoryPosts
from pymigrate.engine.testing.store import MemoryStore

PLAN = "environments/e/plans/p"
AWAY, FAILED, REFUSED = (Posted(each, "so it said") for each in (Outcome.AWAY, Outcome.FAILED, Outcome.REFUSED))


def plainly(unit: Unit, entries: Sequence[FeedEntry]) -> list[list[Message]]:
    """One message for each event: its run and its number."""
    return [[Message(json.dumps([entry.run[-1:], entry.sequence]).encode(), "text/plain")] for entry in entries]


class Stage:
    """A store with runs, and a consumer of it."""

    def __init__(self) -> None:
        self.store, self.clock, self.metrics = MemoryStore(), ManualClock(), MemoryMetrics()
        self.posts = MemoryPosts()
        self.sequences: dict[str, int] = {}
        self.outgoing = self.loop()

    def loop(self, make=plainly) -> Outgoing:  # type: ignore[no-untyped-def]  # as Outgoing has it
        """A consumer as an engine starts it."""
        rng = random.Random(1)
        return Outgoing("cloud_events", make, self.posts, self.store, self.clock, self.metrics, rng)

    async def begun(self) -> "Stage":
        """With the consumer at its place, before anything happens."""
        await self.outgoing.step()
        return self

    async def happens(self, *runs: str) -> None:
        """An event of each run, in this order."""

        def work(unit: Unit) -> None:
            for run in runs:
                name = f"{PLAN}/runs/{run}"
                if run not in self.sequences:
                    record = Run(name, PLAN, run, "h", self.clock.now(), "api")
                    unit.runs.insert(RunAggregate(record), b"")
                self.sequences[run] = self.sequences.get(run, 0) + 1
                event = RunEvent(self.sequences[run], self.clock.now(), "run.running", name, "", "", "me")
                unit.runs.append(name, [event])

        await self.store.transact(work)

    async def settle(self, outgoing: Outgoing | None = None) -> None:
        """Passes until nothing is left to do at once."""
        while await (outgoing or self.outgoing).step():
            pass

    def taken(self, run: str = "") -> list[tuple[str, int]]:
        """What the receiver has, of all runs or of one."""
        found = [(each[0], each[1]) for each in (json.loads(message.body) for message in self.posts.taken)]
        return [each for each in found if run in {"", each[0]}]

    def counted(self, result: str) -> float:
        """How many ended so."""
        return self.metrics.values[OUTGOING].get(("cloud_events", result), 0.0)


def failing_for(run: str, posted: Posted):  # type: ignore[no-untyped-def]  # a receiver's answer
    """A receiver that takes everything but one run's events."""

    def answer(message: Message) -> Posted:
        return posted if json.loads(message.body)[0] == run else Posted(Outcome.SENT)

    return answer


async def test_everything_that_happens_is_posted_in_its_order() -> None:
    stage = await Stage().begun()
    await stage.happens("a", "b", "a", "a", "b")
    await stage.settle()
    assert stage.taken("a") == [("a", 1), ("a", 2), ("a", 3)]
    assert stage.taken("b") == [("b", 1), ("b", 2)]
    assert stage.counted("sent") == 5
    await stage.settle()
    assert len(stage.taken()) == 5


async def test_a_consumer_begins_with_what_happens_after_it_was_first_named_and_goes_on_from_there() -> None:
    stage = Stage()
    await stage.happens("a", "a")
    await stage.settle()
    assert stage.taken() == []
    await stage.happens("a")
    again = stage.loop()
    await stage.settle(again)
    assert stage.taken() == [("a", 3)]


async def test_what_a_receiver_refuses_for_good_is_counted_and_stops_nothing() -> None:
    stage = await Stage().begun()
    stage.posts.answer = failing_for("a", REFUSED)
    await stage.happens("a", "b", "a")
    await stage.settle()
    assert stage.taken() == [("b", 1)]
    assert stage.counted("refused") == 2
    asked = len(stage.posts.asked)
    stage.clock.advance(1_000)
    await stage.settle()
    assert len(stage.posts.asked) == asked


async def test_a_receiver_that_is_away_gets_everything_once_it_is_back_in_order() -> None:
    stage = await Stage().begun()
    stage.posts.answer = lambda _: AWAY
    await stage.happens("a", "b", "a")
    await stage.settle()
    await stage.happens("a", "b")
    for _ in range(10):
        stage.clock.advance(BACKOFF_MAX_SECONDS)
        await stage.settle()
    assert stage.taken() == []
    stage.posts.answer = lambda _: Posted(Outcome.SENT)
    stage.clock.advance(BACKOFF_MAX_SECONDS)
    await stage.settle()
    assert stage.taken("a") == [("a", 1), ("a", 2), ("a", 3)]
    assert stage.taken("b") == [("b", 1), ("b", 2)]


async def test_a_receiver_that_is_away_is_asked_more_and_more_seldom_and_as_it_says_itself() -> None:
    stage = await Stage().begun()
    stage.posts.answer = lambda _: AWAY
    await stage.happens("a")
    asked_at: list[float] = []
    for _ in range(600):
        before = len(stage.posts.asked)
        await stage.settle()
        if len(stage.posts.asked) > before:
            asked_at.append(stage.clock.monotonic())
        stage.clock.advance(POLL_SECONDS)
    pauses = [later - earlier for earlier, later in pairwise(asked_at)]
    assert pauses[0] <= 2
    assert max(pauses) <= BACKOFF_MAX_SECONDS + POLL_SECONDS
    assert sum(pauses[-3:]) > sum(pauses[:3])
    stage.posts.answer = lambda _: Posted(Outcome.AWAY, "later", retry_after_seconds=200.0)
    stage.clock.advance(BACKOFF_MAX_SECONDS)
    await stage.settle()
    asked = len(stage.posts.asked)
    stage.clock.advance(199.0)
    await stage.settle()
    assert len(stage.posts.asked) == asked
    stage.clock.advance(1.5)
    await stage.settle()
    assert len(stage.posts.asked) == asked + 1


async def test_an_event_that_the_receiver_fails_with_keeps_its_own_run_waiting_and_no_other() -> None:
    stage = await Stage().begun()
    stage.posts.answer = failing_for("a", FAILED)
    await stage.happens("a", "b", "a", "b")
    await stage.settle()
    assert stage.taken() == [("b", 1), ("b", 2)]
    await stage.happens("b", "a")
    await stage.settle()
    assert stage.taken() == [("b", 1), ("b", 2), ("b", 3)]
    stage.posts.answer = lambda _: Posted(Outcome.SENT)
    stage.clock.advance(BACKOFF_MAX_SECONDS)
    await stage.settle()
    assert stage.taken("a") == [("a", 1), ("a", 2), ("a", 3)]


async def test_an_event_that_a_receiver_fails_with_again_and_again_while_it_takes_others_is_given_up() -> None:
    stage = await Stage().begun()

    def answer(message: Message) -> Posted:
        return FAILED if json.loads(message.body) == ["a", 1] else Posted(Outcome.SENT)

    stage.posts.answer = answer
    await stage.happens("a", "a")
    for _ in range(FAILURES_MAX):
        await stage.happens("b")
        await stage.settle()
        stage.clock.advance(BACKOFF_MAX_SECONDS)
    assert stage.counted("given_up") == 1
    assert stage.taken("a") == [("a", 2)]


async def test_a_receiver_that_fails_with_everything_loses_nothing() -> None:
    stage = await Stage().begun()
    stage.posts.answer = lambda _: FAILED
    await stage.happens("a", "a")
    for _ in range(3 * FAILURES_MAX):
        await stage.settle()
        stage.clock.advance(BACKOFF_MAX_SECONDS)
    stage.posts.answer = lambda _: Posted(Outcome.SENT)
    await stage.settle()
    assert stage.taken() == [("a", 1), ("a", 2)]
    assert stage.counted("given_up") == 0


async def test_what_an_engine_held_when_it_was_killed_comes_before_anything_newer() -> None:
    stage = await Stage().begun()
    stage.posts.answer = lambda _: AWAY
    await stage.happens("a", "a")
    await stage.settle()
    stage.posts.answer = lambda _: Posted(Outcome.SENT)
    await stage.happens("a")
    await stage.settle(stage.loop())
    assert stage.taken() == [("a", 1), ("a", 2), ("a", 3)]


async def test_what_was_posted_and_not_noted_when_the_engine_was_killed_is_posted_again() -> None:
    stage = await Stage().begun()
    await stage.happens("a")
    now = stage.clock.now()
    until = now + timedelta(seconds=LEASE_SECONDS)
    await stage.store.transact(lambda unit: unit.outbox.claim("cloud_events", 10, now, until))
    await stage.settle(stage.loop())
    assert stage.taken() == [("a", 1)]


async def test_no_more_than_the_outbox_s_bound_is_held_and_nothing_is_lost_beyond_it() -> None:
    stage = await Stage().begun()
    stage.posts.answer = failing_for("a", FAILED)
    await stage.happens(*["a"] * CLAIMS_MAX, "b")
    await stage.settle()
    assert stage.taken() == []
    stage.posts.answer = lambda _: Posted(Outcome.SENT)
    stage.clock.advance(BACKOFF_MAX_SECONDS)
    await stage.settle()
    assert [number for _, number in stage.taken("a")] == list(range(1, CLAIMS_MAX + 1))
    assert stage.taken("b") == [("b", 1)]


async def test_what_can_t_be_told_is_passed_over_and_counted() -> None:
    stage = await Stage().begun()

    def broken(unit: Unit, entries: Sequence[FeedEntry]) -> list[list[Message]]:
        raise ValueError("what is stored makes no sense")

    await stage.happens("a", "a")
    await stage.settle(stage.loop(broken))
    assert stage.counted("untold") == 2


async def test_how_far_it_is_behind_is_told() -> None:
    stage = await Stage().begun()
    stage.posts.answer = lambda _: AWAY
    measure_outgoing(stage.metrics, {"cloud_events": stage.outgoing})
    await stage.happens("a")
    await stage.settle()
    stage.clock.advance(12.0)
    assert stage.metrics.read("outgoing") == {OUTGOING_LAG.name: {("cloud_events",): 12.0}}


async def test_a_pass_that_fails_is_followed_by_another_and_the_end_closes_the_receiver() -> None:
    stage = await Stage().begun()
    await stage.happens("a")
    failures = [RuntimeError("the receiver's client is broken")]

    def answer(_: Message) -> Posted:
        if failures:
            raise failures.pop()
        return Posted(Outcome.SENT)

    stage.posts.answer = answer
    running = asyncio.create_task(stage.outgoing.run())
    await stage.clock.run_for(3 * POLL_SECONDS)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert stage.taken() == [("a", 1)]
    assert stage.posts.is_closed
