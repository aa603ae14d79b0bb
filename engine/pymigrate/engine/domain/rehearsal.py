"""A rehearsal: the real core and the real scheduler, driven through virtual time by modelled hosts. Nothing waits, nothing is opened.

An estimate is what a rehearsal finds, so it can't drift from what the engine does. Time is a heap of moments; a lane is one moment, its
end, which `sharing` finds. Nothing fails. Gates are approved when they are first waited at; what is paused goes on at once. Runs may be
under way: a lane goes on after its last chunk, any other task has what is left of its time.
"""

import heapq
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
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
    Steered,
    Succeeded,
)
from pymigrate.engine.domain.names import environment_of, last_segment
from pymigrate.engine.domain.orchestration import RunCore
from pymigrate.engine.domain.rehearsed import Rehearsed, done_phases
from pymigrate.engine.domain.run import PhaseRun, Task
from pymigrate.engine.domain.run_states import (
    PHASE_CUTTING_OVER,
    RUN_ENDED,
    DesiredState,
    Point,
    RunState,
    TaskKind,
)
from pymigrate.engine.domain.schedule import DRAINED_BY_TIME, Limits, Place, Scheduler
from pymigrate.engine.domain.sharing import Copying, CopyShape, Route, Sharing

__all__ = ["CopyShape", "Durations", "Rehearsal", "Rehearsed"]
REHEARSER = "rehearsal"
LEASE = timedelta(days=36_500)
IDLE_WAKES_MAX = 1_000
DRAINS_MAX = 100
OUTSIDE = frozenset({TaskKind.STEP, TaskKind.UNDO})


class Durations(Protocol):
    """How long things take. Asked once a task, and for `slowdown` whenever the lanes at work have changed."""

    def copy(self, core: RunCore, task: Task) -> CopyShape:
        """What a lane copies in all, chunks that are done included."""
        ...

    def seconds(self, core: RunCore, task: Task) -> float:
        """How long a task takes that is no copy while nothing else is under way."""
        ...

    def slowdown(self, source: Place, source_lanes: int, target: Place, target_lanes: int, lanes: int) -> float:
        """How many times longer a chunk or another task takes while so many lanes read its source and write to its target, and so many
        lanes and other tasks are under way in all, but for steps outside databases. Above 0; the same for the same counts."""
        ...


@dataclass(slots=True, eq=False)
class _Outside:
    """A task under way outside databases: nothing makes it longer."""

    core: RunCore
    task: Task
    version: int = 0


_Moment = tuple[float, int, Route | Copying | _Outside, int]


class Rehearsal:
    """Plays runs to their end. The cores are the caller's, fresh from their aggregates; they are changed. With `report_seconds` lanes
    tell how far they are so often (0: every chunk), otherwise when they end, and those that a rate holds before their last chunk."""

    def __init__(
        self,
        cores: Sequence[RunCore],
        limits: Limits,
        durations: Durations,
        scheduler: Scheduler,
        start: datetime,
        report_seconds: float | None = None,
    ) -> None:
        self._cores = list(cores)
        self._limits = limits
        self._durations = durations
        self._scheduler = scheduler
        self._start = self._now = start
        self._until = start + LEASE
        self._seconds = 0.0
        self._order = 0
        self._idle_wakes = 0
        self._change: datetime | None = None
        self._moments: list[_Moment] = []
        self._sharing = Sharing(durations.slowdown, limits.rates, report_seconds)
        self._copying: dict[str, Copying] = {}
        self._working: dict[str, Copying | _Outside] = {}
        self._drains: Counter[str] = Counter()
        self._verified: dict[tuple[str, str], float] = {}
        self._known = {core.run.name: done_phases(core.aggregate) for core in cores}
        self.found = Rehearsed(start, start)

    def run(self) -> Rehearsed:
        """Plays until every run has ended. Raises FailedPrecondition when one waits for something that never comes, such as a window
        that never opens."""
        self._begin()
        while [core for core in self._cores if core.is_active]:
            wake = self._wake_seconds()
            moment = self._next_seconds()
            self._idle_wakes = 0 if moment is not None else self._idle_wakes + 1
            if moment is None and (wake is None or self._idle_wakes > IDLE_WAKES_MAX):
                waiting = ", ".join(sorted(core.run.name for core in self._cores if core.is_active))
                raise FailedPrecondition(
                    f"{waiting} would wait for ever: look at its schedule, its limits and what it waits for"
                )
            if wake is not None and (moment is None or wake <= moment):
                self._pass_to(wake)
                self._drain()
            elif moment is not None:
                self._pass_to(moment)
                self._play()
            self._grant()
        self.found.end = self._now
        peaks = {place: system.lanes_peak for place, system in self._sharing.systems.items()}
        self.found.connection_lanes_peak = peaks
        for core in self._cores:
            core.take()
            self.found.sum_up(core.aggregate, self._known[core.run.name], self._verified)
        return self.found

    def _begin(self) -> None:
        """Takes the runs up where they stand."""
        for core in self._cores:
            self._apply(core, Begun())
            if core.run.desired is DesiredState.PAUSED:
                self._apply(core, Steered(DesiredState.RUNNING, REHEARSER))
            for phase in list(core.aggregate.phases.values()):
                self._approve(core, phase, Point.BEFORE_START)
                if phase.is_online and phase.state in PHASE_CUTTING_OVER:
                    self._verified[core.run.name, phase.id] = self._blocked_seconds(core, phase)
                self._look_at(core, phase)
            for task in core.leased():
                self._take_up(core, task)
        self._drain()
        self._grant()

    def _take_up(self, core: RunCore, task: Task) -> None:
        """A task that a host has."""
        passed = (self._start - task.leased_time).total_seconds() if task.leased_time else 0.0
        if task.kind is TaskKind.COPY:
            self._begin_copy(core, task, passed)
        else:
            self._begin_work(core, task, passed)

    # Moments -----------------------------------------------------------------------------------------------------------------------

    def _next_seconds(self) -> float | None:
        moments = self._moments
        while moments and moments[0][2].version != moments[0][3]:
            heapq.heappop(moments)
        return moments[0][0] if moments else None

    def _play(self) -> None:
        """Everything that happens at this moment; something does."""
        is_now = True
        while is_now:
            _, _, subject, _ = heapq.heappop(self._moments)
            if isinstance(subject, _Outside):
                self._end_work(subject)
            elif isinstance(subject, Copying):
                self._sharing.go(subject, self._seconds)
            else:
                subject.read(self._seconds)
                for copying in subject.stopped():
                    if copying.task.kind is TaskKind.COPY:
                        self._stop(copying)
                    else:
                        self._end_work(copying)
                self._sharing.touch(subject)
            is_now = self._next_seconds() == self._seconds

    def _pass_to(self, seconds: float) -> None:
        self._seconds = seconds
        self._now = self._start + timedelta(seconds=seconds)

    def _later(self, seconds: float, subject: Route | Copying | _Outside) -> None:
        self._order += 1
        heapq.heappush(self._moments, (seconds, self._order, subject, subject.version))

    def _wake_seconds(self) -> float | None:
        """When something may be granted or drained next though nothing ends until then: a task is held back no longer, or any calendar
        opens or closes."""
        wakes = [core.next_wake(self._now) for core in self._cores if core.is_held_back]
        if not wakes and not self._limits.calendars:
            return None
        if self._limits.calendars:
            if self._change is None or self._change <= self._now:
                almanac, calendars = self._scheduler.almanac, self._limits.calendars.values()
                changes = [almanac.next_change(calendar, self._now) for calendar in calendars]
                self._change = min((change for change in changes if change is not None), default=None)
            wakes.append(self._change)
        wake = min((wake for wake in wakes if wake is not None), default=None)
        return None if wake is None else (wake - self._start).total_seconds()

    # Tasks -------------------------------------------------------------------------------------------------------------------------

    def _grant(self) -> None:
        while granted := next(self._scheduler.grants(self._cores, self._limits, self._now), None):
            core, task = granted
            if not self._apply(core, Leased(task.id, REHEARSER, self._until)):
                raise AssertionError("what is granted can be leased")
            self._scheduler.leased(core, task)
            if task.kind is TaskKind.COPY:
                self._begin_copy(core, task)
            else:
                self._begin_work(core, task)
        for route in self._sharing.settle(self._seconds):
            if (seconds := route.next_seconds()) is not None:
                self._later(seconds, route)

    def _begin_work(self, core: RunCore, task: Task, passed_seconds: float = 0.0) -> None:
        seconds = max(0.0, self._durations.seconds(core, task) - passed_seconds)
        if task.kind in OUTSIDE:
            outside = self._working[task.id] = _Outside(core, task)
            self._later(self._seconds + seconds, outside)
        else:
            source, target = _sides(core, task)
            self._working[task.id] = self._sharing.work(core, task, seconds, source, target, self._seconds)

    def _end_work(self, working: Copying | _Outside) -> None:
        core, task = working.core, working.task
        self._forget_work(working)
        if task.kind is TaskKind.CATCH_UP:
            changes = core.aggregate.datasets[task.phase, task.datasets[0]].changes
            self._apply(core, Progressed(task.id, task.fence, 0, 0, 0, 0.0, changes))
        self._apply(core, Succeeded(task.id, task.fence))
        self._look_at(core, core.aggregate.phases[task.phase])

    def _forget_work(self, working: Copying | _Outside) -> None:
        del self._working[working.task.id]
        if isinstance(working, Copying):
            self._sharing.end_work(working)
        else:
            working.version += 1

    def _begin_copy(self, core: RunCore, task: Task, passed_seconds: float = 0.0) -> None:
        source, target = _sides(core, task)
        done, shape = core.aggregate.lanes[task.lane].chunks, self._durations.copy(core, task)
        copying = self._sharing.begin(core, task, shape, source, target, done)
        self._copying[task.id] = copying
        self.found.count_lanes(core.run.name, task.phase, 1, self._seconds)
        opening = shape.fixed_seconds - passed_seconds
        if opening > 0:
            self._later(self._seconds + opening, copying)
        else:
            self._sharing.go(copying, self._seconds)

    def _stop(self, copying: Copying) -> None:
        """A lane tells how far it is, and goes on or ends."""
        core, task, shape = copying.core, copying.task, copying.shape
        self.found.reports += 1
        self.found.chunks += copying.stop - copying.chunks
        done = copying.chunks = copying.stop
        rows, size = (shape.rows * done // shape.chunks, shape.bytes * done // shape.chunks) if shape.chunks else (0, 0)
        core.apply(Progressed(task.id, task.fence, done, rows, size), self._now)
        is_whole = done >= shape.chunks
        if not is_whole and not copying.is_draining:
            self._sharing.plan(copying)
            return
        del self._copying[task.id]
        self._sharing.end(copying)
        self.found.count_lanes(core.run.name, task.phase, -1, self._seconds)
        self._apply(core, Succeeded(task.id, task.fence) if is_whole else Drained(task.id, task.fence))
        if not is_whole:
            self._scheduler.gave_back(core, task)
        self._look_at(core, core.aggregate.phases[task.phase])

    def _drain(self) -> None:
        """Lanes whose time is over stop at the end of the chunk that they are at; a verification has got nowhere."""
        for name in self._scheduler.to_drain(self._cores, self._limits, self._now):
            if name in self._copying:
                copying = self._copying[name]
                if not copying.is_open:
                    self._count_drain(name)
                self._sharing.drain(copying, self._seconds)
            elif name in self._working and self._working[name].task.kind in DRAINED_BY_TIME:
                working = self._working[name]
                self._count_drain(name)
                self._forget_work(working)
                self._apply(working.core, Drained(name, working.task.fence))
                self._scheduler.gave_back(working.core, working.task)

    def _count_drain(self, task: str) -> None:
        """A task was drained that has got nowhere."""
        self._drains[task] += 1
        if self._drains[task] > DRAINS_MAX:
            raise FailedPrecondition(f"{task} would begin for ever: no window of its phase is as long as it takes")

    # What people and other plans do -----------------------------------------------------------------------------------------------

    def _apply(self, core: RunCore, event: CoreEvent) -> bool:
        if len(self._cores) == 1:
            return core.apply(event, self._now)
        was_over = core.run.state is RunState.SUCCEEDED
        accepted = core.apply(event, self._now)
        if core.run.state is RunState.SUCCEEDED and not was_over:
            self._tell_others(core)
        return accepted

    def _look_at(self, core: RunCore, phase: PhaseRun) -> None:
        """Approves what waits for somebody now, and notes when an online phase began to block writes."""
        if phase.gates and core.is_approvable(phase):
            self._approve(core, phase, Point.BEFORE_PUBLICATION)
        if phase.is_online and phase.state in PHASE_CUTTING_OVER:
            self._verified.setdefault((core.run.name, phase.id), self._seconds)

    def _blocked_seconds(self, core: RunCore, phase: PhaseRun) -> float:
        """When writes were blocked that are blocked at the start: when the first verification was leased, as far as is known."""
        leased = [
            (task.leased_time - self._start).total_seconds()
            for task in core.aggregate.tasks.values()
            if task.phase == phase.id
            and task.attempt == phase.attempt
            and task.kind is TaskKind.VERIFY
            and task.leased_time is not None
        ]
        return min([0.0, *leased])

    def _approve(self, core: RunCore, phase: PhaseRun, point: Point) -> None:
        for gate, where in phase.gates.items():
            if where == point and gate not in phase.approvals:
                self._apply(core, Approved(phase.id, gate, REHEARSER))

    def _tell_others(self, done: RunCore) -> None:
        plan, environment = last_segment(done.run.plan), environment_of(done.run.name)
        for core in self._cores:
            if core.run.state not in RUN_ENDED and environment_of(core.run.name) == environment:
                self._apply(core, PlanSucceeded(plan))


def _sides(core: RunCore, task: Task) -> tuple[Place, Place]:
    """The source and the target of a task; of several datasets the first one's."""
    dataset = core.aggregate.datasets[task.phase, task.datasets[0]]
    return (core.environment, dataset.source_connection), (core.environment, dataset.target_connection)
