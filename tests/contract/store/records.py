"""What the stores' contract is tried with: records of every kind, and small units of work."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from pymigrate.engine.domain.calibration import Sample
from pymigrate.engine.domain.run import DatasetRun, Entity, Failure, Lane, PhaseRun, Run, RunAggregate, RunEvent, Task
from pymigrate.engine.domain.run_states import DesiredState, LaneState, PhaseState, RunState, TaskKind, TaskState
from pymigrate.engine.ports.hosts import HostRecord
from pymigrate.engine.ports.store import Resource, Store, Unit

T = TypeVar("T")
NOW = datetime(2026, 5, 4, 3, 2, 1, 987_654, tzinfo=UTC)
PLAN = "environments/prod/plans/warehouse"
RUN = f"{PLAN}/runs/r1"
FAILURE = Failure("DATA_REFUSED", "row 7 of 'Straße' holds “x”", "phases.flights", is_temporary=True)


class BoomError(Exception):
    """What a unit of work of these tests fails with."""


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def new_run(name: str = RUN, plan: str = PLAN, key: str = "k1", create_time: datetime = NOW) -> Run:
    return Run(name, plan, key, "sha256:abc", create_time, "terraform")


def new_lane(id: str = "flights.1") -> Lane:
    return Lane(id, "flights", "flights")


def full_aggregate() -> RunAggregate:
    """Every field of every part has a value that is not its default."""
    phase, dataset, lane, task = full_phase(), full_dataset(), full_lane(), full_task()
    return RunAggregate(
        full_run(), {phase.id: phase}, {(phase.id, dataset.id): dataset}, {lane.id: lane}, {task.id: task}
    )


def full_run() -> Run:
    """A run that failed while it was to be paused."""
    return Run(
        name=RUN,
        plan=PLAN,
        key="k1",
        plan_hash="sha256:abc",
        create_time=at(0),
        managed_by="git",
        triggers={"version": "2", "a": "ü"},
        lanes_max=7,
        attempt=2,
        state=RunState.FAILED,
        desired=DesiredState.PAUSED,
        failure=FAILURE,
        end_time=at(1),
        update_time=at(2),
        events=3,
        waiting_for=("crm", "erp"),
        is_rollback_asked=True,
        rollback_window_seconds=604_800,
        traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        seal_time=at(12),
    )


def full_phase() -> PhaseRun:
    """A phase that can not be taken back."""
    phase = PhaseRun("flights", "ops", ("airlines", "planes"), 5, PhaseState.ROLLBACK_BLOCKED, 2, FAILURE, at(3), at(4))
    phase.gates, phase.approvals = {"go": "before_start", "ok": "before_publication"}, {"go": "ann@example.com"}
    phase.steps, phase.final_steps, phase.is_live = {"switch": "after_publication"}, ("switch",), True
    phase.is_online, phase.is_caught_up, phase.told_gates = True, True, ("go", "ok")
    return phase


def full_dataset() -> DatasetRun:
    """A dataset that was published with conflicts."""
    return DatasetRun(
        phase="flights",
        id="flights",
        source_connection="c/legacy",
        source_relation="flights.csv",
        target_connection="c/warehouse",
        target_relation="main.flights",
        affinity="file:/warehouse",
        rows_expected=336_776,
        path="csv-arrow",
        path_reason="postgres_binary is not taken: it is a view",
        delivery="exactly_once",
        verification=b"\x00\xff",
        start_time=at(5),
        end_time=at(6),
        copy_seconds=1.25,
        ranges=("1..5", "6.."),
        quarantine=FAILURE,
        conflicts=2,
        schema_notes=("the trigger `t` is not carried", "“x”"),
        lag_seconds=2.5,
        lag_seconds_max=10.0,
        changes=2**41,
        fence=7,
        verify_seconds=0.5,
        publish_seconds=0.75,
    )


def full_lane() -> Lane:
    """A lane whose rows are in conflict."""
    return Lane(
        id="flights.flights",
        phase="flights",
        dataset="flights",
        attempt=2,
        rows_expected=336_776,
        state=LaneState.CONFLICT,
        fence=4,
        chunks=12,
        rows=2**40,
        bytes=2**50,
        host="hosts/shared-1",
        failure=FAILURE,
        retries=3,
        start_time=at(7),
        end_time=at(8),
        part=2,
        quarantined_rows=17,
        secret_versions={"vault://kv/legacy#password": "3"},
    )


def full_task() -> Task:
    """A task that a host has, not for the first time."""
    return Task(
        id="copy.flights",
        kind=TaskKind.COPY,
        phase="flights",
        attempt=2,
        datasets=("flights", "weather"),
        target="c/warehouse",
        affinity="file:/warehouse",
        lane="flights.flights",
        state=TaskState.LEASED,
        fence=4,
        host="hosts/shared-1",
        lease_expires=at(9),
        leased_time=at(10),
        not_before=at(11),
        retries=3,
        failure=FAILURE,
        failing_since=at(13),
        detail="switch",
        is_prepared=True,
        waits=2,
    )


def parts(aggregate: RunAggregate) -> list[Entity]:
    return [
        aggregate.run,
        *aggregate.phases.values(),
        *aggregate.datasets.values(),
        *aggregate.lanes.values(),
        *aggregate.tasks.values(),
    ]


async def insert_run(store: Store, *lanes: Lane, run: Run | None = None) -> RunAggregate:
    aggregate = RunAggregate(run or new_run(), lanes={lane.id: lane for lane in lanes})
    await store.transact(lambda unit: unit.runs.insert(aggregate, b"revision"))
    return aggregate


async def load(store: Store, name: str = RUN) -> RunAggregate:
    loaded = await store.read(lambda unit: unit.runs.load(name))
    assert loaded is not None
    return loaded


def event(sequence: int, failure: Failure | None = None) -> RunEvent:
    return RunEvent(sequence, at(sequence), "lane.running", "lanes/1", "pending", "running", "alice", failure)


def resource(name: str, kind: str = "connections", parent: str = "", version: int = 1, uid: str = "") -> Resource:
    return Resource(name, kind, parent, uid or f"uid of {name}", version, b"\x00body", at(0), at(1), "api")


def host(name: str, seconds: float = 0) -> HostRecord:
    return HostRecord(name, "shared", 4711, 2**33, "session", at(seconds), "jobs/prod/shared-1/u/p")


def sample(run: str = RUN, place: str = "flights", seconds: float = 0, actual_seconds: float = 12.5) -> Sample:
    return Sample(run, place, at(seconds), 10.25, 13.5, 9.75, actual_seconds)


def saving(*entities: Entity, run: str = RUN) -> Callable[[Unit], None]:
    """Saves them."""
    return lambda unit: unit.runs.save(run, entities)


def appending(run: str, *events: RunEvent) -> Callable[[Unit], None]:
    """Appends them."""
    return lambda unit: unit.runs.append(run, events)


def each(*values: T, do: Callable[[Unit, T], None]) -> Callable[[Unit], None]:
    """Does it with one after the other."""

    def work(unit: Unit) -> None:
        for value in values:
            do(unit, value)

    return work
