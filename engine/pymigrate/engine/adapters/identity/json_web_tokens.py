"""JSON Web Tokens (RFC 7519) as they are shown: what they say before anybody has looked at their signature, and what they must say then.

What is read before is used for one thing: to know whom to ask about the token.
"""

import base64
import binascii
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from pymigrate.engine.domain.errors import Unauthenticated

SHAPE = re.compile(r"(?P<header>[A-Za-z0-9_-]+)\.(?P<claims>[A-Za-z0-9_-]+)\.[A-Za-z0-9_-]*")
# Others are tokens of another use, such as one that logs somebody out.
TYPES = frozenset({"jwt", "at+jwt", "application/at+jwt", "application/jwt"})
NAME_CHARACTERS_MAX = 200


@dataclass(frozen=True, slots=True)
class Shown:
    """A token that nobody has looked at yet."""

    text: str
    header: Mapping[str, Any]
    claims: Mapping[str, Any]


def shown_token(text: str) -> Shown | None:
    """What a token says of itself; None where it is none of this kind."""
    shape = SHAPE.fullmatch(text)
    if shape is None:
        return None
    header, claims = _object(shape["header"]), _object(shape["claims"])
    return None if header is None or claims is None else Shown(text, header, claims)


def check_header(header: Mapping[str, Any]) -> None:
    """Raises Unauthenticated for a token that asks for more than a signature, which would be ignored here, or that is for another use."""
    if "crit" in header or "b64" in header or "zip" in header:
        raise Unauthenticated("the token asks for extensions of its signature that are not known here")
    kind = header.get("typ", "JWT")
    if not isinstance(kind, str) or kind.lower() not in TYPES:
        raise Unauthenticated("the token is of another use than to make calls: ask the issuer for an access token")


def check_times(claims: Mapping[str, Any], now: datetime, skew_seconds: float) -> None:
    """Raises Unauthenticated for a token that has ended, holds only later, or does not say when it was made and when it ends."""
    moment = now.timestamp()
    ends, made = _seconds(claims, "exp"), _seconds(claims, "iat")
    begins = _seconds(claims, "nbf") if "nbf" in claims else made
    if moment >= ends + skew_seconds:
        raise Unauthenticated("the token has ended: ask for another one")
    if moment < begins - skew_seconds or moment < made - skew_seconds:
        raise Unauthenticated("the token does not hold yet: see whether both clocks are right")


def check_audience(claims: Mapping[str, Any], audience: str) -> None:
    """Raises Unauthenticated for a token that was made for somebody else."""
    said = claims.get("aud")
    if audience not in ([said] if isinstance(said, str) else said if isinstance(said, list) else []):
        raise Unauthenticated(f"the token is for somebody else: ask for one whose audience is `{audience}`")


def name_of(claims: Mapping[str, Any], claim: str) -> str:
    """A claim that names somebody. Raises Unauthenticated where it does not, or not so that it can be written down."""
    name = claims.get(claim)
    if not is_name(name):
        raise Unauthenticated(
            f"the token's claim `{claim}` names nobody: it must be text of at most {NAME_CHARACTERS_MAX} characters"
        )
    return str(name)


def is_name(value: object) -> bool:
    """Whether it is text that can stand in a line."""
    return (
        isinstance(value, str)
        and 0 < len(value) <= NAME_CHARACTERS_MAX
        and value.isprintable()
        and value == value.strip()
    )


def _seconds(claims: Mapping[str, Any], claim: str) -> float:
    value = claims.get(claim)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise Unauthenticated(f"the token does not say `{claim}` as a time")
    return float(value)


def _object(segment: str) -> Mapping[str, Any] | None:
    try:
        found = orjson.loads(base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4)))
    except (ValueError, binascii.Error):
        return None
    return found if isinstance(found, dict) else None
