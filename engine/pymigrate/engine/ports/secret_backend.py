"""A secret backend: a place that keeps secrets, as one environment reaches it.

Packages bring others under the entry points `pymigrate.secrets`. What it gives is read and kept by whoever opened it;
it keeps nothing itself but its login.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from pymigrate.engine.ports.secrets import Secret, SecretRef, Secrets

PREVIOUS = "previous"  # the version before the current one, in every backend


@dataclass(frozen=True, slots=True)
class Lease:
    """How long what was made on demand holds: `id` is the backend's word for it, `seconds` its life from now, 0 for no end."""

    id: str
    seconds: float
    is_renewable: bool = True


@dataclass(frozen=True, slots=True)
class SecretDocument:
    """A secret as its backend keeps it, whole: values by the keys that references name after `#`, under the empty key what a reference
    without one means. All are of one version. Not `is_whole`: it holds what was asked for alone, and other keys are to be asked for."""

    values: Mapping[str, Secret] = field(repr=False)
    version: str = ""
    lease: Lease | None = None
    is_whole: bool = True


class SecretBackend(Protocol):
    """One place, logged in to as one environment. Safe on every thread. Raises SecretMissing, SecretRefused and SecretsUnavailable, with
    the reference where there is one, and never with a value or an answer's body."""

    def login(self) -> str:
        """Logs in where that is due; the backend's name and version where it tells them."""
        ...

    def read(self, ref: SecretRef, version: str = "") -> SecretDocument:
        """The document that the reference lies in, at a version in the backend's own words, at PREVIOUS, or at its current one. What makes
        credentials on demand makes new ones at each call."""
        ...

    def renew(self, lease: Lease) -> Lease:
        """The lease with a new life. Raises SecretMissing where it was revoked or may not live longer."""
        ...

    def revoke(self, lease: Lease) -> None:
        """Ends what was made on demand. One that has ended already is none to fail for."""
        ...

    def close(self) -> None:
        """Gives up its login. May be called again."""
        ...


@dataclass(frozen=True, slots=True)
class BackendOptions:
    """What a backend needs to know. Keys of `options` are the fields of the contract's message of its kind; of a login `app_role.role_id`
    and the like; lists and maps as JSON. `secrets` reads what its own references lead to, in `env` and `file` alone."""

    scheme: str
    options: Mapping[str, str]
    references: Mapping[str, SecretRef]
    secrets: Secrets
    timeout_seconds: float = 10.0


class SecretBackendKind(Protocol):
    """What opens one kind of backend; entry points name an instance's class."""

    kind: str

    def open(self, options: BackendOptions) -> SecretBackend:
        """Nothing is contacted. Raises InvalidDefinition for options that can't be."""
        ...
