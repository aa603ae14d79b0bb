"""A real mail server on loopback that keeps what it is given, and refuses, resets, hangs or forgets to answer as a test tells it to."""

import asyncio
import datetime as dt
import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import default as policy
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.sinks import AT_ONCE, WAIT_SECONDS

HOST = "mail.test"
VALID_FROM = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
VALID_UNTIL = dt.datetime(2100, 1, 1, tzinfo=dt.UTC)


@dataclass(frozen=True)
class Taken:
    """A mail that the server has."""

    sender: str
    recipient: str
    content: bytes

    @property
    def message(self) -> EmailMessage:
        """As the library reads it."""
        parsed = BytesParser(policy=policy).parsebytes(self.content)
        assert isinstance(parsed, EmailMessage)
        return parsed

    @property
    def key(self) -> str:
        """What the channel names it by."""
        return str(self.message["X-PyMigrate-Key"])


@dataclass(frozen=True)
class MailSaid:
    """What is done instead of taking a mail: answering `status`, resetting or hanging. With `is_taken` the mail is kept all the same."""

    status: str = ""
    is_reset: bool = False
    hangs: bool = False
    is_taken: bool = False


class MailServer:
    """Keeps mails in `taken`. `answer` may say something else at `MAIL`, `RCPT`, `DATA` (before the message) or `END` (after
    it), knowing the recipient where there is one. `logins` counts who logged in, `connections` who connected."""

    def __init__(
        self,
        starttls: ssl.SSLContext | None = None,
        tls: ssl.SSLContext | None = None,
        password: str = "",
    ) -> None:
        self.taken: list[Taken] = []
        self.asked: list[str] = []
        self.logins = 0
        self.connections = 0
        self.password = password
        self.answer: Callable[[str, str], MailSaid | None] = lambda stage, recipient: None
        self._starttls = starttls
        self._open: set[asyncio.Transport] = set()
        self._loop = asyncio.new_event_loop()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listening.getsockname()[1])
        self._thread = threading.Thread(target=self._loop.run_forever, name="mail", daemon=True)
        self._thread.start()
        starting = self._loop.create_server(self._session, sock=self._listening, ssl=tls)
        self._server = asyncio.run_coroutine_threadsafe(starting, self._loop).result(WAIT_SECONDS)

    def drop_connections(self) -> None:
        """Ends every connection from this side, as servers do with those that wait too long."""
        asyncio.run_coroutine_threadsafe(self._drop(), self._loop).result(WAIT_SECONDS)

    def close(self) -> None:
        """Ends it; whoever connects then is refused. May be called again."""
        if self._loop.is_closed():
            return
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(WAIT_SECONDS)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(WAIT_SECONDS)
        self._loop.close()

    async def _drop(self) -> None:
        for transport in tuple(self._open):
            transport.close()

    async def _end(self) -> None:
        self._server.close()
        for transport in tuple(self._open):
            transport.abort()
        own = asyncio.current_task()
        tasks = [task for task in asyncio.all_tasks() if task is not own]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _session(self) -> SMTP:
        return _Session(
            _Handler(self),
            loop=self._loop,
            hostname=HOST,
            tls_context=self._starttls,
            require_starttls=self._starttls is not None,
            auth_require_tls=self._starttls is not None,
            authenticator=self._authenticate,
            owner=self,
        )

    def _authenticate(
        self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, given: Any
    ) -> AuthResult:
        is_right = isinstance(given, LoginPassword) and given.password.decode() == self.password
        self.logins += is_right
        return AuthResult(success=is_right, handled=False)


class _Session(SMTP):
    """One connection, known to its server, and asked before a message is let in."""

    def __init__(self, *arguments: Any, owner: MailServer, **named: Any) -> None:
        self._owner = owner
        super().__init__(*arguments, **named)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        if not self._owner._open & {transport}:
            self._owner._open.add(transport)
        if self._original_transport is None:
            self._owner.connections += 1
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        if self.transport is not None:
            self._owner._open.discard(self.transport)
        super().connection_lost(error)

    async def smtp_DATA(self, arg: str) -> None:
        recipients = self.envelope.rcpt_tos if self.envelope is not None else []
        said = await _done(self, self._owner.answer("DATA", recipients[0] if recipients else ""))
        if said:
            await self.push(said)
            return
        await super().smtp_DATA(arg)


class _Handler:
    def __init__(self, owner: MailServer) -> None:
        self._owner = owner

    async def handle_MAIL(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if self._owner.password and not session.authenticated:
            return "530 5.7.0 Authentication required"
        said = await _done(server, self._owner.answer("MAIL", ""))
        if not said:
            envelope.mail_from = address
            envelope.mail_options.extend(options)
        return said or "250 OK"

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        said = await _done(server, self._owner.answer("RCPT", address))
        if not said:
            envelope.rcpt_tos.append(address)
        return said or "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        recipient = envelope.rcpt_tos[0]
        assert isinstance(envelope.content, bytes)
        assert envelope.mail_from is not None
        self._owner.asked.append(recipient)
        told = self._owner.answer("END", recipient)
        if told is None or told.is_taken:
            self._owner.taken.append(Taken(envelope.mail_from, recipient, envelope.content))
        return await _done(server, told) or f"250 OK queued as {len(self._owner.taken)}"


async def _done(server: SMTP, said: MailSaid | None) -> str:
    """Does what was said: gives the status to answer with, or ends the connection, or never comes back."""
    if said is None:
        return ""
    if said.is_reset and server.transport is not None:
        transport: Any = server.transport
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
        transport.abort()
    if said.is_reset or said.hangs:
        await asyncio.Event().wait()
    return said.status


@dataclass(frozen=True)
class Certificates:
    """A certificate for `mail.test`, `hooks.test` and loopback, what a server presents it with, and what trusts it."""

    server: ssl.SSLContext
    trust: ssl.SSLContext


def make_certificates(folder: Path) -> Certificates:
    """Signed by itself, and good for a lifetime."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOST)])
    names = x509.SubjectAlternativeName(
        [x509.DNSName(HOST), x509.DNSName("hooks.test"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    )
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(VALID_FROM)
        .not_valid_after(VALID_UNTIL)
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "certificate.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(folder / "certificate.pem", folder / "key.pem")
    return Certificates(server, ssl.create_default_context(cafile=str(folder / "certificate.pem")))


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """One pair for all tests of a process."""
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def mail_server() -> Iterator[MailServer]:
    """A server that takes everything, unencrypted."""
    server = MailServer()
    yield server
    server.close()
