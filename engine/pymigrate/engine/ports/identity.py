"""Who shows a credential. Each way in knows credentials of its own kind, and leaves others alone."""

from dataclasses import dataclass
from typing import Protocol

from pymigrate.engine.domain.errors import TemporaryError


@dataclass(frozen=True, slots=True)
class Identity:
    """A principal as the audit trail names it, and the groups that its credential says it is in. `affinity` is the work that a host was
    started for, where the engine started it."""

    principal: str
    groups: frozenset[str] = frozenset()
    affinity: str = ""


class Authenticator(Protocol):
    """One way in."""

    async def identify(self, token: str) -> Identity | None:
        """Whose bearer token this is; None where it is of another kind. Raises Unauthenticated for one of this kind that is not right, or
        no longer, and IdentityUnavailable where that can't be said now."""
        ...


class IdentityUnavailable(TemporaryError):
    """Whoever vouches for a credential can't be asked now. Nobody is let in meanwhile."""

    reason = "IDENTITY_UNAVAILABLE"
