"""What a store has acknowledged is there after kill -9, and a full disk fails one unit and nothing else."""

import asyncio
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import Connection

from pymigrate.engine.adapters.clock import SystemClock
from pymigrate.engine.adapters.store.postgres import PostgresStore
from pymigrate.engine.adapters.store.postgres_session import CONNECTIONS_MAX
from pymigrate.engine.adapters.store.sqlite import SqliteStore
from pymigrate.engine.adapters.store.sqlite_file import opened
from pymigrate.engine.adapters.store.writer import GROUP_UNITS_MAX, Writer
from pymigrate.engine.domain.errors import FailedPrecondition, PyMigrateError, StoreUnavailable
from pymigrate.engine.ports.hosts import HostRecord
from pymigrate.engine.ports.store import AuditEntry, Unit
from pymigrate.engine.testing.clock import START, ManualClock
from tests.integration.store.audited import PostgresServer, SqliteFile, verified
from tests.measuring import unmeasured

PROGRAM = Path(__file__).with_name("program.py")
ACKNOWLEDGED_MIN = 300


def append_entry(unit: Unit, subject: str) -> None:
    unit.audit.append(AuditEntry(START, "test", "append", subject, 1))


def appending(subject: str) -> Callable[[Unit], None]:
    return partial(append_entry, subject=subject)


async def subjects(path: Path) -> list[str]:
    store = await SqliteStore.open(path, ManualClock())
    entries = await store.read(lambda unit: list(unit.audit.list(0, 1_000_000)))
    await store.close()
    return [entry.subject for entry in entries]


def kill_after(place: Path | str, prefix: str, heard_min: int) -> list[str]:
    """What a process said was acknowledged, before and while it was killed."""
    process = subprocess.Popen(
        [sys.executable, PROGRAM, "append", str(place), prefix], env=unmeasured(), stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    heard: list[str] = []
    for line in process.stdout:
        # Log lines do not end like this, and neither does the last line when the kill cut it short.
        if line.endswith(".\n"):
            heard.append(line.strip())
        if len(heard) == heard_min:
            os.kill(process.pid, signal.SIGKILL)
    process.stdout.close()
    assert process.wait() == -signal.SIGKILL
    return heard


def test_everything_acknowledged_is_there_after_kill_9(tmp_path: Path) -> None:
    path = tmp_path / "store"
    acknowledged = [subject for prefix in "abc" for subject in kill_after(path, prefix, ACKNOWLEDGED_MIN)]
    stored = asyncio.run(subjects(path))
    verdict = asyncio.run(verified(SqliteFile(path)))
    assert (verdict.fault, verdict.chain_count, verdict.event_count) == (None, 1, len(stored)), "the chain is whole"
    assert len(acknowledged) >= 3 * ACKNOWLEDGED_MIN
    assert set(acknowledged) <= set(stored)
    assert len(stored) == len(set(stored))


async def test_everything_acknowledged_is_there_after_kill_9_on_postgres_too(postgres_database: str) -> None:
    acknowledged = [
        subject
        for prefix in "ab"
        for subject in await asyncio.to_thread(kill_after, postgres_database, prefix, ACKNOWLEDGED_MIN)
    ]
    store = await PostgresStore.open(postgres_database, SystemClock(), random.Random(3))
    trail = await store.read(lambda unit: list(unit.audit.list(0, 1_000_000)))
    await store.close()
    stored = [entry.subject for entry in trail]
    verdict = await verified(PostgresServer(postgres_database))
    assert (verdict.fault, verdict.event_count) == (None, len(stored)), "all chains are whole"
    assert 1 < verdict.chain_count <= CONNECTIONS_MAX, "those of connections that were killed are gone on with"
    assert len(acknowledged) >= 2 * ACKNOWLEDGED_MIN
    assert set(acknowledged) <= set(stored)
    assert len(stored) == len(set(stored))


def test_a_full_disk_fails_the_unit_and_the_store_goes_on(tmp_path: Path) -> None:
    process = subprocess.run(
        [sys.executable, PROGRAM, "fill", tmp_path / "store"], check=True, capture_output=True, text=True
    )
    said = process.stdout.splitlines()
    assert said[-4:] == [
        "large: StoreUnavailable STORE_UNAVAILABLE temporary",
        "small beside it: done",
        "versions taken back: True",
        "large again: done",
    ]
    assert asyncio.run(subjects(tmp_path / "store")) == ["small before", "small beside", "small after"]


@contextmanager
def with_room(path: Path, pages: int) -> Iterator[Connection]:
    with opened(path, lambda _: None) as connection:
        driver = connection.connection.driver_connection
        assert driver is not None
        driver.execute(f"PRAGMA max_page_count = {pages}")
        yield connection


async def test_a_store_without_room_says_so_and_takes_what_fits(tmp_path: Path) -> None:
    writer = Writer(partial(with_room, tmp_path / "store", 64), "store")
    writer.start()
    store = SqliteStore(writer)
    large = partial(append_entry, subject="x" * 1_000_000)
    works: list[Callable[[Unit], None]] = [appending("a"), large, appending("b"), large, appending("c")]
    outcomes = await asyncio.gather(*(store.transact(work) for work in works), return_exceptions=True)
    await store.close()
    refused = [outcome for outcome in outcomes if isinstance(outcome, StoreUnavailable)]
    assert [outcome is None for outcome in outcomes] == [True, False, True, False, True]
    assert [str(outcome) for outcome in refused] == ["the disk with the engine's store is full: make room"] * 2
    assert await subjects(tmp_path / "store") == ["a", "b", "c"]


async def test_a_read_sees_what_was_asked_for_before(tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path / "store", ManualClock())
    writing = asyncio.ensure_future(store.transact(appending("a")))
    await asyncio.sleep(0)
    assert len(await store.read(lambda unit: list(unit.audit.list(0, 9)))) == 1
    await writing
    await store.close()


async def test_what_is_read_at_once_is_read_on_one_state_and_each_gets_its_own_answer(tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path / "store", ManualClock())
    await store.transact(appending("a"))
    is_busy, go_on = threading.Event(), threading.Event()

    def hold(unit: Unit) -> int:
        is_busy.set()
        assert go_on.wait(60)
        return 0

    def count(unit: Unit) -> int:
        return len(unit.audit.list(0, 9))

    def refuse(unit: Unit) -> int:
        raise FailedPrecondition("not this one")

    def write(unit: Unit) -> int:
        appending("b")(unit)
        return 0

    holding = asyncio.ensure_future(store.read(hold))
    await asyncio.to_thread(is_busy.wait, 60)
    reads = [asyncio.ensure_future(store.read(work)) for work in (count, refuse, count, write, count, write, count)]
    await asyncio.sleep(0)
    go_on.set()
    found = await asyncio.gather(holding, *reads, return_exceptions=True)
    await store.close()
    assert [each for each in found if not isinstance(each, Exception)] == [0, 1, 1, 1, 1]
    assert isinstance(found[2], FailedPrecondition)
    for refused in (found[4], found[6]):
        assert isinstance(refused, RuntimeError)
        assert "use transact" in str(refused)
    assert await subjects(tmp_path / "store") == ["a"]


async def test_a_failure_while_closing_is_told(tmp_path: Path) -> None:
    @contextmanager
    def failing_at_the_end() -> Iterator[Connection]:
        with opened(tmp_path / "store", lambda _: None) as connection:
            yield connection
        raise OSError("no more")

    writer = Writer(failing_at_the_end, "store")
    writer.start()
    store = SqliteStore(writer)
    await store.transact(appending("a"))
    with pytest.raises(OSError, match="no more"):
        await store.close()
    assert await subjects(tmp_path / "store") == ["a"]


async def test_what_waits_while_the_store_closes_is_still_done(tmp_path: Path) -> None:
    path = tmp_path / "store"
    store = await SqliteStore.open(path, ManualClock())
    count = GROUP_UNITS_MAX * 2 + 5
    waiting = [asyncio.ensure_future(store.transact(appending(str(number)))) for number in range(count)]
    await asyncio.sleep(0)
    await store.close()
    assert await asyncio.gather(*waiting) == [None] * count
    assert await subjects(path) == [str(number) for number in range(count)]


async def test_what_waits_while_one_commits_is_committed_with_it_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "store"
    store = await SqliteStore.open(path, ManualClock())
    is_busy, go_on = threading.Event(), threading.Event()

    def hold(unit: Unit) -> None:
        is_busy.set()
        assert go_on.wait(60)
        appending("first")(unit)

    holding = asyncio.ensure_future(store.transact(hold))
    await asyncio.to_thread(is_busy.wait, 60)
    kept = asyncio.ensure_future(store.transact(appending("kept")))
    dropped = asyncio.ensure_future(store.transact(appending("cancelled before its turn")))
    await asyncio.sleep(0)
    dropped.cancel()
    holding.cancel()
    go_on.set()
    await asyncio.gather(holding, kept, dropped, return_exceptions=True)
    await store.close()
    assert dropped.cancelled()
    assert await subjects(path) == ["first", "kept"], "what had begun is done, though nobody waits for it any more"


async def test_a_value_that_the_database_refuses_fails_its_unit_alone(tmp_path: Path) -> None:
    path = tmp_path / "store"
    store = await SqliteStore.open(path, ManualClock())
    refused = HostRecord("hosts/a", None, 1, 1, "s3cret-session", START)  # type: ignore[arg-type]  # that is what it refuses
    outcomes = await asyncio.gather(
        store.transact(appending("a")),
        store.transact(lambda unit: unit.hosts.put(refused)),
        store.transact(appending("b")),
        return_exceptions=True,
    )
    await store.close()
    assert isinstance(outcomes[1], PyMigrateError)
    assert "NOT NULL" in str(outcomes[1])
    assert "s3cret" not in str(outcomes[1]) + str(outcomes[1].__cause__)
    assert await subjects(path) == ["a", "b"]


async def test_an_error_that_is_no_exception_reaches_the_caller_and_the_store_goes_on(tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path / "store", ManualClock())

    def leave(unit: Unit) -> None:
        appending("lost")(unit)
        raise GeneratorExit("not an Exception")

    with pytest.raises(GeneratorExit):
        await store.transact(leave)
    await store.transact(appending("kept"))
    await store.close()
    assert await subjects(tmp_path / "store") == ["kept"]
