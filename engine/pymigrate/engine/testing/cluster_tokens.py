"""What an API in memory says of tokens that are reviewed: those that a test has made known."""

from collections.abc import Sequence
from typing import Any

from pymigrate.engine.ports.cluster import TOKEN_REVIEWS, Object


class KnownTokens:
    """Tokens and whose they are, as a cluster knows them."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[str, tuple[str, ...], tuple[str, ...]]] = {}

    def know(self, token: str, username: str, groups: Sequence[str] = (), audiences: Sequence[str] = ()) -> None:
        """From now on it is somebody's, for these audiences."""
        self._known[token] = (username, tuple(groups), tuple(audiences))

    def forget(self, token: str) -> None:
        """It is nobody's any more, as when its account is gone."""
        self._known.pop(token, None)

    def reviewed(self, asked: Object) -> dict[str, Any]:
        """The review with its answer. Nothing is kept of it."""
        spec = asked.get("spec") or {}
        username, groups, audiences = self._known.get(str(spec.get("token")), ("", (), ()))
        wanted = list(spec.get("audiences") or ())
        shared = [each for each in wanted if each in audiences]
        status: dict[str, Any] = {"user": {}, "error": "invalid bearer token"}
        if username and (shared or not wanted):
            user = {"username": username, "groups": list(groups)}
            status = {"authenticated": True, "user": user, "audiences": shared}
        told = {"apiVersion": TOKEN_REVIEWS.api_version, "kind": TOKEN_REVIEWS.kind}
        return {**told, "metadata": {"creationTimestamp": None}, "spec": dict(spec), "status": status}
