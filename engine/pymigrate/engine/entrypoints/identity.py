"""Who makes a call: the bearer token that a caller shows, and the side that it speaks for. The same over gRPC and REST."""

import hmac
from contextvars import ContextVar

from pymigrate.engine.application.caller import MANAGED_BY_DEFAULT, Caller
from pymigrate.engine.application.short_tokens import ShortTokens
from pymigrate.engine.domain.errors import InvalidDefinition, Problem, Unauthenticated
from pymigrate.engine.ports.clock import Clock

MANAGED_BY = "pymigrate-managed-by"
SIDES = frozenset({"api", "cli", "terraform", "git", "kubernetes"})
PRINCIPAL = "local"
BEARER = "Bearer "
# Whoever holds a signed link and no token.
LINK_PRINCIPAL = "link"
_caller: ContextVar[Caller] = ContextVar("caller")


def caller() -> Caller:
    """Who makes the call that is being served."""
    return _caller.get()


def note_caller(found: Caller) -> None:
    """Makes somebody the caller of what the present task serves from now on."""
    _caller.set(found)


class Bearers:
    """Who may call: whoever shows the engine's token, or one that it made and that has not ended."""

    def __init__(self, token: str, clock: Clock) -> None:
        self._authorization = f"{BEARER}{token}".encode()
        self._clock = clock
        self.short_tokens = ShortTokens(token)

    def identify(self, authorization: str, side: str = MANAGED_BY_DEFAULT) -> Caller:
        """The caller that shows `Bearer <token>` and speaks for a side. Raises Unauthenticated, and InvalidDefinition for an unknown
        side."""
        if not authorization:
            raise Unauthenticated(
                "send the engine's token as `authorization: Bearer <token>`; it is in the engine's home"
            )
        token_id = ""
        if not hmac.compare_digest(authorization.encode(errors="replace"), self._authorization):
            token_id = self.short_tokens.read(authorization.removeprefix(BEARER), self._clock.now())
        if side not in SIDES:
            raise InvalidDefinition((Problem(MANAGED_BY, f"must be one of {', '.join(sorted(SIDES))}"),))
        return Caller(f"{PRINCIPAL}/{token_id}" if token_id else PRINCIPAL, side, token_id)
