"""References to secrets, and the values behind them, which never show themselves.

A definition holds a reference (`env://NAME`, `file:///path#key`); a value is read where a driver needs it, on a worker host.
"""

import json
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import quote

from pymigrate.engine.domain.errors import InvalidDefinition, Problem

HIDDEN = "***"


class Secret:
    """A value that never shows itself: not in a repr, a log or an error."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def __repr__(self) -> str:
        return f"Secret({HIDDEN})"

    def __reduce__(self) -> str:
        raise TypeError("a secret is not pickled")

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
    """A place that keeps secrets."""

    def read(self, ref: SecretRef) -> Secret:
        """The value. Raises SecretMissing, with the reference and never with a value."""
        ...


def parse_secret_ref(text: str, field: str) -> SecretRef:
    """Reads a reference. What is none is refused without being shown: it may be a password that was written by mistake."""
    scheme, separator, rest = text.partition("://")
    location, _, key = rest.partition("#")
    if not separator or not scheme.isalnum() or not location:
        raise InvalidDefinition((Problem(field, "is no reference: write env://NAME or file:///path, never the value"),))
    return SecretRef(scheme, location, key)


class Redactor:
    """Takes the values of all secrets that it was told of out of texts, in the spellings that errors and logs use."""

    def __init__(self) -> None:
        self._spellings: frozenset[str] = frozenset()

    def note(self, secret: Secret) -> None:
        """From now on this secret's value is taken out. Safe to call from any thread."""
        value = secret.reveal()
        spellings = {value, repr(value)[1:-1], json.dumps(value)[1:-1], quote(value, safe=""), value.strip()}
        self._spellings |= {spelling for spelling in spellings if spelling}

    def clean(self, text: str) -> str:
        """The text without any of the values."""
        for spelling in sorted(self._spellings, key=len, reverse=True):
            text = text.replace(spelling, HIDDEN)
        return text
