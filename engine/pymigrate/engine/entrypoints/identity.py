"""Who makes a call: the credential that a caller shows, and the side that it speaks for. The same over gRPC and REST."""

import hmac
from collections.abc import Sequence
from contextvars import ContextVar
from typing import Protocol

from pymigrate.engine.application.caller import MANAGED_BY_DEFAULT, Caller
from pymigrate.engine.application.short_tokens import PREFIX as SHORT_TOKEN
from pymigrate.engine.application.short_tokens import ShortTokens
from pymigrate.engine.domain.errors import InvalidDefinition, Problem, Unauthenticated
from pymigrate.engine.entrypoints.client_certificates import certificate_identity
from pymigrate.engine.entrypoints.origins import NOWHERE, Origins, Peer
from pymigrate.engine.ports.clock import Clock
from pymigrate.engine.ports.identity import Authenticator, Identity

MANAGED_BY = "pymigrate-managed-by"
AUTHORIZATION = "authorization"
SIDES = frozenset({"api", "cli", "terraform", "git", "kubernetes"})
PRINCIPAL = "local"
BEARER = "Bearer "
TOKEN_BYTES_MAX = 8 * 1024
# Whoever holds a signed link and no token.
LINK_PRINCIPAL = "link"
_caller: ContextVar[Caller] = ContextVar("caller")


def caller() -> Caller:
    """Who makes the call that is being served."""
    return _caller.get()


def note_caller(found: Caller) -> None:
    """Makes somebody the caller of what the present task serves from now on."""
    _caller.set(found)


class Identifies(Protocol):
    """Whoever says who calls."""

    async def identify(
        self, authorizations: Sequence[str], side: str = MANAGED_BY_DEFAULT, peer: Peer = NOWHERE
    ) -> Caller:
        """The caller that sends these `authorization` headers and speaks for a side. Raises Unauthenticated, IdentityUnavailable, and
        InvalidDefinition for an unknown side."""
        ...

    def from_link(self, peer: Peer) -> Caller:
        """The caller that has a signed link and nothing else."""
        ...


class Bearers:
    """Who may call: whoever shows the engine's token, one that it made and that has not ended, or one that another way in knows; and
    whoever shows a certificate. With a token beside it, the token says who calls."""

    def __init__(
        self,
        token: str,
        clock: Clock,
        ways_in: Sequence[Authenticator] = (),
        origins: Origins | None = None,
    ) -> None:
        self._token = token.encode()
        self._clock = clock
        self._ways_in = ways_in
        self._origins = origins or Origins()
        self.short_tokens = ShortTokens(token)

    async def identify(
        self, authorizations: Sequence[str], side: str = MANAGED_BY_DEFAULT, peer: Peer = NOWHERE
    ) -> Caller:
        """As Identifies has it."""
        if peer.certificate and not any(authorizations):
            token, found = "", certificate_identity(peer.certificate, self._clock.now())
        else:
            token = bearer_token(authorizations)
            found = self._own(token) or await self._other(token)
        check_side(side)
        token_id = found.principal.partition("/")[2] if token.startswith(SHORT_TOKEN) else ""
        return Caller(found.principal, side, token_id, found.groups, self._origins.of(peer), found.affinity)

    def from_link(self, peer: Peer) -> Caller:
        """As Identifies has it."""
        return Caller(LINK_PRINCIPAL, origin=self._origins.of(peer))

    def _own(self, token: str) -> Identity | None:
        if hmac.compare_digest(token.encode(), self._token):
            return Identity(PRINCIPAL)
        if token.startswith(SHORT_TOKEN):
            return Identity(f"{PRINCIPAL}/{self.short_tokens.read(token, self._clock.now())}")
        return None

    async def _other(self, token: str) -> Identity:
        for way_in in self._ways_in:
            if (found := await way_in.identify(token)) is not None:
                return found
        raise Unauthenticated(
            "the token is not this engine's, nor any other that it knows: read it again from the engine's home, or ask for another one"
        )


def bearer_token(authorizations: Sequence[str]) -> str:
    """The token that the header says, which nothing has looked at yet. Raises Unauthenticated where there is none, or where several
    headers may mean several callers."""
    if not any(authorizations):
        raise Unauthenticated("send the engine's token as `authorization: Bearer <token>`; it is in the engine's home")
    if len(authorizations) > 1:
        raise Unauthenticated("send one `authorization` header: it is not known which of several is meant")
    scheme, _, token = authorizations[0].partition(" ")
    if scheme.lower() != BEARER.strip().lower() or not token:
        raise Unauthenticated("send a token as `authorization: Bearer <token>`: no other scheme is known")
    if len(token) > TOKEN_BYTES_MAX or not token.isascii() or not token.isprintable():
        raise Unauthenticated(f"a token has at most {TOKEN_BYTES_MAX:,} printable ASCII characters")
    return token


def check_side(side: str) -> None:
    """Raises InvalidDefinition for an unknown side."""
    if side not in SIDES:
        raise InvalidDefinition((Problem(MANAGED_BY, f"must be one of {', '.join(sorted(SIDES))}"),))
