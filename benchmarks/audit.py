"""The audit trail: what links cost the commits of fifty lanes, and how long a million entries take to be verified.

Fifty lanes report as fast as the engine's SQLite store commits (`synchronous = FULL`). A report writes no entry; a lane that begins, ends,
or is handed on does, which is every fiftieth commit here, and in the harshest case each one. Reference: the same without links, in turns
with it. Verification reads a store file with seals and checks every link, root and signature, on one core; its reference is reading the
rows alone.
"""

import asyncio
import logging
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import structlog
from _figures import Report, arguments
from _unlinked import append_unlinked
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Connection

from pymigrate.engine.adapters.clock import SystemClock
from pymigrate.engine.adapters.sealing_keys import Ed25519SealingKey
from pymigrate.engine.adapters.store.sqlite import SqliteStore
from pymigrate.engine.adapters.store.sqlite_file import opened
from pymigrate.engine.adapters.store.unit import SqlUnit
from pymigrate.engine.application.audit.sealing import Sealing, SealMaking
from pymigrate.engine.application.audit.trail import Place, read_piece
from pymigrate.engine.domain.audit_chain import Head
from pymigrate.engine.domain.audit_verification import Verification
from pymigrate.engine.domain.run import Lane, Run, RunAggregate, RunEvent
from pymigrate.engine.ports.store import AuditEntry, Unit

LANES = 50
STEPS_EVERY = 50
COST_MAX = 0.05
HARSH_COST_MAX = 0.15
ENTRIES = 1_000_000
VERIFY_GOAL_SECONDS = 20.0
RUNS = 20
EVENTS_AT_ONCE = 1_000
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
PLAN = "environments/bench/plans/warehouse"

Append = Callable[[Unit, str, Sequence[RunEvent]], None]


def step(run: str, sequence: int) -> RunEvent:
    """What happens in a run."""
    time_ = BEGIN + timedelta(milliseconds=sequence)
    subject = f"{run}/lanes/orders.{sequence % LANES}"
    return RunEvent(sequence, time_, "lane.running", subject, "pending", "running", "engine", None)


def aggregate_of(number: int) -> RunAggregate:
    """A run with one lane."""
    name = f"{PLAN}/runs/r{number:03d}"
    lane = Lane("orders.1", "sales", "orders")
    return RunAggregate(Run(name, PLAN, f"k{number}", f"sha256:{number:064x}", BEGIN, "api"), lanes={lane.id: lane})


class Lanes:
    """Fifty lanes, each of a run of its own, that commit as fast as the store takes it."""

    def __init__(self, store: SqliteStore) -> None:
        self._store = store
        self._runs: list[RunAggregate] = []
        self._rounds = 0

    async def begin(self) -> None:
        """Fresh runs, so that no chain is continued that was not begun in the same way."""
        self._rounds += 1
        self._runs = [aggregate_of(self._rounds * LANES + number) for number in range(LANES)]
        for aggregate in self._runs:
            await self._store.transact(lambda unit, a=aggregate: unit.runs.insert(a, b""))  # type: ignore[misc]  # bound

    async def rate(self, seconds: float, steps_every: int, append: Append) -> float:
        """Commits a second; every so many of them has a step of the lane's run."""
        done = 0
        begun = time.perf_counter()

        async def report(aggregate: RunAggregate) -> None:
            nonlocal done
            lane, run = next(iter(aggregate.lanes.values())), aggregate.run.name
            for number in count(1):
                if time.perf_counter() - begun > seconds:
                    return
                lane.chunks += 1
                steps = [] if number % steps_every else [step(run, number // steps_every)]

                def work(unit: Unit, steps: list[RunEvent] = steps) -> None:
                    unit.runs.save(run, [lane])
                    if steps:
                        append(unit, run, steps)

                await self._store.transact(work)
                done += 1

        await asyncio.gather(*map(report, self._runs))
        return done / (time.perf_counter() - begun)


def append_linked(unit: Unit, run: str, events: Sequence[RunEvent]) -> None:
    """As the engine does it."""
    unit.runs.append(run, events)


async def measure_commits(report: Report, folder: Path, seconds: float, rounds: int) -> None:
    """Both sides in turns, the one that begins changing."""
    store = await SqliteStore.open(folder / "commits.db", SystemClock())
    lanes = Lanes(store)
    try:
        for steps_every, cost_max in ((STEPS_EVERY, COST_MAX), (1, HARSH_COST_MAX)):
            rates: dict[Append, list[float]] = {append_linked: [], append_unlinked: []}
            for number in range(rounds):
                for append in sorted(rates, key=lambda each: (each is append_linked) == bool(number % 2)):
                    await lanes.begin()
                    rates[append].append(await lanes.rate(seconds, steps_every, append))
            add_cost(report, steps_every, rates[append_linked], rates[append_unlinked], cost_max)
    finally:
        await store.close()


def add_cost(report: Report, steps_every: int, linked: list[float], bare: list[float], cost_max: float) -> None:
    """Rounds beside each other are alike, whatever else the machine does: what is compared is each pair."""
    ratio = statistics.median(one / other for one, other in zip(linked, bare, strict=True))
    which = f"every {steps_every}th" if steps_every > 1 else "each"
    report.add(
        f"{LANES} lanes at full speed, {which} commit with a step of a run, linked",
        statistics.median(bare) * ratio,
        "commits/s",
        reference="the same without links",
        reference_value=statistics.median(bare),
        goal=f"costs below {cost_max:.0%}",
        met=ratio > 1 - cost_max,
    )


async def fill(path: Path, entries: int, key: Ed25519SealingKey) -> None:
    """Runs and deeds, sealed every ten thousand entries."""
    store = await SqliteStore.open(path, SystemClock())
    sealing = Sealing(store, SystemClock(), SealMaking(key, SystemClock()))
    each = entries // (RUNS + 1)
    try:
        for number in range(RUNS):
            aggregate = aggregate_of(number)
            run = aggregate.run.name
            await store.transact(lambda unit, a=aggregate: unit.runs.insert(a, b""))  # type: ignore[misc]  # bound
            for first in range(1, each + 1, EVENTS_AT_ONCE):
                events = [step(run, at) for at in range(first, min(first + EVENTS_AT_ONCE, each + 1))]
                await store.transact(lambda unit, r=run, e=events: unit.runs.append(r, e))  # type: ignore[misc]  # bound
            await sealing.step()
        left = entries - each * RUNS
        for first in range(0, left, EVENTS_AT_ONCE):
            deeds = [_deed(at) for at in range(first, min(first + EVENTS_AT_ONCE, left))]
            await store.transact(lambda unit, d=deeds: unit.audit.append_all(d))  # type: ignore[misc]  # bound
        await sealing.step()
    finally:
        await store.close()


def _deed(number: int) -> AuditEntry:
    name = f"{PLAN}s/p{number}"
    origin, method = "10.1.2.3 (terraform)", "PlanService/UpdatePlan"
    return AuditEntry(
        BEGIN, "local", "update", name, 2, 'owner: "Ann" → "Bob"', origin=origin, method=method, after_digest="a" * 64
    )


def walked(connection: Connection, verification: Verification | None) -> int:
    """Reads the whole trail, and verifies it where that is asked for; how many entries there are."""
    place, is_end, entries = Place(), False, 0
    unit = SqlUnit(connection)
    while not is_end:
        stretches, is_end = read_piece(unit, place, 2_000)
        for stretch in stretches:
            place, entries = stretch.place, entries + len(stretch.entries)
            if verification is not None:
                verification.entries(stretch.entries)
                if stretch.seal is not None:
                    verification.seal(stretch.seal, stretch.heads)
    return entries


def measure_verification(report: Report, folder: Path, entries: int) -> None:
    """The store file is opened as the engine does it, and everything is done on this thread."""
    key = Ed25519SealingKey(Ed25519PrivateKey.from_private_bytes(random.Random(1).randbytes(32)))
    path = folder / "trail.db"
    asyncio.run(fill(path, entries, key))
    with opened(path, lambda _: None) as connection, connection.begin():
        begun = time.perf_counter()
        walked(connection, None)
        read_seconds = time.perf_counter() - begun
        begun = time.perf_counter()
        bases: list[Head] = list(SqlUnit(connection).seals.bases())
        verification = Verification(bases, key.is_signed)
        found = walked(connection, verification)
        verdict = verification.finish()
        seconds = time.perf_counter() - begun
    if verdict.fault is not None or found != entries or verdict.unsealed_count:
        raise AssertionError(f"{found} of {entries} entries: {verdict}")
    scale = ENTRIES / entries
    scaled = "" if entries == ENTRIES else f", scaled from {entries:,}"
    report.add(
        f"a million entries read and verified{scaled}",
        seconds * scale,
        "s",
        reference="reading them alone",
        reference_value=read_seconds * scale,
        goal=f"below {VERIFY_GOAL_SECONDS:g} s",
        met=seconds * scale < VERIFY_GOAL_SECONDS,
    )


def main() -> None:
    """Measures and keeps the figures."""
    given = arguments(__doc__ or "")
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    report = Report("audit", ["sqlalchemy", "cryptography"])
    seconds, rounds, entries = (
        (0.1, 1, 2_100) if given.tiny else (0.5, 10, 100_000) if given.quick else (1.0, 10, ENTRIES)
    )
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(measure_commits(report, Path(folder), seconds, rounds))
        measure_verification(report, Path(folder), entries)
    report.write(given.results)


if __name__ == "__main__":
    main()
