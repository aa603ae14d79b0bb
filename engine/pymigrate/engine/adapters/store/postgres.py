"""The store on PostgreSQL: several engines may open one, and each has a small pool of connections.

A unit is a transaction of its own. One that another got in the way of is undone and done again, from its second try on in turn with
others that had to be, so that each gets through.
"""

import asyncio
import random
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import TypeVar

import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from pymigrate.engine.adapters.store import schema
from pymigrate.engine.adapters.store.postgres_session import (
    CONNECTIONS_MAX,
    connected,
    is_conflict,
    is_disconnect,
    prepare,
    store_url,
    take_turn,
    translated,
)
from pymigrate.engine.adapters.store.unit import SqlUnit
from pymigrate.engine.domain.errors import EngineUnavailable, StoreUnavailable
from pymigrate.engine.ports.clock import Clock
from pymigrate.engine.ports.store import Unit

log = structlog.get_logger(__name__)
TRIES_MAX = 10
PAUSE_SECONDS_MAX = 0.05
Result = TypeVar("Result")


class _AgainError(Exception):
    """Another transaction was in the way, or the connection was gone before anything was committed."""


class PostgresStore:
    """The Store port on PostgreSQL. What `transact` has returned survives whatever the server's own durability survives."""

    def __init__(self, engine: Engine, clock: Clock, rng: random.Random) -> None:
        self._engine = engine
        self._clock = clock
        self._rng = rng
        self._threads = ThreadPoolExecutor(CONNECTIONS_MAX, thread_name_prefix="store")
        self._is_closed = False

    @classmethod
    async def open(cls, url: str, clock: Clock, rng: random.Random, password: str = "") -> "PostgresStore":
        """Connects, and brings the schema up to date where it is older. Raises FailedPrecondition when the URL or the login is refused
        or the schema is newer, StoreUnavailable when the server can't be reached right now."""
        began = clock.monotonic()
        store = cls(connected(store_url(url, password)), clock, rng)
        try:
            before = await store._submit(partial(store._prepare))
        except BaseException:
            await store.close()
            raise
        if before != schema.HEAD:
            log.info("store.upgraded", before=before, revision=schema.HEAD)
        log.info("store.opened", postgres=store._version(), seconds=round(clock.monotonic() - began, 3))
        return store

    async def transact(self, work: Callable[[Unit], Result]) -> Result:
        """Does the work, durably when this returns. One that is cancelled before its turn is not done; later it may be."""
        for tried in range(TRIES_MAX):
            try:
                return await self._submit(partial(self._attempt, work, is_again=tried > 0))
            except _AgainError as error:
                log.debug("store.again", tried=tried + 1, error=str(translated(error.__cause__ or error)))
            await self._clock.sleep(self._rng.uniform(0, PAUSE_SECONDS_MAX))
        raise StoreUnavailable(f"the engine's store refused a change {TRIES_MAX} times for others that write the same")

    async def read(self, work: Callable[[Unit], Result]) -> Result:
        """Does work that only reads. One that writes gets a RuntimeError."""
        for _ in range(TRIES_MAX):
            with suppress(_AgainError):
                return await self._submit(partial(self._look, work))
        raise StoreUnavailable("the connection to the engine's store is lost again and again")

    async def close(self) -> None:
        """Finishes what is under way and gives up all connections."""
        self._is_closed = True
        await asyncio.to_thread(self._threads.shutdown)
        await asyncio.to_thread(self._engine.dispose)

    async def _submit(self, job: Callable[[], Result]) -> Result:
        if self._is_closed:
            raise EngineUnavailable("the store is closed: the engine is stopping")
        waiting: Future[Result] = self._threads.submit(job)
        return await asyncio.wrap_future(waiting)

    def _prepare(self) -> str | None:
        try:
            return prepare(self._engine)
        except SQLAlchemyError as error:
            raise translated(error) from error

    def _attempt(self, work: Callable[[Unit], Result], *, is_again: bool) -> Result:
        """Does the work once. Raises _AgainError when nothing of it was committed for a reason that passes."""
        try:
            with self._engine.connect() as connection:
                unit = SqlUnit(connection)
                transaction = connection.begin()
                try:
                    if is_again:
                        take_turn(connection)
                    result = work(unit)
                except BaseException as error:
                    unit.forget()
                    with suppress(DBAPIError):  # a connection that is gone has nothing to undo any more
                        transaction.rollback()
                    if is_conflict(error) or is_disconnect(error):
                        raise _AgainError from error
                    raise
                try:
                    transaction.commit()
                except BaseException as error:
                    unit.forget()
                    if is_conflict(error):
                        raise _AgainError from error
                    raise
                return result
        except SQLAlchemyError as error:
            raise translated(error) from error

    def _look(self, work: Callable[[Unit], Result]) -> Result:
        try:
            with self._engine.connect().execution_options(postgresql_readonly=True) as connection:
                unit = SqlUnit(connection)
                transaction = connection.begin()
                try:
                    return work(unit)
                except BaseException as error:
                    unit.forget()
                    if is_disconnect(error):
                        raise _AgainError from error
                    raise
                finally:
                    with suppress(DBAPIError):  # a connection that is gone has nothing to undo any more
                        transaction.rollback()
        except SQLAlchemyError as error:
            raise translated(error, is_reading=True) from error

    def _version(self) -> str:
        return ".".join(str(part) for part in self._engine.dialect.server_version_info or ())
