"""Who watches a simulated world: everything that must hold whatever happens, checked as it happens and once more at the end."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from pymigrate.engine.application.works import staging_id
from pymigrate.engine.domain.retrying import WAITED_FOR
from pymigrate.engine.domain.run import Task
from pymigrate.engine.domain.run_ledger import ENGINE
from pymigrate.engine.domain.run_states import LANE_STEPS, PHASE_IN_HAND, PHASE_STEPS, RUN_STEPS, TASK_OPEN, PhaseState
from pymigrate.engine.ports.feed import FeedEntry
from pymigrate.engine.ports.store import Unit
from pymigrate.engine.testing.simulated_route import Rows, SimulatedSystems
from pymigrate.v1 import plan_pb2, worker_pb2
from tests.simulation.cutovers import Cutovers
from tests.simulation.plans import DrawnPlan, Place

RUN = "environments/e/plans/p/runs/r"
MACHINES = {
    "runs": {str(before): {str(after) for after in found} for before, found in RUN_STEPS.items()},
    "phases": {str(before): {str(after) for after in found} for before, found in PHASE_STEPS.items()},
    "lanes": {str(before): {str(after) for after in found} for before, found in LANE_STEPS.items()},
}
DONE = {str(PhaseState.PUBLISHED), str(PhaseState.SEALED)}
IN_HAND = {str(state) for state in PHASE_IN_HAND} | {str(PhaseState.ROLLING_BACK)}
RETRIABLE = frozenset({"INTERNAL", "FENCE_LOST"})
NEVER_DUE = frozenset(
    {"FAILED_PRECONDITION", "VERIFICATION_FAILED", "ILLEGAL_TRANSITION", "DATA_REFUSED", "TARGET_OCCUPIED"}
)
DRAIN_CHUNKS_MAX = 2
IDLE_SECONDS_MAX = 2.0
PAGE = 100_000


@dataclass
class Witness:
    """Keeps what it saw. `called` are the keys of what was done outside databases. `broken` tells what should not have been."""

    plan: DrawnPlan
    systems: SimulatedSystems
    called: Mapping[str, int]
    now: Callable[[], float]
    is_sunny: bool = False
    is_replaced: bool = False
    broken: list[str] = field(default_factory=list)
    states: dict[str, str] = field(default_factory=dict)
    approvals: set[str] = field(default_factory=set)
    trace: list[str] = field(default_factory=list)
    last_change: float = 0.0
    paused_at: float | None = None
    left: set[str] = field(default_factory=set)
    left_phases: set[str] = field(default_factory=set)
    delivered: Counter[int] = field(default_factory=Counter)
    _cursor: str = ""
    _sequence: int = 0
    _granted: dict[tuple[str, int], str] = field(default_factory=dict)
    _task_of_lane: dict[str, str] = field(default_factory=dict)
    _asked: dict[str, float] = field(default_factory=dict)
    _told_to_drain: dict[str, float] = field(default_factory=dict)
    _after_drain: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._cutovers = Cutovers(self.plan, self.systems, DONE)

    # The store ---------------------------------------------------------------------------------------------------------------------

    def observe(self, unit: Unit) -> None:
        """Looks within a transaction, after what it did."""
        entries, self._cursor = unit.feed.after(self._cursor, PAGE)
        for entry in entries:
            if entry.run == RUN:
                self._replay(entry, unit)
        run = unit.runs.get(RUN) if entries else None
        if run is not None and run.events != self._sequence:
            self._break(f"the run counts {run.events} events, and the stream has {self._sequence}")
        asked = {entry.actor for entry in entries if entry.run == RUN and entry.actor != ENGINE}
        if asked - {entry.actor for entry in entries if not entry.run}:
            self._break(f"{sorted(asked)} did something, and the audit does not tell it")

    def _replay(self, entry: FeedEntry, unit: Unit) -> None:
        self._sequence += 1
        self.last_change = self.now()
        if entry.sequence != self._sequence:
            self._break(f"event {entry.sequence} follows {self._sequence - 1}")
            self._sequence = entry.sequence
        why = f" {entry.failure.reason}: {entry.failure.message}" if entry.failure else ""
        what = f"{entry.subject[len(RUN) :]} {entry.from_state}>{entry.to_state}"
        self.trace.append(f"{self.now():.6f} {entry.type} {what}{why}")
        head = entry.type.partition(".")[0]
        if head in {"run", "phase", "lane"} and entry.type != "run.steered":
            self._step(f"{head}s", entry)
        elif entry.type == "gate.approved":
            self.approvals.add(entry.subject[len(RUN) :])
        if entry.type == "phase.ready":
            self._check_start(entry.subject)
        elif entry.type == "phase.publishing":
            self._check_verified(entry.subject, unit)
        elif entry.type == "phase.published":
            self.check_published(_last(entry.subject))
        elif entry.type == "dataset.repaired":
            self._break(f"storage keeps what it is given here, and rows had to be repaired: {why}")
        elif entry.type == "phase.rolled_back":
            self._check_order(_last(entry.subject))
        if entry.type == "run.paused":
            self.paused_at = self.now()
        elif head == "run" and entry.type != "run.steered":
            self.paused_at = None
        if entry.type == "staging.left":
            self._note_left(entry.subject, unit)
        if entry.failure is not None:
            self._check_failure(entry)

    def _step(self, collection: str, entry: FeedEntry) -> None:
        before = self.states.get(entry.subject, "pending")
        if before != entry.from_state or entry.to_state not in MACHINES[collection].get(entry.from_state, set()):
            self._break(f"{entry.subject} went {entry.from_state} > {entry.to_state} and was {before}")
        self.states[entry.subject] = entry.to_state

    def _check_start(self, subject: str) -> None:
        phase = _last(subject)
        for need in self.plan.needs(phase):
            if self.states.get(f"{RUN}/phases/{need}") not in DONE:
                self._break(f"{phase} started before {need} was published")
        for gate, each in self.plan.phases[phase].gates.items():
            is_before = each.point == plan_pb2.GATE_POINT_BEFORE_START
            if is_before and f"/phases/{phase}/gates/{gate}" not in self.approvals:
                self._break(f"{phase} started before {gate} was approved")

    def _check_order(self, undone: str) -> None:
        for phase in self.plan.phases:
            state = self.states.get(f"{RUN}/phases/{phase}", "pending")
            if undone in self.plan.needs(phase) and state in {*DONE, *IN_HAND}:
                self._break(f"{undone} was rolled back while {phase}, which needs it, is {state}")

    def _check_verified(self, subject: str, unit: Unit) -> None:
        aggregate = unit.runs.load(RUN)
        assert aggregate is not None
        for name in self.plan.datasets_of(_last(subject)):
            if not aggregate.datasets[name].verification:
                self._break(f"{name} was to be published before it was verified")

    def _note_left(self, subject: str, unit: Unit) -> None:
        """The run says that it could not clean up after a phase: a person is to."""
        aggregate = unit.runs.load(RUN)
        assert aggregate is not None
        phase = aggregate.phases[_last(subject)]
        self.left_phases.add(phase.id)
        for _, dataset in self.plan.datasets_of(phase.id):
            self.left.add(staging_id(RUN, phase.id, dataset, phase.attempt))

    def _check_failure(self, entry: FeedEntry) -> None:
        failure = entry.failure
        assert failure is not None
        if failure.reason in NEVER_DUE:
            self._break(f"{entry.subject}: {failure.reason}: {failure.message}")
        if failure.reason == "SOURCE_CHANGED" and any(
            f"/phases/{phase}" in entry.subject for phase, _ in self.plan.followed
        ):
            self._break(f"{entry.subject} follows what changes: {failure.message}")
        if entry.type == "lane.stalled" and not failure.is_temporary and failure.reason not in RETRIABLE | WAITED_FOR:
            self._break(f"{entry.subject} is tried again though {failure.reason} is permanent")
        if entry.type in {"lane.failed", "phase.failed"} and failure.is_temporary:
            self._break(f"{entry.subject} was given up though {failure.reason} is temporary: {failure.message}")

    def compare(self, unit: Unit) -> None:
        """Whether the store's states are what its events tell."""
        aggregate = unit.runs.load(RUN)
        if aggregate is None:
            return
        found = {aggregate.run.name: str(aggregate.run.state)}
        found |= {f"{RUN}/phases/{phase.id}": str(phase.state) for phase in aggregate.phases.values()}
        found |= {f"{RUN}/lanes/{lane.id}": str(lane.state) for lane in aggregate.lanes.values()}
        for subject, state in found.items():
            if self.states.get(subject, "pending") != state:
                self._break(f"{subject} is {state}, and its events tell {self.states.get(subject, 'pending')}")
        if aggregate.run.events != self._sequence:
            self._break(f"the run counts {aggregate.run.events} events, and there are {self._sequence}")

    # Hosts -------------------------------------------------------------------------------------------------------------------------

    def asked(self, host: str) -> None:
        """A host asks for work."""
        self._asked[host] = self.now()

    def finished(self) -> None:
        """A host tells how a task ended: there may be work now that was not there before."""
        self.last_change = self.now()

    def granted(self, host: str, task: worker_pb2.Task) -> None:
        """A host was given work."""
        if former := self._granted.get((task.id, task.fence)):
            self._break(f"{task.id} under fence {task.fence} was given to {former} and to {host}")
        self._granted[task.id, task.fence] = host
        if task.HasField("copy"):
            self._task_of_lane[task.copy.lane] = task.id
            self._told_to_drain.pop(task.id, None)
            self._after_drain.pop(task.id, None)
        since = max(self._asked.get(host, 0.0), self.last_change)
        is_timed = task.id.startswith("inquiries/") or task.HasField("catch_up") or self._is_throttled(task)
        if self.is_sunny and not is_timed and self.now() - since > IDLE_SECONDS_MAX:
            self._break(f"{host} waited {self.now() - since:.1f} s for {task.id}")

    def _is_throttled(self, task: worker_pb2.Task) -> bool:
        """Whether it reads a source that others work with: such lanes come one by one, as it bears them."""
        work = task.copy.dataset
        return task.HasField("copy") and (work.phase, work.dataset_id) in self.plan.followed

    def heard(self, since: float, tasks: frozenset[str]) -> None:
        """A host's heartbeat, begun at `since`, was answered by the engine that serves now."""
        if self.paused_at is not None and since > self.paused_at and not self.is_replaced:
            for task in tasks:
                self._told_to_drain.setdefault(task, self.now())

    def committed(self, lane: str, writer: str) -> None:
        """A chunk was committed."""
        task = self._task_of_lane.get(lane, "")
        told = self._told_to_drain.get(task)
        if told is not None and self.paused_at is not None and told > self.paused_at:
            self._after_drain[task] += 1
            if self._after_drain[task] > DRAIN_CHUNKS_MAX:
                self._break(f"{writer} goes on with {lane} though the run is held")

    # Targets -----------------------------------------------------------------------------------------------------------------------

    def check_published(self, phase: str) -> None:
        """Whether each of its relations holds exactly what its source held at one time."""
        for place in self.plan.datasets_of(phase):
            rows = self._rows(self.plan.targets[place])
            if rows is None:
                self._break(f"{place} is published, and its relation is not there")
            elif place in self.plan.followed:
                if not any(sorted(rows) == sorted(content) for content in self._cutovers.contents(place)):
                    self._break(
                        f"{place} is published with {len(rows)} rows, which its source did not hold when it was blocked"
                    )
            elif not self._is_version(self.plan.sources[place], self.plan.added(place, rows)):
                told = _difference(self.systems.versions[self.plan.sources[place]], self.plan.added(place, rows))
                self._break(f"{place} is published with {len(rows)} rows: {told}")

    def check_end(self, unit: Unit) -> None:
        """When everything is over."""
        self.observe(unit)
        self.compare(unit)
        for phase in self.plan.phases:
            self._check_left(phase, self.states.get(f"{RUN}/phases/{phase}", "pending"))
            self._check_steps(phase, unit)
        if (aggregate := unit.runs.load(RUN)) is not None:
            for what in self._cutovers.left(aggregate, self.left):
                self._break(what)
        for name, database in sorted(self.systems.databases.items()):
            if forgotten := sorted(set(database.staged) - self.left):
                self._break(f"{name} still has the stagings {forgotten}")
        left = [task.id for task in _tasks(unit) if task.state in TASK_OPEN]
        if left:
            self._break(f"there is still to be done: {left}")
        entries, _ = unit.feed.after("", PAGE)
        missed = [entry.id for entry in entries if not self.delivered[entry.id]]
        if missed:
            self._break(f"the notifier was never given the entries {missed}")
        told = [entry.sequence for entry in entries if entry.run == RUN]
        happened = [event.sequence for event in unit.runs.events(RUN, 0, PAGE)]
        if told != happened:
            self._break(f"the feed tells {len(told)} events of the run, and it has {len(happened)}")

    def _check_left(self, phase: str, state: str) -> None:
        if state in DONE:
            self.check_published(phase)
            return
        for place in self.plan.datasets_of(phase):
            target = self.plan.targets[place]
            rows, before = self._rows(target), self.plan.before.get(target)
            if state != PhaseState.ROLLBACK_BLOCKED and rows != before:
                self._break(f"{place} is {state}, and its relation holds {rows} where {before} was")

    def _check_steps(self, phase: str, unit: Unit) -> None:
        """What was done outside stands where the phase is published, and nowhere else."""
        aggregate = unit.runs.load(RUN)
        if aggregate is None or phase in self.left_phases:
            return
        record = aggregate.phases[phase]
        if record.state is PhaseState.ROLLBACK_BLOCKED:
            return
        for step in record.steps:
            for attempt in range(1, aggregate.run.attempt + 1):
                key = f"{RUN}/phases/{phase}/steps/{step}"
                stands = f"{key}/step/{attempt}" in self.called and f"{key}/undo/{attempt}" not in self.called
                is_due = str(record.state) in DONE and attempt == record.attempt
                if stands != is_due:
                    self._break(f"step {step} of {phase}, attempt {attempt}: {'stands' if stands else 'is not done'}")

    def _rows(self, place: Place) -> Rows | None:
        database = self.systems.database(place[0])
        return tuple(database.read(place[1])) if place[1] in database.relations else None

    def _is_version(self, place: Place, rows: Rows) -> bool:
        return any(sorted(version) == sorted(rows) for version in self.systems.versions[place])

    def _break(self, what: str) -> None:
        self.broken.append(f"{self.now():.3f} s: {what}")


def _last(subject: str) -> str:
    return subject.rpartition("/")[2]


def _tasks(unit: Unit) -> Iterable[Task]:
    aggregate = unit.runs.load(RUN)
    return aggregate.tasks.values() if aggregate else ()


def _difference(versions: list[Rows], rows: Rows) -> str:
    newest = Counter(versions[-1])
    found = Counter(rows)
    return f"{sorted((newest - found).elements())} are lost and {sorted((found - newest).elements())} are too many"
