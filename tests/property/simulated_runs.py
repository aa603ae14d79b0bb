"""A run driven by chance: hosts that lease, report, fail, vanish and lie, people who pause, resume, cancel and retry, and engines that
die and are followed by others.

Everything follows from the source of chance. The invariants are checked after every event.
"""

import copy
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from pymigrate.engine.domain.errors import FailedPrecondition, NotFound
from pymigrate.engine.domain.gates import is_to_start, waiting_gates
from pymigrate.engine.domain.happenings import (
    Approved,
    Begun,
    CoreEvent,
    Drained,
    Failed,
    Leased,
    Lost,
    PlanSucceeded,
    Progressed,
    Renewed,
    Retried,
    RollbackAsked,
    SealAsked,
    Steered,
    Succeeded,
)
from pymigrate.engine.domain.orchestration import RunCore
from pymigrate.engine.domain.run import DatasetRun, Entity, Failure, PhaseRun, Run, RunAggregate, RunEvent, Task
from pymigrate.engine.domain.run_states import (
    AFTERWARDS,
    LANE_STEPS,
    PHASE_ENDED,
    PHASE_IN_HAND,
    PHASE_STEPS,
    RUN_ENDED,
    RUN_STEPS,
    TASK_OPEN,
    TASK_STEPS,
    UNDOING,
    DesiredState,
    PhaseState,
    Point,
    RunState,
    State,
    TaskKind,
    TaskState,
)

START = datetime(2026, 1, 1, tzinfo=UTC)
PLAN = "environments/e/plans/p"
DONE = {PhaseState.PUBLISHED, PhaseState.SEALED}
STEPS_MAX = 5_000
ENGINE_DEATHS = 0.05
GATES = 0.2
STEPS_OUTSIDE = 0.2
FINAL_STEPS = 0.3
SEVERAL_LANES = 0.3
ONLINE = 0.25
LAG_SECONDS_MAX = 10.0
OTHER_PLANS = 0.1


def _words(steps: Mapping[State, frozenset[State]]) -> dict[str, set[str]]:
    return {str(before): {str(after) for after in found} for before, found in steps.items()}


STEPS = {"run": _words(RUN_STEPS), "phase": _words(PHASE_STEPS), "lane": _words(LANE_STEPS)}
TEMPORARY = Failure("SYSTEM_UNAVAILABLE", "away", is_temporary=True)
PERMANENT = Failure("DATA_REFUSED", "no", field="key")


def aggregate_of(dependencies: dict[str, tuple[str, ...]], datasets: int = 1, targets: int = 1) -> RunAggregate:
    """A run of a plan with these phases, each of so many datasets spread over so many targets."""
    run = Run(f"{PLAN}/runs/r", PLAN, "key", "hash", START, "api")
    aggregate = RunAggregate(run)
    for phase, names in dependencies.items():
        aggregate.phases[phase] = PhaseRun(phase, "sales", names)
        for number in range(datasets):
            target = f"target{number % targets}"
            name = f"d{number}"
            aggregate.datasets[phase, name] = DatasetRun(
                phase, name, "source", name, target, f"{phase}_{name}", f"file:/{target}", rows_expected=10
            )
    return aggregate


def random_plan(rng: random.Random) -> dict[str, tuple[str, ...]]:
    """Up to twelve phases, each depending on some of those before it."""
    names = [f"p{number}" for number in range(rng.randint(1, 12))]
    return {name: tuple(sorted(rng.sample(names[:at], rng.randint(0, min(at, 3))))) for at, name in enumerate(names)}


def adorn(aggregate: RunAggregate, rng: random.Random) -> None:
    """Gates, steps outside databases and datasets of several lanes, here and there."""
    for phase in aggregate.phases.values():
        if rng.random() < GATES:
            phase.gates = {"go": rng.choice([Point.BEFORE_START, Point.BEFORE_PUBLICATION])}
        if rng.random() < STEPS_OUTSIDE:
            points = [Point.BEFORE_START, Point.AFTER_PUBLICATION]
            phase.steps = {name: str(rng.choice(points)) for name in ("call", "tell")[: rng.randint(1, 2)]}
            phase.final_steps = ("tell",) if rng.random() < FINAL_STEPS else ()
        phase.is_online = rng.random() < ONLINE
    for dataset in aggregate.datasets.values():
        dataset.lag_seconds_max = LAG_SECONDS_MAX
        if rng.random() < SEVERAL_LANES:
            dataset.ranges = ("..5", "5..9", "9..")
    if rng.random() < OTHER_PLANS:
        aggregate.run.waiting_for = ("before",)


@dataclass
class Simulation:
    """One run under one seed, or another source of chance. `trace` tells what happened, for comparison."""

    seed: int = 0
    faults: int = 60
    chance: random.Random | None = None
    trace: list[str] = field(default_factory=list)
    now: datetime = START
    last: CoreEvent | None = None

    def __post_init__(self) -> None:
        self.rng = self.chance or random.Random(self.seed)
        aggregate = aggregate_of(random_plan(self.rng), self.rng.randint(1, 3), self.rng.randint(1, 2))
        adorn(aggregate, self.rng)
        aggregate.run.desired = self.rng.choice([DesiredState.RUNNING, DesiredState.RUNNING, DesiredState.PAUSED])
        self.core = RunCore(aggregate, random.Random(self.seed))
        self.sequence = 0
        self.fences: dict[str, int] = {}
        self.told_gates: set[tuple[str, int]] = set()

    @property
    def aggregate(self) -> RunAggregate:
        """The run with its parts, as the core has them now."""
        return self.core.aggregate

    def run(self) -> RunState:
        """Faults first, then none: the run must come to its end. Returns where it ended."""
        self.apply(Begun())
        for _ in range(self.faults):
            self.apply(self.random_event())
            self.pass_time(self.rng.uniform(0, 5))
            if self.rng.random() < ENGINE_DEATHS:
                self.follow()
        return self.finish()

    def finish(self) -> RunState:
        """Hosts that work do everything that can be done, and people let a held run go on; where it ended."""
        for _ in range(STEPS_MAX):
            if self.core.run.state in RUN_ENDED:
                break
            self.apply(self.honest_event())
        assert self.core.run.state in RUN_ENDED, f"seed {self.seed}: {self.core.run.state} for ever"
        return self.core.run.state

    def retry(self) -> RunState:
        """What failed is done again by hosts that work; where the run ended."""
        self.apply(Retried("people"))
        return self.finish()

    def regret(self) -> RunState:
        """People want a phase undone after all; where the run ended."""
        self.apply(RollbackAsked("people", self.rng.choice(list(self.aggregate.phases))))
        return self.finish()

    @property
    def is_blocked(self) -> bool:
        """Whether something published could not be taken back, which forbids a retry."""
        return any(phase.state is PhaseState.ROLLBACK_BLOCKED for phase in self.aggregate.phases.values())

    def follow(self) -> None:
        """The engine dies, and another goes on from what was stored."""
        stored = copy.deepcopy(self.core.aggregate)
        self.core = type(self.core)(stored, self.core._rng)
        self.apply(Begun())

    def apply(self, event: CoreEvent | None) -> None:
        """One event, and every invariant."""
        if event is None:
            return
        self.last = event
        try:
            accepted = self.core.apply(event, self.now)
        except (FailedPrecondition, NotFound) as error:
            self.trace.append(f"{type(event).__name__} refused: {error.message}")
            accepted = False
        entities, events = self.core.take()
        self.store(entities, events)
        self.check(events)
        self.trace.append(f"{type(event).__name__} {accepted} {[moment.type for moment in events]}")

    def store(self, entities: list[Entity], events: list[RunEvent]) -> None:
        """What a store does with what has changed: it counts the versions."""
        del events
        for entity in entities:
            entity.version += 1

    def check(self, events: list[RunEvent]) -> None:
        """What must hold whatever happened."""
        for moment in events:
            self.sequence += 1
            assert moment.sequence == self.sequence
            if moment.type == "phase.ready":
                phase = self.aggregate.phases[moment.subject.rpartition("/")[2]]
                assert all(self.aggregate.phases[name].state in DONE for name in phase.dependencies)
                assert not self.core.run.waiting_for
                assert all(name in phase.approvals for name, at in phase.gates.items() if at == Point.BEFORE_START)
            if moment.type == "gate.waiting":
                told = moment.subject, self.core.run.attempt
                assert told not in self.told_gates
                self.told_gates.add(told)
            if moment.type == "phase.publishing":
                phase = self.aggregate.phases[moment.subject.rpartition("/")[2]]
                assert all(name in phase.approvals for name in phase.gates)
            if moment.type.split(".")[0] in {"run", "phase", "lane"} and moment.type != "run.steered":
                assert moment.to_state in STEPS[moment.type.split(".")[0]][moment.from_state], moment
        open_tasks = [task for task in self.aggregate.tasks.values() if task.state in TASK_OPEN]
        work = [(t.phase, name, t.kind, t.attempt, t.lane) for t in open_tasks for name in t.datasets or (t.detail,)]
        assert len(work) == len(set(work))
        for task in open_tasks:
            self.check_undoing(task)
        run = self.core.run
        if run.state in RUN_ENDED:
            assert all(task.kind is TaskKind.SEAL for task in open_tasks)
            assert run.end_time is not None
            assert all(phase.state in PHASE_ENDED for phase in self.aggregate.phases.values())
            self.check_let_go()
        elif run.desired is not DesiredState.CANCELLED and run.state is not RunState.ROLLING_BACK:
            self.check_gates()
        if run.state is RunState.RUNNING:
            assert run.desired is not DesiredState.PAUSED
        if run.desired is DesiredState.PAUSED:
            claimable = self.core.claimable(self.now + timedelta(days=1))
            assert all(task.kind in AFTERWARDS or self.core.is_cutting_over(task) for task in claimable)
        fences = {task.id: task.fence for task in self.aggregate.tasks.values()}
        fences |= {lane.id: lane.fence for lane in self.aggregate.lanes.values()}
        assert all(fences[part] >= fence for part, fence in self.fences.items())
        self.fences = fences
        for task in self.aggregate.tasks.values():
            assert task.state in TASK_STEPS
            assert (task.state is TaskState.LEASED) == bool(task.host)

    def check_gates(self) -> None:
        """What is told to wait at a gate is what nothing else holds up."""
        run, phases = self.core.run, self.aggregate.phases
        for phase in phases.values():
            tasks = [t for t in self.aggregate.tasks.values() if (t.phase, t.attempt) == (phase.id, phase.attempt)]
            is_verified = all(task.state is TaskState.DONE for task in tasks if task.kind is TaskKind.VERIFY)
            is_over = phase.state in PHASE_ENDED and not is_to_start(run, phase)
            waiting = set(waiting_gates(run, phase, phases)) if is_verified else set()
            told = {
                gate
                for gate in phase.gates
                if (f"{run.name}/phases/{phase.id}/gates/{gate}", run.attempt) in self.told_gates
            }
            assert waiting == told - phase.approvals.keys() or is_over, phase

    def check_let_go(self) -> None:
        """What keeps changes in a source that was not published is undone, or told to be left; nothing is read before it is kept."""
        for phase in self.aggregate.phases.values():
            tasks = [t for t in self.aggregate.tasks.values() if (t.phase, t.attempt) == (phase.id, phase.attempt)]
            captures = [task for task in tasks if task.kind is TaskKind.CAPTURE]
            undone = any(t.kind is TaskKind.ROLLBACK and t.state in {TaskState.DONE, TaskState.FAILED} for t in tasks)
            is_published = any(task.kind is TaskKind.PUBLISH and task.fence for task in tasks)
            is_kept = phase.state in DONE or (phase.state is PhaseState.ROLLBACK_BLOCKED and is_published)
            if any(task.fence for task in captures) and not is_kept:
                assert undone, phase
            if phase.is_online and any(task.kind is TaskKind.COPY for task in tasks):
                assert captures
                assert all(task.state is TaskState.DONE for task in captures)

    def check_undoing(self, task: Task) -> None:
        """Nothing is undone that something published needs, or that would be left half undone."""
        phase = self.aggregate.phases[task.phase]
        if task.kind in UNDOING and phase.state is PhaseState.ROLLING_BACK:
            needing = [each for each in self.aggregate.phases.values() if phase.id in each.dependencies]
            assert not any(each.state in DONE | PHASE_IN_HAND | {PhaseState.ROLLING_BACK} for each in needing)
            steps = {t.detail for t in self.aggregate.tasks.values() if t.phase == phase.id and t.kind is TaskKind.STEP}
            begun = {
                t.detail
                for t in self.aggregate.tasks.values()
                if t.phase == phase.id and t.attempt == phase.attempt and t.kind is TaskKind.STEP and t.fence
            }
            assert not begun & steps & set(phase.final_steps)
        assert task.kind not in UNDOING or phase.state is not PhaseState.SEALED

    def random_event(self) -> CoreEvent | None:
        """Anything that may happen, with lies and repetitions."""
        task = self.some_task()
        kind = self.rng.choices(
            [
                *("lease", "progress", "succeed", "fail", "fatal", "lost"),
                *("renew", "drain", "stale", "twice", "steer", "retry"),
                *("approve", "undo", "seal", "plan"),
            ],
            [30, 20, 25, 8, 2, 8, 5, 6, 8, 4, 4, 2, 4, 1, 1, 2],
        )[0]
        if kind in {"approve", "undo", "seal", "plan"}:
            return self.some_wish(kind)
        if kind == "steer":
            desired = self.rng.choices(list(DesiredState), [5, 5, 1])[0]
            return Steered(desired, "people")
        if kind == "retry":
            return Retried("people")
        if task is None:
            return None
        fence = task.fence - 1 if kind == "stale" else task.fence
        match kind:
            case "lease":
                claimable = self.core.claimable(self.now)
                return self.lease(self.rng.choice(claimable)) if claimable else None
            case "twice":
                return self.last
            case "lost":
                return Lost(task.id)
            case "renew":
                return Renewed(task.id, fence, self.now + timedelta(seconds=15))
            case "progress" if task.lane:
                done = self.aggregate.lanes[task.lane].chunks + 1
                return Progressed(task.id, fence, done, done * 10, done * 100)
            case "progress" if task.kind is TaskKind.CATCH_UP:
                return self.behind(task, fence, self.rng.uniform(0, 2 * LAG_SECONDS_MAX))
            case "fail":
                return Failed(task.id, fence, TEMPORARY)
            case "fatal":
                return Failed(task.id, fence, PERMANENT)
            case "drain" if task.lane or task.kind in {TaskKind.CAPTURE, TaskKind.CATCH_UP}:
                return Drained(task.id, fence)
            case "succeed" | "stale":
                return Succeeded(task.id, fence, b"found")
            case _:
                return None

    def some_wish(self, kind: str) -> CoreEvent:
        """What people ask of a phase, and what another plan tells."""
        phase = self.rng.choice(list(self.aggregate.phases))
        match kind:
            case "approve":
                return Approved(phase, "go", "people")
            case "undo":
                return RollbackAsked("people", self.rng.choice([phase, phase, phase, ""]))
            case "seal":
                return SealAsked("people", self.rng.choice([(phase,), ()]))
            case _:
                return PlanSucceeded("before")

    def honest_event(self) -> CoreEvent:
        """What a host that works does: finish what is leased, else lease, else time passes."""
        leased = [task for task in self.aggregate.tasks.values() if task.state is TaskState.LEASED]
        if leased:
            task = leased[0]
            if task.kind is TaskKind.CATCH_UP and self.lag_seconds(task) > LAG_SECONDS_MAX:
                return self.behind(task, task.fence, LAG_SECONDS_MAX / 2)
            return (
                Drained(task.id, task.fence)
                if task.id in self.core.to_drain()
                else Succeeded(task.id, task.fence, b"found")
            )
        if claimable := self.core.claimable(self.now):
            return self.lease(claimable[0])
        self.pass_time(120)
        if self.core.run.waiting_for:
            return PlanSucceeded(self.core.run.waiting_for[0])
        for phase in self.aggregate.phases.values():
            is_near = phase.is_caught_up and phase.state is PhaseState.STAGING
            is_due = is_near or phase.state is PhaseState.VERIFYING or phase.gates.get("go") == Point.BEFORE_START
            if phase.gates and not phase.approvals and is_due:
                return Approved(phase.id, "go", "people")
        return Steered(DesiredState.RUNNING, "people") if self.core.run.state is RunState.PAUSED else Begun()

    def behind(self, task: Task, fence: int, seconds: float) -> Progressed:
        """Staging is so far behind, after one more change."""
        changes = self.aggregate.datasets[task.phase, task.datasets[0]].changes + 1
        return Progressed(task.id, fence, 0, 0, 0, seconds, changes)

    def lag_seconds(self, task: Task) -> float:
        """How far behind staging is, as far as was told."""
        return self.aggregate.datasets[task.phase, task.datasets[0]].lag_seconds

    def lease(self, task: Task) -> Leased:
        """A host takes a task."""
        return Leased(task.id, f"workerHosts/h{self.rng.randint(1, 3)}", self.now + timedelta(seconds=15))

    def some_task(self) -> Task | None:
        """Mostly one that is leased."""
        tasks = list(self.aggregate.tasks.values())
        leased = [task for task in tasks if task.state is TaskState.LEASED]
        pool = leased if leased and self.rng.random() < 0.85 else tasks
        return self.rng.choice(pool) if pool else None

    def pass_time(self, seconds: float) -> None:
        """Later."""
        self.now += timedelta(seconds=seconds)


def traces(seeds: range) -> Iterator[str]:
    """What happens under each seed, as text."""
    for seed in seeds:
        simulation = Simulation(seed)
        simulation.run()
        yield "\n".join(simulation.trace)
