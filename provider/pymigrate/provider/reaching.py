"""Where the engine is, what it is shown and what it is known by: as configured, else as the environment says, else by the files of a home.

The engine's own clients are told by the same variables and files. A home that is configured is asked alone.
"""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import grpc

from pymigrate.provider.sdk.checks import hidden, matches
from pymigrate.provider.sdk.diagnostics import Refused

TOKEN_VARIABLE = "PYMIGRATE_TOKEN_FILE"  # noqa: S105 (the name of a variable)
PEM_MARK = b"-----BEGIN CERTIFICATE-----"
MESSAGE_BYTES_MAX = 64 * 1024 * 1024  # the engine takes and tells as much, and Terraform no more
TOKEN = hidden(
    r"[!-~]+", "a token of printable characters without spaces, as an engine's home or pymigrate_token has it"
)
ENDPOINT = matches(
    r"([A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\]):\d{1,5}|unix:.+",
    "a host and a port such as 127.0.0.1:7433 or pymigrate.example.com:7433",
)
# A call that found no engine is made again: creations carry a request id, so that twice is once.
RETRIES = (
    '{"methodConfig": [{"name": [{}], "retryPolicy": {"maxAttempts": 5, "initialBackoff": "0.2s", "maxBackoff": "2s", '
    '"backoffMultiplier": 2, "retryableStatusCodes": ["UNAVAILABLE"]}}]}'
)
OPTIONS: tuple[tuple[str, int | str], ...] = (
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
    ("grpc.service_config", RETRIES),
    ("grpc.enable_http_proxy", 0),  # whatever the user's proxy is for, it is not the engine
)
# How gRPC tells what ended a handshake, and what a person is to make of it.
HANDSHAKES = (
    ("certificate has expired", "its certificate has ended"),
    (
        "CERTIFICATE_VERIFY_FAILED",
        "its certificate is of no authority that `ca_file`, PYMIGRATE_CA_FILE or the home's ca.crt holds",
    ),
    (
        "Hostname Verification",
        "its certificate is for another host: set PYMIGRATE_SERVER_NAME to a name that it is for",
    ),
    ("CERTIFICATE_REQUIRED", "it asks for a certificate: set PYMIGRATE_CLIENT_CERTIFICATE and PYMIGRATE_CLIENT_KEY"),
    ("WRONG_VERSION_NUMBER", "it speaks without TLS: set PYMIGRATE_TLS_CERTIFICATE and PYMIGRATE_TLS_KEY there"),
)


@dataclass(frozen=True, slots=True)
class EnginePlace:
    """What is said of it beside the files of its home; empty: nothing."""

    home: Path
    own_endpoint: str = ""
    own_token: str = ""
    token_file: str = ""
    ca_file: str = ""
    server_name: str = ""
    certificate_file: str = ""
    key_file: str = ""

    @property
    def endpoint(self) -> str:
        """Where it listens. Raises Refused where no engine serves."""
        return self.own_endpoint or self._kept("endpoint")

    @property
    def token(self) -> str:
        """What it is shown; empty where a certificate alone is. Raises Refused where there is neither."""
        if self.own_token:
            return self.own_token
        if not self.token_file and any(self._certificate()) and not (self.home / "token").exists():
            return ""
        return _read(Path(self.token_file)).decode().strip() if self.token_file else self._kept("token")

    def open(self) -> grpc.Channel:
        """A channel to it, over TLS where it is known by certificates. Raises Refused where nothing leads to it, and for another machine
        that nothing vouches for: the token would go there in the clear."""
        endpoint = self.endpoint
        authorities = _read(Path(self.ca_file)) if self.ca_file else self._optional("ca.crt")
        if authorities is not None and PEM_MARK not in authorities:
            where = self.ca_file or self.home / "ca.crt"
            raise Refused("Nothing to know the engine by", f"{where} holds no certificate in PEM.", ["ca_file"])
        if authorities is None:
            if not _is_local(endpoint):
                raise Refused(
                    "Nothing to know the engine by",
                    f"{endpoint} is not on this machine, and the token goes to others over TLS alone: set `ca_file`, or PYMIGRATE_CA_FILE, "
                    "to the certificates of its authority.",
                    ["ca_file"],
                )
            return grpc.insecure_channel(endpoint, options=OPTIONS)
        name = self.server_name or (
            "" if self.own_endpoint else (self._optional("server-name") or b"").decode().strip()
        )
        named = (("grpc.ssl_target_name_override", name),) if name else ()
        certificate, key = self._certificate()
        credentials = grpc.ssl_channel_credentials(authorities, key, certificate)
        return grpc.secure_channel(endpoint, credentials, options=(*OPTIONS, *named))

    def _certificate(self) -> tuple[bytes | None, bytes | None]:
        """The certificate that it is shown, and its key; None where there is none."""
        if bool(self.certificate_file) != bool(self.key_file):
            raise Refused(
                "Half a certificate",
                "A certificate and its key go together: set PYMIGRATE_CLIENT_CERTIFICATE and PYMIGRATE_CLIENT_KEY, or neither.",
            )
        if self.certificate_file:
            return _read(Path(self.certificate_file)), _read(Path(self.key_file))
        certificate, key = self._optional("client.crt"), self._optional("client.key")
        return (certificate, key) if certificate and key else (None, None)

    def _kept(self, name: str) -> str:
        try:
            return (self.home / name).read_text().strip()
        except OSError as error:
            raise Refused(
                "No engine serves",
                f"{self.home} has no endpoint and token: start an engine with `pymigrate serve --home {self.home}`, "
                "or set `home` in the provider's configuration or PYMIGRATE_HOME to the home of one that serves.",
            ) from error

    def _optional(self, name: str) -> bytes | None:
        path = self.home / name
        return _read(path) if path.exists() else None


def place_of(
    variables: Mapping[str, str],
    home: str | None = None,
    endpoint: str | None = None,
    token: str | None = None,
    ca_file: str | None = None,
) -> EnginePlace:
    """The place that is configured, `variables` being what the environment says."""
    told: Mapping[str, str] = {} if home else variables
    given = home or variables.get("PYMIGRATE_HOME")
    return EnginePlace(
        Path(given) if given else Path.home() / ".local" / "share" / "pymigrate",
        own_endpoint=endpoint or told.get("PYMIGRATE_ENDPOINT", ""),
        own_token=token or "",
        token_file=told.get(TOKEN_VARIABLE, ""),
        ca_file=ca_file or told.get("PYMIGRATE_CA_FILE", ""),
        server_name=told.get("PYMIGRATE_SERVER_NAME", ""),
        certificate_file=told.get("PYMIGRATE_CLIENT_CERTIFICATE", ""),
        key_file=told.get("PYMIGRATE_CLIENT_KEY", ""),
    )


def handshake_problem(details: str) -> str:
    """What a person makes of how a channel failed, where a handshake did; else empty."""
    return next((said for mark, said in HANDSHAKES if mark in details), "")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise Refused("No engine to talk to", f"Can't read {path}: {error.strerror}.") from error


def _is_local(endpoint: str) -> bool:
    """Whether it is on this machine."""
    host = endpoint.rpartition(":")[0].strip("[]")
    try:
        return endpoint.startswith("unix:") or host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
