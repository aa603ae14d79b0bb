"""A process that uses a store of its own, for tests that kill it or take its disk space away."""

import asyncio
import random
import resource
import signal
import sys
from functools import partial
from pathlib import Path

from pymigrate.engine.adapters.clock import SystemClock
from pymigrate.engine.adapters.store.postgres import PostgresStore
from pymigrate.engine.adapters.store.sqlite import SqliteStore
from pymigrate.engine.domain.errors import PyMigrateError
from pymigrate.engine.domain.run import Lane, Run, RunAggregate
from pymigrate.engine.ports.store import AuditEntry, Store, Unit

WRITERS = 8
ROOM_BYTES = 200_000
LARGE_BYTES = 2_000_000


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def append_entry(unit: Unit, subject: str) -> None:
    unit.audit.append(AuditEntry(SystemClock().now(), "test", "append", subject, 1))


async def append(place: str, prefix: str) -> None:
    """Appends for ever from several tasks, and prints each subject once it is acknowledged."""
    store: Store
    if place.startswith("postgresql://"):
        store = await PostgresStore.open(place, SystemClock(), random.Random(prefix))
    else:
        store = await SqliteStore.open(Path(place), SystemClock())

    async def write(writer: int) -> None:
        number = 0
        while True:
            subject = f"{prefix}-{writer}-{number}."
            await store.transact(partial(append_entry, subject=subject))
            say(subject)
            number += 1

    await asyncio.gather(*(write(writer) for writer in range(WRITERS)))


async def fill(path: Path) -> None:
    """Leaves the file little room to grow, and writes more than that beside something small."""
    store = await SqliteStore.open(path, SystemClock())
    await store.transact(lambda unit: append_entry(unit, "small before"))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    largest = max(file.stat().st_size for file in path.parent.iterdir())
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest + ROOM_BYTES, hard))
    aggregate = RunAggregate(Run("r", "p", "k", "h", SystemClock().now(), "api"), lanes={"l": Lane("l", "p", "d")})

    def large(unit: Unit) -> None:
        unit.runs.insert(aggregate, bytes(LARGE_BYTES))

    outcomes = await asyncio.gather(
        store.transact(large), store.transact(lambda unit: append_entry(unit, "small beside")), return_exceptions=True
    )
    versions = (aggregate.run.version, aggregate.lanes["l"].version)
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    for name, outcome in zip(("large", "small beside it"), outcomes, strict=True):
        if isinstance(outcome, PyMigrateError):
            kind = "temporary" if outcome.is_temporary else "permanent"
            say(f"{name}: {type(outcome).__name__} {outcome.reason} {kind}")
        else:
            say(f"{name}: {outcome or 'done'}")
    say(f"versions taken back: {versions == (0, 0)}")
    await store.transact(large)
    say("large again: done")
    await store.transact(lambda unit: append_entry(unit, "small after"))
    await store.close()


if __name__ == "__main__":
    if sys.argv[1] == "append":
        asyncio.run(append(sys.argv[2], sys.argv[3]))
    else:
        asyncio.run(fill(Path(sys.argv[2])))
