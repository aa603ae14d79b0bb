"""Which task a host gets next, over all runs: pools, windows, fairness between plans, breakers and throttles in one place.

Pure: the limits are handed in, and may change at any time. The engine asks it for real hosts, a rehearsal for modelled ones.
"""

import random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from pymigrate.engine.domain.breaker import Breaker
from pymigrate.engine.domain.calendar import Almanac, Calendar
from pymigrate.engine.domain.names import environment_of, last_segment
from pymigrate.engine.domain.orchestration import RunCore
from pymigrate.engine.domain.rates import FREE, Rate
from pymigrate.engine.domain.retrying import LOGIN_REASONS, WAITED_FOR
from pymigrate.engine.domain.run import Failure, Task
from pymigrate.engine.domain.run_layout import ALL
from pymigrate.engine.domain.run_states import UNDOING, TaskKind
from pymigrate.engine.domain.throttle import FACTOR_DEFAULT, Throttle
from pymigrate.engine.domain.usage import Usage
from pymigrate.engine.domain.writers import Replaced, Writers

Place = tuple[str, str]
TIMED = frozenset({TaskKind.COPY, TaskKind.VERIFY, TaskKind.PREPARE, TaskKind.PUBLISH, TaskKind.STEP})
DRAINED_BY_TIME = frozenset({TaskKind.COPY, TaskKind.VERIFY})
READING = frozenset({TaskKind.CAPTURE, TaskKind.COPY, TaskKind.CATCH_UP, TaskKind.VERIFY})


@dataclass(frozen=True, slots=True)
class Limits:
    """What holds now; 0 or a missing entry is no limit, but for `lanes_max`, which counts lanes in all.

    `environments` and `plans` by resource name, `departments` by (plan, department), `connections` by (environment, connection);
    `calendars` by (plan, phase), by (plan, "") and (environment, "") for what holds for all in it; `latency_factors` and `rates` by
    (environment, connection); `openings`, what a connection is opened with where a run froze something else, by (run, connection);
    `replaced` as `writers` has it.
    """

    lanes_max: int
    environments: Mapping[str, int] = field(default_factory=dict)
    plans: Mapping[str, int] = field(default_factory=dict)
    departments: Mapping[Place, int] = field(default_factory=dict)
    connections: Mapping[Place, int] = field(default_factory=dict)
    calendars: Mapping[Place, Calendar] = field(default_factory=dict)
    latency_factors: Mapping[Place, float] = field(default_factory=dict)
    rates: Mapping[Place, Rate] = field(default_factory=dict)
    openings: Mapping[Place, bytes] = field(default_factory=dict)
    replaced: Replaced = field(default_factory=dict)

    def calendars_of(self, plan: str, phase: str) -> list[Calendar]:
        """The calendars of the environment, the plan and the phase."""
        places = ((environment_of(plan), ""), (plan, ""), (plan, phase))
        return [self.calendars[place] for place in places if place in self.calendars]


class Scheduler:
    """Grants lanes and keeps what it has learned about each system. Whoever asks it makes one grant at a time."""

    def __init__(self, rng: random.Random, almanac: Almanac | None = None) -> None:
        self._rng = rng
        self._breakers: dict[Place, Breaker] = {}
        self._throttles: dict[Place, Throttle] = {}
        self.almanac = almanac or Almanac()

    def grants(
        self, cores: Iterable[RunCore], limits: Limits, now: datetime, affinity: str | None = None
    ) -> Iterator[tuple[RunCore, Task]]:
        """The tasks that a host of this affinity, such as `shared@prod` (None: any), may have now, the one that it should have first. Valid
        until the first of them is leased."""
        known = list(cores)
        if self._breakers:
            self._forget_ended_probes(known)
        active = [core for core in known if core.waiting.queues and _is_of(core, affinity)]
        own = None if affinity is None else affinity.rpartition("@")[0]
        if not active:
            return
        usage, writers = Usage(known), Writers(known, limits.replaced)
        for core in active:
            if core.waiting.has_undoing:
                for task in core.candidates(now, lanes=False):
                    if task.kind in UNDOING and own in {None, task.affinity}:
                        yield core, task
        # Fair between plans: the one with the fewest lanes at work is first, whatever its priority, then its most urgent task.
        if len(active) > 1:
            active = sorted(active, key=lambda core: (usage.of_plan(core.run.plan), core.run.name))
        for core in active:
            has_room = self._has_room(core, limits, usage)
            if not has_room and not core.waiting.others:
                continue
            for task in core.candidates(now, lanes=has_room):
                if task.kind in UNDOING or (own is not None and own != task.affinity):
                    continue
                if task.kind is TaskKind.COPY and writers.ahead_of(core, task.phase):
                    continue
                if self._admits(core, task, limits, usage, now):
                    yield core, task

    def to_drain(self, cores: Iterable[RunCore], limits: Limits, now: datetime) -> list[str]:
        """Leased tasks that should stop at their next checkpoint: their run does not want them, their time is over, or their source
        bears fewer lanes than it has."""
        draining: list[str] = []
        reading: dict[Place, list[tuple[RunCore, Task]]] = {}
        for core in cores:
            draining.extend(core.to_drain())
            for task in core.leased():
                if core.is_cutting_over(task):  # writes are blocked until it is done
                    continue
                if task.kind in DRAINED_BY_TIME and not self._is_open(core, task, limits, now):
                    draining.append(task.id)
                elif task.kind is TaskKind.COPY and core.aggregate.phases[task.phase].is_live:
                    reading.setdefault(_source(core, task), []).append((core, task))
        for source, lanes in reading.items():
            throttle = self._throttles.get(source)
            if throttle is not None and throttle.lanes_max is not None:
                lanes.sort(key=lambda found: found[0].urgency(found[1]))
                draining.extend(task.id for _, task in lanes[throttle.lanes_max :])
        return list(dict.fromkeys(draining))

    def next_wake(self, cores: Iterable[RunCore], limits: Limits, since: datetime) -> datetime | None:
        """When a task may be granted or drained next though nothing happens until then."""
        wakes: list[datetime | None] = [breaker.opens_until for breaker in self._breakers.values()]
        for core in cores:
            wakes.append(core.next_wake(since))
            if not limits.calendars:
                continue
            phases = {task.phase for task in (*core.pending(), *core.leased()) if task.kind in TIMED}
            wakes.extend(
                self.almanac.next_change(calendar, since)
                for phase in sorted(phases)
                for calendar in limits.calendars_of(core.run.plan, phase)
            )
        return min((wake for wake in wakes if wake is not None and wake > since), default=None)

    def rates(self, cores: Iterable[RunCore], limits: Limits) -> dict[str, Rate]:
        """How fast each lane at work may go, by its task: of every system with a limit an equal share. Those without one are left out."""
        found: dict[str, Rate] = {}
        if not limits.rates:
            return found
        active = list(cores)
        usage = Usage(active)
        for core in active:
            for task in core.leased():
                if task.kind is not TaskKind.COPY:
                    continue
                rate = FREE
                for place in _systems(core, task):
                    rate = rate.tighter(limits.rates.get(place, FREE).shared(usage.of_connection(place)))
                if rate != FREE:
                    found[task.id] = rate
        return found

    # What it learns ----------------------------------------------------------------------------------------------------------------

    def leased(self, core: RunCore, task: Task) -> None:
        """A task was handed out."""
        if not self._breakers:
            return
        for place in _systems(core, task):
            if place in self._breakers:
                self._breakers[place].try_by(task.id)

    def progressed(
        self,
        core: RunCore,
        task: Task,
        seconds: float,
        size_bytes: int,
        cores: Iterable[RunCore],
        limits: Limits,
        now: datetime,
    ) -> bool:
        """A lane went on, and its source took so many seconds for so many bytes (0: not known). True: lanes are to be drained or
        granted that were not before."""
        has_changed = self.answered(core, task)
        if seconds <= 0 or size_bytes <= 0:
            return has_changed
        source = _source(core, task)
        throttle = self._throttles.setdefault(source, Throttle())
        if not core.aggregate.phases[task.phase].is_live:
            throttle.note(seconds, size_bytes)
            return has_changed
        lanes = Usage(list(cores)).of_live(source)
        factor = limits.latency_factors.get(source) or FACTOR_DEFAULT
        return throttle.observe(seconds, size_bytes, max(lanes, 1), factor, now) or has_changed

    def answered(self, core: RunCore, task: Task) -> bool:
        """The task's systems did what was asked of them. True: one of them had been away. Where a login failed, only the task that tries
        for all tells that one works."""
        places = [
            place
            for place in _systems(core, task)
            if (breaker := self._breakers.get(place)) is not None and (not breaker.is_login or breaker.probe == task.id)
        ]
        answers = [self._breakers.pop(place).succeed() for place in places]
        return any(answers)

    def failed(self, core: RunCore, task: Task, failure: Failure, now: datetime) -> Place | None:
        """A task failed. The system that counts as away from now on, if one does: the failure's field says which side it was."""
        self.gave_back(core, task)
        place = _side(core, task, failure.field)
        if failure.reason not in WAITED_FOR or place is None:
            return None
        breaker = self._breakers.setdefault(place, Breaker())
        breaker.is_login = failure.reason in LOGIN_REASONS
        is_opened = breaker.fail(task.id, now, self._rng)
        return place if is_opened else None

    def gave_back(self, core: RunCore, task: Task) -> None:
        """A task drained or its host was lost: it told nothing about its systems."""
        for place in _systems(core, task):
            if place in self._breakers:
                self._breakers[place].give_back(task.id)

    def lanes_borne(self, environment: str, connection: str) -> int | None:
        """How many lanes a live source bears as far as is known; None: no bound was found."""
        throttle = self._throttles.get((environment, connection))
        return None if throttle is None else throttle.lanes_max

    def latency_factor(self, core: RunCore) -> float:
        """How many times slower than at its best the slowest source of a run answers its lanes; 0: not known, as while none is at work."""
        if not core.lanes_at_work[ALL]:
            return 0.0
        sources = {(core.environment, dataset.source_connection) for dataset in core.aggregate.datasets.values()}
        return max((self._throttles[place].factor for place in sources if place in self._throttles), default=0.0)

    def is_away(self, environment: str, connection: str) -> bool:
        """Whether the connection's system counts as away."""
        breaker = self._breakers.get((environment, connection))
        return breaker is not None and breaker.opens_until is not None

    def _forget_ended_probes(self, cores: Iterable[RunCore]) -> None:
        """Where the store failed as a task's end was written, nobody has told it: others must not wait for that one for ever."""
        probing = [breaker for breaker in self._breakers.values() if breaker.probe]
        if probing:
            leased = {task.id for core in cores for task in core.leased()}
            for breaker in probing:
                if breaker.probe not in leased:
                    breaker.give_back(breaker.probe)

    # Whether it may ----------------------------------------------------------------------------------------------------------------

    def _is_open(self, core: RunCore, task: Task, limits: Limits, now: datetime) -> bool:
        return not limits.calendars or all(
            self.almanac.is_open(calendar, now) for calendar in limits.calendars_of(core.run.plan, task.phase)
        )

    def _has_room(self, core: RunCore, limits: Limits, usage: "Usage") -> bool:
        """Whether any lane of the run may be granted, as far as the limits of the whole, its environment, its plan and its own go."""
        if usage.of_all() >= limits.lanes_max or 0 < core.run.lanes_max <= core.lanes_at_work[ALL]:
            return False
        plan, environment = core.run.plan, core.environment
        if limits.plans and 0 < limits.plans.get(plan, 0) <= usage.of_plan(plan):
            return False
        return not limits.environments or not (
            0 < limits.environments.get(environment, 0) <= usage.of_environment(environment)
        )

    def _admits(self, core: RunCore, task: Task, limits: Limits, usage: "Usage", now: datetime) -> bool:
        is_timed = limits.calendars and task.kind in TIMED and not core.is_cutting_over(task)
        if is_timed and not self._is_open(core, task, limits, now):
            return False
        if self._breakers:
            for place in _systems(core, task):
                if place in self._breakers and not self._breakers[place].admits(task.id, now):
                    return False
        return task.kind is not TaskKind.COPY or self._has_place(core, task, limits, usage)

    def _has_place(self, core: RunCore, task: Task, limits: Limits, usage: "Usage") -> bool:
        """Whether the lane's department and its systems have room for it."""
        if limits.departments:
            place = core.run.plan, core.aggregate.phases[task.phase].department
            if 0 < limits.departments.get(place, 0) <= usage.of_department(place):
                return False
        if limits.connections:
            for place in _systems(core, task):
                if 0 < limits.connections.get(place, 0) <= usage.of_connection(place):
                    return False
        if self._throttles and core.aggregate.phases[task.phase].is_live:
            throttle = self._throttles.get(_source(core, task))
            if throttle is not None and 0 < (throttle.lanes_max or 0) <= usage.of_live(_source(core, task)):
                return False
        return True


def _is_of(core: RunCore, affinity: str | None) -> bool:
    """Whether the run lies in the environment that hosts of the affinity work for."""
    return affinity is None or affinity.rpartition("@")[2] == last_segment(core.environment)


def _source(core: RunCore, task: Task) -> Place:
    dataset = core.aggregate.datasets[task.phase, task.datasets[0]]
    return core.environment, dataset.source_connection


def _systems(core: RunCore, task: Task) -> list[Place]:
    """The connections that a task uses, each once."""
    return list(dict.fromkeys(_sides(core, task).values()))


def _side(core: RunCore, task: Task, field: str) -> Place | None:
    """The connection of the side that a field lies on."""
    sides, parts = _sides(core, task), field.split(".")
    return next((place for side, place in sides.items() if side in parts), None)


def _sides(core: RunCore, task: Task) -> dict[str, Place]:
    if not task.datasets:
        return {}
    environment = core.environment
    dataset = core.aggregate.datasets[task.phase, task.datasets[0]]
    target = {"target": (environment, dataset.target_connection)}
    if task.kind in READING:
        return {"source": (environment, dataset.source_connection), **target}
    return target
