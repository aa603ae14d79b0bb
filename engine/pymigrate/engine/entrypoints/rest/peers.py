"""Who is at the other end of an HTTP request's connection."""

from starlette.datastructures import Headers
from starlette.types import Scope

from pymigrate.engine.entrypoints.origins import FORWARDED_FOR, Peer


def peer_of(scope: Scope) -> Peer:
    """The other end, and whom it says that it calls for."""
    client = scope.get("client") or ("", 0)
    return Peer(str(client[0]), tuple(Headers(scope=scope).getlist(FORWARDED_FOR)))
