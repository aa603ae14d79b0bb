"""Whether what was posted comes from the host that a secret was agreed with: over the bytes as they came, in a time that tells nothing.

GitHub and Bitbucket sign the body. GitLab signs after the Standard Webhooks specification with a signing token (`whsec_…`), and shows any
other secret itself.
"""

import base64
import hashlib
import hmac
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from pymigrate.engine.ports.secrets import Secret
from pymigrate.v1 import git_source_pb2 as pb

Headers = Mapping[str, str]
SIGNED_BEHIND = "whsec_"
SIGNED_SECONDS_MAX = 300.0  # how far the clock of a host may be off, and how long a message may be under way
SIGNATURES_MAX = 4
SECRET_CHARACTERS_MIN = 8


def is_signed(provider: int, headers: Headers, body: bytes, secrets: Sequence[Secret], now: datetime) -> bool:
    """Whether one of the secrets is behind it. All of them are tried, whichever fits."""
    is_good = CHECKS[provider]
    found = [is_good(headers, body, secret.reveal(), now) for secret in secrets]
    return any(found)


def is_strong(secret: Secret) -> bool:
    """Whether a secret may be trusted at all: an empty one signs as well as another."""
    return len(secret.reveal()) >= SECRET_CHARACTERS_MIN


def _github(headers: Headers, body: bytes, secret: str, now: datetime) -> bool:
    del now
    return _is_hub_signed(headers.get("x-hub-signature-256", ""), body, secret)


def _bitbucket(headers: Headers, body: bytes, secret: str, now: datetime) -> bool:
    del now
    return _is_hub_signed(headers.get("x-hub-signature", ""), body, secret)


def _is_hub_signed(given: str, body: bytes, secret: str) -> bool:
    wanted = "sha256=" + hmac.new(secret.encode("utf-8", "surrogatepass"), body, hashlib.sha256).hexdigest()
    return _is_equal(given, wanted)


def _gitlab(headers: Headers, body: bytes, secret: str, now: datetime) -> bool:
    if secret.startswith(SIGNED_BEHIND):  # a host that is to sign is not believed without
        return _is_standard_signed(headers, body, secret, now)
    return _is_equal(headers.get("x-gitlab-token", ""), secret)


def _is_standard_signed(headers: Headers, body: bytes, secret: str, now: datetime) -> bool:
    stamp = headers.get("webhook-timestamp", "")
    try:
        key = base64.b64decode(secret.removeprefix(SIGNED_BEHIND), validate=True)
        is_recent = (
            stamp.isascii() and stamp.isdecimal() and abs(now.timestamp() - int(stamp[:12])) <= SIGNED_SECONDS_MAX
        )
    except ValueError:  # no base64
        return False
    signed = f"{headers.get('webhook-id', '')}.{stamp}.".encode(errors="replace") + body
    wanted = "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    found = [_is_equal(each, wanted) for each in headers.get("webhook-signature", "").split(" ")[:SIGNATURES_MAX]]
    return any(found) and is_recent and bool(key)


def _is_equal(given: str, wanted: str) -> bool:
    return hmac.compare_digest(given.encode(errors="replace"), wanted.encode("utf-8", "surrogatepass"))


CHECKS: Mapping[int, Callable[[Headers, bytes, str, datetime], bool]] = {
    pb.GIT_PROVIDER_GITHUB: _github,
    pb.GIT_PROVIDER_GITLAB: _gitlab,
    pb.GIT_PROVIDER_BITBUCKET: _bitbucket,
}
