"""Runs within a unit of work: reads through SQLModel, and one Core statement for each part that is saved.

Saving compares the stored version with the entity's own and adds one to both. The entity is the caller's, so a unit that is undone
gives it the version back that it had.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Insert, Update, and_, bindparam, insert, or_, update
from sqlalchemy.exc import IntegrityError
from sqlmodel import col, select

from pymigrate.engine.adapters.store.feed import append_events
from pymigrate.engine.adapters.store.feed_tables import FeedEntryRow
from pymigrate.engine.adapters.store.reading import read_all, read_first
from pymigrate.engine.adapters.store.run_tables import (
    DatasetRunRow,
    LaneRow,
    PhaseRunRow,
    RunRevisionRow,
    RunRow,
    TaskRow,
)
from pymigrate.engine.adapters.store.tables import ResourceRow
from pymigrate.engine.adapters.store.versions import Versions
from pymigrate.engine.domain.errors import AlreadyExists, StaleWrite
from pymigrate.engine.domain.run import DatasetRun, Entity, Lane, PhaseRun, Run, RunAggregate, RunEvent, Task
from pymigrate.engine.domain.run_keys import GIVEN_UP
from pymigrate.engine.domain.run_states import TASK_OPEN, RunState

ALL_PLANS = "/-"
NAMES_AT_ONCE = 1_000
PLANS = "plans"
AFTER_SLASH = "0"  # the character that follows "/"
_STANDING = col(RunRow.key).not_like(f"{GIVEN_UP}%")
PartRow = type[RunRow | PhaseRunRow | DatasetRunRow | LaneRow | TaskRow]


@dataclass(frozen=True, slots=True)
class _Statements:
    """How one kind of part is written. Keys to compare with are bound under names of their own, for an update sets them too."""

    row: Any
    insert: Insert
    update: Update
    keys: tuple[tuple[str, str], ...]

    def values(self, run: str, entity: Entity, version: int) -> dict[str, Any]:
        """The parameters of both."""
        values: dict[str, Any] = self.row.from_domain(run, entity)
        values["version"] = version
        return values


def _statements_of(row: PartRow) -> _Statements:
    table = row.metadata.tables[str(row.__tablename__)]
    keys = tuple(column.name for column in table.primary_key)
    places = [table.c[key] == bindparam(f"stored_{key}") for key in (*keys, "version")]
    fresh: dict[str, Any] = {c.name: bindparam(c.name) for c in table.columns if c.name not in keys}
    return _Statements(
        row, insert(table), update(table).where(*places).values(fresh), tuple((key, f"stored_{key}") for key in keys)
    )


_PARTS: dict[type[Entity], _Statements] = {
    Run: _statements_of(RunRow),
    PhaseRun: _statements_of(PhaseRunRow),
    DatasetRun: _statements_of(DatasetRunRow),
    Lane: _statements_of(LaneRow),
    Task: _statements_of(TaskRow),
}
_INSERT_REVISION = insert(RunRevisionRow)
_UPDATE_REVISION = update(RunRevisionRow).where(col(RunRevisionRow.run) == bindparam("stored_run"))


_VERSIONS = select(RunRow.name, RunRow.version).where(col(RunRow.name).in_(bindparam("names", expanding=True)))


class SqlRuns:
    """Runs, their parts and their events in their tables."""

    def __init__(self, connection: Connection, versions: Versions) -> None:
        self._connection = connection
        self._versions = versions

    def insert(self, aggregate: RunAggregate, revision: bytes) -> None:
        """Raises AlreadyExists."""
        run = aggregate.run
        try:
            self._insert(run.name, [run])
        except IntegrityError as error:
            message = f"{run.name} exists already, or its key {run.key} is taken in its plan"
            raise AlreadyExists(message, field="name") from error
        self._connection.execute(_INSERT_REVISION, {"run": run.name, "body": revision})
        for group in (aggregate.phases, aggregate.datasets, aggregate.lanes, aggregate.tasks):
            self._insert(run.name, list(group.values()))

    def load(self, name: str) -> RunAggregate | None:
        """A run with all its parts."""
        return next(iter(self.load_all([name])), None)

    def load_all(self, names: Collection[str]) -> Sequence[RunAggregate]:
        """Runs with all their parts, ordered by name."""
        wanted = sorted(set(names))
        rows = read_all(self._connection, select(RunRow).where(col(RunRow.name).in_(wanted)).order_by(col(RunRow.name)))
        found = {row.name: RunAggregate(row.to_domain()) for row in rows}
        for phase in self._rows(PhaseRunRow, found):
            found[phase.run].phases[phase.id] = phase.to_domain()
        for dataset in self._rows(DatasetRunRow, found):
            found[dataset.run].datasets[dataset.phase, dataset.id] = dataset.to_domain()
        for lane in self._rows(LaneRow, found):
            found[lane.run].lanes[lane.id] = lane.to_domain()
        for task in self._rows(TaskRow, found):
            found[task.run].tasks[task.id] = task.to_domain()
        return list(found.values())

    def names_within(self, name: str, after: str, limit: int) -> Sequence[str]:
        """A page, in order."""
        key = col(RunRow.name)
        statement = select(RunRow.name).where(key > after).order_by(key).limit(limit)
        if name:
            statement = statement.where(key > f"{name}/", key < name + AFTER_SLASH)
        return list(read_all(self._connection, statement))

    def get(self, name: str) -> Run | None:
        """A run alone."""
        row = read_first(self._connection, select(RunRow).where(RunRow.name == name))
        return None if row is None else row.to_domain()

    def versions(self, names: Collection[str]) -> Mapping[str, int]:
        """Read so many at once."""
        wanted, found = sorted(set(names)), dict[str, int]()
        for at in range(0, len(wanted), NAMES_AT_ONCE):
            rows = self._connection.execute(_VERSIONS, {"names": wanted[at : at + NAMES_AT_ONCE]})
            found.update((name, version) for name, version in rows)
        return found

    def revision(self, name: str) -> bytes | None:
        """The frozen revision."""
        return read_first(self._connection, select(RunRevisionRow.body).where(RunRevisionRow.run == name))

    def set_revision(self, name: str, revision: bytes) -> None:
        """Replaces the frozen revision. Raises StaleWrite when there is no such run."""
        result = self._connection.execute(_UPDATE_REVISION, {"stored_run": name, "body": revision})
        if result.rowcount != 1:
            raise StaleWrite(f"there is no {name} any more")

    def by_key(self, plan: str, key: str) -> Run | None:
        """The run of a plan with that key."""
        row = read_first(self._connection, select(RunRow).where(RunRow.plan == plan, RunRow.key == key))
        return None if row is None else row.to_domain()

    def list(self, plan: str, before: tuple[datetime, str] | None, limit: int) -> Sequence[Run]:
        """A page, the newest first."""
        created, name = col(RunRow.create_time), col(RunRow.name)
        statement = select(RunRow).order_by(created.desc(), name.desc()).limit(limit)
        if plan.endswith(ALL_PLANS):
            start = plan[:-1]
            statement = statement.where(col(RunRow.plan) >= start, col(RunRow.plan) < start[:-1] + AFTER_SLASH)
        else:
            statement = statement.where(RunRow.plan == plan)
        if before is not None:
            time, last = before
            statement = statement.where(or_(created < time, and_(created == time, name < last)))
        return [row.to_domain() for row in read_all(self._connection, statement)]

    def newest(self, environment: str, after: str, limit: int) -> Sequence[Run]:
        """A page of the newest runs, ordered by plan: for each declared plan one look at the end of its runs in their index. In one
        statement PostgreSQL would rather go through all runs, however many there are."""
        plan, name = col(ResourceRow.name), col(RunRow.name)
        own = (
            select(name)
            .where(col(RunRow.plan) == plan, _STANDING)
            .order_by(col(RunRow.create_time).desc(), name.desc())
        )
        last = own.limit(1).scalar_subquery()
        names = (
            select(last)
            .where(ResourceRow.parent == environment, ResourceRow.kind == PLANS, plan > after, last.is_not(None))
            .order_by(plan)
            .limit(limit)
        )
        found = list(read_all(self._connection, names))
        rows = read_all(self._connection, select(RunRow).where(name.in_(found)).order_by(col(RunRow.plan)))
        return [row.to_domain() for row in rows]

    def standing(self, plan: str) -> Run | None:
        """The newest that counts."""
        newest = col(RunRow.create_time).desc(), col(RunRow.name).desc()
        row = read_first(
            self._connection, select(RunRow).where(RunRow.plan == plan, _STANDING).order_by(*newest).limit(1)
        )
        return None if row is None else row.to_domain()

    def names_in(self, states: Iterable[RunState]) -> Sequence[str]:
        """Names of the runs in one of the states, in order."""
        statement = select(RunRow.name).where(col(RunRow.state).in_(sorted(states))).order_by(col(RunRow.name))
        return list(read_all(self._connection, statement))

    def names_with_work(self) -> Sequence[str]:
        """Names of the runs with an open task, in order."""
        is_open = col(TaskRow.state).in_(sorted(TASK_OPEN))
        statement = select(TaskRow.run).where(is_open).distinct().order_by(col(TaskRow.run))
        return list(read_all(self._connection, statement))

    def names_to_seal(self, now: datetime, limit: int) -> Sequence[str]:
        """Names of the runs whose time to be sealed has come, the earliest first."""
        due, name = col(RunRow.seal_time), col(RunRow.name)
        statement = select(RunRow.name).where(due <= now).order_by(due, name).limit(limit)
        return list(read_all(self._connection, statement))

    def save(self, run: str, entities: Iterable[Entity]) -> None:
        """Raises StaleWrite."""
        for entity in entities:
            statements = _PARTS[type(entity)]
            values = statements.values(run, entity, entity.version + 1)
            if entity.version == 0 and not isinstance(entity, Run):
                try:
                    self._connection.execute(statements.insert, values)
                except IntegrityError as error:
                    raise _stale(run, entity) from error
            else:
                for key, stored_key in statements.keys:
                    values[stored_key] = values.pop(key)
                values["stored_version"] = entity.version
                if self._connection.execute(statements.update, values).rowcount != 1:
                    raise _stale(run, entity)
            self._versions.set(entity, entity.version + 1)

    def append(self, run: str, events: Iterable[RunEvent]) -> None:
        """Raises StaleWrite."""
        append_events(self._connection, run, list(events))

    def events(self, run: str, after: int, limit: int) -> Sequence[RunEvent]:
        """A page, in order."""
        sequence = col(FeedEntryRow.sequence)
        statement = (
            select(FeedEntryRow).where(FeedEntryRow.run == run, sequence > after).order_by(sequence).limit(limit)
        )
        return [row.to_event() for row in read_all(self._connection, statement)]

    def _insert(self, run: str, entities: Sequence[Entity]) -> None:
        if not entities:
            return
        statements = _PARTS[type(entities[0])]
        self._connection.execute(statements.insert, [statements.values(run, entity, 1) for entity in entities])
        for entity in entities:
            self._versions.set(entity, 1)

    def _rows(self, row: type[Any], runs: Collection[str]) -> Sequence[Any]:
        if not runs:
            return ()
        statement = select(row).where(row.run.in_(list(runs))).order_by(*row.__table__.primary_key)
        return read_all(self._connection, statement)


def _stale(run: str, entity: Entity) -> StaleWrite:
    part = "the run itself" if isinstance(entity, Run) else f"{type(entity).__name__} {entity.id}"
    return StaleWrite(f"{part} of {run} was changed in between: load the run again")
