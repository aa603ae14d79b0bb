"""Tables of runs and their parts. A column has the name of the field that it keeps, so a row crosses over whole.

A part's key begins with its run. The frozen revision has a table of its own: it may be large, and a run is written with every event.
"""

from collections.abc import Callable
from dataclasses import fields
from datetime import datetime
from operator import attrgetter
from typing import Any

from sqlalchemy import BigInteger, Boolean, Double, Index, LargeBinary, Text
from sqlmodel import Field, UniqueConstraint

from pymigrate.engine.adapters.store.columns import NAME, Instant, Labels, Reason, Texts, choice
from pymigrate.engine.adapters.store.tables import Table
from pymigrate.engine.domain.run import DatasetRun, Failure, Lane, PhaseRun, Run, Task
from pymigrate.engine.domain.run_states import DesiredState, LaneState, PhaseState, RunState, TaskKind, TaskState


def _fields_of(record: type[Any]) -> tuple[tuple[str, ...], Callable[[Any], tuple[Any, ...]]]:
    names = tuple(each.name for each in fields(record))
    return names, attrgetter(*names)


_RUN, _run_values = _fields_of(Run)
_PHASE, _phase_values = _fields_of(PhaseRun)
_DATASET, _dataset_values = _fields_of(DatasetRun)
_LANE, _lane_values = _fields_of(Lane)
_TASK, _task_values = _fields_of(Task)


class RunRow(Table, table=True):
    """A run."""

    __tablename__ = "run"
    __table_args__ = (UniqueConstraint("plan", "key"), Index(None, "plan", "create_time", "name"))

    name: str = Field(primary_key=True, sa_type=NAME)
    plan: str = Field(sa_type=NAME)
    key: str = Field(sa_type=NAME)
    plan_hash: str = Field(sa_type=Text)
    create_time: datetime = Field(sa_type=Instant)
    managed_by: str = Field(sa_type=Text)
    triggers: dict[str, str] = Field(sa_type=Labels)
    lanes_max: int = Field(sa_type=BigInteger)
    attempt: int = Field(sa_type=BigInteger)
    state: RunState = Field(sa_type=choice(RunState))
    desired: DesiredState = Field(sa_type=choice(DesiredState))
    failure: Failure | None = Field(sa_type=Reason, nullable=True)
    end_time: datetime | None = Field(sa_type=Instant)
    update_time: datetime | None = Field(sa_type=Instant)
    events: int = Field(sa_type=BigInteger)
    waiting_for: tuple[str, ...] = Field(sa_type=Texts)
    is_rollback_asked: bool = Field(sa_type=Boolean)
    rollback_window_seconds: int = Field(sa_type=BigInteger)
    seal_time: datetime | None = Field(sa_type=Instant, index=True)
    version: int = Field(sa_type=BigInteger)
    traceparent: str = Field(sa_type=Text)

    def to_domain(self) -> Run:
        """The run as the core knows it."""
        return Run(**{name: getattr(self, name) for name in _RUN})

    @staticmethod
    def from_domain(run: str, record: Run) -> dict[str, Any]:
        """The row's values."""
        return dict(zip(_RUN, _run_values(record), strict=True))


class RunRevisionRow(Table, table=True):
    """The frozen revision of a run."""

    __tablename__ = "run_revision"

    run: str = Field(primary_key=True, foreign_key="run.name", sa_type=NAME)
    body: bytes = Field(sa_type=LargeBinary)


class PhaseRunRow(Table, table=True):
    """A phase within a run."""

    __tablename__ = "phase_run"

    run: str = Field(primary_key=True, foreign_key="run.name", sa_type=NAME)
    id: str = Field(primary_key=True, sa_type=NAME)
    department: str = Field(sa_type=Text)
    dependencies: tuple[str, ...] = Field(sa_type=Texts)
    priority: int = Field(sa_type=BigInteger)
    state: PhaseState = Field(sa_type=choice(PhaseState))
    attempt: int = Field(sa_type=BigInteger)
    failure: Failure | None = Field(sa_type=Reason, nullable=True)
    start_time: datetime | None = Field(sa_type=Instant)
    end_time: datetime | None = Field(sa_type=Instant)
    gates: dict[str, str] = Field(sa_type=Labels)
    approvals: dict[str, str] = Field(sa_type=Labels)
    steps: dict[str, str] = Field(sa_type=Labels)
    final_steps: tuple[str, ...] = Field(sa_type=Texts)
    is_live: bool = Field(sa_type=Boolean)
    version: int = Field(sa_type=BigInteger)
    is_online: bool = Field(sa_type=Boolean)
    is_caught_up: bool = Field(sa_type=Boolean)
    told_gates: tuple[str, ...] = Field(sa_type=Texts)

    def to_domain(self) -> PhaseRun:
        """The phase as the core knows it."""
        return PhaseRun(**{name: getattr(self, name) for name in _PHASE})

    @staticmethod
    def from_domain(run: str, record: PhaseRun) -> dict[str, Any]:
        """The row's values."""
        return dict(zip(_PHASE, _phase_values(record), strict=True), run=run)


class DatasetRunRow(Table, table=True):
    """A dataset within a run."""

    __tablename__ = "dataset_run"

    run: str = Field(primary_key=True, foreign_key="run.name", sa_type=NAME)
    phase: str = Field(primary_key=True, sa_type=NAME)
    id: str = Field(primary_key=True, sa_type=NAME)
    source_connection: str = Field(sa_type=Text)
    source_relation: str = Field(sa_type=Text)
    target_connection: str = Field(sa_type=Text)
    target_relation: str = Field(sa_type=Text)
    affinity: str = Field(sa_type=Text)
    rows_expected: int = Field(sa_type=BigInteger)
    path: str = Field(sa_type=Text)
    verification: bytes = Field(sa_type=LargeBinary)
    start_time: datetime | None = Field(sa_type=Instant)
    end_time: datetime | None = Field(sa_type=Instant)
    copy_seconds: float = Field(sa_type=Double)
    ranges: tuple[str, ...] = Field(sa_type=Texts)
    quarantine: Failure | None = Field(sa_type=Reason, nullable=True)
    conflicts: int = Field(sa_type=BigInteger)
    version: int = Field(sa_type=BigInteger)
    path_reason: str = Field(sa_type=Text)
    schema_notes: tuple[str, ...] = Field(sa_type=Texts)
    lag_seconds: float = Field(sa_type=Double)
    lag_seconds_max: float = Field(sa_type=Double)
    changes: int = Field(sa_type=BigInteger)
    fence: int = Field(sa_type=BigInteger)
    delivery: str = Field(sa_type=Text)
    verify_seconds: float = Field(sa_type=Double)
    publish_seconds: float = Field(sa_type=Double)

    def to_domain(self) -> DatasetRun:
        """The dataset as the core knows it."""
        return DatasetRun(**{name: getattr(self, name) for name in _DATASET})

    @staticmethod
    def from_domain(run: str, record: DatasetRun) -> dict[str, Any]:
        """The row's values."""
        return dict(zip(_DATASET, _dataset_values(record), strict=True), run=run)


class LaneRow(Table, table=True):
    """A lane within a run."""

    __tablename__ = "lane"

    run: str = Field(primary_key=True, foreign_key="run.name", sa_type=NAME)
    id: str = Field(primary_key=True, sa_type=NAME)
    phase: str = Field(sa_type=Text)
    dataset: str = Field(sa_type=Text)
    attempt: int = Field(sa_type=BigInteger)
    rows_expected: int = Field(sa_type=BigInteger)
    state: LaneState = Field(sa_type=choice(LaneState))
    fence: int = Field(sa_type=BigInteger)
    chunks: int = Field(sa_type=BigInteger)
    rows: int = Field(sa_type=BigInteger)
    bytes: int = Field(sa_type=BigInteger)
    host: str = Field(sa_type=Text)
    failure: Failure | None = Field(sa_type=Reason, nullable=True)
    retries: int = Field(sa_type=BigInteger)
    start_time: datetime | None = Field(sa_type=Instant)
    end_time: datetime | None = Field(sa_type=Instant)
    part: int = Field(sa_type=BigInteger)
    version: int = Field(sa_type=BigInteger)
    quarantined_rows: int = Field(sa_type=BigInteger)
    secret_versions: dict[str, str] = Field(sa_type=Labels)

    def to_domain(self) -> Lane:
        """The lane as the core knows it."""
        return Lane(**{name: getattr(self, name) for name in _LANE})

    @staticmethod
    def from_domain(run: str, record: Lane) -> dict[str, Any]:
        """The row's values."""
        return dict(zip(_LANE, _lane_values(record), strict=True), run=run)


class TaskRow(Table, table=True):
    """A piece of work of a run."""

    __tablename__ = "task"

    run: str = Field(primary_key=True, foreign_key="run.name", sa_type=NAME)
    id: str = Field(primary_key=True, sa_type=NAME)
    kind: TaskKind = Field(sa_type=choice(TaskKind))
    phase: str = Field(sa_type=Text)
    attempt: int = Field(sa_type=BigInteger)
    datasets: tuple[str, ...] = Field(sa_type=Texts)
    target: str = Field(sa_type=Text)
    affinity: str = Field(sa_type=Text)
    lane: str = Field(sa_type=Text)
    state: TaskState = Field(sa_type=choice(TaskState))
    fence: int = Field(sa_type=BigInteger)
    host: str = Field(sa_type=Text)
    lease_expires: datetime | None = Field(sa_type=Instant)
    leased_time: datetime | None = Field(sa_type=Instant)
    not_before: datetime | None = Field(sa_type=Instant)
    retries: int = Field(sa_type=BigInteger)
    failure: Failure | None = Field(sa_type=Reason, nullable=True)
    failing_since: datetime | None = Field(sa_type=Instant)
    detail: str = Field(sa_type=Text)
    is_prepared: bool = Field(sa_type=Boolean)
    version: int = Field(sa_type=BigInteger)
    waits: int = Field(sa_type=BigInteger)

    def to_domain(self) -> Task:
        """The task as the core knows it."""
        return Task(**{name: getattr(self, name) for name in _TASK})

    @staticmethod
    def from_domain(run: str, record: Task) -> dict[str, Any]:
        """The row's values."""
        return dict(zip(_TASK, _task_values(record), strict=True), run=run)
