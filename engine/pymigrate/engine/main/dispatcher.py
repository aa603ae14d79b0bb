"""The process of a dispatcher: `pymigrate dispatcher`, or `python -m pymigrate.engine.main.dispatcher` as the engine starts it.

It opens no store and renders nothing: it is the engine's client, and what it sends is text already. One that an engine started ends with
that engine, so that no two are left where one was meant; one that was started by hand stays and waits for the next engine.
"""

import pymigrate.engine.main.plain_logging  # noqa: F401  (before anything imports structlog)

# isort: split
import argparse
import asyncio
import os
import random
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import structlog

from pymigrate.engine.adapters.clock import SystemClock
from pymigrate.engine.domain.errors import PermanentError
from pymigrate.engine.entrypoints.dispatcher.dispatcher import Dispatcher
from pymigrate.engine.entrypoints.dispatcher.engine import EngineLink
from pymigrate.engine.entrypoints.engine_access import HOST_TOKEN_VARIABLE, EngineAccess
from pymigrate.engine.entrypoints.held_secrets import held_secrets
from pymigrate.engine.main.process import begin
from pymigrate.engine.main.secrets import build_readers, build_secrets
from pymigrate.engine.ports.channel import Channel
from pymigrate.engine.ports.redaction import Redactor
from pymigrate.engine.ports.secrets import Secret
from pymigrate.engine.settings import Settings
from pymigrate.v1 import notification_pb2, secret_backend_pb2

log = structlog.get_logger(__name__)
LOOK_SECONDS = 0.5
NO_PARENT = 0


async def serve(settings: Settings, redactor: Redactor, name: str, parent: int = NO_PARENT) -> int:
    """Dispatches until SIGTERM or SIGINT, until its parent is gone where it has one, or until its home is. Raises PermanentError where no
    engine has made a token yet. Returns the exit code."""
    from pymigrate.engine.adapters.channels.addresses import OutgoingAddresses
    from pymigrate.engine.adapters.channels.factory import build_channel
    from pymigrate.engine.adapters.channels.read_ahead import ReadAhead, ReadAheadChannel

    access = EngineAccess.of(settings.home, os.environ)
    if not (access.host_token or settings.token_path.exists()):
        home = settings.home
        raise PermanentError(f"no engine has served from {home} yet: start one with `pymigrate serve --home {home}`")
    if access.host_token:
        redactor.note(Secret(access.host_token))
    # No reference to a secret finds it.
    os.environ.pop(HOST_TOKEN_VARIABLE, None)
    ending, clock = asyncio.Event(), SystemClock()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ending.set)
    secrets, addresses = build_secrets(redactor), OutgoingAddresses(settings.outgoing_allowed_parts)
    readers = build_readers(redactor)

    def build(
        declared: notification_pb2.NotificationChannel, backends: Mapping[str, secret_backend_pb2.SecretBackend]
    ) -> Channel:
        if not backends:  # its own variables and files are read quickly
            return build_channel(declared, held_secrets(declared, secrets, ()), addresses)
        holding = readers.held(backends)
        held = held_secrets(declared, holding.__enter__(), backends)
        return ReadAheadChannel(
            ReadAhead(held.held, held), lambda ahead: build_channel(declared, ahead, addresses), holding
        )

    # What the first message would wait for: certificates take longest.
    await asyncio.to_thread(_preload)
    link = EngineLink(access, name)
    dispatcher = Dispatcher(link, build, clock, random.Random(), name, redactor.clean)
    watching = asyncio.create_task(_watch(settings.home, parent, ending, clock))
    log.info("dispatcher.started", dispatcher=name, home=str(settings.home))
    try:
        unheard = await dispatcher.run(ending)
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        await link.close()
        await asyncio.to_thread(readers.close)
    log.info("dispatcher.stopped", dispatcher=name)
    return 1 if unheard else 0


def _preload() -> None:
    """Imports what the usual channels take, and reads the certificates once, which are quickly read again then."""
    from pymigrate.engine.adapters.channels import smtp, webhook
    from pymigrate.engine.adapters.channels.factory import trusted

    trusted()
    log.debug("dispatcher.preloaded", modules=[smtp.__name__, webhook.__name__])


async def _watch(home: Path, parent: int, ending: asyncio.Event, clock: SystemClock) -> None:
    """Ends it when there is nobody to work for: its engine was killed, or its home was taken away."""
    while True:
        is_orphan = parent != NO_PARENT and os.getppid() != parent
        if is_orphan or not os.access(home, os.F_OK):
            log.warning("dispatcher.orphaned", parent=parent, is_orphan=is_orphan)
            ending.set()
            return
        await clock.sleep(LOOK_SECONDS)


def run(settings: Settings, name: str = "", parent: int = NO_PARENT) -> int:
    """Dispatches in this process, on uvloop. Returns the exit code."""
    import uvloop

    redactor = begin(settings.log_level, settings.token_path)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(serve(settings, redactor, name or f"dispatcher-{os.getpid()}", parent))


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one that an engine starts; returns its exit code."""
    parser = argparse.ArgumentParser(prog="pymigrate-dispatcher")
    parser.add_argument("--home", required=True, type=Path, help="folder with the engine's endpoint and token")
    parser.add_argument("--name", required=True, help="what the dispatcher is called")
    parser.add_argument("--parent", required=True, type=int, help="the process of the engine that it ends with")
    given = parser.parse_args(arguments)
    return run(Settings(home=given.home), given.name, given.parent)


if __name__ == "__main__":
    sys.exit(main())
