"""The HTTP server: the contract's calls, probes of liveness and readiness, and the OpenAPI document, on an address of its own."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator, Mapping
from typing import Any

import orjson
import uvicorn
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from pymigrate.engine.domain.errors import PermanentError
from pymigrate.engine.entrypoints.grpc.server import ADDERS
from pymigrate.engine.entrypoints.rest.bindings import DOCUMENT, Routes, bindings_of
from pymigrate.engine.entrypoints.rest.calls import Calls
from pymigrate.engine.entrypoints.rest.openapi import document
from pymigrate.engine.entrypoints.rest.problems import Refused, problem_response
from pymigrate.engine.entrypoints.rest.streams import Streams

CONNECTIONS_MAX = 2_000
BACKLOG = 512
HEAD_BYTES_MAX = 64 * 1024
GZIP_BYTES_MIN = 1_024
GZIP_LEVEL = 5
GRACE_SECONDS = 2
# The calls of worker hosts are the engine's own affair, and go over gRPC.
HIDDEN = frozenset({"WorkerService"})


def contract_routes(services: Mapping[str, Any] = ADDERS) -> Routes:
    """The routes of the services that are named, without the hidden ones."""
    shown = [name for name in services if name not in HIDDEN]
    return Routes(bindings_of(ADDERS[name][0].DESCRIPTOR.services_by_name[name] for name in shown))


class RestServer:
    """A server for the given servicers, by the service's name: those of the gRPC server, in the same process."""

    def __init__(self, servicers: Mapping[str, Any], token: str, streams: Streams | None = None) -> None:
        self._routes = contract_routes(servicers)
        self._streams = streams or Streams()
        self._document = b""
        self._is_ready = False
        self._server: _Server | None = None
        self._serving: asyncio.Task[None] | None = None
        self._open = {"/livez": self._livez, "/readyz": self._readyz, DOCUMENT: self._openapi}
        self._calls = Calls(servicers, self._routes, token, self._streams)
        self.application = GZipMiddleware(self._serve, minimum_size=GZIP_BYTES_MIN, compresslevel=GZIP_LEVEL)

    async def start(self, listen: str) -> int:
        """Binds and serves; the port that was bound. Raises PermanentError when the address is taken."""
        host, _, port = listen.rpartition(":")
        bound = _bind(host.strip("[]"), int(port), listen)
        config = uvicorn.Config(
            self.application,
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="critical",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            limit_concurrency=CONNECTIONS_MAX,
            h11_max_incomplete_event_size=HEAD_BYTES_MAX,
            timeout_graceful_shutdown=GRACE_SECONDS,
        )
        self._server = _Server(config)
        self._serving = asyncio.create_task(self._server.serve([bound]))
        return int(bound.getsockname()[1])

    def tell_ready(self) -> None:
        """/readyz becomes 200."""
        self._is_ready = True

    def tell_draining(self) -> None:
        """/readyz becomes 503, for good, and streams end, to be resumed elsewhere."""
        self._is_ready = False
        self._streams.close()

    async def stop(self) -> None:
        """Takes no more requests, lets those under way end within GRACE_SECONDS, and stops."""
        self._streams.close()
        if self._server is None or self._serving is None:
            return
        self._server.should_exit = True
        await self._serving

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """What needs no token by its exact path, and the contract's calls by every other."""
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


class _Server(uvicorn.Server):
    """Leaves signals to the engine, which drains at them."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _bind(host: str, port: int, listen: str) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        bound = socket.socket(family, kind, protocol)
        try:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind(address)
            bound.listen(BACKLOG)
        except OSError:
            bound.close()
            raise
    except OSError as error:
        raise PermanentError(
            f"can't listen on {listen} for REST ({error}): stop what has it, or set PYMIGRATE_REST_LISTEN to another port"
        ) from error
    bound.setblocking(False)
    return bound
