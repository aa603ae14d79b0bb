"""What the audit trail says of a declared object that was written: digests of it before and after, and the fields that differ.

A definition holds no secret, only references to them, and so neither does what is told of it here.
"""

import hashlib
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import Message

from pymigrate.engine.application.gitops.changes_told import field_changes
from pymigrate.engine.application.kind import OUTPUT_ONLY, Kind

DETAIL_CHARACTERS_MAX = 4_000
VALUE_CHARACTERS_MAX = 400
CUT = "…"
NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Difference:
    """SHA-256 of the bodies in hexadecimal digits, empty where there is none; and what differs, in words."""

    before_digest: str = ""
    after_digest: str = ""
    detail: str = ""


def created(body: bytes) -> Difference:
    """Of an object that was not there before."""
    return Difference(after_digest=_digest(body))


def deleted(body: bytes) -> Difference:
    """Of an object that is no more."""
    return Difference(before_digest=_digest(body))


def updated(kind: Kind[Any], before: bytes, after: bytes) -> Difference:
    """Of an object that was changed."""
    messages = [_message(kind, body) for body in (before, after)]
    skipped = OUTPUT_ONLY | kind.output_only | kind.held_elsewhere
    parts = []
    room = DETAIL_CHARACTERS_MAX
    for change in field_changes(messages[0], messages[1], skipped):
        part = f"{change.path}: {_short(change.before)} → {_short(change.after)}"
        room -= len(part) + len("; ")
        if room < 0:
            parts.append(CUT)
            break
        parts.append(part)
    return Difference(_digest(before), _digest(after), "; ".join(parts)[:DETAIL_CHARACTERS_MAX])


def _message(kind: Kind[Any], body: bytes) -> Message:
    message: Message = kind.message()
    message.ParseFromString(body)
    return message


def _digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def _short(value: str) -> str:
    """A value as JSON, or what there is of it."""
    if not value:
        return NOTHING
    return value if len(value) <= VALUE_CHARACTERS_MAX else value[: VALUE_CHARACTERS_MAX - 1] + CUT
