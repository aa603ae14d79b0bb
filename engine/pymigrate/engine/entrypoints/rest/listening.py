"""One HTTP server on an address: binds it, serves an application there beside everything else in the loop, and stops."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from pymigrate.engine.domain.errors import PermanentError
from pymigrate.engine.entrypoints.rest.peers import CLIENT_CERTIFICATE
from pymigrate.engine.entrypoints.server_certificate import ServerCertificate

CONNECTIONS_MAX = 2_000
BACKLOG = 512
HEAD_BYTES_MAX = 64 * 1024
GRACE_SECONDS = 2
# The kernel takes megabytes from whoever writes to a connection that is not read: a watcher that is slow would be told what is long past.
UNSENT_BYTES_MAX = 64 * 1024


class Listener:
    """Serves an application, over TLS where there is a certificate. `purpose` and `setting` are for the error that names what has to
    change."""

    def __init__(
        self, application: ASGIApp, purpose: str, setting: str, certificate: ServerCertificate | None = None
    ) -> None:
        self._certificate = certificate
        self._application = application
        self._purpose = purpose
        self._setting = setting
        self._server: _Server | None = None
        self._serving: asyncio.Task[None] | None = None

    async def start(self, listen: str) -> int:
        """Binds and serves; the port that was bound. Raises PermanentError when the address is taken."""
        bound = self._bind(listen)
        config = uvicorn.Config(
            self._application,
            interface="asgi3",
            http=_Connection,
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
        config.load()
        config.ssl = None if self._certificate is None else self._certificate.context
        self._server = _Server(config)
        self._serving = asyncio.create_task(self._server.serve([bound]))
        return int(bound.getsockname()[1])

    async def stop(self) -> None:
        """Takes no more requests, lets those under way end within GRACE_SECONDS, and stops."""
        if self._server is None or self._serving is None:
            return
        self._server.should_exit = True
        await self._serving

    def _bind(self, listen: str) -> socket.socket:
        host, _, port = listen.rpartition(":")
        try:
            family, kind, protocol, _, address = socket.getaddrinfo(
                host.strip("[]"), int(port), type=socket.SOCK_STREAM
            )[0]
            bound = socket.socket(family, kind, protocol)
            try:
                bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if hasattr(
                    socket, "TCP_NOTSENT_LOWAT"
                ):  # not everywhere; connections have it from the socket that listens
                    bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES_MAX)
                bound.bind(address)
                bound.listen(BACKLOG)
            except OSError:
                bound.close()
                raise
        except OSError as error:
            raise PermanentError(
                f"can't listen on {listen} for {self._purpose} ({error}): stop what has it, or set {self._setting} to another port"
            ) from error
        bound.setblocking(False)
        return bound


class _Connection(H11Protocol):
    """Notes the certificate that the client has shown, once for all requests of a connection."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        tls = transport.get_extra_info("ssl_object")
        shown = None if tls is None else tls.getpeercert(binary_form=True)
        self.app_state = {**self.app_state, CLIENT_CERTIFICATE: shown or b""}


class _Server(uvicorn.Server):
    """Leaves signals to the engine, which drains at them."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
