"""References to secrets, and the values behind them, which never show themselves.

A definition holds a reference (`env://NAME`, `file:///path#key`); a value is read where a driver needs it, on a worker host.
"""

import hmac
import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import NoReturn, Protocol, runtime_checkable

from pymigrate.engine.domain.errors import InvalidDefinition, Problem

HIDDEN = "***"
OWN_SCHEMES = frozenset({"env", "file"})  # which a process has of itself
WELL_KNOWN_SCHEMES = OWN_SCHEMES | {"vault", "aws-sm", "k8s"}
REFERENCE = re.compile(r"(?P<scheme>[a-z][a-z0-9-]{0,62})://(?P<location>[^#\s]+)(?:#(?P<key>\S+))?")


class Secret:
    """A value that never shows itself: not in a repr, a text, a log or an error, nor as bytes, JSON, a pickle or a copy. `version` is its
    backend's word for which one it is; empty where the backend counts none."""

    __slots__ = ("_value", "version")
    __hash__ = None  # type: ignore[assignment]  # nothing is looked up by a secret

    def __init__(self, value: str, version: str = "") -> None:
        self._value = value
        self.version = version

    def __repr__(self) -> str:
        return f"Secret({HIDDEN})"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        """The same whatever is asked for: a width or a precision would tell of the value's length."""
        return repr(self)

    def __bytes__(self) -> NoReturn:
        raise TypeError("a secret is no bytes: reveal it where it is handed to a driver")

    def __eq__(self, other: object) -> bool:
        """In a time that does not tell how much of both is alike."""
        if not isinstance(other, Secret):
            return NotImplemented
        mine, theirs = (each._value.encode("utf-8", "surrogatepass") for each in (self, other))  # noqa: SLF001 (its own kind)
        return hmac.compare_digest(mine, theirs)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not pickled")

    __getstate__ = __reduce__

    def reveal(self) -> str:
        """The value; call it where it is handed to a driver and nowhere else."""
        return self._value


@dataclass(frozen=True, slots=True)
class SecretRef:
    """Where a secret is: `scheme://location`, and the field of a JSON document where `key` is not empty."""

    scheme: str
    location: str
    key: str = ""

    def __str__(self) -> str:
        return f"{self.scheme}://{self.location}" + (f"#{self.key}" if self.key else "")


class Secrets(Protocol):
    """Where whoever needs a secret reads it. Safe on every thread.

    Everything here raises SecretMissing, SecretRefused or SecretsUnavailable, with the reference and never with a value.
    """

    @property
    def schemes(self) -> frozenset[str]:
        """The schemes that there are backends for. A text of a scheme that is none, as a URL is, is no reference."""
        ...

    def read(self, ref: SecretRef) -> Secret:
        """The value, which may have been kept in memory for as long as its backend allows."""
        ...


@runtime_checkable
class RotatingSecrets(Secrets, Protocol):
    """Secrets that may change while they are used."""

    def reread(self, ref: SecretRef) -> Secret:
        """The value as its backend has it now; what was kept in memory is replaced."""
        ...

    def previous(self, ref: SecretRef) -> Secret | None:
        """The version before the current one, where the backend still has it: a rotation may have told the secret before the system."""
        ...

    def at(self, version: str) -> Secrets:
        """The same secrets, each at a version in its backend's own words. Nothing of it is kept in memory."""
        ...


class DeclaredSecrets(RotatingSecrets, Protocol):
    """Secrets of the backends that an environment declares."""

    def login(self, scheme: str) -> str:
        """Logs in to a scheme's backend where that is due; its name and version where it tells them."""
        ...


def secret_ref_of(text: str) -> SecretRef | None:
    """The reference that a text is; None where it is none. Which schemes there are is not looked at."""
    found = REFERENCE.fullmatch(text)
    return SecretRef(found["scheme"], found["location"], found["key"] or "") if found else None


def reference_in(text: str, schemes: Collection[str]) -> SecretRef | None:
    """The reference that the value of a field is where others may stand too, such as an option or a header."""
    ref = secret_ref_of(text)
    return ref if ref is not None and (ref.scheme in WELL_KNOWN_SCHEMES or ref.scheme in schemes) else None


def parse_secret_ref(text: str, field: str) -> SecretRef:
    """Reads a reference. What is none is refused without being shown: it may be a password that was written by mistake."""
    ref = secret_ref_of(text)
    if ref is None:
        said = (
            "is no reference: write env://NAME, file:///path or what a secret backend's scheme begins, never the value"
        )
        raise InvalidDefinition((Problem(field, said),))
    return ref
