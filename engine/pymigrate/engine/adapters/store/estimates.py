"""What is kept of estimates within a unit of work: measurements, what was estimated for runs, and samples of how far it lay off.

Samples are rows that are only ever added, so that engines which learn at once lose nothing; one that both add is added once.
"""

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, bindparam, delete, func, insert, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import aliased
from sqlmodel import col, select

from pymigrate.engine.adapters.store.estimate_tables import MeasureRow, RunEstimateRow, SampleRow
from pymigrate.engine.adapters.store.reading import read_all, read_first
from pymigrate.engine.adapters.store.run_tables import RunRow
from pymigrate.engine.adapters.store.runs import AFTER_SLASH
from pymigrate.engine.domain.calibration import Sample
from pymigrate.engine.domain.errors import AlreadyExists
from pymigrate.engine.domain.run_states import RUN_ENDED
from pymigrate.engine.ports.estimates import KeptEstimate

_INSERT_MEASURE = insert(MeasureRow)
_DELETE_MEASURE = delete(MeasureRow).where(
    col(MeasureRow.plan) == bindparam("stored_plan"), col(MeasureRow.place) == bindparam("stored_place")
)
_INSERT_ESTIMATE = insert(RunEstimateRow)
_SETTLE_ESTIMATE = update(RunEstimateRow).where(
    col(RunEstimateRow.run) == bindparam("stored_run"), col(RunEstimateRow.attempt) < bindparam("settled_attempt")
)
_INSERT_SAMPLE = insert(SampleRow)
_NEWEST_FIRST = (col(SampleRow.time).desc(), col(SampleRow.run).desc(), col(SampleRow.place).desc())


class SqlMeasures:
    """Measurements in their table."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def get(self, plan: str, place: str) -> bytes | None:
        """The newest measurement of a dataset."""
        statement = select(MeasureRow.body).where(MeasureRow.plan == plan, MeasureRow.place == place)
        return read_first(self._connection, statement)

    def put(self, plan: str, place: str, body: bytes) -> None:
        """Keeps it in place of an earlier one."""
        self._connection.execute(_DELETE_MEASURE, {"stored_plan": plan, "stored_place": place})
        self._connection.execute(_INSERT_MEASURE, {"plan": plan, "place": place, "body": body})

    def list(self, plan: str) -> Mapping[str, bytes]:
        """All of a plan, ordered by place."""
        statement = select(MeasureRow).where(MeasureRow.plan == plan).order_by(col(MeasureRow.place))
        return {row.place: row.body for row in read_all(self._connection, statement)}


class SqlEstimates:
    """What was estimated for runs, in its table."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def get(self, run: str) -> KeptEstimate | None:
        """The estimate of a run."""
        row = read_first(self._connection, select(RunEstimateRow).where(RunEstimateRow.run == run))
        return None if row is None else row.to_domain()

    def insert(self, estimate: KeptEstimate) -> None:
        """Raises AlreadyExists."""
        try:
            self._connection.execute(_INSERT_ESTIMATE, RunEstimateRow.from_domain(estimate))
        except IntegrityError as error:
            raise AlreadyExists(f"{estimate.run} has an estimate already", field="name") from error

    def list(self, plan: str, limit: int) -> Sequence[KeptEstimate]:
        """A page, the newest first."""
        statement = (
            select(RunEstimateRow)
            .where(RunEstimateRow.plan == plan)
            .order_by(col(RunEstimateRow.create_time).desc(), col(RunEstimateRow.run).desc())
            .limit(limit)
        )
        return [row.to_domain() for row in read_all(self._connection, statement)]

    def unsettled(self, limit: int) -> Sequence[str]:
        """Names of the runs whose estimate is to be settled, in order."""
        statement = (
            select(RunEstimateRow.run)
            .join(RunRow, col(RunRow.name) == col(RunEstimateRow.run))
            .where(col(RunRow.state).in_(sorted(RUN_ENDED)), col(RunEstimateRow.attempt) < col(RunRow.attempt))
            .order_by(col(RunEstimateRow.run))
            .limit(limit)
        )
        return list(read_all(self._connection, statement))

    def settle(self, run: str, attempt: int, body: bytes) -> bool:
        """Puts what happened beside the estimate; whether that was still to be done."""
        values = {"stored_run": run, "settled_attempt": attempt, "attempt": attempt, "body": body}
        return self._connection.execute(_SETTLE_ESTIMATE, values).rowcount == 1


class SqlSamples:
    """Samples in their table."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(self, environment: str, samples: Mapping[str, Sequence[Sample]]) -> None:
        """Adds those that are not there yet."""
        offered = {(key, each.run, each.place): each for key, of_key in samples.items() for each in of_key}
        kept: set[tuple[str, str, str]] = set()
        for run in sorted({run for _, run, _ in offered}):
            statement = select(SampleRow.key, SampleRow.place).where(
                SampleRow.environment == environment, SampleRow.run == run
            )
            kept.update((key, run, place) for key, place in self._connection.execute(statement))
        fresh = [
            SampleRow.from_domain(environment, place[0], sample)
            for place, sample in offered.items()
            if place not in kept
        ]
        if fresh:
            self._connection.execute(_INSERT_SAMPLE, fresh)

    def newest(self, environment: str, key: str, limit: int) -> Sequence[Sample]:
        """A page, the newest first."""
        statement = (
            select(SampleRow)
            .where(SampleRow.environment == environment, SampleRow.key == key)
            .order_by(*_NEWEST_FIRST)
            .limit(limit)
        )
        return [row.to_domain() for row in read_all(self._connection, statement)]

    def newest_below(self, environment: str, prefix: str, limit: int) -> Mapping[str, Sequence[Sample]]:
        """Pages of all keys that begin so."""
        key = col(SampleRow.key)
        place = func.row_number().over(partition_by=key, order_by=_NEWEST_FIRST).label("place_in_key")
        numbered = (
            select(SampleRow, place)
            .where(SampleRow.environment == environment, key >= prefix, key < prefix[:-1] + AFTER_SLASH)
            .subquery()
        )
        row = aliased(SampleRow, numbered)
        statement = select(row).where(numbered.c.place_in_key <= limit).order_by(row.key, numbered.c.place_in_key)
        found: dict[str, list[Sample]] = {}
        for each in read_all(self._connection, statement):
            found.setdefault(each.key, []).append(each.to_domain())
        return found
