"""Connections to one mail server that are kept and used again, each encrypted as declared and logged in.

A kept connection may have died meanwhile, which shows when it is used: whoever uses it then takes another, as nothing was sent.
"""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import cast

import aiosmtplib

from pymigrate.engine.adapters.answers import Answers
from pymigrate.engine.adapters.channels.addresses import OutgoingAddresses
from pymigrate.engine.ports.secrets import Secret

KEPT_SECONDS_MAX = 60.0
MESSAGES_MAX = 500
QUIT_SECONDS_MAX = 1.0


class Security(StrEnum):
    """How a connection is encrypted."""

    STARTTLS = "starttls"
    TLS = "tls"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class MailServer:
    """Where mail is handed over, and by whom. `password` reads it anew: it may have been changed under its reference."""

    host: str
    port: int
    security: Security
    username: str = ""
    password: Callable[[], Secret] | None = None


@dataclass(slots=True, eq=False)
class MailConnection:
    """A connection that may be used by one at a time. It `needs_reset` where the server still has the sender of a mail that it refused."""

    client: aiosmtplib.SMTP
    is_kept: bool = False
    needs_reset: bool = False
    messages: int = 0
    last_used_seconds: float = 0.0

    def drop(self) -> None:
        """Ends it at once: nothing that may still be on its way is waited for."""
        transport = self.client.transport
        self.client.close()
        if transport is not None:
            cast("asyncio.Transport", transport).abort()


class MailConnections:
    """At most `connections_max` to a server."""

    def __init__(
        self,
        server: MailServer,
        addresses: OutgoingAddresses,
        trust: ssl.SSLContext,
        answers: Answers,
        connections_max: int,
    ) -> None:
        self._server = server
        self._addresses = addresses
        self._trust = trust
        self._answers = answers
        self._slots = asyncio.Semaphore(connections_max)
        self._kept: list[MailConnection] = []

    @contextlib.asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """The right to one connection."""
        async with self._slots:
            yield

    def kept(self) -> MailConnection | None:
        """One that was used before and seems to be there still."""
        now = asyncio.get_running_loop().time()
        while self._kept:
            connection = self._kept.pop()
            if connection.client.is_connected and now - connection.last_used_seconds < KEPT_SECONDS_MAX:
                connection.is_kept = True
                return connection
            connection.drop()
        return None

    def keep(self, connection: MailConnection) -> None:
        """Somebody may use it again, unless it has carried enough."""
        connection.messages += 1
        connection.last_used_seconds = asyncio.get_running_loop().time()
        if connection.client.is_connected and connection.messages < MESSAGES_MAX:
            self._kept.append(connection)
        else:
            connection.drop()

    async def open(self) -> MailConnection:
        """A new one. Raises AddressRefused, SecretMissing, OSError and aiosmtplib's errors."""
        server = self._server
        password = None
        if server.username and server.password is not None:
            # It may be kept on another machine, and is asked for away from the loop.
            secret = await asyncio.to_thread(server.password)
            self._answers.note(secret)
            password = secret.reveal()
            self._answers.note(Secret(f"\0{server.username}\0{password}"))
        connected = await self._addresses.connect(
            server.host, server.port, only_allowed=server.security is Security.NONE
        )
        client = aiosmtplib.SMTP(
            hostname=server.host,
            sock=connected,
            username=server.username or None,
            password=password,
            local_hostname=_own_name(connected),
            timeout=None,
            use_tls=server.security is Security.TLS,
            start_tls=server.security is Security.STARTTLS,
            tls_context=self._trust,
        )
        # The socket is the client's from here on, and ends with it.
        connection = MailConnection(client)
        try:
            await client.connect()
            if client.is_ehlo_or_helo_needed:
                await client.ehlo()
        except BaseException:
            connection.drop()
            raise
        return connection

    async def close(self) -> None:
        """Says goodbye on those that nobody uses."""
        closing, self._kept = self._kept, []
        await asyncio.gather(*(_quit(connection.client) for connection in closing))


async def _quit(client: aiosmtplib.SMTP) -> None:
    try:
        async with asyncio.timeout(QUIT_SECONDS_MAX):
            await client.quit()
    except (OSError, aiosmtplib.SMTPException):
        client.close()


def _own_name(connected: socket.socket) -> str:
    """What this machine calls itself in EHLO, without asking anybody: a whole name if it has one, else its address (RFC 5321, 4.1.3)."""
    name = socket.gethostname()
    if "." in name and name.isascii():
        return name
    own = str(connected.getsockname()[0]).partition("%")[0]
    return f"[IPv6:{own}]" if ":" in own else f"[{own}]"
