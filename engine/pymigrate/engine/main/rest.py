"""REST in a process of its own: a gRPC client of the engine that serves from the same home, with the same paths and answers. It opens no
store, and any number of them may stand before one engine."""

import pymigrate.engine.main.plain_logging  # noqa: F401  (before anything imports structlog)

# isort: split
import asyncio
import contextlib
import os
import signal

import structlog

from pymigrate.engine.adapters.clock import SystemClock
from pymigrate.engine.entrypoints.engine_access import EngineAccess
from pymigrate.engine.entrypoints.grpc.channel import EngineChannel
from pymigrate.engine.entrypoints.origins import Origins
from pymigrate.engine.entrypoints.rest.remote import follow_health, remote_services
from pymigrate.engine.entrypoints.rest.remote_identity import RemoteBearers
from pymigrate.engine.entrypoints.rest.server import RestServer
from pymigrate.engine.main.process import begin
from pymigrate.engine.main.told_addresses import build_certificate, reached_at, tell
from pymigrate.engine.ports.redaction import Redactor
from pymigrate.engine.settings import REST_PORT, Settings

log = structlog.get_logger(__name__)
LISTEN = f"127.0.0.1:{REST_PORT}"


async def serve(settings: Settings, redactor: Redactor) -> None:
    """Serves until SIGTERM or SIGINT. Raises PyMigrateError where no engine was ever served from the home, or the address is taken."""
    ending = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ending.set)
    access = EngineAccess.of(settings.home, os.environ)
    access.require_place()
    listen = settings.rest_listen or LISTEN
    channel = EngineChannel(access)
    certificate = build_certificate(settings, is_told=False)
    server = RestServer(
        remote_services(channel),
        RemoteBearers(channel, SystemClock(), Origins(settings.trusted_proxies_parts)),
        clean=redactor.clean,
        certificate=certificate,
    )
    port = await server.start(listen)
    endpoint = reached_at(listen, port)
    with contextlib.suppress(OSError):  # a home that is a mounted Secret takes no file; the log tells where
        tell(settings.rest_process_endpoint_path, endpoint)
    log.info("rest.serving", rest_endpoint=endpoint, home=str(settings.home))
    following = asyncio.create_task(follow_health(channel, server.tell_ready, SystemClock().sleep))
    await ending.wait()
    log.info("rest.draining")
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
    server.tell_draining()
    await server.stop()
    await channel.close()
    with contextlib.suppress(OSError):
        settings.rest_process_endpoint_path.unlink(missing_ok=True)
    log.info("rest.stopped")


def run(settings: Settings) -> None:
    """Serves in this process, on uvloop."""
    import uvloop

    redactor = begin(settings.log_level, settings.token_path)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(settings, redactor))
