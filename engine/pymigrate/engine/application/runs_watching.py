"""Watching many runs at once: those that there are, over as many messages as they take, then those that have changed.

What has changed is kept once for all who watch, by run with the number of its newest change: however slow a receiver is, a run waits for it
once, and is told as it stands when it is taken.
"""

import asyncio
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from pymigrate.engine.application.board import Board
from pymigrate.engine.application.required_objects import require_parent
from pymigrate.engine.application.run_views import RunViews
from pymigrate.engine.application.watching import INTERVAL_SECONDS, Told, Topics
from pymigrate.engine.domain.errors import InvalidDefinition, Problem
from pymigrate.engine.domain.names import environment_of, is_id, matches, plan_of
from pymigrate.engine.domain.run_states import RUN_ENDED
from pymigrate.engine.ports.clock import Clock
from pymigrate.engine.ports.store import Store
from pymigrate.v1 import run_pb2

PAGE_RUNS_MAX = 250
PAGE_BYTES_MAX = 1_000_000
CHANGES_MAX = 20_000
ANY = "-"
Answer = Told[run_pb2.WatchRunsResponse]


class RunsWatching:
    """Tells whoever watches runs what becomes of them."""

    def __init__(
        self,
        store: Store,
        board: Board,
        views: RunViews,
        topics: Topics,
        clock: Clock,
        changes_max: int = CHANGES_MAX,
    ) -> None:
        self._store = store
        self._board = board
        self._views = views
        self._topics = topics
        self._clock = clock
        self._changes = RunChanges(changes_max)
        views.follow(self._change)

    async def watch(self, parent: str, *, active_only: bool) -> AsyncGenerator[Answer, None]:
        """The runs of a plan, of an environment or of all as they stand, then those that change, at most ten times a second, without end.
        Raises InvalidDefinition and NotFound for a parent that can't have any."""
        within = _within(parent)
        key = ("runs", within)
        with self._topics.watched(key, self._view) as topic, self._changes.kept():
            seen = self._changes.number
            if ANY not in environment_of(parent).split("/"):
                await self._store.read(lambda unit: require_parent(unit, environment_of(parent)))
            async for answer in self._first(within, is_active=active_only):
                yield answer
            picture = await topic.now()
            while True:
                newest = picture.view.number
                while seen < newest:
                    if not self._changes.reaches(seen):  # so far behind that what was changed is not known any more
                        seen = newest
                        async for answer in self._first(within, is_active=False):
                            yield answer
                        break
                    told, seen = await self._since(picture.view, within, seen)
                    if told is not None:
                        yield told
                    if seen < newest:
                        await self._clock.sleep(INTERVAL_SECONDS)
                picture = await topic.after(picture.number)

    def _change(self, run: str) -> None:
        if self._changes.note(run):
            for within in ("", f"{environment_of(run)}/plans", f"{plan_of(run)}/runs"):
                self._topics.change(("runs", within))

    async def _view(self) -> "_View":
        return _View(self._changes.number)

    async def _since(self, view: "_View", within: str, seen: int) -> tuple[Answer | None, int]:
        """What has changed since one change until the view, and how far that goes: the same for all who have seen as much."""
        async with view.lock:
            if seen not in view.answers:
                numbers, last = self._changes.page(within, seen, view.number)
                parts = list(_parts(await self._views.several(list(numbers))))
                if len(parts) > 1:
                    last = numbers[parts[0][-1].name]
                told = Told(run_pb2.WatchRunsResponse(runs=parts[0], is_complete=True)) if parts else None
                view.answers[seen] = told, last
            return view.answers[seen]

    async def _first(self, within: str, *, is_active: bool) -> AsyncGenerator[Answer, None]:
        """Everything that there is, in pages."""
        pages = self._active(within) if is_active else self._stored(within)
        async for names, is_last in pages:
            parts = list(_parts(await self._views.several(names))) or [[]]
            for at, part in enumerate(parts, 1):
                yield Told(run_pb2.WatchRunsResponse(runs=part, is_complete=is_last and at == len(parts)))

    async def _stored(self, within: str) -> AsyncGenerator[tuple[list[str], bool], None]:
        """The names of all runs, and whether these are the last."""
        names, is_last = [""], False
        while not is_last:
            after = names[-1]
            found = await self._store.read(lambda unit: unit.runs.names_within(within, after, PAGE_RUNS_MAX + 1))  # noqa: B023 (it is awaited)
            names, is_last = list(found[:PAGE_RUNS_MAX]), len(found) <= PAGE_RUNS_MAX
            yield names, is_last

    async def _active(self, within: str) -> AsyncGenerator[tuple[list[str], bool], None]:
        """The names of those that have not ended, and whether these are the last."""
        active = (core.run.name for core in self._board.active() if core.run.state not in RUN_ENDED)
        names = [name for name in active if _is_within(name, within)]
        for at in range(0, len(names) or 1, PAGE_RUNS_MAX):
            yield names[at : at + PAGE_RUNS_MAX], at + PAGE_RUNS_MAX >= len(names)


@dataclass(slots=True)
class _View:
    """What was to be told after so many changes. `answers` by how many a receiver had seen: what it is told, and how far that goes."""

    number: int
    answers: dict[int, tuple[Answer | None, int]] = field(default_factory=dict)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class RunChanges:
    """Which runs have changed, each with the number of its newest change, the oldest first; at most CHANGES_MAX, and only while somebody
    watches."""

    def __init__(self, changes_max: int) -> None:
        self._changes_max = changes_max
        self._numbers: dict[str, int] = {}
        self._forgotten = 0
        self._watchers = 0
        self.number = 0

    def __len__(self) -> int:
        """How many runs are kept."""
        return len(self._numbers)

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Changes are noted meanwhile."""
        self._watchers += 1
        try:
            yield
        finally:
            self._watchers -= 1
            if not self._watchers:
                self._numbers.clear()
                self._forgotten = self.number

    def note(self, run: str) -> bool:
        """Notes that a run is otherwise now, if anybody watches; says whether."""
        if not self._watchers:
            return False
        self.number += 1
        self._numbers.pop(run, None)
        self._numbers[run] = self.number
        if len(self._numbers) > self._changes_max:
            oldest = next(iter(self._numbers))
            self._forgotten = self._numbers.pop(oldest)
        return True

    def reaches(self, seen: int) -> bool:
        """Whether everything that changed since is known."""
        return seen >= self._forgotten

    def page(self, within: str, seen: int, until: int) -> tuple[dict[str, int], int]:
        """The runs below a name whose newest change came after one and not after another, the oldest first, at most PAGE_RUNS_MAX; and up
        to which change that is all."""
        found: list[tuple[str, int]] = []
        for name, number in reversed(self._numbers.items()):
            if number <= seen:
                break
            if number <= until and _is_within(name, within):
                found.append((name, number))
        found.reverse()
        page = dict(found[:PAGE_RUNS_MAX])
        return page, until if len(page) == len(found) else page[next(reversed(page))]


def _is_within(name: str, within: str) -> bool:
    return not within or name.startswith(f"{within}/")


def _parts(runs: Sequence[run_pb2.Run]) -> Iterator[list[run_pb2.Run]]:
    """The runs in parts that are no larger than a message may be, each with one at least."""
    part: list[run_pb2.Run] = []
    size = 0
    for run in runs:
        run_bytes = run.ByteSize()
        if part and size + run_bytes > PAGE_BYTES_MAX:
            yield part
            part, size = [], 0
        part.append(run)
        size += run_bytes
    if part:
        yield part


def _within(parent: str) -> str:
    """What the names of a parent's runs begin with, without the last slash. Raises InvalidDefinition."""
    parts = parent.split("/")
    if matches(parent, "environments", "plans"):
        _, environment, _, plan = parts
        if environment == plan == ANY:
            return ""
        if is_id(environment) and plan == ANY:
            return f"environments/{environment}/plans"
        if is_id(environment) and is_id(plan):
            return f"{parent}/runs"
    text = "write it as environments/prod/plans/warehouse, with `-` for all plans, or environments/-/plans/- for all there are"
    raise InvalidDefinition((Problem("parent", text),))
