"""Everything that can be set, read from the environment once, at the root. One frozen object; no secret is in it."""

import ipaddress
import re
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from pydantic import Field, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

PORT_DEFAULT = 7433
REST_PORT = 7434
METRICS_PORT = 7435
CLIENT_PORT = 7436
PORTS = {
    "listen": PORT_DEFAULT,
    "tls_client_listen": CLIENT_PORT,
    "rest_listen": REST_PORT,
    "metrics_listen": METRICS_PORT,
}
PORT_MAX = 65_535
ENV = "env://"
WITHHELD = frozenset(
    {
        "PYMIGRATE_AUDIT_KEY_FILE",
        "PYMIGRATE_EVENTS_TOKEN",
        "PYMIGRATE_LINEAGE_TOKEN",
        "PYMIGRATE_STORE",
        "PYMIGRATE_STORE_PASSWORD",
        "PYMIGRATE_TLS_KEY",
        "PYMIGRATE_TOKEN",
    }
)
STORE_SCHEMES = ("postgresql", "postgres")
# A host has a letter at the end of its name: what ends in a digit is an address, and may be mistyped.
HOST = re.compile(
    r"(?=.{1,253}$)(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?", re.IGNORECASE
)


def _home_default() -> Path:
    return Path.home() / ".local" / "share" / "pymigrate"


class Settings(BaseSettings):
    """The settings, each as `PYMIGRATE_<NAME>` in the environment."""

    model_config = SettingsConfigDict(env_prefix="PYMIGRATE_", frozen=True, extra="ignore", hide_input_in_errors=True)

    home: Path = Field(default_factory=_home_default)
    """Folder of the store, the token, the endpoint and the logs. Default: in the user's data folder. Made with mode 0700."""

    tls_certificate: Path | None = None
    """PEM file of the certificate that gRPC, REST and the page of metrics are served with, and of those that sign it, read again when it
    changes. Default none: no TLS, and nothing but loopback is listened on."""

    tls_key: Path | None = Field(default=None, validate_default=True)
    """PEM file of its key, without a password, read again when it changes. Default none: no TLS."""

    tls_client_ca: Path | None = None
    """PEM file of the authorities whose certificates clients may show, read again when it changes: REST and the page of metrics ask for
    one, and who shows it needs no token. Default none: no client is asked for a certificate."""

    tls_client_required: bool = False
    """Whether nobody connects without such a certificate, over gRPC, REST and to the page of metrics alike. Default no."""

    client_certificate: Path | None = None
    """PEM file of the certificate that clients show the engine, those among them that it starts itself. Default none."""

    client_key: Path | None = Field(default=None, validate_default=True)
    """PEM file of its key, without a password. Default none."""

    ca_file: Path | None = None
    """PEM file of the authorities that clients know the certificate by, kept as `<home>/ca.crt` where TLS is spoken. Default none: the
    certificate's own file, which is right for one that signs itself."""

    advertise: str = ""
    """Host and port by which others reach the engine, such as `pymigrate.prod.svc:7433`; the certificate is for that host. Default empty:
    the address that is listened on."""

    token_file: Path | None = None
    """File that holds the engine's token, such as a mounted Secret. Default none: `<home>/token`, which the engine makes."""

    trusted_proxies: str = ""
    """Networks and addresses of proxies whose `X-Forwarded-For` says where a call comes from, separated by commas, such as `10.0.0.0/8`.
    Default empty: none; a call comes from the other end of its connection."""

    audit_key_file: Path | None = None
    """File with the Ed25519 key, as PEM, that the seals of the audit trail are signed with; behind it may stand the public keys of before,
    whose seals still hold. Default none: `<home>/audit.key`, which the engine makes. Engines that share a store need the same key."""

    audit_kept_days: int = Field(default=0, ge=0, le=36_500)
    """Days for which entries of the audit trail are kept at least; 0, the default: for ever. Older ones go once they are sealed, their run
    has ended and every consumer is done with them, and what is left can still be proved."""

    listen: str = f"127.0.0.1:{PORT_DEFAULT}"
    """Address and port to listen on, loopback only without TLS. Port 0 takes a free one, which `<home>/endpoint` then names."""

    tls_client_listen: str = ""
    """Another address and port of gRPC, where each client shows a certificate; `<home>/client-endpoint` names what was bound. gRPC either
    insists on certificates or asks for none, so that both kinds of clients have an address each. Default empty: none."""

    rest_listen: str = ""
    """Address and port of REST, loopback only without TLS; `<home>/rest-endpoint` names what was bound. Default empty: no REST, since
    Terraform, the command line and the hosts speak gRPC, and a second port is opened only where somebody asks for it. 7434 is the
    customary one."""

    metrics_listen: str = ""
    """Address and port of the page of metrics alone, loopback only without TLS; `<home>/metrics-endpoint` names what was bound. Default
    empty: REST serves the page on its own address, where it is on. 7435 is the customary one."""

    store: str = ""
    """URL of the PostgreSQL that keeps the store, `postgresql://user@host:5432/database`, without a password. Default empty: a SQLite file
    in the home, which needs no server and one engine at a time may open."""

    store_password: str = ""
    """Reference to the password of the store's PostgreSQL: `env://NAME` or `file:///path`. Default empty: none is sent, and the
    client library's own ways (`PGPASSFILE`, certificates) hold."""

    lanes_max: int = Field(default=50, ge=1, le=1_000)
    """Lanes at once in all. Default 50: what one engine is measured with."""

    lease_seconds: float = Field(default=15.0, ge=1.0, le=600.0)
    """How long a host may be silent before its work is given to another. Default 15: three heartbeats."""

    heartbeat_seconds: float = Field(default=5.0, ge=0.2, le=60.0)
    """How often a host calls at least. Default 5: a third of the lease."""

    host_tasks_max: int = Field(default=50, ge=1, le=256)
    """Tasks that one worker host runs at once, each a thread. Default 50: as many as lanes in all, for the one host that a single-writer
    file has. They share the memory of their host."""

    memory_bytes_max: int = Field(default=4_000_000_000, ge=600_000_000)
    """Bytes that all worker hosts of this engine hold together, shared equally between those that run. Each has 300 MB at least, so that
    it also says how many there may be at once. Default 4 GB: enough for fifty lanes, and what a machine of 8 GB spares."""

    executor: str = Field(default="local", pattern="^(local|kubernetes)$")
    """What runs worker hosts: `local`, processes beside the engine, or `kubernetes`, Jobs of a cluster, which have settings of their own
    (`PYMIGRATE_KUBERNETES_…`). Default `local`: it needs nothing but this machine."""

    hosts_shared_min: int = Field(default=0, ge=0, le=64)
    """Worker hosts for targets that admit many writers that stay in each environment that had one, however long they idle. Default 0."""

    hosts_idle_seconds: float | None = Field(default=None, ge=1.0)
    """How long a worker host may have nothing to do until it ends. Default: 300 with Kubernetes, where what idles holds what others could
    use; for ever with processes, of which a warm one answers at once."""

    hosts_shared_max: int = Field(default=2, ge=1, le=64)
    """Worker hosts for targets that admit many writers. Default 2: as many as the cores that the figures were measured on."""

    drain_seconds: float = Field(default=20.0, ge=1.0, le=600.0)
    """How long hosts may take to reach a checkpoint when the engine is stopped. Default 20: longer than a chunk takes."""

    instance: str = Field(default="pymigrate", pattern="^[a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?$")
    """What this engine is called outside: the source of its CloudEvents, the namespace of its OpenLineage jobs, the instance of its
    spans. Default `pymigrate`: enough for one engine; those that tell the same receiver have a name each."""

    events_url: str = ""
    """Address that CloudEvents are posted to, one for everything that happens. Default empty: none."""

    events_token: str = ""
    """Reference to the bearer token that this address asks for, `env://NAME` or `file:///path`. Default empty: it asks for none."""

    lineage_url: str = ""
    """Address that OpenLineage run events are posted to, such as `http://127.0.0.1:5000/api/v1/lineage`. Default empty: none."""

    lineage_token: str = ""
    """Reference to the bearer token that this address asks for, `env://NAME` or `file:///path`. Default empty: it asks for none."""

    otlp_endpoint: str = ""
    """Base URL of the collector that traces are posted to as OTLP over HTTP, such as `http://127.0.0.1:4318`. Default empty: nothing is
    traced, and nothing of it is loaded."""

    otlp_token: str = ""
    """Reference to the bearer token that the collector asks for, `env://NAME` or `file:///path`. Default empty: it asks for none."""

    trace_ratio: float = Field(default=1.0, ge=0.0, le=1.0)
    """Share of the traces begun here that are told; a caller's own decision holds for the caller's. Default 1: runs are few."""

    public_url: str = ""
    """Base of the links that messages hold, such as `https://migrations.example.com`: where REST is reached from outside. Default empty: no
    message holds a link, since nobody but this machine reaches loopback."""

    dispatchers: int = Field(default=1, ge=0, le=16)
    """Processes that send messages, started and kept by the engine as soon as a channel is declared. Default 1: one sends hundreds a
    second. 0: none, where `pymigrate dispatcher` is run by something else."""

    outgoing_allowed: str = ""
    """Networks, addresses and hosts that messages, and what hosts of repositories are told, may go to although they are private or local,
    separated by commas, such as `10.0.0.0/8,mail.internal`. Default empty: only public addresses, so that whoever declares a channel can't
    reach what only this machine can."""

    deliveries_kept_days: int = Field(default=400, ge=1, le=36_500)
    """Days for which the ledger keeps a message after it was made, with all its tries. Default 400: an audit of a year, and a month to do
    it in. What still waits or is tried is kept whatever its age."""

    principal_calls_max: int = Field(default=100, ge=1, le=10_000)
    """Calls that one principal may have under way at once; further ones are refused with the time to wait. Default 100: ten times what
    Terraform has. Whoever has the engine's own token, worker hosts and dispatchers have no such limits."""

    principal_streams_max: int = Field(default=50, ge=1, le=10_000)
    """Streams that one principal may have open at once. Default 50."""

    principal_calls_per_second_max: float = Field(default=200.0, ge=1.0, le=100_000.0)
    """Calls that one principal may begin in a second; twice as many may come at once. Default 200."""

    log_level: str = Field(default="info", pattern="^(debug|info|warning|error)$")
    """The least level that is logged. Default `info`: state changes and edges."""

    @field_validator(
        "tls_certificate",
        "tls_key",
        "tls_client_ca",
        "client_certificate",
        "client_key",
        "ca_file",
        "token_file",
        "audit_key_file",
        mode="before",
    )
    @classmethod
    def _is_path_or_none(cls, value: object) -> object:
        return None if value == "" else value

    @field_validator("tls_key")
    @classmethod
    def _is_pair(cls, value: Path | None, field: ValidationInfo) -> Path | None:
        if (value is None) != (field.data.get("tls_certificate") is None):
            raise ValueError(
                "a certificate and its key go together: set PYMIGRATE_TLS_CERTIFICATE and PYMIGRATE_TLS_KEY, or neither"
            )
        return value

    @field_validator("tls_client_ca")
    @classmethod
    def _is_over_tls(cls, value: Path | None, field: ValidationInfo) -> Path | None:
        if value is not None and field.data.get("tls_key") is None:
            raise ValueError(
                "clients show certificates over TLS alone: set PYMIGRATE_TLS_CERTIFICATE and PYMIGRATE_TLS_KEY too"
            )
        return value

    @field_validator("tls_client_required", "tls_client_listen")
    @classmethod
    def _has_authorities(cls, value: bool | str, field: ValidationInfo) -> bool | str:
        if value and field.data.get("tls_client_ca") is None:
            raise ValueError(
                "nobody's certificates are taken: set PYMIGRATE_TLS_CLIENT_CA to those of their authorities"
            )
        return value

    @field_validator("client_key")
    @classmethod
    def _is_client_pair(cls, value: Path | None, field: ValidationInfo) -> Path | None:
        if (value is None) != (field.data.get("client_certificate") is None):
            raise ValueError(
                "a certificate and its key go together: set PYMIGRATE_CLIENT_CERTIFICATE and PYMIGRATE_CLIENT_KEY, or neither"
            )
        return value

    @field_validator("listen", "tls_client_listen", "rest_listen", "metrics_listen")
    @classmethod
    def _is_listened_on(cls, value: str, field: ValidationInfo) -> str:
        port_customary = PORTS[field.field_name or "listen"]
        if not value and field.field_name != "listen":
            return value
        return _listened(value, port_customary, has_tls=field.data.get("tls_key") is not None)

    @field_validator("advertise")
    @classmethod
    def _is_reachable(cls, value: str) -> str:
        return _advertised(value) if value else value

    @field_validator("store")
    @classmethod
    def _is_store(cls, value: str) -> str:
        if not value:
            return value
        try:
            url = urlsplit(value)
            is_whole = url.scheme in STORE_SCHEMES and len(url.path) > 1 and url.port != 0
            has_password = url.password is not None or "password" in parse_qs(url.query)
        except ValueError:
            is_whole, has_password = False, False
        if not is_whole:
            raise ValueError("is no URL of a PostgreSQL: write it as postgresql://user@host:5432/database")
        if has_password:
            raise ValueError("holds a password: leave it out, and give its reference as store_password")
        return value

    @field_validator("otlp_endpoint", "events_url", "lineage_url")
    @classmethod
    def _is_http(cls, value: str) -> str:
        return _web_address(value) if value else value

    @field_validator("public_url")
    @classmethod
    def _is_base(cls, value: str) -> str:
        if value and any(mark in value for mark in "?#"):
            raise ValueError("is no base of links: leave out what begins with ? or #")
        return _web_address(value).rstrip("/") if value else value

    @field_validator("outgoing_allowed")
    @classmethod
    def _are_destinations(cls, value: str) -> str:
        parts = [part.strip() for part in value.split(",")] if value.strip() else []
        for part in parts:
            if not (_is_network(part) or HOST.fullmatch(part)):
                raise ValueError(
                    f"{part!r} is no network, address or host: write it as 10.0.0.0/8, ::1 or mail.internal"
                )
        return ",".join(parts)

    @field_validator("trusted_proxies")
    @classmethod
    def _are_networks(cls, value: str) -> str:
        parts = [part.strip() for part in value.split(",")] if value.strip() else []
        for part in parts:
            if not _is_network(part):
                raise ValueError(f"{part!r} is no network or address: write it as 10.0.0.0/8 or ::1")
        return ",".join(parts)

    @field_validator("store_password", "otlp_token", "events_token", "lineage_token")
    @classmethod
    def _is_reference(cls, value: str) -> str:
        if value and not value.startswith(("env://", "file:///")):
            raise ValueError("is no reference: write env://NAME or file:///path, never the value")
        return value

    @property
    def host_environment(self) -> dict[str, str]:
        """The variables from which a worker host learns where its spans go; none without a collector."""
        if not self.otlp_endpoint:
            return {}
        return {
            "PYMIGRATE_OTLP_ENDPOINT": self.otlp_endpoint,
            "PYMIGRATE_OTLP_TOKEN": self.otlp_token,
            "PYMIGRATE_TRACE_RATIO": f"{self.trace_ratio:g}",
        }

    @property
    def client_environment(self) -> dict[str, str]:
        """The variables by which processes that the engine starts beside itself find it in its home, whatever else its own say."""
        return {
            "PYMIGRATE_ENDPOINT": "",
            "PYMIGRATE_CA_FILE": "",
            "PYMIGRATE_SERVER_NAME": "",
            "PYMIGRATE_TOKEN_FILE": "",
            "PYMIGRATE_CLIENT_CERTIFICATE": str(self.client_certificate or ""),
            "PYMIGRATE_CLIENT_KEY": str(self.client_key or ""),
        }

    @property
    def withheld_variables(self) -> frozenset[str]:
        """The engine's variables that processes which it starts beside itself do not get: they let in whoever holds them."""
        references = (self.store_password, self.events_token, self.lineage_token)
        named = {each.removeprefix(ENV).partition("#")[0] for each in references if each.startswith(ENV)}
        return WITHHELD | named

    @property
    def dispatcher_environment(self) -> dict[str, str]:
        """The variables from which a dispatcher that the engine starts learns what it may reach and what it logs."""
        return {"PYMIGRATE_OUTGOING_ALLOWED": self.outgoing_allowed, "PYMIGRATE_LOG_LEVEL": self.log_level}

    @property
    def outgoing_allowed_parts(self) -> tuple[str, ...]:
        """The networks, addresses and hosts that messages may go to besides public ones."""
        return tuple(self.outgoing_allowed.split(",")) if self.outgoing_allowed else ()

    @property
    def trusted_proxies_parts(self) -> tuple[str, ...]:
        """The networks of proxies that are believed."""
        return tuple(self.trusted_proxies.split(",")) if self.trusted_proxies else ()

    @property
    def store_path(self) -> Path:
        """The embedded store's file."""
        return self.home / "engine.db"

    @property
    def token_path(self) -> Path:
        """The token's file; mode 0600 where the engine made it."""
        return self.token_file or self.home / "token"

    @property
    def audit_key_path(self) -> Path:
        """The file of the key that seals are signed with; mode 0600 where the engine made it."""
        return self.audit_key_file or self.home / "audit.key"

    @property
    def acknowledge_key_path(self) -> Path:
        """The file of the key that links are signed with, mode 0600."""
        return self.home / "acknowledge-key"

    @property
    def endpoint_path(self) -> Path:
        """The file that names address and port while an engine serves."""
        return self.home / "endpoint"

    @property
    def client_endpoint_path(self) -> Path:
        """The file that names address and port where clients show certificates, while an engine serves there."""
        return self.home / "client-endpoint"

    @property
    def authorities_path(self) -> Path:
        """The file of the authorities that clients know the engine by, where it speaks TLS."""
        return self.home / "ca.crt"

    @property
    def server_name_path(self) -> Path:
        """The file of the name that the engine's certificate has, where that is not the endpoint's."""
        return self.home / "server-name"

    @property
    def rest_endpoint_path(self) -> Path:
        """The file that names address and port of REST while an engine serves it."""
        return self.home / "rest-endpoint"

    @property
    def rest_process_endpoint_path(self) -> Path:
        """The file that names address and port of REST while a process of its own (`pymigrate rest`) serves it."""
        return self.home / "rest-process-endpoint"

    @property
    def metrics_endpoint_path(self) -> Path:
        """The file that names address and port of the page of metrics while an engine serves it on an address of its own."""
        return self.home / "metrics-endpoint"


def _web_address(value: str) -> str:
    try:
        url = urlsplit(value)
        is_whole = url.scheme in {"http", "https"} and bool(url.hostname) and url.port != 0
        has_password = "@" in url.netloc
    except ValueError:
        is_whole, has_password = False, False
    if not is_whole:
        raise ValueError("is no address: write it as https://host:port/path")
    if has_password:
        raise ValueError("holds a password: leave it out, and give the reference of a token")
    return value


def _listened(value: str, port_customary: int, *, has_tls: bool) -> str:
    host, _, port = value.rpartition(":")
    bare = host.strip("[]")
    is_port = port.isascii() and port.isdecimal() and int(port) <= PORT_MAX
    if not is_port or (":" in bare) != (host != bare):
        raise ValueError(f"{value!r} is no address: write it as 127.0.0.1:{port_customary}")
    is_loopback = bare == "localhost" or (_is_address(bare) and ipaddress.ip_address(bare).is_loopback)
    if is_loopback:
        return value
    if not has_tls:
        raise ValueError(
            f"{host!r} is not a loopback address: without TLS the engine listens on this machine only; set PYMIGRATE_TLS_CERTIFICATE and "
            "PYMIGRATE_TLS_KEY to be reached from others"
        )
    if not _is_address(bare):
        raise ValueError(
            f"{host!r} is no address of this machine: write it as 0.0.0.0:{port_customary}, or [::]:{port_customary}"
        )
    return value


def _advertised(value: str) -> str:
    host, _, port = value.rpartition(":")
    bare = host.strip("[]")
    is_port = port.isascii() and port.isdecimal() and 0 < int(port) <= PORT_MAX
    is_host = HOST.fullmatch(bare) is not None or (_is_address(bare) and not ipaddress.ip_address(bare).is_unspecified)
    if not is_port or not is_host or (":" in bare) != (host != bare):
        raise ValueError(f"{value!r} is nothing that others reach: write it as pymigrate.example.com:{PORT_DEFAULT}")
    return value


def _is_network(text: str) -> bool:
    """Whether the text is a network or an address. A network is written without bits beyond its mask, lest it be wider than was meant."""
    try:
        ipaddress.ip_network(text)
    except ValueError:
        return False
    return True


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
