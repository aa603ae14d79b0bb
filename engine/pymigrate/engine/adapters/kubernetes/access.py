"""How a cluster is reached, and by whom: its address, TLS, and a token that may change while it is used."""

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from pymigrate.engine.ports.clock import Clock
from pymigrate.engine.ports.cluster import ClusterMisconfigured

TOKEN_SECONDS_MAX = 60.0
TOKEN_BYTES_MAX = 64 * 1024
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


class Token(Protocol):
    """What is sent as a bearer; empty where nothing is."""

    def current(self) -> str:
        """As it is now."""
        ...


@dataclass(frozen=True, slots=True)
class FixedToken:
    """One that a kubeconfig holds."""

    text: str

    def current(self) -> str:
        """Always the same."""
        return self.text

    def __repr__(self) -> str:
        return "FixedToken(…)"


class FileToken:
    """One that lies in a file, which is read anew when it was changed, and each minute: a kubelet replaces it before it ends."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._text = ""
        self._seen: tuple[int, int, int] | None = None
        self._read_at = float("-inf")
        self._read()
        if not self._text:
            raise ClusterMisconfigured(f"{path} holds no token: mount the service account's, or name another file")

    def current(self) -> str:
        """As it is in the file. While that can't be read, the former one is still sent."""
        if self._clock.monotonic() - self._read_at >= TOKEN_SECONDS_MAX or self._seen != self._stamp():
            self._read()
        return self._text

    def _stamp(self) -> tuple[int, int, int] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_ino, found.st_size

    def _read(self) -> None:
        self._seen, self._read_at = self._stamp(), self._clock.monotonic()
        try:
            with self._path.open("rb") as file:
                text = file.read(TOKEN_BYTES_MAX).decode("ascii").strip()
        except (OSError, UnicodeDecodeError):
            return
        if text and text.isprintable():
            self._text = text


@dataclass(frozen=True, slots=True)
class Access:
    """One cluster as one user. `tls` is missing where loopback is spoken to in the clear; `namespace` is where whoever names none works."""

    server: str
    namespace: str
    token: Token
    tls: ssl.SSLContext | None
    server_name: str | None = None
    is_verified: bool = True


Load = Callable[[], Access]


def checked_server(address: str, said_by: str) -> str:
    """The address without a slash at its end. In the clear only loopback is spoken to: a token would be anybody's."""
    parts = urlsplit(address)
    if (
        parts.scheme not in {"http", "https"}
        or not parts.hostname
        or parts.query
        or parts.fragment
        or "@" in parts.netloc
    ):
        raise ClusterMisconfigured(f"{said_by}: the server is no address such as https://10.0.0.1:6443")
    if parts.scheme == "http" and parts.hostname not in LOOPBACK:
        raise ClusterMisconfigured(f"{said_by}: {address} is spoken to in the clear: name it with https://")
    return address.rstrip("/")


def verifying(said_by: str, authority: str, authority_file: Path | None = None) -> ssl.SSLContext:
    """Trusts what an authority has signed, in PEM or in a file; without one, what the machine trusts."""
    try:
        return ssl.create_default_context(
            cafile=str(authority_file) if authority_file else None, cadata=authority or None
        )
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        where = authority_file or "certificate-authority-data"
        raise ClusterMisconfigured(f"{said_by}: {where} holds no certificate that can be read ({error})") from error


def unverifying() -> ssl.SSLContext:
    """Trusts whoever answers."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
