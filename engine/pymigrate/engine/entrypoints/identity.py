"""Who makes a call: the bearer token that a caller shows, and the side that it speaks for. The same over gRPC and REST."""

import hmac
from contextvars import ContextVar

from pymigrate.engine.application.caller import MANAGED_BY_DEFAULT, Caller
from pymigrate.engine.domain.errors import InvalidDefinition, Problem, Unauthenticated

MANAGED_BY = "pymigrate-managed-by"
SIDES = frozenset({"api", "cli", "terraform", "git", "kubernetes"})
PRINCIPAL = "local"
# Whoever holds a signed link and no token.
LINK_PRINCIPAL = "link"
_caller: ContextVar[Caller] = ContextVar("caller")


def caller() -> Caller:
    """Who makes the call that is being served."""
    return _caller.get()


def note_caller(found: Caller) -> None:
    """Makes somebody the caller of what the present task serves from now on."""
    _caller.set(found)


def identify(token: str, authorization: str, side: str = MANAGED_BY_DEFAULT) -> Caller:
    """The caller that shows `Bearer <token>` and speaks for a side. Raises Unauthenticated, and InvalidDefinition for an unknown side."""
    if not authorization:
        raise Unauthenticated("send the engine's token as `authorization: Bearer <token>`; it is in the engine's home")
    if not hmac.compare_digest(authorization.encode(errors="replace"), f"Bearer {token}".encode()):
        raise Unauthenticated("the token is not this engine's: read it again from the engine's home")
    if side not in SIDES:
        raise InvalidDefinition((Problem(MANAGED_BY, f"must be one of {', '.join(sorted(SIDES))}"),))
    return Caller(PRINCIPAL, side)
