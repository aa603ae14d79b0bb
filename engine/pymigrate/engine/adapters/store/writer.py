"""The one thread that works on the store's connection, and commits together what was waiting while it committed before.

Each unit of a group has a savepoint of its own, so one that fails takes nothing but itself back. Where the database itself fails, the
group is undone and each of its units is tried once more alone, so that each gets its own answer.
"""

import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar, cast

import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, IntegrityError

from pymigrate.engine.adapters.store.sqlite_file import reading, translated
from pymigrate.engine.adapters.store.unit import SqlUnit
from pymigrate.engine.domain.errors import EngineUnavailable
from pymigrate.engine.ports.store import Unit

log = structlog.get_logger(__name__)
GROUP_UNITS_MAX = 128
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Job(Generic[Result]):
    """A unit of work that waits for its turn."""

    work: Callable[[Unit], Result]
    is_writing: bool
    future: "Future[Result]" = field(default_factory=Future)


@dataclass(frozen=True, slots=True)
class _Outcome:
    result: Any = None
    error: BaseException | None = None


class Writer:
    """The thread. It owns what `opened` opens, from its start to its end."""

    def __init__(self, opened: Callable[[], AbstractContextManager[Connection]], name: str) -> None:
        self._opened = opened
        self._queue: queue.SimpleQueue[Job[Any] | None] = queue.SimpleQueue()
        self._gate = threading.Lock()
        self._is_closing = False
        self.ready: Future[None] = Future()
        self.ended: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Starts; `ready` says when it is open, or why it can't be."""
        self._thread.start()

    def submit(self, job: Job[Any]) -> None:
        """Queues a job. Raises EngineUnavailable once the end was asked for."""
        with self._gate:
            if self._is_closing:
                raise EngineUnavailable("the store is closed: the engine is stopping")
            self._queue.put(job)

    def stop(self) -> None:
        """Ends after what is queued; `ended` says when everything is given up. May be called again."""
        with self._gate:
            if not self._is_closing:
                self._is_closing = True
                self._queue.put(None)

    def _run(self) -> None:
        try:
            with self._opened() as connection:
                self.ready.set_result(None)
                self._serve(connection)
        except BaseException as error:  # noqa: BLE001 - it belongs to whoever opens, or closes
            if self.ready.done():
                log.error("store.close_failed", error=str(error))
                self.ended.set_exception(error)
            else:
                self.ready.set_exception(error)
                self.ended.set_result(None)
        else:
            self.ended.set_result(None)

    def _serve(self, connection: Connection) -> None:
        is_open = True
        while is_open:
            waiting = [self._queue.get()]
            with suppress(queue.Empty):
                while len(waiting) < GROUP_UNITS_MAX:
                    waiting.append(self._queue.get_nowait())
            is_open = waiting[-1] is not None
            jobs = [job for job in waiting if job is not None and job.future.set_running_or_notify_cancel()]
            if writes := [job for job in jobs if job.is_writing]:
                _commit(connection, writes)
            # Whoever reads sees everything that was asked for before, so reads of the same turn come last.
            _read(connection, [job for job in jobs if not job.is_writing])


def _commit(connection: Connection, jobs: Sequence[Job[Any]]) -> None:
    """Does the jobs in one transaction and tells each its outcome, once it is durable."""
    try:
        outcomes = _in_one_transaction(connection, jobs)
    except BaseException as error:  # noqa: BLE001 - it belongs to the callers
        if len(jobs) == 1:
            _settle(jobs[0], _failed(error))
            return
        log.warning("store.group_undone", units=len(jobs), error=str(translated(error)))
        for job in jobs:
            _commit(connection, [job])
        return
    for job, outcome in zip(jobs, outcomes, strict=True):
        _settle(job, outcome)


def _in_one_transaction(connection: Connection, jobs: Sequence[Job[Any]]) -> list[_Outcome]:
    units: list[SqlUnit] = []
    outcomes: list[_Outcome] = []
    try:
        with connection.begin():
            for job in jobs:
                units.append(SqlUnit(connection))
                outcomes.append(_attempt(connection, job, units[-1]))
    except BaseException:
        for unit in reversed(units):
            unit.forget()
        raise
    return outcomes


def _attempt(connection: Connection, job: Job[Any], unit: SqlUnit) -> _Outcome:
    """Does one job under its own savepoint. Raises DBAPIError when the database fails, which may have undone more than this job."""
    # At the driver: there are as many savepoints as units, and SQLAlchemy's would be compiled each time.
    driver = cast(sqlite3.Connection, connection.connection.driver_connection)
    driver.execute("SAVEPOINT unit")
    try:
        result = job.work(unit)
        driver.execute("RELEASE unit")
    except BaseException as error:
        if isinstance(error, DBAPIError | sqlite3.Error) and not isinstance(error, IntegrityError):
            raise
        driver.execute("ROLLBACK TO unit")
        driver.execute("RELEASE unit")
        unit.forget()
        return _failed(error)
    return _Outcome(result)


def _read(connection: Connection, jobs: Sequence[Job[Any]]) -> None:
    """Does the jobs on one state and tells each its outcome. One that the database fails in, and those after it, are done alone."""
    if not jobs:
        return
    told = 0
    try:
        with reading(connection):
            for job in jobs:
                _settle(job, _look(connection, job))
                told += 1
    except BaseException as error:  # noqa: BLE001 - it belongs to the callers
        if len(jobs) > 1:
            for job in jobs[told:]:
                _read(connection, [job])
        elif not told:
            _settle(jobs[0], _failed(error))
        else:
            log.warning("store.read_not_ended", error=str(translated(error)))


def _look(connection: Connection, job: Job[Any]) -> _Outcome:
    """Raises DBAPIError when the database fails."""
    unit = SqlUnit(connection)
    try:
        return _Outcome(job.work(unit))
    except BaseException as error:
        unit.forget()
        if isinstance(error, DBAPIError):
            raise
        return _failed(error)


def _failed(error: BaseException) -> _Outcome:
    meaning = translated(error)
    if meaning is not error:
        meaning.__cause__ = error
    return _Outcome(error=meaning)


def _settle(job: Job[Any], outcome: _Outcome) -> None:
    if outcome.error is not None:
        job.future.set_exception(outcome.error)
    else:
        job.future.set_result(outcome.result)
