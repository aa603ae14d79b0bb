"""What holds a phase or goes along with it, as it is declared: the problems of gates and of steps outside databases."""

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from pymigrate.engine.application.references import WRITE, is_reference
from pymigrate.engine.domain.errors import Problem
from pymigrate.engine.domain.names import ID_RULE, is_id
from pymigrate.v1 import plan_pb2

ENTRIES_MAX = 64
DESCRIPTION_MAX = 2_000
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
BODY_MAX = 64 * 1024
HEADERS_MAX = 64
TIMEOUT_MAX_SECONDS = 600
KEY_HEADER = "idempotency-key"
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}")
_SECRETLIKE = re.compile(r"authorization|cookie|token|secret|api-?key|password", re.IGNORECASE)


def control_problems(phase: plan_pb2.Phase) -> Iterator[Problem]:
    """Every problem of a phase's gates and steps."""
    for field, entries in (("gates", phase.gates), ("steps", phase.steps)):
        if len(entries) > ENTRIES_MAX:
            yield Problem(field, f"has at most {ENTRIES_MAX} entries")
        for name in sorted(entries):
            if not is_id(name):
                yield Problem(f"{field}.{name}", f"`{name}` is no name: use {ID_RULE}")
    for name, gate in sorted(phase.gates.items()):
        if len(gate.description) > DESCRIPTION_MAX:
            yield Problem(f"gates.{name}.description", f"has at most {DESCRIPTION_MAX:,} characters")
    for name, step in sorted(phase.steps.items()):
        yield from _call_problems(f"steps.{name}.call", step.call)
        if step.HasField("undo"):
            yield from _call_problems(f"steps.{name}.undo", step.undo)
        elif not phase.gates:
            yield Problem(
                f"steps.{name}.undo",
                "a step that nothing undoes must be behind a gate: give it an undo, or the phase a gate",
            )


def _call_problems(path: str, call: plan_pb2.HttpCall) -> Iterator[Problem]:
    if call.method and call.method not in METHODS:
        yield Problem(f"{path}.method", f"must be one of {', '.join(METHODS)}")
    try:
        parts = urlsplit(call.url)
        is_url = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_url = False
    if not is_url or any(character.isspace() for character in call.url):
        yield Problem(f"{path}.url", "must be an http:// or https:// address with a host")
    elif "@" in urlsplit(call.url).netloc:
        yield Problem(f"{path}.url", "must not hold a user or password: use a header with a secret reference")
    if len(call.body.encode()) > BODY_MAX:
        yield Problem(f"{path}.body", f"has at most {BODY_MAX:,} bytes")
    if not 0 <= call.timeout_seconds <= TIMEOUT_MAX_SECONDS:
        yield Problem(f"{path}.timeout_seconds", f"must be 1 to {TIMEOUT_MAX_SECONDS}, or 0 for 30")
    if len(call.headers) > HEADERS_MAX:
        yield Problem(f"{path}.headers", f"has at most {HEADERS_MAX} entries")
    for name, value in sorted(call.headers.items()):
        if not _HEADER.fullmatch(name) or "\r" in value or "\n" in value:
            yield Problem(
                f"{path}.headers.{name}", "is no header: a name of letters, digits and dashes, and a value of one line"
            )
        elif name.lower() == KEY_HEADER:
            yield Problem(f"{path}.headers.{name}", "is set by the engine")
        elif _SECRETLIKE.search(name) and not is_reference(value):
            yield Problem(
                f"{path}.headers.{name}",
                f"must be a reference, never the secret itself: {WRITE}",
            )
