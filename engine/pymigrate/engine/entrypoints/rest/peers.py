"""Who is at the other end of an HTTP request's connection."""

from typing import Any

from starlette.datastructures import Headers
from starlette.types import Scope

from pymigrate.engine.entrypoints.origins import FORWARDED_FOR, Peer

# Under which the server notes, in each request's state, what its client has shown.
CLIENT_CERTIFICATE = "client_certificate"


def peer_of(scope: Scope) -> Peer:
    """The other end, and whom it says that it calls for."""
    client = scope.get("client") or ("", 0)
    state: dict[str, Any] = scope.get("state") or {}
    forwarded = tuple(Headers(scope=scope).getlist(FORWARDED_FOR))
    return Peer(str(client[0]), forwarded, state.get(CLIENT_CERTIFICATE, b""))
