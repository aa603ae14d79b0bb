"""The engine's process: builds every adapter, takes over what an earlier engine left, serves, and drains at SIGTERM."""

import pymigrate.engine.main.plain_logging  # noqa: F401  (before anything imports structlog)

# isort: split
import asyncio
import random
import signal
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import structlog

from pymigrate.engine.adapters.clock import SystemClock
from pymigrate.engine.adapters.store.measured import MeasuredStore
from pymigrate.engine.adapters.store.sqlite import SqliteStore
from pymigrate.engine.application.audit.noting import Noting
from pymigrate.engine.application.audit.stamping import StampingStore
from pymigrate.engine.domain.errors import PermanentError
from pymigrate.engine.entrypoints.call_stamps import present_stamp
from pymigrate.engine.entrypoints.grpc.server import descriptors
from pymigrate.engine.entrypoints.instruments import Instruments
from pymigrate.engine.entrypoints.loops.outgoing import Outgoing
from pymigrate.engine.entrypoints.loops.supervisor import stopped
from pymigrate.engine.entrypoints.noted_calls import NotedIdentity, noted
from pymigrate.engine.main.collecting import collect_seldom
from pymigrate.engine.main.identity import WaysIn, build_ways_in
from pymigrate.engine.main.instruments import build_instruments
from pymigrate.engine.main.keys import given_key, kept_key
from pymigrate.engine.main.outgoing import build_outgoing
from pymigrate.engine.main.process import begin
from pymigrate.engine.main.secrets import build_secrets
from pymigrate.engine.main.services import Services
from pymigrate.engine.main.surfaces import Surfaces
from pymigrate.engine.main.tracing import build_tracing
from pymigrate.engine.ports.redaction import Redactor
from pymigrate.engine.ports.secrets import Secret, parse_secret_ref
from pymigrate.engine.ports.store import Store
from pymigrate.engine.settings import Settings

log = structlog.get_logger(__name__)


OpenStore = Callable[[Settings, SystemClock, Redactor], Awaitable[Store]]


async def open_store(settings: Settings, clock: SystemClock, redactor: Redactor) -> Store:
    """The store that the settings name. `redactor` is told of its password. Raises PyMigrateError when it can't be opened."""
    if not settings.store:
        return await SqliteStore.open(settings.store_path, clock)
    from pymigrate.engine.adapters.store.postgres import PostgresStore

    password = ""
    if settings.store_password:
        places = build_secrets(redactor)
        password = places.read(parse_secret_ref(settings.store_password, "store_password")).reveal()
    return await PostgresStore.open(settings.store, clock, random.Random(), password)


async def serve(settings: Settings, redactor: Redactor, opened: OpenStore = open_store) -> None:
    """Serves until SIGTERM or SIGINT. `redactor` is told of the secrets that are read; `opened` is for tests that put a store of their own
    around the engine's. Raises PyMigrateError when it can't start."""
    ending = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ending.set)
    _check_own_clients(settings)
    _make_home(settings.home)
    clock = SystemClock()
    token = kept_key(settings.token_path) if settings.token_file is None else given_key(settings.token_file)
    for key in (token, kept_key(settings.acknowledge_key_path)):
        redactor.note(Secret(key))
    places = build_secrets(redactor)
    tracing = build_tracing(settings, "pymigrate-engine", settings.instance, places, redactor.clean)
    instruments = build_instruments(clock, tracing, redactor.clean)
    measured = MeasuredStore(await opened(settings, clock, redactor), instruments.metrics, clock)
    store: Store = StampingStore(measured, present_stamp)
    try:
        outgoing = build_outgoing(settings, store, instruments, places)
        ways_in = build_ways_in(settings, token, clock, store)
        try:
            await _serve(settings, ways_in, clock, store, ending, instruments, outgoing, redactor)
        finally:
            await ways_in.close()
    finally:
        await store.close()
        await asyncio.to_thread(tracing.close)
    log.info("engine.stopped")


async def _serve(
    settings: Settings,
    ways_in: WaysIn,
    clock: SystemClock,
    store: Store,
    ending: asyncio.Event,
    instruments: Instruments,
    outgoing: Sequence[Outgoing],
    redactor: Redactor,
) -> None:
    services = Services(settings, clock, store, instruments, ways_in, redactor)
    served, noting = services.servicers(), Noting(store, clock)
    known = NotedIdentity(ways_in.bearers, noting)
    behind = noted(served, descriptors(served), noting)
    surfaces = Surfaces(settings, behind, known, instruments, services.webhooks(), services.grants_of)
    await services.restore()
    await surfaces.start()
    working = (*services.loops(), *ways_in.loops(), *(each.run() for each in outgoing))
    loops = [asyncio.create_task(loop) for loop in working]
    collect_seldom()
    await surfaces.tell_ready()
    await ending.wait()
    log.info("engine.draining")
    await surfaces.tell_draining()
    for loop in loops:
        await stopped(loop)
    await services.drain()
    services.close()
    await surfaces.stop()


def _check_own_clients(settings: Settings) -> None:
    """Raises PermanentError where processes that the engine starts itself could not reach it."""
    starts = settings.executor == "local" or settings.dispatchers > 0
    if settings.tls_client_required and starts and settings.client_certificate is None:
        raise PermanentError(
            "PYMIGRATE_TLS_CLIENT_REQUIRED: the engine's own worker hosts and dispatchers show a certificate too: set "
            "PYMIGRATE_CLIENT_CERTIFICATE and PYMIGRATE_CLIENT_KEY to one that an authority of PYMIGRATE_TLS_CLIENT_CA has signed"
        )


def _make_home(home: Path) -> None:
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    home.chmod(0o700)


def run(settings: Settings, opened: OpenStore = open_store) -> None:
    """Serves in this process, on uvloop."""
    import uvloop

    redactor = begin(settings.log_level, settings.token_path)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(settings, redactor, opened))
