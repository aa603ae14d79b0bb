"""HTTP/1.1 on connections that lead only to addresses that were judged, kept and used again: the transport of httpx's client.

No name is resolved beside, no proxy is asked, nothing is redirected. httpx's own transport takes connections of ours too, but three
milliseconds of a processor for each request; this one leaves the protocol to h11 and adds what is asked of a pool here.
"""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator

import h11
import httpx

from pymigrate.engine.adapters.channels.addresses import OutgoingAddresses

KEPT_MAX = 100
KEPT_SECONDS_MAX = 30.0
INFORMATION_MAX = 10
READ_BYTES = 65_536
TLS_SECONDS_MAX = 10.0

Origin = tuple[str, str, int]


class OutgoingTransport(httpx.AsyncBaseTransport):
    """Carries requests to whatever may be connected to. It has no limits of time: whoever asks has. TLS is held to the name."""

    def __init__(self, addresses: OutgoingAddresses, trust: ssl.SSLContext, kept_max: int = KEPT_MAX) -> None:
        self._addresses = addresses
        self._trust = trust
        self._kept_max = kept_max
        self._kept: list[tuple[Origin, _Connection]] = []  # the longest unused first

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """The answer, its body still to be read. Raises AddressRefused beside httpx's own errors."""
        secure = request.url.scheme == "https"
        host = request.url.raw_host.decode("ascii")
        origin = (request.url.scheme, host, request.url.port or (443 if secure else 80))
        connection = self._used_before(origin) or await self._open(origin, request)
        try:
            answer = await connection.exchange(request)
        except BaseException:
            connection.abort()
            raise
        return httpx.Response(
            answer.status_code, headers=list(answer.headers), stream=_Body(self, origin, connection), request=request
        )

    async def aclose(self) -> None:
        """Ends the connections that nobody uses."""
        kept, self._kept = self._kept, []
        await asyncio.gather(*(connection.close() for _, connection in kept))

    def keep(self, origin: Origin, connection: "_Connection") -> None:
        """Somebody may use it again, if the answer was read to its end. Those unused for longest make room."""
        if connection.renew():
            self._kept.append((origin, connection))
        else:
            connection.abort()
        while self._kept and (len(self._kept) > self._kept_max or not self._kept[0][1].is_alive()):
            self._kept.pop(0)[1].abort()

    def _used_before(self, origin: Origin) -> "_Connection | None":
        for place in range(len(self._kept) - 1, -1, -1):
            known, connection = self._kept[place]
            if known == origin:
                del self._kept[place]
                if connection.is_alive():
                    return connection
                connection.abort()
        return None

    async def _open(self, origin: Origin, request: httpx.Request) -> "_Connection":
        scheme, host, port = origin
        try:
            connected = await self._addresses.connect(host, port)
            if scheme == "https":
                opening = asyncio.open_connection(
                    sock=connected, ssl=self._trust, server_hostname=host, ssl_handshake_timeout=TLS_SECONDS_MAX
                )
            else:
                opening = asyncio.open_connection(sock=connected)
            return _Connection(*await opening)
        except OSError as error:
            raise httpx.ConnectError(f"{host}: {str(error) or type(error).__name__}", request=request) from error


class _Connection:
    """One connection, with one request at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._protocol = h11.Connection(h11.CLIENT)
        self._last_used_seconds = 0.0

    async def exchange(self, request: httpx.Request) -> h11.Response:
        """Sends the request whole, and gives the head of the answer."""
        if not isinstance(request.stream, httpx.AsyncByteStream):
            raise TypeError("the body of a request must be an asynchronous stream")
        try:
            head = h11.Request(method=request.method, target=request.url.raw_path, headers=request.headers.raw)
            sent = self._protocol.send(head) or b""
            async for piece in request.stream:
                sent += self._protocol.send(h11.Data(data=piece)) or b""
            self._writer.write(sent + (self._protocol.send(h11.EndOfMessage()) or b""))
            # A receiver may refuse before everything has arrived: what it says then is read all the same.
            with contextlib.suppress(ConnectionError):
                await self._writer.drain()
            for _ in range(INFORMATION_MAX):
                event = await self._event()
                if isinstance(event, h11.Response):
                    return event
        except OSError as error:
            raise httpx.ReadError(str(error) or type(error).__name__, request=request) from error
        except h11.LocalProtocolError as error:
            raise httpx.LocalProtocolError(str(error), request=request) from error
        except h11.RemoteProtocolError as error:
            raise httpx.RemoteProtocolError(str(error), request=request) from error
        raise httpx.RemoteProtocolError("the receiver goes on without an answer", request=request)

    async def body(self) -> AsyncIterator[bytes]:
        """The body of the answer, piece by piece."""
        try:
            while isinstance(event := await self._event(), h11.Data):
                yield bytes(event.data)
        except OSError as error:
            raise httpx.ReadError(str(error) or type(error).__name__) from error
        except h11.RemoteProtocolError as error:
            raise httpx.RemoteProtocolError(str(error)) from error

    def renew(self) -> bool:
        """Whether it may carry another request."""
        if self._protocol.our_state is not h11.DONE or self._protocol.their_state is not h11.DONE:
            return False
        self._protocol.start_next_cycle()
        self._last_used_seconds = asyncio.get_running_loop().time()
        return True

    def is_alive(self) -> bool:
        """Whether it seems to be there still, and was used lately."""
        is_recent = asyncio.get_running_loop().time() - self._last_used_seconds < KEPT_SECONDS_MAX
        return is_recent and not self._reader.at_eof() and not self._writer.is_closing()

    def abort(self) -> None:
        """Ends it at once."""
        self._writer.transport.abort()

    async def close(self) -> None:
        """Ends it, and waits until it has."""
        self.abort()
        try:
            await self._writer.wait_closed()
        except OSError:
            return

    async def _event(self) -> object:
        while (event := self._protocol.next_event()) is h11.NEED_DATA:
            self._protocol.receive_data(await self._reader.read(READ_BYTES))
        return event


class _Body(httpx.AsyncByteStream):
    """The body of an answer; with its end the connection is free."""

    def __init__(self, transport: OutgoingTransport, origin: Origin, connection: _Connection) -> None:
        self._transport = transport
        self._origin = origin
        self._connection = connection

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in self._connection.body():
            yield piece

    async def aclose(self) -> None:
        self._transport.keep(self._origin, self._connection)
