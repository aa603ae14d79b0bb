"""Messages as mail, handed to a server over connections that are kept.

What came of a try follows from the server's code. Where there is none it follows from how far the mail had come: before its last line the
server can't have taken it, after it nobody knows. What is wrong with the channel (its credentials, its server, its encryption) is tried
again, since somebody may mend it meanwhile; what is wrong with the message or its recipient is not.
"""

import asyncio
import ssl

import aiosmtplib

from pymigrate.engine.adapters.answers import Answers
from pymigrate.engine.adapters.channels.addresses import AddressRefused, OutgoingAddresses
from pymigrate.engine.adapters.channels.mail import Mail, Mailbox, mail_of
from pymigrate.engine.adapters.channels.smtp_connections import MailConnection, MailConnections, MailServer
from pymigrate.engine.domain.delivery import TryOutcome
from pymigrate.engine.domain.errors import InvalidDefinition, SecretMissing
from pymigrate.engine.ports.channel import Letter, Sent

DONE = 250
FORWARDED = 251
START = 354
CLOSING = 421
CREDENTIALS = frozenset({530, 534, 535, 538})
# The conversation went wrong, not the mail: a new one begins on another connection.
CONFUSED = frozenset({500, 502, 503})
PERMANENT = range(500, 600)
NOT_ALLOWED = "the server does not accept the channel's credentials"


class SmtpChannel:
    """Sends mail from one sender through one server."""

    def __init__(
        self,
        server: MailServer,
        sender: Mailbox,
        reply_to: Mailbox | None,
        addresses: OutgoingAddresses,
        trust: ssl.SSLContext,
        connections_max: int,
        try_seconds_max: float,
    ) -> None:
        self._sender = sender
        self._reply_to = reply_to
        self._answers = Answers()
        self._connections = MailConnections(server, addresses, trust, self._answers, connections_max)
        self._try_seconds_max = try_seconds_max

    async def send(self, letter: Letter) -> Sent:
        """Sends once."""
        try:
            mail = mail_of(letter, self._sender, self._reply_to)
        except InvalidDefinition as error:
            return Sent(TryOutcome.PERMANENT, error.message)
        handing = _Handing()
        try:
            async with asyncio.timeout(self._try_seconds_max):
                return await self._send(mail, handing)
        except TimeoutError:
            return Sent(handing.lost, f"{handing.stage}: no answer within {self._try_seconds_max:g} s")
        except AddressRefused as error:
            return Sent(TryOutcome.PERMANENT, error.message)
        except SecretMissing as error:
            return Sent(TryOutcome.TRANSIENT, error.message)
        except aiosmtplib.SMTPAuthenticationError as error:
            return self._sent(handing.lost, f"{error.code} {error.message} ({NOT_ALLOWED})")
        except aiosmtplib.SMTPResponseException as error:
            return self._sent(handing.lost, f"{error.code} {error.message}")
        except (aiosmtplib.SMTPException, OSError) as error:
            return self._sent(handing.lost, f"{handing.stage}: {type(error).__name__}: {error}")

    async def close(self) -> None:
        """Ends the connections."""
        await self._connections.close()

    async def _send(self, mail: Mail, handing: "_Handing") -> Sent:
        handing.stage = "waiting for a connection"
        async with self._connections.slot():
            kept = self._connections.kept()
            if kept is not None:
                try:
                    return await self._over(kept, mail, handing)
                except _DeadConnectionError:
                    pass  # nothing was sent, and another connection costs no try
            handing.stage = "connecting"
            return await self._over(await self._connections.open(), mail, handing)

    async def _over(self, connection: MailConnection, mail: Mail, handing: "_Handing") -> Sent:
        sent = None
        try:
            sent = await self._transaction(connection, mail, handing)
            return sent
        finally:
            if sent is None:
                connection.drop()
            else:
                self._connections.keep(connection)

    async def _transaction(self, connection: MailConnection, mail: Mail, handing: "_Handing") -> Sent:
        client = connection.client
        handing.stage = "MAIL"
        begun = await self._begun(connection, len(mail.data))
        if begun.code != DONE:
            return self._refused(connection, begun)
        handing.stage = "RCPT"
        taken = await client.execute_command(b"RCPT", f"TO:<{mail.recipient}>".encode("ascii"))
        if taken.code not in (DONE, FORWARDED):
            return self._refused_midway(connection, taken)
        handing.stage = "DATA"
        start = await client.execute_command(b"DATA")
        if start.code != START:
            return self._refused_midway(connection, start)
        protocol = client.protocol
        if protocol is None:
            raise aiosmtplib.SMTPServerDisconnected("the connection was lost")
        handing.stage = "the end of the message"
        protocol.write(mail.data)
        handing.is_handed_over = True
        answer = await protocol.read_response()
        if answer.code == DONE:
            return self._sent(TryOutcome.ACCEPTED, f"{answer.code} {answer.message}")
        return self._refused(connection, answer)

    async def _begun(self, connection: MailConnection, size: int) -> aiosmtplib.SMTPResponse:
        """The answer to the first command. Raises _DeadConnectionError where a kept connection turns out to be none."""
        client = connection.client
        options = (f"SIZE={size}".encode(),) if client.supports_extension("size") else ()
        try:
            if connection.needs_reset:
                await client.rset()
                connection.needs_reset = False
            answer = await client.execute_command(b"MAIL", f"FROM:<{self._sender.address}>".encode("ascii"), *options)
        except (OSError, aiosmtplib.SMTPException) as error:
            if connection.is_kept:
                raise _DeadConnectionError from error
            raise
        if connection.is_kept and answer.code == CLOSING:
            raise _DeadConnectionError
        return answer

    def _refused_midway(self, connection: MailConnection, answer: aiosmtplib.SMTPResponse) -> Sent:
        connection.needs_reset = True
        return self._refused(connection, answer)

    def _refused(self, connection: MailConnection, answer: aiosmtplib.SMTPResponse) -> Sent:
        said = f"{answer.code} {answer.message}"
        if answer.code == CLOSING or answer.code in CONFUSED:
            connection.drop()
        if answer.code in CREDENTIALS:
            return self._sent(TryOutcome.TRANSIENT, f"{said} ({NOT_ALLOWED})")
        if answer.code in PERMANENT and answer.code not in CONFUSED:
            return self._sent(TryOutcome.PERMANENT, said)
        return self._sent(TryOutcome.TRANSIENT, said)

    def _sent(self, outcome: TryOutcome, said: str) -> Sent:
        return Sent(outcome, self._answers.said(said))


class _Handing:
    """How far a mail has come."""

    def __init__(self) -> None:
        self.stage = ""
        self.is_handed_over = False

    @property
    def lost(self) -> TryOutcome:
        """What a try is that ends without an answer."""
        return TryOutcome.UNKNOWN if self.is_handed_over else TryOutcome.TRANSIENT


class _DeadConnectionError(Exception):
    """A kept connection was gone."""
