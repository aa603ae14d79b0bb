"""Checkpoints: fifty lanes that report ten times a second each, through the engine's own use cases onto its SQLite store.

A report is one durable transaction (`synchronous = FULL`): compare-and-set of the lane. Reference: plain sqlite3, which commits the same
update under BEGIN IMMEDIATE, one after the other, in the same folder.
"""

import asyncio
import logging
import random
import sqlite3
import tempfile
import time
from contextlib import closing
from itertools import count
from pathlib import Path

import structlog
from _figures import Report, arguments, percentile

from pymigrate.engine.adapters.clock import SystemClock
from pymigrate.engine.adapters.store.sqlite import SqliteStore
from pymigrate.engine.application.board import Board
from pymigrate.engine.application.caller import Caller, Surroundings
from pymigrate.engine.application.catalog import Catalog
from pymigrate.engine.application.hosts import Hosts
from pymigrate.engine.application.inquiries import Inquiries
from pymigrate.engine.application.kinds import CONNECTIONS, DEPARTMENTS, ENVIRONMENTS
from pymigrate.engine.application.known_hosts import LeaseTerms
from pymigrate.engine.application.lane_credentials import LaneCredentials
from pymigrate.engine.application.limits import LaneLimits
from pymigrate.engine.application.plans import Plans
from pymigrate.engine.application.run_views import RunViews
from pymigrate.engine.application.runs import Runs
from pymigrate.engine.application.watching import Topics
from pymigrate.engine.domain.schedule import Scheduler
from pymigrate.engine.ports.store import Unit
from pymigrate.engine.testing.hosts import ScriptedHost
from pymigrate.v1 import connection_pb2, environment_pb2, plan_pb2, run_pb2, worker_pb2

LANES = 50
REPORTS_PER_SECOND = 10
PACED_GOAL = 500
P99_GOAL_SECONDS = 0.025
LIMIT_GOAL = 2_000
ME = Caller("benchmark")
PLAN = "environments/bench/plans/p"
AFFINITY = "file:/warehouse.duckdb@bench"


class Engine:
    """The use cases behind the worker calls, on a store file."""

    def __init__(self, store: SqliteStore) -> None:
        numbers = count(1)
        clock = SystemClock()
        surroundings = Surroundings(clock, lambda: f"{next(numbers):08d}-id")
        self.store = store
        self.catalog = Catalog(surroundings)
        self.board = Board(store, clock, random.Random(1))
        inquiries = Inquiries(surroundings.new_id, self._on_work)
        limits = LaneLimits(store, self.board, LANES, clock)
        terms = LeaseTerms(600.0, 200.0, LANES * 2)
        scheduler = Scheduler(random.Random(2))
        self.hosts = Hosts(
            store,
            self.board,
            inquiries,
            limits,
            surroundings,
            terms,
            scheduler,
            LaneCredentials("the benchmark's", clock),
        )
        self.board.on_work(self._on_work)
        views = RunViews(self.board, scheduler, clock)
        self.runs = Runs(store, self.board, inquiries, self.catalog, surroundings, Topics(clock), views)

    def _on_work(self) -> None:
        self.hosts.tell_work()

    def declare(self, unit: Unit) -> None:
        """A plan of fifty datasets."""
        phase = plan_pb2.Phase(department="sales")
        for number in range(LANES):
            dataset = phase.datasets[f"d{number}"]
            dataset.source.connection, dataset.source.relation = "legacy", f"t{number}"
            dataset.target.connection, dataset.target.relation = "warehouse", f"t{number}"
        parent = "environments/bench"
        self.catalog.create(unit, ENVIRONMENTS, "", "bench", environment_pb2.Environment(), ME)
        self.catalog.create(unit, DEPARTMENTS, parent, "sales", environment_pb2.Department(), ME)
        legacy = connection_pb2.Connection(sqlite=connection_pb2.SqliteSystem(path="/legacy.db"))
        warehouse = connection_pb2.Connection(duckdb=connection_pb2.DuckdbSystem(path="/warehouse.duckdb"))
        self.catalog.create(unit, CONNECTIONS, parent, "legacy", legacy, ME)
        self.catalog.create(unit, CONNECTIONS, parent, "warehouse", warehouse, ME)
        Plans(self.catalog).create(unit, parent, "p", plan_pb2.Plan(phases={"a": phase}), ME, is_dry=False)


async def lanes_of(engine: Engine, host: ScriptedHost) -> list[worker_pb2.Task]:
    """Fifty lanes, leased."""
    await engine.store.transact(engine.declare)
    await host.register()
    run = asyncio.create_task(engine.runs.start(run_pb2.StartRunRequest(parent=PLAN), ME))
    while not run.done():
        await host.work(1)
        await asyncio.sleep(0)
    await run
    found = [await host.claim() for _ in range(LANES)]
    return [task for task in found if task is not None]


async def paced(
    host: ScriptedHost, tasks: list[worker_pb2.Task], seconds: float, first: int
) -> tuple[float, list[float]]:
    """Reports a second, and how long each took, at ten a second a lane."""
    times: list[float] = []
    begun = time.perf_counter()

    async def report(task: worker_pb2.Task, offset: float) -> None:
        for number in range(int(seconds * REPORTS_PER_SECOND)):
            due = begun + offset + number / REPORTS_PER_SECOND
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            started = time.perf_counter()
            await host.report(task, first + number, (first + number) * 100)
            times.append(time.perf_counter() - started)

    await asyncio.gather(*(report(task, at / LANES / REPORTS_PER_SECOND) for at, task in enumerate(tasks)))
    return len(times) / (time.perf_counter() - begun), times


async def full_speed(host: ScriptedHost, tasks: list[worker_pb2.Task], seconds: float, first: int) -> float:
    """Reports a second when every lane reports again as soon as it can."""
    begun = time.perf_counter()
    done = 0

    async def report(task: worker_pb2.Task) -> None:
        nonlocal done
        for number in count(first):
            if time.perf_counter() - begun > seconds:
                return
            await host.report(task, number, number * 100)
            done += 1

    await asyncio.gather(*map(report, tasks))
    return done / (time.perf_counter() - begun)


def plain(path: Path, seconds: float) -> tuple[float, float]:
    """Commits a second of sqlite3 alone, and the seconds of the slowest."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(
            "CREATE TABLE lane (id INTEGER PRIMARY KEY, version INTEGER, chunks INTEGER, row_count INTEGER)"
        )
        connection.executemany("INSERT INTO lane VALUES (?, 0, 0, 0)", [(number,) for number in range(LANES)])
        begun, done, worst = time.perf_counter(), 0, 0.0
        while time.perf_counter() - begun < seconds:
            lane, step = done % LANES, done // LANES
            connection.execute("BEGIN IMMEDIATE")
            connection.execute(
                "UPDATE lane SET chunks = ?, row_count = ?, version = version + 1 WHERE id = ? AND version = ?",
                (step, step * 100, lane, step),
            )
            committing = time.perf_counter()
            connection.execute("COMMIT")
            worst = max(worst, time.perf_counter() - committing)
            done += 1
        return done / (time.perf_counter() - begun), worst


async def measure(report: Report, folder: Path, seconds: float, rounds: int) -> None:
    """Both sides in turns."""
    store = await SqliteStore.open(folder / "engine.db", SystemClock())
    try:
        engine = Engine(store)
        host = ScriptedHost(engine.hosts, "workerHosts/h", affinity=AFFINITY)
        tasks = await lanes_of(engine, host)
        rates: list[float] = []
        references: list[float] = []
        p99s: list[float] = []
        worst_commits: list[float] = []
        paced_rates: list[float] = []
        first = 1
        for number in range(rounds):
            commits, worst = plain(folder / f"plain{number}.db", seconds)
            references.append(commits)
            worst_commits.append(worst)
            rate, found = await paced(host, tasks, seconds, first)
            first += 1_000_000
            paced_rates.append(rate)
            p99s.append(percentile(found, 99))
            rates.append(await full_speed(host, tasks, seconds, first))
            first += 1_000_000
    finally:
        await store.close()
    reference = sorted(references)[rounds // 2]
    p99 = sorted(p99s)[rounds // 2]
    rate = sorted(paced_rates)[rounds // 2]
    report.add(
        f"{len(tasks)} lanes at {REPORTS_PER_SECOND} checkpoints a second each",
        rate,
        "checkpoints/s",
        reference="sqlite3 alone, as fast as it commits",
        reference_value=reference,
        goal=f"{PACED_GOAL} a second sustained",
        met=rate >= 0.98 * PACED_GOAL,
    )
    report.add(
        "the same, p99 of a checkpoint, median of the rounds",
        p99 * 1e3,
        "ms",
        reference="the slowest commit of sqlite3 alone, which is the disk's, median of the rounds",
        reference_value=sorted(worst_commits)[rounds // 2] * 1e3,
        goal=f"below {P99_GOAL_SECONDS * 1e3:g} ms",
        met=p99 < P99_GOAL_SECONDS,
    )
    limit = sorted(rates)[rounds // 2]
    report.add(
        f"{len(tasks)} lanes at full speed",
        limit,
        "checkpoints/s",
        reference="sqlite3 alone, one commit a checkpoint",
        reference_value=reference,
        goal=f"at least {LIMIT_GOAL} a second",
        met=limit >= LIMIT_GOAL,
    )


def main() -> None:
    """Measures and keeps the figures."""
    given = arguments(__doc__ or "")
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    report = Report("checkpoints", ["sqlalchemy", "sqlmodel"])
    seconds, rounds = (0.2, 1) if given.tiny else (3.0, 5) if given.quick else (10.0, 7)
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(measure(report, Path(folder), seconds, rounds))
    report.write(given.results)


if __name__ == "__main__":
    main()
