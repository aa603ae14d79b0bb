"""The embedded store: one SQLite file, one engine, one writer. The default where no database server is configured."""

import asyncio
import sqlite3
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

import structlog

from pymigrate.engine.adapters.store import schema
from pymigrate.engine.adapters.store.sqlite_file import is_reset_safe, opened
from pymigrate.engine.adapters.store.writer import Job, Writer
from pymigrate.engine.ports.clock import Clock
from pymigrate.engine.ports.store import Unit

log = structlog.get_logger(__name__)
Result = TypeVar("Result")


class SqliteStore:
    """The Store port on a SQLite file. What `transact` has returned survives the end of the process and of the machine's power."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    @classmethod
    async def open(cls, path: Path, clock: Clock) -> "SqliteStore":
        """Opens the file, which is made where it is missing (mode 0600, its folder 0700) and brought to this version's schema where it
        is older. Raises FailedPrecondition when another engine has it or its schema is newer, StoreUnavailable when it can't be
        used right now."""
        began = clock.monotonic()

        def on_upgrade(before: str | None) -> None:
            log.info("store.upgraded", before=before, revision=schema.HEAD)

        writer = Writer(partial(opened, path, on_upgrade), f"store {path.name}")
        writer.start()
        try:
            await asyncio.wrap_future(writer.ready)
        except BaseException:
            writer.stop()
            raise
        log.info(
            "store.opened",
            sqlite=sqlite3.sqlite_version,
            is_exclusive=not is_reset_safe(sqlite3.sqlite_version_info),
            seconds=round(clock.monotonic() - began, 3),
        )
        return cls(writer)

    async def transact(self, work: Callable[[Unit], Result]) -> Result:
        """Does the work, durably when this returns. One that is cancelled before its turn is not done; later it is."""
        return await self._do(Job(work, is_writing=True))

    async def read(self, work: Callable[[Unit], Result]) -> Result:
        """Does work that only reads; it sees everything that was asked for before. One that writes gets a RuntimeError."""
        return await self._do(Job(work, is_writing=False))

    async def close(self) -> None:
        """Finishes what is queued, closes the file and lets the next engine have it."""
        self._writer.stop()
        await asyncio.shield(asyncio.wrap_future(self._writer.ended))

    async def _do(self, job: Job[Result]) -> Result:
        self._writer.submit(job)
        return await asyncio.wrap_future(job.future)
