"""How a definition refers to a secret."""

import re

_REFERENCE = re.compile(r"(env://[A-Za-z_][A-Za-z0-9_]*|file:///[^#\s]+)(#[^#\s]+)?")


def is_reference(text: str) -> bool:
    """Whether the text is a reference to a secret: `env://NAME` or `file:///path`, with `#key` for a field."""
    return _REFERENCE.fullmatch(text) is not None
