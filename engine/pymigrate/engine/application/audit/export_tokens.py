"""The token that an export is resumed with: how far it went, in what form, and of what part of the trail."""

import base64
import binascii
import json
from dataclasses import asdict, dataclass, fields
from hashlib import sha256

from pymigrate.engine.domain.errors import InvalidDefinition, Problem
from pymigrate.engine.ports.feed import read_position
from pymigrate.v1 import audit_pb2

# The longest name of a chain is that of a run.
TOKEN_CHARACTERS_MAX = 2_048
DIGEST_DIGITS = 16


@dataclass(frozen=True, slots=True)
class ExportPlace:
    """How far an export went: behind the feed's `cursor`, the seal, and so many heads of the next one, with so many events and seals told
    in all. `part` is what the export is of. `base`: the last chain whose base was told; None once all of them were."""

    part: str
    base: str | None = ""
    cursor: str = ""
    seal: int = 0
    heads: int = 0
    events: int = 0
    seals: int = 0

    def token(self) -> str:
        """As a caller keeps it."""
        text = json.dumps(asdict(self), separators=(",", ":"))
        return base64.urlsafe_b64encode(text.encode()).decode()


def part_of(request: audit_pb2.ExportAuditRequest) -> str:
    """What an export is of, and in what form."""
    asked = audit_pb2.ExportAuditRequest()
    asked.CopyFrom(request)
    asked.ClearField("resume_token")
    asked.format = request.format or audit_pb2.AUDIT_FORMAT_JSON_LINES
    return sha256(asked.SerializeToString(deterministic=True)).hexdigest()[:DIGEST_DIGITS]


def resumed_place(request: audit_pb2.ExportAuditRequest) -> ExportPlace:
    """Where an export begins. Raises InvalidDefinition for a token that no export gave, or one of another form or part."""
    part = part_of(request)
    if not request.resume_token:
        return ExportPlace(part)
    place = _read(request.resume_token)
    if place.part != part:
        raise _invalid("is of an export in another format or of another part: ask for the same again, or begin anew")
    return place


def _read(token: str) -> ExportPlace:
    try:
        if len(token) > TOKEN_CHARACTERS_MAX:
            raise ValueError("too long")
        told = json.loads(base64.b64decode(token, altchars=b"-_", validate=True))
        if not isinstance(told, dict) or told.keys() != {field.name for field in fields(ExportPlace)}:
            raise ValueError("other fields")
        numbers = [told[name] for name in ("seal", "heads", "events", "seals")]
        if not all(type(number) is int and 0 <= number < 2**63 for number in numbers):
            raise ValueError("no numbers")
        texts = (told["part"], told["cursor"], told["base"] or "")
        if not all(isinstance(text, str) for text in texts):
            raise ValueError("no texts")
        place = ExportPlace(**told)
        read_position(place.cursor)
    except (ValueError, TypeError, binascii.Error, RecursionError, InvalidDefinition) as error:
        raise _invalid("is not a token that ExportAudit gave out") from error
    return place


def _invalid(text: str) -> InvalidDefinition:
    return InvalidDefinition((Problem("resume_token", text),))
