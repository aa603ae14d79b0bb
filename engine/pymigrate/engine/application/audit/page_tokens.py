"""Tokens of pages that hold for the very filter that they were given with: with another one, what they skip would be missed."""

import base64
import binascii
import struct
from hashlib import sha256
from typing import Any

from pymigrate.engine.domain.errors import InvalidDefinition, Problem

TOKEN_CHARACTERS_MAX = 64
DIGEST_BYTES = 8
_LAYOUT = struct.Struct(f">Q{DIGEST_BYTES}s")
_SEQUENCE_MAX = 2**63 - 1


def page_token(request: Any, last: int) -> str:
    """Goes on behind a number, with what else the request asks for."""
    return base64.urlsafe_b64encode(_LAYOUT.pack(last, _digest(request))).decode()


def read_page_token(request: Any, call: str) -> int:
    """The number that a page ended with; 0 for the first page. Raises InvalidDefinition for what the call never gave out, and for the token
    of another filter."""
    token = request.page_token
    if not token:
        return 0
    try:
        if len(token) > TOKEN_CHARACTERS_MAX:
            raise ValueError("too long")
        last, digest = _LAYOUT.unpack(base64.b64decode(token, altchars=b"-_", validate=True))
        if last > _SEQUENCE_MAX:
            raise ValueError("no number of the store")
    except (ValueError, struct.error, binascii.Error) as error:
        raise _invalid(f"is not a token that {call} gave out") from error
    if digest != _digest(request):
        raise _invalid("was given with other filters: ask with these again, or begin without a token")
    return int(last)


def _digest(request: Any) -> bytes:
    asked = type(request)()
    asked.CopyFrom(request)
    for field in ("page_size", "page_token"):
        asked.ClearField(field)
    return sha256(asked.SerializeToString(deterministic=True)).digest()[:DIGEST_BYTES]


def _invalid(text: str) -> InvalidDefinition:
    return InvalidDefinition((Problem("page_token", text),))
