"""What must be a reference because of its name: a secret that is written itself would be in the plan and in the state. Told when planning;
the engine holds definitions to the same names."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from pymigrate.provider.formats import REFERENCE
from pymigrate.provider.sdk.diagnostics import Path, Refused

OPTION = re.compile(r"pass|secret|token|credential|signature|connection_string|(^|_)(key|sas)$", re.IGNORECASE)
HEADER = re.compile(r"(proxy-)?authorization|cookie|(x-)?api-key|x-auth-token", re.IGNORECASE)
STEP_HEADER = re.compile(r"authorization|cookie|token|secret|api-?key|password", re.IGNORECASE)


def options(entries: Any, path: Path) -> Iterator[Refused]:
    """Options of a library, by their names and by those within one that is a JSON object."""
    for name, value in _texts(entries):
        if any(OPTION.search(key) for key in (name, *_keys(value))):
            yield from _refused(value, [*path, (name,)])


def headers(entries: Any, path: Path, *, of_step: bool = False) -> Iterator[Refused]:
    """Headers of an API's requests, or of a step's call."""
    for name, value in _texts(entries):
        if STEP_HEADER.search(name) if of_step else HEADER.fullmatch(name):
            yield from _refused(value, [*path, (name,)])


def _texts(entries: Any) -> list[tuple[str, str]]:
    """What is known of a map of texts."""
    pairs = entries.items() if isinstance(entries, Mapping) else ()
    return [(name, value) for name, value in pairs if isinstance(value, str)]


def _keys(value: str) -> list[str]:
    try:
        parsed = json.loads(value) if value.startswith("{") else None
    except (ValueError, RecursionError):
        return []
    return re.findall(r'"([^"\\]*)"\s*:', json.dumps(parsed))


def _refused(value: str, path: Path) -> Iterator[Refused]:
    if wrong := REFERENCE(value):
        yield Refused("A secret is written where a reference belongs", f"{wrong}.", path)
