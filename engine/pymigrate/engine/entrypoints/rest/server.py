"""The HTTP server: the contract's calls, probes of liveness and readiness, the OpenAPI document and the page of metrics, on an address of
its own."""

from collections.abc import Mapping
from typing import Any

import orjson
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from pymigrate.engine.application.access.authorizer import GrantsOf, own_grants
from pymigrate.engine.application.acknowledging import PATH as ACKNOWLEDGE
from pymigrate.engine.entrypoints.call_spans import CallSpans
from pymigrate.engine.entrypoints.grpc.server import ADDERS
from pymigrate.engine.entrypoints.identity import Identifies
from pymigrate.engine.entrypoints.instruments import Instruments
from pymigrate.engine.entrypoints.redacted import Clean
from pymigrate.engine.entrypoints.rest.acknowledge_page import AcknowledgePage
from pymigrate.engine.entrypoints.rest.bindings import DOCUMENT, Routes, bindings_of
from pymigrate.engine.entrypoints.rest.calls import Calls
from pymigrate.engine.entrypoints.rest.latency import Latency
from pymigrate.engine.entrypoints.rest.listening import Listener
from pymigrate.engine.entrypoints.rest.metrics import PATH as METRICS
from pymigrate.engine.entrypoints.rest.metrics import MetricsAnswer
from pymigrate.engine.entrypoints.rest.openapi import document
from pymigrate.engine.entrypoints.rest.problems import Refused, problem_response
from pymigrate.engine.entrypoints.rest.streams import Streams
from pymigrate.engine.entrypoints.rest.tracing import Traced
from pymigrate.engine.entrypoints.rest.webhooks import PATH as WEBHOOKS
from pymigrate.engine.entrypoints.server_certificate import ServerCertificate

GZIP_BYTES_MIN = 1_024
GZIP_LEVEL = 5
# The calls of worker hosts and dispatchers are the engine's own affair, and go over gRPC.
HIDDEN = frozenset({"WorkerService", "DispatchService"})


def contract_routes(services: Mapping[str, Any] = ADDERS) -> Routes:
    """The routes of the services that are named, without the hidden ones."""
    shown = [name for name in services if name not in HIDDEN]
    return Routes(bindings_of(ADDERS[name][0].DESCRIPTOR.services_by_name[name] for name in shown))


class RestServer:
    """A server for the given servicers, by the service's name: those of the gRPC server, in the same process, or an engine's in another."""

    def __init__(
        self,
        servicers: Mapping[str, Any],
        bearers: Identifies,
        streams: Streams | None = None,
        instruments: Instruments | None = None,
        spans: CallSpans | None = None,
        clean: Clean = str,
        webhooks: ASGIApp | None = None,
        certificate: ServerCertificate | None = None,
        grants_of: GrantsOf = own_grants,
    ) -> None:
        self._routes = contract_routes(servicers)
        self._streams = streams or Streams(clean=clean)
        self._document = b""
        self._is_ready = False
        self._open = {"/livez": self._livez, "/readyz": self._readyz, DOCUMENT: self._openapi}
        self._calls: ASGIApp = Calls(servicers, self._routes, bearers, self._streams, clean)
        self._metrics: MetricsAnswer | None = None
        notifications = servicers.get("NotificationService")
        self._acknowledge = AcknowledgePage(notifications, bearers) if notifications is not None else None
        if instruments is not None:
            self._calls = Latency(self._calls, instruments.metrics, instruments.clock)
            self._metrics = MetricsAnswer(instruments.exposition, bearers, grants_of)
        self._webhooks = webhooks
        if webhooks is not None and instruments is not None:
            self._webhooks = Latency(webhooks, instruments.metrics, instruments.clock)
        if spans is not None:
            self._calls = Traced(self._calls, spans)
        self.application = GZipMiddleware(self._serve, minimum_size=GZIP_BYTES_MIN, compresslevel=GZIP_LEVEL)
        self._listener = Listener(self.application, "REST", "PYMIGRATE_REST_LISTEN", certificate)

    @property
    def open_streams(self) -> int:
        """How many streams are open."""
        return self._streams.open

    async def start(self, listen: str) -> int:
        """Binds and serves; the port that was bound. Raises PermanentError when the address is taken."""
        return await self._listener.start(listen)

    def tell_ready(self, is_ready: bool = True) -> None:
        """/readyz becomes 200, or 503 for as long as no engine takes calls behind it."""
        self._is_ready = is_ready

    def tell_draining(self) -> None:
        """/readyz becomes 503, for good, and streams end, to be resumed elsewhere."""
        self._is_ready = False
        self._streams.close()

    async def stop(self) -> None:
        """Takes no more requests, lets those under way end within the grace, and stops."""
        self._streams.close()
        await self._listener.stop()

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """What needs no token by its exact path, the page behind links, what hosts of repositories post, the page of metrics, and the
        contract's calls by every other."""
        if self._webhooks is not None and scope["path"].startswith(WEBHOOKS):
            await self._webhooks(scope, receive, send)
            return
        if self._acknowledge is not None and scope["path"].startswith(ACKNOWLEDGE):
            await self._acknowledge(scope, receive, send)
            return
        if self._metrics is not None and scope["path"] == METRICS:
            await self._metrics(scope, receive, send)
            return
        answer = self._open.get(scope["path"])
        if answer is None:
            await self._calls(scope, receive, send)
        elif scope["method"] in {"GET", "HEAD"}:
            await answer()(scope, receive, send)
        else:
            text = f"{scope['method']} is not served here: use GET"
            refused = Refused(405, "METHOD_NOT_ALLOWED", text, {"allow": "GET"})
            await problem_response(refused)(scope, receive, send)

    def _livez(self) -> Response:
        return PlainTextResponse("alive\n")

    def _readyz(self) -> Response:
        return PlainTextResponse("ready\n") if self._is_ready else PlainTextResponse("not ready\n", 503)

    def _openapi(self) -> Response:
        if not self._document:
            self._document = orjson.dumps(document(self._routes.bindings))
        return Response(self._document, media_type="application/json")
