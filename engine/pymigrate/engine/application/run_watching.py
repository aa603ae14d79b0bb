"""Runs that are watched: the topic of each, with the newest of its events beside it for those who were away for a while."""

from collections import deque
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from itertools import islice

from pymigrate.engine.application.board import Board
from pymigrate.engine.application.projections import event_message, lane_messages
from pymigrate.engine.application.run_tokens import given_sequence
from pymigrate.engine.application.run_views import RunViews
from pymigrate.engine.application.watching import Told, Topics
from pymigrate.engine.domain.run import RunAggregate
from pymigrate.engine.ports.store import Store
from pymigrate.v1 import run_pb2

EVENTS_MAX = 1_000


class RunWatching:
    """Tells whoever watches a run what it becomes."""

    def __init__(self, store: Store, board: Board, views: RunViews, topics: Topics) -> None:
        self._store = store
        self._board = board
        self._views = views
        self._topics = topics
        views.follow(topics.change)

    async def watch(self, name: str, resume_token: str) -> AsyncGenerator[Told[run_pb2.WatchRunResponse], None]:
        """The run as it stands, then again at each change, at most ten times a second, until it has ended. Raises NotFound, and
        InvalidDefinition for a token that was not given out."""
        watched = _WatchedRun(name, self._store, self._board, self._views)
        with self._topics.watched(name, watched.view) as topic:
            picture = await topic.now()
            seen = given_sequence(resume_token) if resume_token else picture.view.last
            while True:
                yield await picture.view.since(seen)
                if picture.view.is_last:
                    return
                seen = picture.view.last
                picture = await topic.after(picture.number)


class _WatchedRun:
    """A run that is watched: its events since somebody began to watch it, without a gap, at most the newest EVENTS_MAX."""

    def __init__(self, name: str, store: Store, board: Board, views: RunViews) -> None:
        self._name = name
        self._store = store
        self._board = board
        self._views = views
        self._events: deque[run_pb2.RunEvent] = deque(maxlen=EVENTS_MAX)
        self._last = -1

    async def view(self) -> "_RunView":
        """How it stands now, with what happened since the last time."""

        def look(aggregate: RunAggregate) -> tuple[run_pb2.WatchRunResponse, int]:
            picture = run_pb2.WatchRunResponse(run=self._views.message(aggregate), lanes=lane_messages(aggregate))
            return picture, aggregate.run.events

        message, last = await self._board.view(self._name, look)
        if 0 <= self._last < last:
            self._events.extend(await self._stored(max(self._last, last - EVENTS_MAX), last))
        self._last = last
        message.resume_token = str(last)
        return _RunView(message, last, self)

    async def events(self, after: int, last: int) -> list[run_pb2.RunEvent]:
        """What happened after one event until another: from the store where it is longer ago than what is kept."""
        if after >= last:
            return []
        kept = self._events
        if not kept or kept[0].sequence > after + 1:
            return await self._stored(after, last)
        first = kept[0].sequence
        return list(islice(kept, after + 1 - first, last + 1 - first))

    async def _stored(self, after: int, last: int) -> list[run_pb2.RunEvent]:
        found = await self._store.read(lambda unit: list(unit.runs.events(self._name, after, EVENTS_MAX)))
        return [event_message(self._name, event) for event in found if event.sequence <= last]


@dataclass(slots=True)
class _RunView:
    """A run as it stood after the event `last`. `message` lacks what differs between watchers: the events that each has not seen. Most have
    seen the same, so that there are few answers."""

    message: run_pb2.WatchRunResponse
    last: int
    run: _WatchedRun
    answers: dict[tuple[int, bool], Told[run_pb2.WatchRunResponse]] = field(default_factory=dict)

    @property
    def is_last(self) -> bool:
        """Whether the run had ended."""
        return bool(self.message.run.end_time.seconds)

    async def since(self, seen: int) -> Told[run_pb2.WatchRunResponse]:
        """The answer for whoever has seen the events until this one."""
        is_behind = self.last - seen > EVENTS_MAX
        after = self.last - EVENTS_MAX if is_behind else min(seen, self.last)
        found = self.answers.get((after, is_behind))
        if found is None:
            message = run_pb2.WatchRunResponse(events=await self.run.events(after, self.last), is_resync=is_behind)
            message.MergeFrom(self.message)
            found = self.answers.setdefault((after, is_behind), Told(message))
        return found
