"""How the engine is reached: its address, its token, and the certificates that it is known by. Every client asks here: worker hosts,
dispatchers, REST in a process of its own and the command line.

The files of a home say it (`endpoint`, `token`, and `ca.crt` where TLS is spoken); variables stand in place of each of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import grpc

from pymigrate.engine.domain.addresses import is_loopback
from pymigrate.engine.domain.errors import EngineUnavailable

ENDPOINT_VARIABLE = "PYMIGRATE_ENDPOINT"
TOKEN_VARIABLE = "PYMIGRATE_TOKEN_FILE"  # noqa: S105 (the name of a variable)
AUTHORITIES_VARIABLE = "PYMIGRATE_CA_FILE"
SERVER_NAME_VARIABLE = "PYMIGRATE_SERVER_NAME"
CERTIFICATE_VARIABLE = "PYMIGRATE_CLIENT_CERTIFICATE"
KEY_VARIABLE = "PYMIGRATE_CLIENT_KEY"
CERTIFICATE, KEY = "client.crt", "client.key"
HOST_TOKEN_VARIABLE = "PYMIGRATE_HOST_TOKEN"  # noqa: S105 (the name of a variable)
"""What an engine gives the processes that it starts itself, in place of its own token."""
ENDPOINT, TOKEN, AUTHORITIES, SERVER_NAME = "endpoint", "token", "ca.crt", "server-name"
PEM_MARK = b"-----BEGIN CERTIFICATE-----"
# A machine that is gone says nothing more: without these a connection to it would be waited on for a quarter of an hour.
REMOTE_OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
)
# How gRPC tells what ended a handshake, and what a person is to make of it.
HANDSHAKES = (
    ("certificate has expired", "its certificate has ended"),
    ("CERTIFICATE_VERIFY_FAILED", "its certificate is of no authority in {authorities}"),
    ("Hostname Verification", "its certificate is not for {name}: set {variable} to a name that it is for"),
    ("CERTIFICATE_REQUIRED", "it asks for a certificate: set {certificate} and {key}"),
    ("WRONG_VERSION_NUMBER", "it speaks without TLS: set PYMIGRATE_TLS_CERTIFICATE and PYMIGRATE_TLS_KEY there"),
)


@dataclass(frozen=True, slots=True)
class EngineAddress:
    """Where the engine is now. `authorities`: the certificates that sign its own, PEM; empty: no TLS. `server_name`: the name that its
    certificate must have; empty: that of the endpoint. `certificate` and `key`: what it is shown, PEM; empty: nothing."""

    endpoint: str
    authorities: bytes = b""
    server_name: str = ""
    authorities_path: Path = Path()
    certificate: bytes = b""
    key: bytes = field(default=b"", repr=False)

    @property
    def host(self) -> str:
        """The endpoint without its port and brackets."""
        return host_of(self.endpoint)

    @property
    def is_local(self) -> bool:
        """Whether it is on this machine."""
        return self.endpoint.startswith("unix:") or is_loopback(self.host)

    @property
    def credentials(self) -> grpc.ChannelCredentials | None:
        """What a channel is opened with; None without TLS."""
        if not self.authorities:
            return None
        return grpc.ssl_channel_credentials(self.authorities, self.key or None, self.certificate or None)

    @property
    def options(self) -> tuple[tuple[str, int | str], ...]:
        """What a channel to it takes besides its user's options."""
        remote = () if self.is_local else REMOTE_OPTIONS
        named = (("grpc.ssl_target_name_override", self.server_name),) if self.authorities and self.server_name else ()
        return (*remote, *named)

    def open(self, options: Sequence[tuple[str, int | str]] = ()) -> grpc.Channel:
        """A channel to it, over TLS where it is known by certificates."""
        given = (*options, *self.options)
        if (credentials := self.credentials) is not None:
            return grpc.secure_channel(self.endpoint, credentials, options=given)
        return grpc.insecure_channel(self.endpoint, options=given)

    def handshake_problem(self, details: str) -> str:
        """What a person makes of how a channel failed, where a handshake did; else empty."""
        for mark, said in HANDSHAKES:
            if mark in details:
                problem = said.format(
                    authorities=self.authorities_path,
                    name=self.server_name or self.host,
                    variable=SERVER_NAME_VARIABLE,
                    certificate=CERTIFICATE_VARIABLE,
                    key=KEY_VARIABLE,
                )
                return f"the engine at {self.endpoint} is not to be trusted: {problem}"
        return ""


@dataclass(frozen=True, slots=True)
class EngineAccess:
    """What says how the engine of a home is reached. Everything is read each time that it is asked for: an engine that is started again may
    take another port, and certificates are renewed."""

    home: Path
    endpoint: str = ""
    token_path: Path | None = None
    authorities_path: Path | None = None
    server_name: str = ""
    certificate_path: Path | None = None
    key_path: Path | None = None
    host_token: str = field(default="", repr=False)

    @classmethod
    def of(cls, home: Path, variables: Mapping[str, str]) -> "EngineAccess":
        """By the files of a home, and in place of each of them what the environment says."""
        named = (TOKEN_VARIABLE, AUTHORITIES_VARIABLE, CERTIFICATE_VARIABLE, KEY_VARIABLE)
        token, authorities, certificate, key = (variables.get(name, "") for name in named)
        return cls(
            home,
            endpoint=variables.get(ENDPOINT_VARIABLE, "").strip(),
            token_path=Path(token) if token else None,
            authorities_path=Path(authorities) if authorities else None,
            server_name=variables.get(SERVER_NAME_VARIABLE, "").strip(),
            certificate_path=Path(certificate) if certificate else None,
            key_path=Path(key) if key else None,
            host_token=variables.get(HOST_TOKEN_VARIABLE, "").strip(),
        )

    def renewed(self, token: str) -> "EngineAccess":
        """The same, by a token that the engine has given since; empty: as it is."""
        return replace(self, host_token=token) if token else self

    def address(self) -> EngineAddress:
        """Where the engine is now. Raises EngineUnavailable while that is not known, and for an address of another machine whose
        certificate nothing vouches for: the token would go there in the clear."""
        endpoint = self.endpoint or self._kept(ENDPOINT)
        name = self.server_name or ("" if self.endpoint else (self._optional(SERVER_NAME) or b"").decode().strip())
        path = self.authorities_path or self.home / AUTHORITIES
        authorities = self._read(path) if self.authorities_path is not None else self._optional(AUTHORITIES)
        if authorities is not None and PEM_MARK not in authorities:
            raise EngineUnavailable(f"{path} holds no certificate in PEM")
        found = EngineAddress(endpoint, authorities or b"", name, path, *self._shown())
        if not found.is_local and authorities is None:
            raise EngineUnavailable(
                f"{endpoint} is not on this machine, and nothing says how to know the engine there: put its ca.crt into {self.home}, or "
                f"set {AUTHORITIES_VARIABLE} to the certificates of its authority"
            )
        return found

    def require_place(self) -> None:
        """Raises EngineUnavailable where nothing leads to an engine, nor ever did: one that is away for now leaves its token behind."""
        if not self.endpoint and not (self.home / ENDPOINT).exists() and not self.token_place.exists():
            self.address()

    def _shown(self) -> tuple[bytes, bytes]:
        """Certificate and key, as the variables or the home have them; empty where they have none."""
        if self.certificate_path is not None and self.key_path is not None:
            return self._read(self.certificate_path), self._read(self.key_path)
        if self.certificate_path is not None or self.key_path is not None:
            raise EngineUnavailable(
                f"a certificate and its key go together: set {CERTIFICATE_VARIABLE} and {KEY_VARIABLE}"
            )
        certificate, key = self._optional(CERTIFICATE), self._optional(KEY)
        return (certificate, key) if certificate and key else (b"", b"")

    def token_beside(self, address: EngineAddress) -> str:
        """The token; empty where there is none and a certificate is shown in its place. Raises EngineUnavailable without either."""
        if address.certificate and not self.host_token and not self.token_place.exists():
            return ""
        return self.token()

    def token(self) -> str:
        """The token to show: what the engine gave this process where it started it, else the engine's own. Raises EngineUnavailable while
        there is none."""
        return self.host_token or self._line(self.token_place)

    @property
    def token_place(self) -> Path:
        """The file that holds the token, whether it is there or not."""
        return self.token_path or self.home / TOKEN

    def _kept(self, name: str) -> str:
        return self._line(self.home / name)

    def _line(self, path: Path) -> str:
        try:
            line = self._read(path).decode("ascii").strip()
        except UnicodeDecodeError as error:
            raise EngineUnavailable(f"{path} is not text") from error
        if not line:
            raise EngineUnavailable(f"{path} is empty")
        return line

    def _optional(self, name: str) -> bytes | None:
        try:
            return (self.home / name).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise EngineUnavailable(f"{error.filename}: {error.strerror}") from error

    def _read(self, path: Path) -> bytes:
        try:
            return path.read_bytes()
        except FileNotFoundError as error:
            if path.parent == self.home:
                raise EngineUnavailable(
                    f"no engine serves from {self.home}: start one with `pymigrate serve --home {self.home}`"
                ) from error
            raise EngineUnavailable(f"{path}: {error.strerror}") from error
        except OSError as error:
            raise EngineUnavailable(f"{path}: {error.strerror}") from error


def host_of(endpoint: str) -> str:
    """The host of `host:port`."""
    return endpoint.rpartition(":")[0].strip("[]")
