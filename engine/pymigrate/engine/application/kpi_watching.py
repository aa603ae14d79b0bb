"""KPIs as they change: a subject's as they are, then again whenever something has changed them, pictured once for all who watch them."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field

from pymigrate.engine.application.kpi_subjects import SubjectKind, subject_of
from pymigrate.engine.application.kpis import FleetKpis
from pymigrate.engine.application.watching import Told, Topics
from pymigrate.engine.domain.names import environment_of, plan_of
from pymigrate.engine.domain.run_states import RUN_ENDED
from pymigrate.v1 import kpi_pb2, run_pb2

_ABOVE_PLANS = frozenset({SubjectKind.ENVIRONMENT, SubjectKind.DEPARTMENT})
_OF_ONE_RUN = frozenset({SubjectKind.RUN, SubjectKind.RUN_PHASE, SubjectKind.RUN_LANE})
_ENDED = frozenset(run_pb2.RunState.Value(f"RUN_STATE_{state.name}") for state in RUN_ENDED)


@dataclass(slots=True)
class _View:
    """KPIs as they were after so many changes. `answers` are those that were asked for, by whether they are a resync."""

    kpis: kpi_pb2.Kpis
    changes: int
    answers: dict[bool, Told[kpi_pb2.WatchKpisResponse]] = field(default_factory=dict)


class _Watched:
    """A subject that is watched: a new view only where its KPIs are others."""

    def __init__(self, find: Callable[[], Awaitable[kpi_pb2.Kpis]], changes: Callable[[], int]) -> None:
        self._find = find
        self._changes = changes
        self._last: _View | None = None

    async def view(self) -> _View:
        """Its KPIs as they are now."""
        changes = self._changes()
        found = await self._find()
        if self._last is None or self._last.kpis != found:
            self._last = _View(found, changes)
        return self._last


class KpiWatching:
    """Who watches KPIs. `start` tells this engine's tokens from those of another."""

    def __init__(self, kpis: FleetKpis, topics: Topics, start: str) -> None:
        self._kpis = kpis
        self._topics = topics
        self._start = start
        self._changes = 0
        self._changed: dict[str, int] = {}
        kpis.on_change(self._change)

    def _change(self, run: str) -> None:
        self._changes += 1
        for source in (environment_of(run), plan_of(run)):
            self._changed[source] = self._changes
            self._topics.change(("kpis", source))

    async def watch(
        self, name: str, includes_parts: bool, resume_token: str
    ) -> AsyncGenerator[Told[kpi_pb2.WatchKpisResponse], None]:
        """The KPIs as they are and as they change, at most ten times a second; those of a run end with it. Raises NotFound."""
        subject = subject_of(name)
        seen, is_resync = self._read(resume_token)
        source = subject.environment if subject.kind in _ABOVE_PLANS else plan_of(name)
        watched = _Watched(lambda: self._kpis.kpis(name, includes_parts), lambda: self._changed.get(source, 0))
        key = ("kpis", name, includes_parts)
        with self._topics.watched(key, watched.view, source=("kpis", source)) as topic:
            picture = await topic.now()
            while True:
                view = picture.view
                if view.changes > seen:
                    yield self._answer(view, is_resync)
                if subject.kind in _OF_ONE_RUN and view.kpis.state in _ENDED:
                    return
                before, seen = picture.number, -1
                picture = await topic.after(before)
                is_resync = picture.before > before

    def _answer(self, view: _View, is_resync: bool) -> Told[kpi_pb2.WatchKpisResponse]:
        if is_resync not in view.answers:
            token = f"{self._start}.{view.changes}"
            message = kpi_pb2.WatchKpisResponse(kpis=view.kpis, resume_token=token, is_resync=is_resync)
            view.answers[is_resync] = Told(message)
        return view.answers[is_resync]

    def _read(self, token: str) -> tuple[int, bool]:
        """The number that was seen last, -1 for none; and whether it is not known here what has been since."""
        start, _, number = token.rpartition(".")
        if start == self._start and number.isdecimal() and int(number) <= self._changes:
            return int(number), False
        return -1, bool(token)
