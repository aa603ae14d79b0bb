"""Who makes a call, and what every use case needs of its surroundings."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field

from pymigrate.engine.ports.clock import Clock
from pymigrate.engine.ports.patterns import NoPatterns, Patterns

MANAGED_BY_DEFAULT = "api"
NewId = Callable[[], str]


@dataclass(frozen=True, slots=True)
class Caller:
    """A principal, and the side that it speaks for: `api`, `cli`, `terraform`, `git` or `kubernetes`. `token_id` names the token that it
    shows where that ends by itself. `groups` are those that its credential says it is in, `origin` is the address that it calls from, empty
    where nobody called. `affinity` is what a worker host was started for, where the engine started it."""

    principal: str
    managed_by: str = MANAGED_BY_DEFAULT
    token_id: str = ""
    groups: frozenset[str] = frozenset()
    origin: str = ""
    affinity: str = ""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Time, fresh identifiers and what matches patterns, passed in so that tests decide them."""

    clock: Clock
    new_id: NewId
    patterns: Patterns = field(default_factory=NoPatterns)


def random_id() -> str:
    """A fresh identifier for production use."""
    return uuid.uuid4().hex
