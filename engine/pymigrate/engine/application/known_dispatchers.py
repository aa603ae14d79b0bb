"""The dispatchers that call: when each was heard of last, what it holds, and what room channels have for them. In memory alone: a lease
ends by itself whoever remembers it."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from pymigrate.engine.domain.notices import ChannelTerms
from pymigrate.engine.ports.clock import Clock
from pymigrate.engine.ports.store import Unit

# Of each channel, all dispatchers together hold so many times what may be under way at once, so that none of them waits for the engine
# between two messages; each is told its part of that.
HELD_SHARE = 3
MINUTE_SECONDS = 60.0
PRESENT_SECONDS = 60.0


@dataclass(slots=True)
class KnownDispatcher:
    """One that has called: when it was heard of last, how many of its calls wait, and what it holds, by lease."""

    heard: float
    waiting: int = 0
    held: dict[str, str] = field(default_factory=dict)


class KnownDispatchers:
    """Dispatchers by name."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._known: dict[str, KnownDispatcher] = {}

    def heard_of(self, name: str) -> KnownDispatcher:
        """One that calls now."""
        now = self._clock.monotonic()
        known = self._known.setdefault(name, KnownDispatcher(now))
        known.heard = now
        return known

    def forget(self, name: str) -> KnownDispatcher | None:
        """One that is gone, as it was; None where it never called."""
        return self._known.pop(name, None)

    def count(self) -> int:
        """Among how many a channel is shared, at least 1. Those that have not been heard of for long are forgotten."""
        since = self._clock.monotonic() - PRESENT_SECONDS
        for name, known in list(self._known.items()):
            if known.heard < since and not known.waiting:
                del self._known[name]
        return max(1, len(self._known))


def room(unit: Unit, environment: str, terms: ChannelTerms, now: datetime) -> int:
    """How many more of a channel may be held now."""
    found = HELD_SHARE * terms.deliveries_max - unit.deliveries.in_sending(environment, terms.id, now)
    if terms.messages_per_minute_max and found > 0:
        minute = now - timedelta(seconds=MINUTE_SECONDS)
        found = min(found, terms.messages_per_minute_max - unit.deliveries.tried_since(environment, terms.id, minute))
    return found
