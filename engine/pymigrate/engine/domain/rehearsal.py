"""A rehearsal: the real core and the real scheduler, driven through virtual time by modelled hosts. Nothing waits, nothing is opened.

An estimate is what a rehearsal finds, so it can't drift from what the engine does. Time is a heap of moments; a lane's chunks between
two reports are one arithmetic step, as a host too reports many chunks at once. Gates are approved when they are first waited at.
"""

import heapq
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from pymigrate.engine.domain.errors import FailedPrecondition
from pymigrate.engine.domain.happenings import (
    Approved,
    Begun,
    CoreEvent,
    Drained,
    Leased,
    PlanSucceeded,
    Progressed,
    Succeeded,
)
from pymigrate.engine.domain.names import environment_of, last_segment
from pymigrate.engine.domain.orchestration import RunCore
from pymigrate.engine.domain.run import RunEvent, Task
from pymigrate.engine.domain.run_states import RUN_ENDED, Point, RunState, TaskKind
from pymigrate.engine.domain.schedule import Limits, Place, Scheduler

REHEARSER = "rehearsal"
LEASE = timedelta(days=36_500)
REPORT_SECONDS = 1.0
IDLE_WAKES_MAX = 1_000


@dataclass(frozen=True, slots=True)
class CopyShape:
    """What a lane copies in all, and how long one chunk of it takes while nothing else uses its systems."""

    chunks: int
    rows: int
    bytes: int
    chunk_seconds: float


class Durations(Protocol):
    """How long things take. Asked once a task, and once a report for `slowdown`."""

    def copy(self, core: RunCore, task: Task) -> CopyShape:
        """What a lane copies."""
        ...

    def seconds(self, core: RunCore, task: Task) -> float:
        """How long a task takes that is no copy."""
        ...

    def slowdown(self, source: Place, source_lanes: int, target: Place, target_lanes: int) -> float:
        """How many times longer a chunk takes while so many lanes use its source and its target."""
        ...


@dataclass(slots=True)
class Rehearsed:
    """What happened in virtual time. `lane_changes` tells from each moment (seconds since the start) on how many lanes were at work;
    phases and datasets carry their times in the runs' aggregates."""

    start: datetime
    end: datetime
    reports: int = 0
    chunks: int = 0
    lanes_peak: int = 0
    lane_changes: list[tuple[float, int]] = field(default_factory=list)

    @property
    def makespan_seconds(self) -> float:
        """From the start to the end."""
        return (self.end - self.start).total_seconds()


@dataclass(slots=True)
class _Copying:
    """A lane under way: how far it is, and what the next report will tell."""

    core: RunCore
    task: Task
    shape: CopyShape
    source: Place
    target: Place
    chunks: int
    is_draining: bool = False


class Rehearsal:
    """Plays runs to their end. The cores are the caller's, fresh from their aggregates; they are changed."""

    def __init__(
        self,
        cores: Sequence[RunCore],
        limits: Limits,
        durations: Durations,
        scheduler: Scheduler,
        start: datetime,
        report_seconds: float = REPORT_SECONDS,
    ) -> None:
        self._cores = {core.run.name: core for core in cores}
        self._limits = limits
        self._durations = durations
        self._scheduler = scheduler
        self._start = start
        self._report_seconds = report_seconds
        self._seconds = 0.0
        self._order = 0
        self._idle_wakes = 0
        self._moments: list[tuple[float, int, RunCore, Task, int]] = []
        self._copying: dict[str, _Copying] = {}
        self._lanes: Counter[tuple[str, Place]] = Counter()
        self.found = Rehearsed(start, start)

    def run(self) -> Rehearsed:
        """Plays until every run has ended. Raises FailedPrecondition when one waits for something that never comes, such as a window
        that never opens."""
        for core in self._cores.values():
            self._apply(core, Begun())
        self._grant()
        while any(core.is_active for core in self._cores.values()):
            wake = self._wake_seconds()
            self._idle_wakes = 0 if self._moments else self._idle_wakes + 1
            if not self._moments and (wake is None or self._idle_wakes > IDLE_WAKES_MAX):
                waiting = ", ".join(sorted(name for name, core in self._cores.items() if core.is_active))
                raise FailedPrecondition(
                    f"{waiting} would wait for ever: look at its schedule, its limits and what it waits for"
                )
            if wake is not None and (not self._moments or wake <= self._moments[0][0]):
                self._seconds = wake
                self._drain()
                self._grant()
            else:
                self._play_until(wake)
        self.found.end = self._now
        return self.found

    @property
    def _now(self) -> datetime:
        return self._start + timedelta(seconds=self._seconds)

    def _play_until(self, wake: float | None) -> None:
        """Everything up to the next wake, or until something may be granted."""
        while self._moments and (wake is None or self._moments[0][0] < wake):
            self._seconds, _, core, task, chunks = heapq.heappop(self._moments)
            copying = self._copying.get(task.id)
            if copying is not None and copying.chunks + chunks < copying.shape.chunks and not copying.is_draining:
                self._report(copying, chunks)
                continue
            if copying is not None:
                self._end_copy(copying, chunks)
            else:
                self._apply(core, Succeeded(task.id, task.fence))
            self._grant()
            if self._limits.calendars:  # what was granted may have other windows
                return

    # Lanes -------------------------------------------------------------------------------------------------------------------------

    def _grant(self) -> None:
        while granted := next(self._scheduler.grants(self._cores.values(), self._limits, self._now), None):
            core, task = granted
            if not self._apply(core, Leased(task.id, REHEARSER, self._now + LEASE)):
                raise AssertionError("what is granted can be leased")
            self._scheduler.leased(core, task)
            if task.kind is TaskKind.COPY:
                self._begin_copy(core, task)
            else:
                self._later(self._durations.seconds(core, task), core, task, 0)

    def _begin_copy(self, core: RunCore, task: Task) -> None:
        dataset, environment = core.aggregate.datasets[task.phase, task.datasets[0]], environment_of(core.run.name)
        source, target = (environment, dataset.source_connection), (environment, dataset.target_connection)
        done = core.aggregate.lanes[task.lane].chunks
        copying = _Copying(core, task, self._durations.copy(core, task), source, target, done)
        self._copying[task.id] = copying
        self._lanes["source", source] += 1
        self._lanes["target", target] += 1
        self._note_lanes()
        self._go_on(copying)

    def _go_on(self, copying: _Copying) -> None:
        """Plans the next report: as many chunks as fit between two, at the speed of now."""
        source, target = copying.source, copying.target
        source_lanes, target_lanes = self._lanes["source", source], self._lanes["target", target]
        shape = copying.shape
        seconds = shape.chunk_seconds * self._durations.slowdown(source, source_lanes, target, target_lanes)
        left = shape.chunks - copying.chunks
        chunks = min(left, max(1, int(self._report_seconds / seconds))) if seconds > 0 else left
        self._later(seconds * chunks, copying.core, copying.task, chunks)

    def _report(self, copying: _Copying, chunks: int) -> None:
        copying.chunks += chunks
        self.found.reports += 1
        self.found.chunks += chunks
        core, task, shape = copying.core, copying.task, copying.shape
        done = copying.chunks
        rows, size = shape.rows * done // shape.chunks, shape.bytes * done // shape.chunks
        core.apply(Progressed(task.id, task.fence, done, rows, size), self._now)
        self._go_on(copying)

    def _end_copy(self, copying: _Copying, chunks: int) -> None:
        core, task, shape = copying.core, copying.task, copying.shape
        copying.chunks += chunks
        self.found.reports += 1
        self.found.chunks += chunks
        done = copying.chunks
        del self._copying[task.id]
        self._lanes["source", copying.source] -= 1
        self._lanes["target", copying.target] -= 1
        self._note_lanes()
        rows, size = (shape.rows * done // shape.chunks, shape.bytes * done // shape.chunks) if shape.chunks else (0, 0)
        core.apply(Progressed(task.id, task.fence, done, rows, size), self._now)
        is_whole = done >= shape.chunks
        self._apply(core, Succeeded(task.id, task.fence) if is_whole else Drained(task.id, task.fence))
        if not is_whole:
            self._scheduler.gave_back(core, task)

    def _drain(self) -> None:
        """Lanes whose time is over stop at the end of the chunk that they are at."""
        for name in self._scheduler.to_drain(self._cores.values(), self._limits, self._now):
            if name in self._copying:
                self._copying[name].is_draining = True

    def _note_lanes(self) -> None:
        lanes = len(self._copying)
        self.found.lanes_peak = max(self.found.lanes_peak, lanes)
        changes = self.found.lane_changes
        if changes and changes[-1][0] == self._seconds:
            changes[-1] = (self._seconds, lanes)
        else:
            changes.append((self._seconds, lanes))

    # Time and events ---------------------------------------------------------------------------------------------------------------

    def _later(self, seconds: float, core: RunCore, task: Task, chunks: int) -> None:
        self._order += 1
        heapq.heappush(self._moments, (self._seconds + seconds, self._order, core, task, chunks))

    def _wake_seconds(self) -> float | None:
        if self._moments and not self._limits.calendars:
            return None
        wake = self._scheduler.next_wake(self._cores.values(), self._limits, self._now)
        return None if wake is None else (wake - self._start).total_seconds()

    def _apply(self, core: RunCore, event: CoreEvent) -> bool:
        accepted = core.apply(event, self._now)
        _, events = core.take()
        self._answer(core, events)
        return accepted

    def _answer(self, core: RunCore, events: Iterable[RunEvent]) -> None:
        """What people and other plans do about what happened."""
        for moment in events:
            part = last_segment(moment.subject)
            if moment.type == f"run.{RunState.SUCCEEDED}":
                self._tell_others(core)
            elif moment.type in {"phase.verifying", "staging.caught_up"}:
                self._approve(core, part, Point.BEFORE_PUBLICATION)
            elif moment.type == f"run.{RunState.RUNNING}":
                for phase in list(core.aggregate.phases):
                    self._approve(core, phase, Point.BEFORE_START)

    def _approve(self, core: RunCore, phase: str, point: Point) -> None:
        record = core.aggregate.phases[phase]
        for gate, where in record.gates.items():
            if where == point and gate not in record.approvals:
                self._apply(core, Approved(phase, gate, REHEARSER))

    def _tell_others(self, done: RunCore) -> None:
        plan, environment = last_segment(done.run.plan), environment_of(done.run.name)
        for core in self._cores.values():
            if core.run.state not in RUN_ENDED and environment_of(core.run.name) == environment:
                self._apply(core, PlanSucceeded(plan))
