"""How often something may be done: so many at once, and so many in a second from then on."""

from dataclasses import dataclass


@dataclass(slots=True)
class TokenBucket:
    """Full at first. `refill_per_second` are added until it holds `burst` again."""

    burst: float
    refill_per_second: float
    _held: float = -1.0
    _since: float = 0.0

    def take(self, now_seconds: float) -> bool:
        """Takes one, if there is one."""
        held = self.burst if self._held < 0 else self._held
        held = min(self.burst, held + max(0.0, now_seconds - self._since) * self.refill_per_second)
        self._since = now_seconds
        self._held = held - 1 if held >= 1 else held
        return held >= 1

    def seconds_until_next(self) -> float:
        """How long after the last try there is one again, in seconds; 0 where there is one."""
        return max(0.0, (1 - self._held) / self.refill_per_second) if self._held >= 0 else 0.0
