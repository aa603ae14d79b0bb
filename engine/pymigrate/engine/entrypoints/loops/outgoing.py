"""Posts the stream to a receiver outside, as a consumer of the outbox: each entry at least once, those of a run in their order.

What is held is bounded by the outbox's claims. A receiver that is away is asked again after a growing pause, and until then nothing is
claimed for it; one that fails with an event keeps that run's events waiting and nobody else's; what it refuses for good is logged,
counted and passed over.
"""

import asyncio
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta

import structlog

from pymigrate.engine.ports.clock import Clock
from pymigrate.engine.ports.feed import CLAIMS_MAX, FeedEntry
from pymigrate.engine.ports.metric_families import OUTGOING, OUTGOING_LAG
from pymigrate.engine.ports.metrics import Metrics, Reading
from pymigrate.engine.ports.posts import Message, Outcome, Posted, Posts
from pymigrate.engine.ports.store import Store, Unit

log = structlog.get_logger(__name__)
POLL_SECONDS = 1.0
LEASE_SECONDS = 60.0
RUNS_AT_ONCE_MAX = 8
ENTRIES_AT_ONCE_MAX = 50
BACKOFF_FIRST_SECONDS = 0.5
BACKOFF_MAX_SECONDS = 60.0
BACKOFF_DOUBLINGS_MAX = 7
RETRY_AFTER_SECONDS_MAX = 300.0
# A receiver that fails with one event so often, and took others meanwhile, will not have it.
FAILURES_MAX = 20
GIVEN_UP = "given_up"
UNTOLD = "untold"
Make = Callable[[Unit, Sequence[FeedEntry]], list[list[Message]]]


@dataclass(slots=True)
class _Pause:
    """Until when not to post, and how often in a row that was so."""

    until: float = 0.0
    times: int = 0
    sent_before: int = 0


class Outgoing:
    """One consumer and its receiver. `kind` names it in the store, in metrics and in the log; `make` makes the messages of entries of
    one run, or of one declared object, in order."""

    def __init__(
        self, kind: str, make: Make, posts: Posts, store: Store, clock: Clock, metrics: Metrics, rng: random.Random
    ) -> None:
        self._kind = kind
        self._make = make
        self._posts = posts
        self._store = store
        self._clock = clock
        self._metrics = metrics
        self._rng = rng
        self._held: dict[int, FeedEntry] = {}
        self._away = _Pause()
        self._failing: dict[str, _Pause] = {}
        self._sent = 0
        self._is_begun = False

    @property
    def lag_seconds(self) -> float:
        """How old the oldest entry is that is held and not posted yet."""
        oldest = next(iter(self._held.values()), None)
        return 0.0 if oldest is None else max(0.0, (self._clock.now() - oldest.time).total_seconds())

    async def run(self) -> None:
        """Posts until it is cancelled. A pass that fails is logged, and the next one tries again."""
        try:
            while True:
                is_more = False
                try:
                    is_more = await self.step()
                except Exception as error:
                    log.exception("outgoing.failed", kind=self._kind, error=type(error).__name__)
                await self._clock.sleep(0.0 if is_more else POLL_SECONDS)
        finally:
            await self._posts.close()

    async def step(self) -> bool:
        """One pass: takes what there is, posts what is due, and tells the store. Whether another one has something to do at once."""
        if self._clock.monotonic() < self._away.until:
            return False
        await self._take()
        due = self._due()
        if not due:
            return False
        posted = await asyncio.gather(*map(self._post_all, due), return_exceptions=True)
        done = [number for each in posted if not isinstance(each, BaseException) for number in each]
        if done:
            await self._store.transact(lambda unit: unit.outbox.done(self._kind, done))
            for number in done:
                self._held.pop(number, None)
        for each in posted:
            if isinstance(each, BaseException):
                raise each
        return bool(done)

    async def _take(self) -> None:
        """Adds what nobody holds. What a predecessor held when it ended is taken over at once, before anything new, so that the order
        of a run stays."""
        is_first, room, now = not self._is_begun, CLAIMS_MAX - len(self._held), self._clock.now()
        if not room:
            return
        until = now + timedelta(seconds=LEASE_SECONDS)

        def claim(unit: Unit) -> list[FeedEntry]:
            if is_first:
                unit.outbox.begin(self._kind, unit.feed.end())
            claims = unit.outbox.claim(self._kind, room, until if is_first else now, until)
            return [claim.entry for claim in claims]

        found = await self._store.transact(claim)
        self._is_begun = True
        fresh = {entry.id: entry for entry in found if entry.id not in self._held}
        if fresh:
            merged = self._held | fresh
            self._held = {number: merged[number] for number in sorted(merged, key=lambda each: _place(merged[each]))}

    def _due(self) -> list[list[FeedEntry]]:
        """The first entries of those runs and objects that nothing keeps waiting."""
        now, groups = self._clock.monotonic(), dict[str, list[FeedEntry]]()
        for entry in self._held.values():
            key = _key(entry)
            if key not in groups and (len(groups) >= RUNS_AT_ONCE_MAX or self._is_waiting(key, now)):
                continue
            group = groups.setdefault(key, [])
            if len(group) < ENTRIES_AT_ONCE_MAX:
                group.append(entry)
        return list(groups.values())

    def _is_waiting(self, key: str, now: float) -> bool:
        pause = self._failing.get(key)
        return pause is not None and now < pause.until

    async def _post_all(self, entries: Sequence[FeedEntry]) -> list[int]:
        """Posts entries of one run in order, up to the first that has to wait; the numbers of those that are done with."""
        done: list[int] = []
        for entry, messages in zip(entries, await self._messages(entries), strict=True):
            if not await self._post(entry, messages):
                break
            done.append(entry.id)
        return done

    async def _messages(self, entries: Sequence[FeedEntry]) -> list[list[Message]]:
        try:
            return await self._store.read(lambda unit: self._make(unit, entries))
        except ValueError as error:  # what is stored can't be told; another try would find the same
            log.exception("outgoing.untold", kind=self._kind, entries=[entry.id for entry in entries], error=str(error))
            self._count(UNTOLD, len(entries))
            return [[] for _ in entries]

    async def _post(self, entry: FeedEntry, messages: Iterable[Message]) -> bool:
        """Whether the entry is done with."""
        for message in messages:
            if self._clock.monotonic() < self._away.until:
                return False  # another run has found that the receiver is away
            posted = await self._posts.post(message)
            match posted.outcome:
                case Outcome.SENT:
                    self._sent += 1
                    self._away.times = 0
                    self._count(Outcome.SENT)
                case Outcome.REFUSED:
                    self._away.times = 0
                    self._note("outgoing.refused", entry, posted)
                    self._count(Outcome.REFUSED)
                case Outcome.AWAY:
                    self._count(Outcome.AWAY)
                    self._pause(self._away, posted)
                    log.warning("outgoing.away", kind=self._kind, times=self._away.times, said=posted.said)
                    return False
                case Outcome.FAILED:
                    self._count(Outcome.FAILED)
                    if not self._gives_up(entry, posted):
                        return False
        self._failing.pop(_key(entry), None)
        return True

    def _gives_up(self, entry: FeedEntry, posted: Posted) -> bool:
        """Whether the receiver has failed with this entry for good; else its run waits."""
        pause = self._failing.setdefault(_key(entry), _Pause(sent_before=self._sent))
        if pause.times + 1 >= FAILURES_MAX and self._sent > pause.sent_before:
            self._note("outgoing.given_up", entry, posted)
            self._count(GIVEN_UP)
            return True
        self._pause(pause, posted)
        log.warning("outgoing.waits", kind=self._kind, subject=_key(entry), times=pause.times, said=posted.said)
        return False

    def _pause(self, pause: _Pause, posted: Posted) -> None:
        grown = BACKOFF_FIRST_SECONDS * 2 ** min(pause.times, BACKOFF_DOUBLINGS_MAX)
        seconds = min(BACKOFF_MAX_SECONDS, grown) * self._rng.uniform(0.5, 1.0)
        seconds = max(seconds, min(posted.retry_after_seconds, RETRY_AFTER_SECONDS_MAX))
        pause.times += 1
        pause.until = self._clock.monotonic() + seconds

    def _note(self, event: str, entry: FeedEntry, posted: Posted) -> None:
        log.warning(event, kind=self._kind, entry=entry.id, type=entry.type, subject=entry.subject, said=posted.said)

    def _count(self, result: str, amount: int = 1) -> None:
        self._metrics.add(OUTGOING, (self._kind, str(result)), amount)


def measure_outgoing(metrics: Metrics, loops: dict[str, Outgoing]) -> None:
    """Tells how far each is behind."""
    metrics.collect(
        "outgoing", lambda: [Reading(OUTGOING_LAG, [((kind,), each.lag_seconds) for kind, each in loops.items()])]
    )


def _key(entry: FeedEntry) -> str:
    return entry.run or entry.subject


def _place(entry: FeedEntry) -> tuple[int, int]:
    """Its place in the stream: by transaction, then by number; those of a run have their order in both."""
    transaction, _, number = entry.position.partition(".")
    return int(transaction or 0), int(number or 0)
