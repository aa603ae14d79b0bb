"""The certificate that a server shows: a pair of PEM files, read anew when they change, at the next connection. Whatever renews them needs
to tell nobody, and a pair that is broken changes nothing."""

import contextlib
import ipaddress
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import grpc
import structlog

from pymigrate.engine.domain.errors import PermanentError
from pymigrate.engine.entrypoints.client_certificates import ClientCertificates

log = structlog.get_logger(__name__)
READS_MAX = 3
NAMES_TOLD_MAX = 10
ALPN = ("http/1.1",)
Marks = tuple[tuple[int, int, int] | None, ...]
Tell = Callable[[bytes], None]


@dataclass(frozen=True, slots=True)
class _Shown:
    """What is shown at present, in the shape that HTTP takes and in the one that gRPC takes."""

    context: ssl.SSLContext
    configuration: grpc.ServerCertificateConfiguration


class ServerCertificate:
    """A certificate and its key, for gRPC and HTTP alike. Safe on every thread: gRPC asks on its own.

    `authorities`: the file by which clients know it, none for the certificate's own; `tell` is given what that holds, now and whenever it
    changes. `name`: one that the certificate must be for, empty for any. `clients`: which certificates of theirs are taken, none for not
    asking. Raises PermanentError for what is no pair, or for other names.
    """

    def __init__(
        self,
        certificate: Path,
        key: Path,
        authorities: Path | None = None,
        tell: Tell = lambda _: None,
        name: str = "",
        clients: ClientCertificates | None = None,
    ) -> None:
        self._name = name
        self._clients = clients
        self._certificate = certificate
        self._key = key
        self._authorities = authorities or certificate
        self._tell = tell
        self._lock = threading.Lock()
        self._seen = self._marks()
        try:
            self._shown = self._read()
        except (OSError, ValueError) as error:
            raise PermanentError(
                f"can't serve with {certificate} and {key}, known by {self._authorities}: {_said(error)}; PYMIGRATE_TLS_CERTIFICATE and "
                "PYMIGRATE_TLS_KEY name PEM files of a certificate, with those that sign it, and of its key without a password, and "
                "PYMIGRATE_TLS_CLIENT_CA one of the authorities of clients"
            ) from error

    @property
    def credentials(self) -> grpc.ServerCredentials:
        """What a gRPC server is opened with; it asks for another certificate before each handshake. It insists on one of the client's where
        that is required, and asks for none otherwise: the library knows nothing in between."""
        return self._credentials(is_required=self._clients is not None and self._clients.is_required)

    @property
    def client_credentials(self) -> grpc.ServerCredentials:
        """The same for an address where a client's certificate is required in any case."""
        return self._credentials(is_required=True)

    def _credentials(self, *, is_required: bool) -> grpc.ServerCredentials:
        given = self.look()

        def newer() -> grpc.ServerCertificateConfiguration | None:
            nonlocal given
            found = self.look()
            if found is given:
                return None
            given = found
            return found.configuration

        # None, for no change, is what the library documents and its types leave out.
        return grpc.dynamic_ssl_server_credentials(given.configuration, cast(Any, newer), is_required)

    @property
    def context(self) -> ssl.SSLContext:
        """What an HTTP server is opened with; each handshake goes on with the certificate as it is then."""

        def show(connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
            connection.context = self.look().context

        opened = _context(self._certificate, self._key, self._clients)
        opened.sni_callback = show
        return opened

    def look(self) -> _Shown:
        """What to show: the files as they are, where they have changed and are a pair."""
        with self._lock:
            marks = self._marks()
            if marks == self._seen:
                return self._shown
            self._seen = marks  # what is wrong is told once, and looked at again when it changes
            try:
                self._shown = self._read()
            except (OSError, ValueError) as error:
                log.error("certificate.refused", certificate=str(self._certificate), error=_said(error))
            else:
                log.info("certificate.renewed", certificate=str(self._certificate))
            return self._shown

    def _read(self) -> _Shown:
        """The files as one pair, although they are read one after the other."""
        for _ in range(READS_MAX):
            before = self._marks()
            context = _context(self._certificate, self._key, self._clients)
            key, certificate = self._key.read_bytes(), self._certificate.read_bytes()
            authorities = self._authorities.read_bytes()
            clients = None if self._clients is None else self._clients.authorities.read_bytes()
            if self._marks() == before:
                break
        else:
            raise ValueError("the files change while they are read")
        ssl.create_default_context(cadata=authorities.decode("ascii"))
        _check_name(certificate, self._name)
        self._tell(authorities)
        self._seen = before
        return _Shown(context, grpc.ssl_server_certificate_configuration([(key, certificate)], clients))

    def _marks(self) -> Marks:
        clients = () if self._clients is None else (self._clients.authorities,)
        return tuple(_mark(path) for path in (self._certificate, self._key, self._authorities, *clients))


def _check_name(certificate: bytes, name: str) -> None:
    """Raises ValueError for a certificate by which nobody would take the server for this name."""
    if not name:
        return
    from cryptography import x509  # not by those that serve without TLS

    try:
        found = x509.load_pem_x509_certificate(certificate).extensions.get_extension_for_class(
            x509.SubjectAlternativeName
        )
    except x509.ExtensionNotFound:
        names = []
    else:
        addresses = found.value.get_values_for_type(x509.IPAddress)
        names = [*found.value.get_values_for_type(x509.DNSName), *map(str, addresses)]
    with contextlib.suppress(ValueError):
        name = str(ipaddress.ip_address(name))  # as the certificate's are written
    wildcard = f"*.{name.partition('.')[2]}"
    if not {name.lower(), wildcard.lower()} & {each.lower() for each in names}:
        told = ", ".join(names[:NAMES_TOLD_MAX]) or "no name at all"
        raise ValueError(
            f"the certificate is for {told}, and not for {name}, by which clients know this engine: set PYMIGRATE_ADVERTISE to "
            "host and port with a host that it is for"
        )


def _mark(path: Path) -> tuple[int, int, int] | None:
    """What tells one content of a file from another without reading it; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def _context(certificate: Path, key: Path, clients: ClientCertificates | None = None) -> ssl.SSLContext:
    """Raises OSError, of which SSLError is one, for what is no pair."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(ALPN)
    context.load_cert_chain(certificate, key, password=lambda: b"")  # nobody is asked for one at a terminal
    if clients is not None:
        context.load_verify_locations(clients.authorities)
        context.verify_mode = ssl.CERT_REQUIRED if clients.is_required else ssl.CERT_OPTIONAL
        # A session that is taken up again would bring a certificate along that nobody looks at once more.
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.num_tickets = 0
    return context


def _said(error: Exception) -> str:
    return str(error) or type(error).__name__
