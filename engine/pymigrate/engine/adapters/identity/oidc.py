"""The way in for whoever an OIDC issuer vouches for: JWTs that it signed, for this engine, and that hold now."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import jwt
import orjson

from pymigrate.engine.adapters.identity.json_web_tokens import (
    Shown,
    check_audience,
    check_header,
    check_times,
    is_name,
    name_of,
    shown_token,
)
from pymigrate.engine.adapters.identity.key_sets import signed_content
from pymigrate.engine.domain.errors import Unauthenticated
from pymigrate.engine.ports.clock import Clock
from pymigrate.engine.ports.identity import Identity

PRINCIPAL = "oidc"
EMAIL = "email"


@dataclass(frozen=True, slots=True)
class OidcTerms:
    """What tokens must say, and which of it names a principal and its groups."""

    issuer: str
    audience: str
    algorithms: tuple[str, ...]
    principal_claim: str = "sub"
    groups_claim: str = "groups"
    clock_skew_seconds: float = 30.0


class FindsKeys(Protocol):
    """Whoever knows the issuer's keys."""

    async def find(self, key_id: str | None, algorithm: str) -> Sequence[jwt.PyJWK]:
        """Those that a token may be signed by. Raises IdentityUnavailable."""
        ...


class OidcAuthenticator:
    """Knows tokens by what they say of their issuer, and believes nothing of them but what it has signed."""

    def __init__(self, terms: OidcTerms, keys: FindsKeys, clock: Clock) -> None:
        self._terms = terms
        self._keys = keys
        self._clock = clock

    async def identify(self, token: str) -> Identity | None:
        """As Authenticator has it."""
        shown = shown_token(token)
        if shown is None or shown.claims.get("iss") != self._terms.issuer:
            return None
        claims = await self._signed(shown)  # the very bytes that were looked at for their issuer
        check_audience(claims, self._terms.audience)
        check_times(claims, self._clock.now(), self._terms.clock_skew_seconds)
        if "cnf" in claims:
            raise Unauthenticated(
                "the token is bound to a key whose proof is not looked at here: ask for a plain bearer token"
            )
        name = name_of(claims, self._terms.principal_claim)
        if self._terms.principal_claim == EMAIL and claims.get("email_verified", True) is not True:
            raise Unauthenticated("the token's address of mail was verified by nobody")
        return Identity(f"{PRINCIPAL}/{name}", self._groups(claims))

    async def _signed(self, shown: Shown) -> Mapping[str, Any]:
        """What the issuer has signed. The header chooses among its keys and the algorithms that are allowed, and says nothing else: keys
        that it brings along or leads to (`jwk`, `jku`, `x5c`, `x5u`) are those of whoever made the token."""
        check_header(shown.header)
        algorithm, key_id = shown.header.get("alg"), shown.header.get("kid")
        if not isinstance(algorithm, str) or algorithm not in self._terms.algorithms:
            raise Unauthenticated(
                f"the token's algorithm is not allowed: it must be one of {', '.join(self._terms.algorithms)}"
            )
        if key_id is not None and not isinstance(key_id, str):
            raise Unauthenticated("the token names its key by what is no text")
        content = signed_content(shown.text, await self._keys.find(key_id, algorithm), algorithm)
        try:
            claims = orjson.loads(content)
        except ValueError as error:
            raise Unauthenticated("the token's claims can't be read") from error
        if not isinstance(claims, dict):
            raise Unauthenticated("the token has no claims")
        return claims

    def _groups(self, claims: Mapping[str, Any]) -> frozenset[str]:
        said = claims.get(self._terms.groups_claim, [])
        return frozenset(filter(is_name, [said] if isinstance(said, str) else said if isinstance(said, list) else []))
