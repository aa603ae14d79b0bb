"""The engine's process: builds every adapter, takes over what an earlier engine left, serves, and drains at SIGTERM."""

import asyncio
import os
import random
import secrets
import signal
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import structlog

from pymigrate.engine.adapters.clock import SystemClock
from pymigrate.engine.adapters.drawing import Drawers
from pymigrate.engine.adapters.executors.local import LocalExecutor
from pymigrate.engine.adapters.store.measured import MeasuredStore
from pymigrate.engine.adapters.store.sqlite import SqliteStore
from pymigrate.engine.application.board import Board
from pymigrate.engine.application.caller import Surroundings, random_id
from pymigrate.engine.application.catalog import Catalog
from pymigrate.engine.application.dashboards import Dashboards
from pymigrate.engine.application.followups import Followups
from pymigrate.engine.application.forecasts import Forecasts
from pymigrate.engine.application.hosts import Hosts
from pymigrate.engine.application.impacts import Bounds, Impacts
from pymigrate.engine.application.inquiries import Inquiries
from pymigrate.engine.application.inspections import Inspections
from pymigrate.engine.application.known_hosts import LeaseTerms
from pymigrate.engine.application.kpi_keeping import KpiKeeping
from pymigrate.engine.application.kpi_watching import KpiWatching
from pymigrate.engine.application.kpis import FleetKpis
from pymigrate.engine.application.learning import Learning
from pymigrate.engine.application.limits import LaneLimits
from pymigrate.engine.application.measuring import Measuring
from pymigrate.engine.application.outlooks import Outlooks
from pymigrate.engine.application.probing import Probing
from pymigrate.engine.application.requests import Requests
from pymigrate.engine.application.run_estimates import RunEstimates
from pymigrate.engine.application.run_traces import RunTraces
from pymigrate.engine.application.runs import Runs
from pymigrate.engine.application.watching import Topics
from pymigrate.engine.domain.schedule import Scheduler
from pymigrate.engine.entrypoints.grpc.connections import ConnectionCalls
from pymigrate.engine.entrypoints.grpc.declared import EnvironmentCalls
from pymigrate.engine.entrypoints.grpc.impacts import ImpactCalls
from pymigrate.engine.entrypoints.grpc.kpis import KpiCalls
from pymigrate.engine.entrypoints.grpc.plans import PlanCalls
from pymigrate.engine.entrypoints.grpc.runs import RunCalls
from pymigrate.engine.entrypoints.grpc.workers import WorkerCalls
from pymigrate.engine.entrypoints.instruments import Instruments
from pymigrate.engine.entrypoints.loops.outgoing import Outgoing
from pymigrate.engine.entrypoints.loops.supervisor import Supervisor, stopped
from pymigrate.engine.main.instruments import build_instruments, measure_fleet, measure_hosts
from pymigrate.engine.main.logs import configure_logging
from pymigrate.engine.main.outgoing import build_outgoing
from pymigrate.engine.main.secrets import build_secrets
from pymigrate.engine.main.surfaces import Surfaces
from pymigrate.engine.main.tracing import build_tracing
from pymigrate.engine.ports.secrets import Redactor, parse_secret_ref
from pymigrate.engine.ports.store import Store
from pymigrate.engine.settings import Settings

log = structlog.get_logger(__name__)
TOKEN_BYTES = 32


OpenStore = Callable[[Settings, SystemClock], Awaitable[Store]]


async def open_store(settings: Settings, clock: SystemClock) -> Store:
    """The store that the settings name. Raises PyMigrateError when it can't be opened."""
    if not settings.store:
        return await SqliteStore.open(settings.store_path, clock)
    from pymigrate.engine.adapters.store.postgres import PostgresStore

    password = ""
    if settings.store_password:
        places = build_secrets(Redactor())
        password = places.read(parse_secret_ref(settings.store_password, "store_password")).reveal()
    return await PostgresStore.open(settings.store, clock, random.Random(), password)


async def serve(settings: Settings, redactor: Redactor, opened: OpenStore = open_store) -> None:
    """Serves until SIGTERM or SIGINT. `redactor` is told of the secrets that are read; `opened` is for tests that put a store of their own
    around the engine's. Raises PyMigrateError when it can't start."""
    ending = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ending.set)
    _make_home(settings.home)
    token = _token(settings.token_path)
    clock = SystemClock()
    places = build_secrets(redactor)
    tracing = build_tracing(settings, "pymigrate-engine", settings.instance, places)
    instruments = build_instruments(clock, tracing)
    store: Store = MeasuredStore(await opened(settings, clock), instruments.metrics, clock)
    try:
        outgoing = build_outgoing(settings, store, instruments, places)
        await _serve(settings, token, clock, store, ending, instruments, outgoing)
    finally:
        await store.close()
        await asyncio.to_thread(tracing.close)
    log.info("engine.stopped")


async def _serve(
    settings: Settings,
    token: str,
    clock: SystemClock,
    store: Store,
    ending: asyncio.Event,
    instruments: Instruments,
    outgoing: Sequence[Outgoing],
) -> None:
    surroundings = Surroundings(clock, random_id)
    board = Board(store, clock, random.Random())
    kpis = FleetKpis(store, board, clock)
    if instruments.tracing.is_on:
        board.changes.follow(RunTraces(instruments.tracing).observe)
    hosts_work: list[Hosts] = []

    def on_work() -> None:
        for known in hosts_work:
            known.tell_work()

    board.on_work(on_work)
    inquiries = Inquiries(random_id, on_work)
    terms = LeaseTerms(
        settings.lease_seconds, settings.heartbeat_seconds, settings.host_tasks_max, settings.memory_bytes_max
    )
    limits = LaneLimits(store, board, settings.lanes_max, clock)
    hosts = Hosts(store, board, inquiries, limits, surroundings, terms, Scheduler(random.Random()))
    hosts_work.append(hosts)
    catalog, requests = Catalog(surroundings), Requests(clock)
    topics = Topics(clock)
    runs = Runs(store, board, inquiries, catalog, surroundings, topics)
    drawers = Drawers()
    learning, measuring = Learning(store, clock), Measuring(store, Inspections(inquiries), Probing(inquiries, clock))
    bounds = Bounds(settings.lanes_max, settings.memory_bytes_max)
    impacts = Impacts(store, catalog, measuring, surroundings, bounds, drawers.draw)
    forecasts = Forecasts(store, board, limits, clock, drawers.draw)
    dashboards = Dashboards(store, kpis, limits, topics, clock, random_id())
    servicers = {
        "EnvironmentService": EnvironmentCalls(store, catalog, requests),
        "ConnectionService": ConnectionCalls(store, catalog, requests, inquiries),
        "PlanService": PlanCalls(store, catalog, requests, runs),
        "RunService": RunCalls(runs),
        "ImpactService": ImpactCalls(impacts, forecasts, learning),
        "KpiService": KpiCalls(kpis, KpiWatching(kpis, topics, random_id()), dashboards),
        "WorkerService": WorkerCalls(hosts),
    }
    plugins = measure_fleet(instruments, board, kpis)
    measure_hosts(instruments.metrics, hosts)
    surfaces = Surfaces(settings, servicers, token, instruments)
    executor = LocalExecutor(settings.home, settings.drain_seconds, settings.host_environment)
    await board.restore()
    await hosts.restore()
    await kpis.restore()
    await surfaces.start()
    estimates = RunEstimates(store, board, learning, settings.lanes_max, drawers.draw)
    followups = Followups(store, board, learning, estimates, clock)
    supervisor = Supervisor(hosts, followups, executor, store, requests, clock, settings.hosts_shared_max)
    outlooks = Outlooks(store, kpis, forecasts, clock)
    looking = (kpis.run_loop(), KpiKeeping(store, kpis, clock).run_loop(), outlooks.run_loop(), dashboards.run_loop())
    telling = (each.run() for each in outgoing)
    running = (supervisor.run(), *looking, *telling, *(plugin.run() for plugin in plugins))
    loops = [asyncio.create_task(loop) for loop in running]
    await surfaces.tell_ready()
    await ending.wait()
    log.info("engine.draining")
    await surfaces.tell_draining()
    for loop in loops:
        await stopped(loop)
    # Hosts of an engine that was killed are not this executor's children, and drain with the others.
    await asyncio.gather(*(executor.drain(host.record.pid, host.record.pid_start_ticks) for host in hosts.hosts()))
    await executor.close()
    drawers.close()
    topics.close()
    await surfaces.stop()


def _make_home(home: Path) -> None:
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    home.chmod(0o700)


def _token(path: Path) -> str:
    """The engine's token; made at the first start, readable by its owner alone."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        path.chmod(0o600)
        return path.read_text().strip()
    with os.fdopen(descriptor, "w") as file:
        token = secrets.token_urlsafe(TOKEN_BYTES)
        file.write(f"{token}\n")
    return token


def run(settings: Settings, opened: OpenStore = open_store) -> None:
    """Serves in this process, on uvloop."""
    import uvloop

    redactor = Redactor()
    configure_logging(settings.log_level, redactor)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(settings, redactor, opened))
