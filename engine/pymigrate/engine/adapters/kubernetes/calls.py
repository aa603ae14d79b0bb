"""Calls to an API server over HTTP/1.1, each asked once and bounded in time and size.

The one exception is 401: the access is read anew, since a token may have been replaced, and the call is made once more.
"""

import asyncio
import ssl
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import aiohttp
import orjson
import structlog
from yarl import URL

from pymigrate.engine.adapters.kubernetes.access import Access, Load
from pymigrate.engine.adapters.kubernetes.answers import Answer, error_of
from pymigrate.engine.ports.clock import Clock
from pymigrate.engine.ports.cluster import ClusterMisconfigured, ClusterUnavailable

CONNECT_SECONDS_MAX = 5.0
# 64 writes at once, a watch for each kind, and some to spare. What comes beyond waits, within its time.
CONNECTIONS_MAX = 128
IDLE_SECONDS_MAX = 60.0
ANSWER_BYTES_MAX = 256 * 1024 * 1024
UNAUTHORIZED = 401

# Told of each call: verb, resource, status of HTTP or `error`, and the seconds until it was answered (a watch: until it began).
CallSeen = Callable[[str, str, str, float], None]
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Call:
    """What is asked. `verb` and `resource` are what metrics call it; `target` is the path with its query, encoded."""

    verb: str
    resource: str
    method: str
    target: str
    body: bytes | None = None
    content_type: str = "application/json"
    about: str = ""

    @property
    def asked(self) -> str:
        """For messages: method and path, without the query, which names no object."""
        path = self.target.partition("?")[0]
        return f"{self.method} {path} ({self.about})" if self.about else f"{self.method} {path}"


class Calls:
    """One cluster's connections. Opened on an event loop at the first call, and closed on the same."""

    def __init__(
        self, load: Load, clock: Clock, on_call: CallSeen, *, call_seconds_max: float, silence_seconds_max: float
    ) -> None:
        self._load = load
        self._clock = clock
        self._on_call = on_call
        self._call_timeout = aiohttp.ClientTimeout(total=call_seconds_max, sock_connect=CONNECT_SECONDS_MAX)
        self._stream_timeout = aiohttp.ClientTimeout(
            total=None,
            connect=call_seconds_max,
            sock_connect=CONNECT_SECONDS_MAX,
            sock_read=silence_seconds_max,
        )
        self._opened: aiohttp.ClientSession | None = None
        self._answering: set[aiohttp.ClientResponse] = set()
        self._is_suspect = self._is_closed = False
        self.access = load()
        if not self.access.is_verified:
            log.warning("cluster.unverified", server=self.access.server)

    async def close(self) -> None:
        """Ends every connection, streams too. Whoever calls later is told so."""
        self._is_closed = True
        opened, self._opened = self._opened, None
        for response in self._answering:
            # Whoever reads would never be told by aiohttp.
            response.content.set_exception(aiohttp.ClientConnectionError("closed here"))
        if opened is not None:
            await opened.close()
        await asyncio.sleep(0)  # transports end one turn of the loop later

    async def document(self, call: Call) -> Any:
        """What a call answers, read to its end. Raises what another answer than 2xx means."""
        async with self._answered(call, self._call_timeout) as response:
            with self.translated(call):
                body = await _whole(call, response)
        try:
            return orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise ClusterUnavailable(f"{call.asked}: the answer ({response.status}) is not JSON") from error

    @asynccontextmanager
    async def stream(self, call: Call) -> AsyncGenerator[aiohttp.StreamReader]:
        """What a call answers, piece by piece, as long as it is not silent for too long. Reading belongs into `translated`."""
        async with self._answered(call, self._stream_timeout) as response:
            yield response.content

    @contextmanager
    def translated(self, call: Call) -> Iterator[None]:
        """What goes wrong on the way, in our words. Whether a write was done is not known then."""
        try:
            yield
        except aiohttp.ClientSSLError as error:
            self._is_suspect = True  # authorities and certificates are replaced too
            raise ClusterUnavailable(f"{call.asked}: TLS failed: {error}") from error
        except TimeoutError as error:
            raise ClusterUnavailable(f"{call.asked}: the API was silent for too long") from error
        except (aiohttp.ClientError, OSError) as error:
            self._is_suspect = self._is_suspect or isinstance(error, ssl.SSLError)
            raise ClusterUnavailable(
                f"{call.asked}: the API does not answer: {type(error).__name__}: {error}"
            ) from error

    @asynccontextmanager
    async def _answered(self, call: Call, timeout: aiohttp.ClientTimeout) -> AsyncGenerator[aiohttp.ClientResponse]:
        if self._is_suspect:
            self._renew(self.access)
        access = self.access
        response = await self._asked(call, access, timeout)
        if response.status == UNAUTHORIZED:
            _drop(response)
            self._renew(access)
            response = await self._asked(call, self.access, timeout)
        self._answering.add(response)
        try:
            if not 200 <= response.status < 300:
                with self.translated(call):
                    body = await _whole(call, response)
                said = response.headers.get("Retry-After", "")
                raise error_of(Answer(call.asked, response.status, body, said, is_create=call.verb == "create"))
            yield response
        finally:
            self._answering.discard(response)
            _drop(response)

    async def _asked(self, call: Call, access: Access, timeout: aiohttp.ClientTimeout) -> aiohttp.ClientResponse:
        headers = {"Content-Type": call.content_type} if call.body is not None else {}
        if token := access.token.current():
            headers["Authorization"] = f"Bearer {token}"
        if self._is_closed:
            raise ClusterUnavailable(f"{call.asked}: the connection to the API was closed here")
        started, code = self._clock.monotonic(), "error"
        try:
            with self.translated(call):
                response = await self._session().request(
                    call.method,
                    URL(access.server + call.target, encoded=True),
                    data=call.body,
                    headers=headers,
                    ssl=access.tls or True,
                    server_hostname=access.server_name,
                    timeout=timeout,
                    allow_redirects=False,
                )
            code = str(response.status)
        finally:
            self._on_call(call.verb, call.resource, code, self._clock.monotonic() - started)
        return response

    def _renew(self, former: Access) -> None:
        self._is_suspect = False
        if self.access is not former:
            return  # somebody else did
        try:
            self.access = self._load()
        except ClusterMisconfigured as error:
            log.warning(
                "cluster.access_unreadable", error=error.message
            )  # it may be written just now: the former one stays

    def _session(self) -> aiohttp.ClientSession:
        if self._opened is None:
            self._opened = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=CONNECTIONS_MAX, keepalive_timeout=IDLE_SECONDS_MAX),
                cookie_jar=aiohttp.DummyCookieJar(),
                middlewares=(_once,),
                headers={
                    "Accept": "application/json",
                    # Unpacking costs more than the bytes do, which stay within the cluster's network.
                    "Accept-Encoding": "identity",
                    "User-Agent": f"pymigrate/{version('pymigrate')}",
                },
            )
        return self._opened


async def _once(request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Hides from aiohttp that a connection broke: it would send PUT and DELETE again by itself, and whoever asked must know."""
    try:
        return await send(request)
    except aiohttp.ClientConnectorError:
        raise  # nothing was sent
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise aiohttp.ClientConnectionError(f"the connection broke: {error}") from error


def _drop(response: aiohttp.ClientResponse) -> None:
    """Ends its connection, if it was not read to its end; otherwise that is in the pool already. At once, since whoever does not speak
    any more says no farewell of TLS either."""
    if (connection := response.connection) is not None and connection.transport is not None:
        connection.transport.abort()
    response.close()


async def _whole(call: Call, response: aiohttp.ClientResponse) -> bytes:
    pieces, size = [], 0
    async for piece in response.content.iter_any():
        size += len(piece)
        if size > ANSWER_BYTES_MAX:
            raise ClusterUnavailable(f"{call.asked}: the answer has more than {ANSWER_BYTES_MAX} bytes")
        pieces.append(piece)
    return b"".join(pieces)
