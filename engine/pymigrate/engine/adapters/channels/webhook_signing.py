"""Signatures of webhooks after the Standard Webhooks specification: HMAC-SHA256 over `id.timestamp.body`, in base64 behind `v1,`."""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable

from pymigrate.engine.domain.errors import InvalidDefinition, Problem
from pymigrate.engine.ports.secrets import Secret

BASE64_PREFIX = "whsec_"
VERSION = "v1"


def key_of(secret: Secret, field: str) -> bytes:
    """The key's bytes: those behind `whsec_` are base64, anything else is taken as it is. Raises InvalidDefinition, without the key."""
    text = secret.reveal()
    if not text.startswith(BASE64_PREFIX):
        key = text.encode()
    else:
        try:
            key = base64.b64decode(text.removeprefix(BASE64_PREFIX), validate=True)
        except binascii.Error:
            raise InvalidDefinition((Problem(field, f"what follows `{BASE64_PREFIX}` is no base64"),)) from None
    if not key:
        raise InvalidDefinition((Problem(field, "leads to an empty key: write one of 24 bytes or more there"),))
    return key


def signature(keys: Iterable[bytes], message_id: str, timestamp: int, body: bytes) -> str:
    """One signature for each key, the present one first."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    digests = (hmac.new(key, signed, hashlib.sha256).digest() for key in keys)
    return " ".join(f"{VERSION},{base64.b64encode(digest).decode()}" for digest in digests)
