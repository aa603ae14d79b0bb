"""What is watched, pictured once for all who watch it: topics, and the answers that are encoded once.

A topic makes a picture when something of it changed, at most ten times a second, while somebody watches. A watcher holds the picture
that it took last, and takes the newest when it comes back: nothing queues, and whoever never comes back holds one picture.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any, Generic, TypeVar

from google.protobuf.message import Message

from pymigrate.engine.domain.errors import EngineUnavailable, TooManyWatchers
from pymigrate.engine.ports.clock import Clock

INTERVAL_SECONDS = 0.1
# Each watcher over gRPC holds one of the server's calls: enough of them are left for everything else.
WATCHERS_MAX = 1_500

Answer = TypeVar("Answer", bound=Message)
View = TypeVar("View")
Encode = Callable[[Any], bytes]


class Told(Generic[Answer]):
    """One answer to however many watchers, encoded once for each way of sending it."""

    __slots__ = ("_encoded", "message")

    def __init__(self, message: Answer) -> None:
        self.message = message
        self._encoded: dict[Encode, bytes] = {}

    def encoded(self, encode: Encode) -> bytes:
        """What the encoder makes of the message. Asked again with the same encoder, the same bytes."""
        found = self._encoded.get(encode)
        if found is None:
            found = self._encoded[encode] = encode(self.message)
        return found


@dataclass(frozen=True, slots=True)
class Picture(Generic[View]):
    """How things stood at a moment. Numbers grow over all topics and are never used twice. Whoever has seen a picture with the number
    `before`, or a later one, has missed none of those that everybody was told."""

    number: int
    before: int
    view: View


class Topic(Generic[View]):
    """Something that is watched. `make` makes the view of how it stands; it is never asked twice at once. Where nothing of it is otherwise
    after all, it gives the very view that it gave before, and nobody is told."""

    def __init__(
        self,
        make: Callable[[], Awaitable[View]],
        clock: Clock,
        numbers: Iterator[int],
        interval_seconds: float = INTERVAL_SECONDS,
    ) -> None:
        self._make = make
        self._clock = clock
        self._numbers = numbers
        self._interval_seconds = interval_seconds
        self._changes = 0
        self._shown = 0  # of the changes, what the newest picture shows
        self._changed = asyncio.Event()
        self._making = asyncio.Lock()
        self._newest: Picture[View] | None = None
        self._told: Picture[View] | None = None
        self._woken = asyncio.Event()
        self._failure: Exception | None = None

    def change(self) -> None:
        """Says that something of it is otherwise now."""
        self._changes += 1
        self._changed.set()

    async def now(self) -> Picture[View]:
        """The picture of how it stands now: made, unless the newest one shows that. Raises what `make` raises."""
        async with self._making:
            if self._failure is not None:
                raise self._failure
            if self._newest is None or self._shown < self._changes:
                changes = self._changes
                view = await self._make()
                if self._newest is None or view is not self._newest.view:
                    number = next(self._numbers)
                    before = number if self._told is None else self._told.number
                    self._newest = Picture(number, before, view)
                self._shown = changes
                if self._told is None:
                    self._told = self._newest
            return self._newest

    async def after(self, seen: int) -> Picture[View]:
        """The newest picture, as soon as everybody was told one that is newer than what was seen. Raises why there will be none."""
        while self._newest is None or self._told is None or self._told.number <= seen:
            if self._failure is not None:
                raise self._failure
            await self._woken.wait()
        return self._newest

    async def tell(self) -> None:
        """Tells everybody what changed, at most once in its interval, until it is cancelled or a picture can't be made."""
        try:
            while True:
                await self._changed.wait()
                self._changed.clear()
                self._told = await self.now()
                self._wake()
                await self._clock.sleep(self._interval_seconds)
        except Exception as error:  # noqa: BLE001 (whoever watches raises it, and the edge tells or logs it)
            self.fail(error)

    def fail(self, error: Exception) -> None:
        """Nobody is told anything more but why."""
        self._failure = error
        self._wake()

    def _wake(self) -> None:
        woken, self._woken = self._woken, asyncio.Event()
        woken.set()


@dataclass(slots=True)
class _Open:
    topic: Topic[Any]
    source: Hashable
    telling: "asyncio.Task[None]"
    watchers: int = 0


class Topics:
    """The topics that somebody watches, by their keys. A topic begins with its first watcher and ends with its last. `source` is what its
    changes come from, which several topics may have in common; by default its key."""

    def __init__(self, clock: Clock, watchers_max: int = WATCHERS_MAX) -> None:
        self._clock = clock
        self.watchers_max = watchers_max
        self._numbers = count(1)
        self._open: dict[Hashable, _Open] = {}
        self._of_source: dict[Hashable, set[Topic[Any]]] = {}
        self._is_closed = False
        self.watchers = 0

    def __len__(self) -> int:
        """How many topics are watched."""
        return len(self._open)

    def change(self, source: Hashable) -> None:
        """Says that something of a source is otherwise now; nothing happens where nobody watches it."""
        for topic in self._of_source.get(source, ()):
            topic.change()

    def close(self) -> None:
        """Ends every watch, and refuses others: the engine ends."""
        self._is_closed = True
        for found in self._open.values():
            found.topic.fail(_ending())

    @contextmanager
    def watched(
        self,
        key: Hashable,
        make: Callable[[], Awaitable[View]],
        interval_seconds: float = INTERVAL_SECONDS,
        *,
        source: Hashable | None = None,
    ) -> Iterator[Topic[View]]:
        """The topic for one watcher, begun with this `make` if it is the first. Raises EngineUnavailable and TooManyWatchers."""
        if self._is_closed:
            raise _ending()
        if self.watchers >= self.watchers_max:
            text = f"{self.watchers_max:,} watch already, and no more are served: end one, or try again later"
            raise TooManyWatchers(text)
        found = self._open.get(key)
        if found is None:
            topic = Topic(make, self._clock, self._numbers, interval_seconds)
            source = key if source is None else source
            found = self._open[key] = _Open(topic, source, asyncio.create_task(topic.tell()))
            self._of_source.setdefault(source, set()).add(topic)
        found.watchers += 1
        self.watchers += 1
        try:
            yield found.topic
        finally:
            found.watchers -= 1
            self.watchers -= 1
            if not found.watchers:
                self._end(key, found)

    def _end(self, key: Hashable, ended: _Open) -> None:
        del self._open[key]
        topics = self._of_source[ended.source]
        topics.discard(ended.topic)
        if not topics:
            del self._of_source[ended.source]
        ended.telling.cancel()


def _ending() -> EngineUnavailable:
    return EngineUnavailable("the engine ends: watch again with the last token, once it or another one serves")
