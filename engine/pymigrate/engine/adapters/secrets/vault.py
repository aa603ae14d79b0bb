"""HashiCorp Vault as a kind of secret backend: what an environment says of it, checked before anything is contacted.

hvac is imported by what opens one, so that a process without a Vault goes without it.
"""

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pymigrate.engine.domain.addresses import is_loopback
from pymigrate.engine.domain.errors import InvalidDefinition, Problem
from pymigrate.engine.ports.clock import BlockingClock
from pymigrate.engine.ports.secret_backend import BackendOptions
from pymigrate.engine.ports.secrets import Secret, SecretRef, Secrets

if TYPE_CHECKING:
    from pymigrate.engine.adapters.secrets.vault_backend import VaultBackend

TOKEN_FILE = "/var/run/secrets/kubernetes.io/serviceaccount/token"  # noqa: S105 (a path)
KV_VERSIONS = (1, 2)
UNWRAPPED_MAX = 100
TOKEN, APP_ROLE, KUBERNETES, JWT = "token", "app_role", "kubernetes", "jwt"


class Unwrapped:
    """Secret ids that were taken out of their wrapping, which can be done once, by their wrapping token. In memory alone."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._secret_ids: dict[str, Secret] = {}

    def of(self, wrapping_token: Secret) -> Secret | None:
        """What came out of it."""
        with self._lock:
            return self._secret_ids.get(wrapping_token.reveal())

    def keep(self, wrapping_token: Secret, secret_id: Secret) -> None:
        """Remembers what came out of it."""
        with self._lock:
            self._secret_ids[wrapping_token.reveal()] = secret_id
            while len(self._secret_ids) > UNWRAPPED_MAX:
                del self._secret_ids[next(iter(self._secret_ids))]


@dataclass(frozen=True, slots=True)
class VaultLogin:
    """How one logs in: what its method needs. References lead to `env` and `file`."""

    method: str
    mount: str = ""
    role: str = ""
    reference: SecretRef | None = None
    is_wrapped: bool = False
    token_file: str = TOKEN_FILE


@dataclass(frozen=True, slots=True)
class VaultPlace:
    """A Vault, and how one logs in to it."""

    scheme: str
    address: str
    login: VaultLogin
    secrets: Secrets
    namespace: str = ""
    ca_file: str = ""
    kv_versions: Mapping[str, int] = field(default_factory=dict)
    timeout_seconds: float = 10.0


class VaultKind:
    """Opens Vaults. What was unwrapped is shared by all that this one opened, since a wrapping token is good for one time."""

    kind = "vault"

    def __init__(self, clock: BlockingClock | None = None) -> None:
        self._clock = clock
        self._unwrapped = Unwrapped()

    def open(self, options: BackendOptions) -> "VaultBackend":
        """Nothing is contacted. Raises InvalidDefinition for options that can't be."""
        place = vault_place(options)
        from pymigrate.engine.adapters.clock import ThreadClock
        from pymigrate.engine.adapters.secrets.vault_backend import VaultBackend

        return VaultBackend(place, self._clock or ThreadClock(), self._unwrapped)


def vault_place(options: BackendOptions) -> VaultPlace:
    """What the options say. Raises InvalidDefinition with every problem."""
    problems: list[Problem] = []
    said = options.options
    address = said.get("address", "").rstrip("/")
    problems += _address_problems(address)
    ca_file = said.get("ca_file", "")
    if ca_file and not ca_file.startswith("/"):
        problems.append(Problem("ca_file", "must be an absolute path on the worker host"))
    login = _login(options, problems)
    kv_versions = _kv_versions(said.get("kv_versions", ""), problems)
    if problems or login is None:
        raise InvalidDefinition(tuple(problems))
    return VaultPlace(
        options.scheme,
        address,
        login,
        options.secrets,
        said.get("namespace", "").strip("/"),
        ca_file,
        kv_versions,
        options.timeout_seconds,
    )


def _address_problems(address: str) -> list[Problem]:
    try:
        url = urlsplit(address)
        host, _ = url.hostname or "", url.port
    except ValueError:
        return [Problem("address", "is no address: write it as https://vault.example.com:8200")]
    if url.scheme not in {"http", "https"} or not host or url.query or url.fragment:
        return [Problem("address", "is no address: write it as https://vault.example.com:8200")]
    if url.username is not None or url.password is not None:
        return [Problem("address", "holds a user or a password: say how one logs in beside it")]
    if url.scheme == "http" and not is_loopback(host):
        return [Problem("address", "must be https: plain http is for this machine alone")]
    return []


def _login(options: BackendOptions, problems: list[Problem]) -> VaultLogin | None:
    """The one login that is set."""
    named = (*options.options, *options.references)
    methods = [
        method
        for method in (TOKEN, APP_ROLE, KUBERNETES, JWT)
        if any(name == method or name.startswith(f"{method}.") for name in named)
    ]
    if len(methods) != 1:
        problems.append(Problem("login", "must be exactly one of token, app_role, kubernetes and jwt"))
        return None
    method = methods[0]

    def said(name: str, *, default: str = "", is_needed: bool = False) -> str:
        text = options.options.get(f"{method}.{name}", "") or default
        if is_needed and not text:
            problems.append(Problem(f"{method}.{name}", "must be set"))
        return text

    def reference(name: str) -> SecretRef | None:
        found = options.references.get(name)
        if found is None:
            problems.append(Problem(name, "must be a reference in env or file"))
        return found

    if method == TOKEN:
        return VaultLogin(method, reference=reference(TOKEN))
    if method == APP_ROLE:
        return VaultLogin(
            method,
            mount=said("mount", default="approle").strip("/"),
            role=said("role_id", is_needed=True),
            reference=reference(f"{method}.secret_id"),
            is_wrapped=said("is_wrapped").lower() == "true",
        )
    if method == KUBERNETES:
        return VaultLogin(
            method,
            mount=said("mount", default="kubernetes").strip("/"),
            role=said("role", is_needed=True),
            token_file=said("token_file", default=TOKEN_FILE),
        )
    return VaultLogin(
        method, mount=said("mount", default="jwt").strip("/"), role=said("role"), reference=reference(f"{method}.jwt")
    )


def _kv_versions(text: str, problems: list[Problem]) -> dict[str, int]:
    try:
        found = json.loads(text) if text else {}
    except ValueError:
        found = None
    if not isinstance(found, dict) or any(version not in KV_VERSIONS for version in found.values()):
        problems.append(Problem("kv_versions", "must be 1 or 2 for each mount"))
        return {}
    return {mount.strip("/"): int(version) for mount, version in found.items()}
