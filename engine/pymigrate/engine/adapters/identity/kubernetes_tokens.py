"""The way in for service accounts of a cluster: the cluster itself is asked about each token (TokenReview), so that one whose account or
pod is gone lets nobody in."""

import asyncio
import hashlib
import math
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import structlog

from pymigrate.engine.adapters.identity.json_web_tokens import check_audience, is_name, shown_token
from pymigrate.engine.domain.errors import PyMigrateError, Unauthenticated
from pymigrate.engine.ports.clock import Clock
from pymigrate.engine.ports.cluster import TOKEN_REVIEWS, Cluster, ClusterForbidden
from pymigrate.engine.ports.identity import Identity, IdentityUnavailable

log = structlog.get_logger(__name__)
PRINCIPAL = "kubernetes"
ACCOUNT = re.compile(r"system:serviceaccount:(?P<namespace>[a-z0-9-]{1,63}):(?P<name>[a-z0-9.-]{1,253})")
KNOWN_SECONDS_MAX = 60.0
KNOWN_MAX = 10_000
# Whoever shows tokens that are none makes the cluster be asked; no more than so many at once.
ASKED_AT_ONCE_MAX = 16


class _Known(NamedTuple):
    identity: Identity
    until: float


class KubernetesAuthenticator:
    """Knows tokens that say they are of a service account, and believes what the cluster says of them.

    An answer is kept for a minute, and never beyond the token's end. Only tokens for the audience are taken, so that no other receiver of
    one can show it here.
    """

    def __init__(self, cluster: Cluster, audience: str, clock: Clock) -> None:
        self._cluster = cluster
        self._audience = audience
        self._clock = clock
        self._asking = asyncio.Semaphore(ASKED_AT_ONCE_MAX)
        self._known: dict[bytes, _Known] = {}

    async def identify(self, token: str) -> Identity | None:
        """As Authenticator has it."""
        shown = shown_token(token)
        if shown is None or not _is_of_account(shown.claims):
            return None
        # What the token says itself is believed where it speaks against it alone.
        check_audience(shown.claims, self._audience)
        remaining_seconds = _end(shown.claims) - self._clock.now().timestamp()
        if remaining_seconds <= 0:
            raise Unauthenticated("the service account's token has ended: read it again from where it is mounted")
        digest = hashlib.sha256(token.encode()).digest()
        known = self._known.get(digest)
        if known is None or self._clock.monotonic() >= known.until:
            identity = await self._review(token)
            known = _Known(identity, self._clock.monotonic() + min(KNOWN_SECONDS_MAX, remaining_seconds))
            self._keep(digest, known)
        return known.identity

    async def _review(self, token: str) -> Identity:
        asked = {
            "apiVersion": TOKEN_REVIEWS.api_version,
            "kind": TOKEN_REVIEWS.kind,
            "metadata": {},
            "spec": {"token": token, "audiences": [self._audience]},
        }
        try:
            async with self._asking:
                answer = await self._cluster.create(TOKEN_REVIEWS, asked)
        except ClusterForbidden as error:
            log.error("token_review.forbidden")
            raise IdentityUnavailable(
                "the engine may not ask the cluster about tokens: give its service account the right to create "
                "tokenreviews.authentication.k8s.io"
            ) from error
        except PyMigrateError as error:
            log.warning("token_review.failed", reason=error.reason)
            raise IdentityUnavailable("the cluster does not say whose token this is: try again") from error
        return self._identity(answer.get("status") or {})

    def _identity(self, status: Mapping[str, Any]) -> Identity:
        user = status.get("user") or {}
        account = ACCOUNT.fullmatch(str(user.get("username") or ""))
        # A server that does not know of audiences says none.
        is_for_this = self._audience in (status.get("audiences") or ())
        if status.get("authenticated") is not True or account is None or not is_for_this:
            raise Unauthenticated(
                "the cluster does not know the token, or no longer: read it again from where it is mounted"
            )
        groups = frozenset(filter(is_name, user.get("groups") or ()))
        return Identity(f"{PRINCIPAL}/{account['namespace']}/{account['name']}", groups)

    def _keep(self, digest: bytes, known: _Known) -> None:
        self._known.pop(digest, None)
        self._known[digest] = known
        while len(self._known) > KNOWN_MAX:  # the longest known first
            del self._known[next(iter(self._known))]


def _is_of_account(claims: Mapping[str, Any]) -> bool:
    return ACCOUNT.fullmatch(str(claims.get("sub") or "")) is not None


def _end(claims: Mapping[str, Any]) -> float:
    end = claims.get("exp")
    if isinstance(end, bool) or not isinstance(end, int | float) or not math.isfinite(end):
        raise Unauthenticated("the service account's token has no end: ask the cluster for one that has (TokenRequest)")
    return float(end)
