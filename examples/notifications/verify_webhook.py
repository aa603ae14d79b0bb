"""How a receiver checks that a webhook comes from PyMigrate: the Standard Webhooks scheme, with nothing but the standard library.

`python verify_webhook.py 8080` listens on that port with the key in WEBHOOK_KEY, says what came, and does nothing twice.
"""

import base64
import hashlib
import hmac
import json
import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import ClassVar

TOLERANCE_SECONDS = 300
KEYS_KEPT_MAX = 10_000


class NotFromPyMigrateError(Exception):
    """The request is not signed by whoever has the key, or is an old one that somebody sends again."""


def verify(key: str, headers: Mapping[str, str], body: bytes, now: float) -> None:
    """Raises NotFromPyMigrateError unless the body is just as it was signed, and lately. `headers` are known by lower-case names."""
    identifier, timestamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not timestamp.isdecimal() or abs(now - int(timestamp)) > TOLERANCE_SECONDS:
        raise NotFromPyMigrateError("the timestamp is missing, or too far from now")
    secret = base64.b64decode(key.removeprefix("whsec_")) if key.startswith("whsec_") else key.encode()
    digest = hmac.new(secret, f"{identifier}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    expected = base64.b64encode(digest).decode()
    # While a key is being changed, a request carries a signature by each.
    given = [
        each.removeprefix("v1,") for each in headers.get("webhook-signature", "").split() if each.startswith("v1,")
    ]
    if not any(hmac.compare_digest(expected, each) for each in given):
        raise NotFromPyMigrateError("no signature is by this key")


class Receiver(BaseHTTPRequestHandler):
    """Answers 204 to what it has taken, also when it comes again: the key says that it did."""

    key = os.environ.get("WEBHOOK_KEY", "")
    taken: ClassVar[dict[str, None]] = {}

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", "0")))
        headers = {name.lower(): value for name, value in self.headers.items()}
        try:
            verify(self.key, headers, body, datetime.now(UTC).timestamp())  # noqa: TID251 (a receiver's own clock)
        except NotFromPyMigrateError as error:
            self.send_error(401, str(error))
            return
        if headers["webhook-id"] not in self.taken:
            self.taken[headers["webhook-id"]] = None
            if len(self.taken) > KEYS_KEPT_MAX:
                del self.taken[next(iter(self.taken))]
            print(json.dumps(json.loads(body), indent=2))
        self.send_response(204)
        self.end_headers()


if __name__ == "__main__":
    HTTPServer(("127.0.0.1", int(sys.argv[1])), Receiver).serve_forever()
