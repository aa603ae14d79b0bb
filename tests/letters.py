"""Letters as tests send them, and channels that may reach this machine."""

import ssl
from datetime import UTC, datetime
from functools import cache
from typing import Any

from pymigrate.engine.adapters.channels.addresses import OutgoingAddresses
from pymigrate.engine.adapters.channels.factory import trusted
from pymigrate.engine.ports.channel import Letter

LOOPBACK = OutgoingAddresses(["127.0.0.0/8"])
TIME = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
KEY = "0f" * 32


@cache
def usual_trust() -> ssl.SSLContext:
    """The authorities that are trusted by default, read once for all tests: reading them takes longer than most of these do."""
    return trusted()


def letter(**changed: Any) -> Letter:
    """One to Ada, changed as a test wants it."""
    given: dict[str, Any] = {
        "key": KEY,
        "to": "ada@example.com",
        "display_name": "Ada Lovelace",
        "subject": "Phase sales has failed",
        "body": "The source is away.\n",
        "event": b'{"specversion":"1.0"}',
        "time": TIME,
    }
    return Letter(**given | changed)
