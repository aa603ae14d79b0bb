"""How a definition refers to a secret."""

import re
from collections.abc import Iterator

from pymigrate.engine.domain.errors import Problem

_REFERENCE = re.compile(r"(env://[A-Za-z_][A-Za-z0-9_]*|file:///[^#\s]+)(#[^#\s]+)?")


def is_reference(text: str) -> bool:
    """Whether the text is a reference to a secret: `env://NAME` or `file:///path`, with `#key` for a field."""
    return _REFERENCE.fullmatch(text) is not None


def secret_problems(path: str, reference: str, noun: str = "password") -> Iterator[Problem]:
    """Problems of a field that refers to a secret; what it holds instead is never repeated."""
    if reference and not is_reference(reference):
        yield Problem(
            path, f"must be a reference, never the {noun} itself: env://NAME or file:///path, with #key for a field"
        )
