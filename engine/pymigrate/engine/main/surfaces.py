"""What an engine serves its servicers over: gRPC always, REST and the page of metrics alone where they are asked for. Each writes where
it is reached into the home."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from pymigrate.engine.application.access.authorizer import GrantsOf
from pymigrate.engine.entrypoints.call_spans import CallSpans
from pymigrate.engine.entrypoints.grpc.server import Server
from pymigrate.engine.entrypoints.identity import Identifies
from pymigrate.engine.entrypoints.instruments import Instruments
from pymigrate.engine.entrypoints.server_certificate import ServerCertificate
from pymigrate.engine.main.told_addresses import build_certificate, reached_at, tell, tell_server_name
from pymigrate.engine.ports.metric_families import WATCHERS
from pymigrate.engine.ports.metrics import Reading
from pymigrate.engine.settings import Settings

if TYPE_CHECKING:
    from pymigrate.engine.entrypoints.rest.metrics import MetricsServer
    from pymigrate.engine.entrypoints.rest.server import RestServer
    from pymigrate.engine.entrypoints.rest.webhooks import TakesPosts

log = structlog.get_logger(__name__)
CALLS_GRACE_SECONDS = 2.0


class Surfaces:
    """The servers of one engine."""

    def __init__(
        self,
        settings: Settings,
        servicers: Mapping[str, Any],
        bearers: Identifies,
        instruments: Instruments,
        webhooks: "TakesPosts",
        grants_of: GrantsOf,
    ) -> None:
        self._settings = settings
        spans = CallSpans(instruments.tracing, instruments.clock)
        certificate = build_certificate(settings)
        tell_server_name(settings)
        self._grpc = Server(servicers, bearers, instruments, spans, certificate)
        self._rest = (
            _rest(servicers, bearers, instruments, spans, webhooks, certificate, grants_of)
            if settings.rest_listen
            else None
        )
        self._metrics = _metrics(bearers, instruments, certificate, grants_of) if settings.metrics_listen else None
        instruments.metrics.collect("watchers", self._watchers)

    async def start(self) -> None:
        """Binds and serves, and tells where. Raises PermanentError when an address is taken."""
        settings = self._settings
        # An engine that was killed leaves its files; nobody is to be led to an address that is not this one's.
        settings.rest_endpoint_path.unlink(missing_ok=True)
        settings.metrics_endpoint_path.unlink(missing_ok=True)
        metrics_port = await self._metrics.start(settings.metrics_listen) if self._metrics is not None else 0
        rest_port = await self._rest.start(settings.rest_listen) if self._rest is not None else 0
        settings.client_endpoint_path.unlink(missing_ok=True)
        port = await self._grpc.start(settings.listen, settings.tls_client_listen)
        if self._grpc.client_port:
            _told(settings.client_endpoint_path, settings.tls_client_listen, self._grpc.client_port)
        endpoint = _told(settings.endpoint_path, settings.listen, port)
        rest = _told(settings.rest_endpoint_path, settings.rest_listen, rest_port) if rest_port else ""
        metrics = _told(settings.metrics_endpoint_path, settings.metrics_listen, metrics_port) if metrics_port else ""
        home = str(settings.home)
        log.info("engine.serving", endpoint=endpoint, rest_endpoint=rest, metrics_endpoint=metrics, home=home)

    async def tell_ready(self) -> None:
        """Health becomes SERVING, and /readyz 200."""
        if self._rest is not None:
            self._rest.tell_ready()
        await self._grpc.tell_ready()

    async def tell_draining(self) -> None:
        """Health becomes NOT_SERVING, and /readyz 503, for good."""
        await self._grpc.tell_draining()
        if self._rest is not None:
            self._rest.tell_draining()

    async def stop(self) -> None:
        """Takes no more calls, lets those under way end within the grace, and stops."""
        if self._rest is not None:
            await self._rest.stop()
            self._settings.rest_endpoint_path.unlink(missing_ok=True)
        await self._grpc.stop(CALLS_GRACE_SECONDS)
        self._settings.endpoint_path.unlink(missing_ok=True)
        self._settings.client_endpoint_path.unlink(missing_ok=True)
        if self._metrics is not None:  # the last one: how an engine drains is worth a scrape
            await self._metrics.stop()
            self._settings.metrics_endpoint_path.unlink(missing_ok=True)

    def _watchers(self) -> Iterator[Reading]:
        rest = self._rest.open_streams if self._rest is not None else 0
        yield Reading(WATCHERS, [(("grpc",), self._grpc.open_streams), (("rest",), rest)])


def _told(path: Path, listen: str, port: int) -> str:
    endpoint = reached_at(listen, port)
    tell(path, endpoint)
    return endpoint


def _rest(
    servicers: Mapping[str, Any],
    bearers: Identifies,
    instruments: Instruments,
    spans: CallSpans,
    webhooks: "TakesPosts",
    certificate: ServerCertificate | None,
    grants_of: GrantsOf,
) -> "RestServer":
    from pymigrate.engine.entrypoints.rest.server import RestServer
    from pymigrate.engine.entrypoints.rest.webhooks import WebhookEndpoint

    endpoint = WebhookEndpoint(webhooks, instruments.clock, instruments.clean)
    return RestServer(
        servicers,
        bearers,
        instruments=instruments,
        spans=spans,
        clean=instruments.clean,
        webhooks=endpoint,
        certificate=certificate,
        grants_of=grants_of,
    )


def _metrics(
    bearers: Identifies, instruments: Instruments, certificate: ServerCertificate | None, grants_of: GrantsOf
) -> "MetricsServer":
    from pymigrate.engine.entrypoints.rest.metrics import MetricsServer

    return MetricsServer(instruments.exposition, bearers, grants_of, certificate)
