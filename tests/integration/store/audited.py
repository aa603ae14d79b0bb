"""Trails in real stores, and whoever alters their tables behind the engine's back: with the rights of the database's owner."""

import random
import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import psycopg
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pymigrate.engine.adapters.clock import SystemClock
from pymigrate.engine.adapters.sealing_keys import Ed25519SealingKey
from pymigrate.engine.adapters.store.postgres import PostgresStore
from pymigrate.engine.adapters.store.sqlite import SqliteStore
from pymigrate.engine.application.audit.sealing import Sealing, SealMaking
from pymigrate.engine.application.audit.verifying import Verifying
from pymigrate.engine.domain.audit_chain import Seal
from pymigrate.engine.domain.audit_verification import Verdict
from pymigrate.engine.domain.run import RunEvent
from pymigrate.engine.ports.clock import Clock
from pymigrate.engine.ports.store import AuditEntry, Store, Unit
from pymigrate.engine.testing.clock import ManualClock
from tests.contract.store.records import FAILURE, PLAN, at, insert_run, new_run

KEY = Ed25519SealingKey(Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
FOREIGN_KEY = Ed25519SealingKey(Ed25519PrivateKey.from_private_bytes(bytes(32)))
RUNS = (f"{PLAN}/runs/a", f"{PLAN}/runs/b")
TRIGGERS = ("feed_entry_kept", "feed_entry_whole")
Rows = list[tuple[Any, ...]]


class Place(Protocol):
    """Where a store lies, so that it is opened by an engine, and by somebody else."""

    async def opened(self) -> Store:
        """As an engine opens it."""
        ...

    def run(self, statement: str, *values: object) -> Rows:
        """What somebody does to the tables, who was let into the database. `?` stands for a value."""
        ...


@dataclass(frozen=True, slots=True)
class SqliteFile:
    """A file; nobody else opens it while an engine has it."""

    path: Path

    async def opened(self) -> Store:
        """See Place."""
        return await SqliteStore.open(self.path, ManualClock())

    def run(self, statement: str, *values: object) -> Rows:
        """See Place."""
        with connected(self.path) as connection:
            return connection.execute(statement, values).fetchall()


@contextmanager
def connected(path: Path) -> Iterator[sqlite3.Connection]:
    """Somebody's connection, who took the triggers away."""
    connection = sqlite3.connect(path)
    try:
        for trigger in TRIGGERS:
            connection.execute(f"DROP TRIGGER IF EXISTS {trigger}")
        yield connection
        connection.commit()
    finally:
        connection.close()


@dataclass(frozen=True, slots=True)
class PostgresServer:
    """A database."""

    url: str

    async def opened(self) -> Store:
        """See Place."""
        return await PostgresStore.open(self.url, SystemClock(), random.Random(3))

    def run(self, statement: str, *values: object) -> Rows:
        """See Place."""
        with psycopg.connect(self.url) as connection:
            connection.execute("SET session_replication_role = replica")
            cursor = connection.execute(statement.replace("?", "%s"), values)
            return cursor.fetchall() if cursor.description else []


def sealing(store: Store, clock: Clock | None = None, key: Ed25519SealingKey = KEY) -> Sealing:
    """An engine's sealing."""
    clock = clock or ManualClock()
    return Sealing(store, clock, SealMaking(key, clock))


def step(sequence: int, subject: str = "lanes/1") -> RunEvent:
    """A step of a run."""
    failure = FAILURE if sequence % 3 == 0 else None
    return RunEvent(sequence, at(sequence), "lane.running", subject, "pending", "running", "ann", failure)


def deed(number: int) -> AuditEntry:
    """What somebody did."""
    return AuditEntry(
        at(number),
        "local",
        "update",
        f"{PLAN}s/{number}",
        number,
        f"owner: “Ann” → “{number}”",
        origin="10.1.2.3 (cli)",
        method="PlanService/UpdatePlan",
        request_id=f"r-{number}",
        after_digest=f"{number:064x}",
    )


def steps_and_deeds(round_number: int) -> list[Any]:
    """Units of work: three steps of each run, and two deeds at once."""

    def work(unit: Unit) -> None:
        first = round_number * 3 + 1
        for run in RUNS:
            unit.runs.append(run, [step(first + number) for number in range(3)])
        unit.audit.append_all([deed(round_number * 2 + number) for number in range(2)])

    return [work]


async def written(store: Store, seals: int, unsealed_rounds: int = 0) -> None:
    """A trail of two runs and of deeds, sealed so often, and some rounds that are not sealed."""
    for number, name in enumerate(RUNS):
        await insert_run(store, run=new_run(name, key=f"k{number}"))
    for number in range(seals + unsealed_rounds):
        for work in steps_and_deeds(number):
            await store.transact(work)
        if number < seals:
            assert await sealing(store).step() == 1


async def verified(place: Place, known: Seal | None = None, key: Ed25519SealingKey = KEY) -> Verdict:
    """What an engine that is started now finds."""
    store = await place.opened()
    try:
        return await Verifying(store, key.is_signed).verify(known)
    finally:
        await store.close()


def copied(template: Path, folder: Path) -> SqliteFile:
    """A store of its own, of what a template holds."""
    path = folder / "store"
    shutil.copy(template, path)
    return SqliteFile(path)


def sequences(place: Place, chain: str) -> Sequence[int]:
    """The numbers of a chain's entries in their order."""
    rows = place.run("SELECT id FROM feed_entry WHERE coalesce(chain, run) = ? ORDER BY id", chain)
    return [number for (number,) in rows]
