"""A run and its parts as the engine knows them.

The records are mutable because one run's aggregate lives in the decision core and changes with every event; nothing is copied per
event. `version` is the store's compare-and-set counter: 0 means not stored yet."""

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from datetime import datetime
from operator import attrgetter
from typing import Any, TypeVar

from pymigrate.engine.domain.run_states import DesiredState, LaneState, PhaseState, RunState, TaskKind, TaskState


@dataclass(frozen=True, slots=True)
class Failure:
    """Why something failed: a constant, what a person reads, and the field of the plan that causes it where one does."""

    reason: str
    message: str
    field: str = ""
    is_temporary: bool = False


@dataclass(slots=True)
class Run:
    """One execution of one plan revision. `attempt` counts from 1; each retry adds one. `events` is the last event's sequence.

    `waiting_for` are plans whose newest run has not succeeded yet; `is_rollback_asked`: all of it is to be undone once it has ended.
    Published phases are sealed at `seal_time`, `rollback_window_seconds` after the run's end; -1: never by itself.
    `lanes_max` limits its lanes beside what its plan and its environment allow; 0: no limit of its own.
    `traceparent` is the call that started it, as W3C's Trace Context writes it; empty: it belongs to no trace.
    """

    name: str
    plan: str
    key: str
    plan_hash: str
    create_time: datetime
    managed_by: str
    triggers: dict[str, str] = field(default_factory=dict)
    lanes_max: int = 0
    attempt: int = 1
    state: RunState = RunState.PENDING
    desired: DesiredState = DesiredState.RUNNING
    failure: Failure | None = None
    end_time: datetime | None = None
    update_time: datetime | None = None
    events: int = 0
    waiting_for: tuple[str, ...] = ()
    is_rollback_asked: bool = False
    rollback_window_seconds: int = -1
    seal_time: datetime | None = None
    version: int = 0
    traceparent: str = ""


@dataclass(slots=True)
class PhaseRun:
    """One phase within a run. `attempt` is the run's attempt that it was last made ready or skipped in.

    `gates` are the points of its gates by name, `approvals` who approved which. `steps` are the points of what is done outside
    databases; `final_steps` those that can't be undone. `is_live`: its sources serve others meanwhile; `is_online`: they are written to,
    and staging catches up: within its bound once `is_caught_up`. `told_gates` have held it up in the run's attempt, which was told.
    """

    id: str
    department: str
    dependencies: tuple[str, ...] = ()
    priority: int = 0
    state: PhaseState = PhaseState.PENDING
    attempt: int = 1
    failure: Failure | None = None
    start_time: datetime | None = None
    end_time: datetime | None = None
    gates: dict[str, str] = field(default_factory=dict)
    approvals: dict[str, str] = field(default_factory=dict)
    steps: dict[str, str] = field(default_factory=dict)
    final_steps: tuple[str, ...] = ()
    is_live: bool = False
    version: int = 0
    is_online: bool = False
    is_caught_up: bool = False
    told_gates: tuple[str, ...] = ()


@dataclass(slots=True)
class DatasetRun:
    """One dataset within a run. `verification` is opaque to the core: what the host found, as the contract encodes it.

    `ranges` are what its lanes copy, one each; empty: one lane copies everything. `quarantine` is the failure that no try would mend.
    `schema_notes` say what of the source's declarations the target was not given.
    One that catches up is `lag_seconds` behind its source (-1: not caught up yet), with `changes` applied; `fence` counts the hosts that
    have had its changes, and within `lag_seconds_max` writes may be blocked.
    `copy_seconds` sums up how long hosts had its lanes, `verify_seconds` is how long the one had it that compared it to the end, and
    `publish_seconds` how long all datasets of its phase and target took together, their preparation included.
    """

    phase: str
    id: str
    source_connection: str
    source_relation: str
    target_connection: str
    target_relation: str
    affinity: str
    rows_expected: int = -1
    path: str = ""
    verification: bytes = b""
    start_time: datetime | None = None
    end_time: datetime | None = None
    copy_seconds: float = 0.0
    ranges: tuple[str, ...] = ()
    quarantine: Failure | None = None
    conflicts: int = 0
    path_reason: str = ""
    delivery: str = ""
    schema_notes: tuple[str, ...] = ()
    version: int = 0
    lag_seconds: float = -1.0
    lag_seconds_max: float = 0.0
    changes: int = 0
    fence: int = 0
    verify_seconds: float = 0.0
    publish_seconds: float = 0.0


@dataclass(slots=True)
class Lane:
    """An independent channel of execution, of one attempt of its phase. `fence` counts the hosts that have had it; `part` is the range
    of its dataset that it copies, from 1, and 0 where it copies everything; `secret_versions` are those that its host uses, by their
    references.
    """

    id: str
    phase: str
    dataset: str
    attempt: int = 1
    rows_expected: int = -1
    state: LaneState = LaneState.PENDING
    fence: int = 0
    chunks: int = 0
    rows: int = 0
    bytes: int = 0
    host: str = ""
    failure: Failure | None = None
    retries: int = 0
    start_time: datetime | None = None
    end_time: datetime | None = None
    part: int = 0
    quarantined_rows: int = 0
    secret_versions: dict[str, str] = field(default_factory=dict)
    version: int = 0


@dataclass(slots=True)
class Task:
    """A piece of work for a host. `target` is the target connection of the datasets; `retries` counts failures without progress, `waits`
    those of them that waited for a system or a secret to come back, and `failing_since` dates the first of them. `detail` is a step's name,
    or the key of a publication that takes place in several targets.
    """

    id: str
    kind: TaskKind
    phase: str
    attempt: int
    datasets: tuple[str, ...]
    target: str
    affinity: str
    lane: str = ""
    state: TaskState = TaskState.PENDING
    fence: int = 0
    host: str = ""
    lease_expires: datetime | None = None
    leased_time: datetime | None = None
    not_before: datetime | None = None
    retries: int = 0
    failure: Failure | None = None
    failing_since: datetime | None = None
    detail: str = ""
    is_prepared: bool = False
    waits: int = 0
    version: int = 0


@dataclass(frozen=True, slots=True)
class RunEvent:
    """Something that happened in a run. `sequence` counts from 1 within the run."""

    sequence: int
    time: datetime
    type: str
    subject: str
    from_state: str
    to_state: str
    actor: str
    failure: Failure | None = None


Entity = Run | PhaseRun | DatasetRun | Lane | Task
E = TypeVar("E", bound=Entity)


@dataclass(slots=True)
class RunAggregate:
    """A run with all its parts: phases by id, datasets by (phase, id), lanes and tasks by id."""

    run: Run
    phases: dict[str, PhaseRun] = field(default_factory=dict)
    datasets: dict[tuple[str, str], DatasetRun] = field(default_factory=dict)
    lanes: dict[str, Lane] = field(default_factory=dict)
    tasks: dict[str, Task] = field(default_factory=dict)

    def entities(self) -> Iterator[Entity]:
        """The run and all its parts."""
        yield self.run
        for parts in (self.phases, self.datasets, self.lanes, self.tasks):
            yield from parts.values()

    def copied(self) -> "RunAggregate":
        """Another one that may be changed without changing this one. What is never changed in place is shared."""
        return RunAggregate(
            copied(self.run),
            {key: copied(phase) for key, phase in self.phases.items()},
            {key: copied(dataset) for key, dataset in self.datasets.items()},
            {key: copied(lane) for key, lane in self.lanes.items()},
            {key: copied(task) for key, task in self.tasks.items()},
        )


_VALUES: "dict[type, attrgetter[tuple[Any, ...]]]" = {
    kind: attrgetter(*(field.name for field in fields(kind))) for kind in (Run, PhaseRun, DatasetRun, Lane, Task)
}


def copied(entity: E) -> E:
    """Another record of the same content, which does not change with it. What is never changed in place is shared."""
    kind = type(entity)
    return kind(*_VALUES[kind](entity))
