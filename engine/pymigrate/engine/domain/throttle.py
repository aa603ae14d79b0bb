"""How many lanes a live source bears: fewer when its answers slow down, one more at a time while they do not.

Additive increase, multiplicative decrease, on the seconds that the source takes for a megabyte against its best so far. The best drifts
upwards slowly, so that a source that has become slower for good is not starved.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

FACTOR_DEFAULT = 3.0
SMOOTHING = 0.3
BEST_DRIFT = 1.002
DECREASE = 0.7
SAMPLES_MIN = 4
PAUSE_SECONDS = 5.0
BYTES_MIN = 65_536
MEGABYTE = 1_000_000


@dataclass(slots=True)
class Throttle:
    """One source's throttle, or what is known of a source that serves nobody else. `lanes_max` is None while it needs none; `seconds` is
    the smoothed time for a megabyte."""

    best_seconds: float = 0.0
    seconds: float = 0.0
    samples: int = 0
    lanes_max: int | None = None
    changed: datetime | None = None

    @property
    def factor(self) -> float:
        """How many times slower than at its best it answers; 0: not known yet."""
        return self.seconds / self.best_seconds if self.samples >= SAMPLES_MIN and self.best_seconds > 0 else 0.0

    def note(self, seconds: float, size_bytes: int) -> bool:
        """Takes in what one chunk took. False: it tells nothing."""
        cost = seconds / (max(size_bytes, BYTES_MIN) / MEGABYTE)
        if cost <= 0:
            return False
        self.seconds = cost if not self.samples else self.seconds + SMOOTHING * (cost - self.seconds)
        self.best_seconds = min(self.best_seconds * BEST_DRIFT, cost) if self.samples else cost
        self.samples += 1
        return True

    def observe(self, seconds: float, size_bytes: int, lanes: int, factor: float, now: datetime) -> bool:
        """Takes in what one chunk took while so many lanes read. True: the lanes that it bears have changed."""
        if not self.note(seconds, size_bytes):
            return False
        is_settled = self.changed is None or now - self.changed >= timedelta(seconds=PAUSE_SECONDS)
        if self.samples < SAMPLES_MIN or not is_settled:
            return False
        before = self.lanes_max
        if self.seconds > factor * self.best_seconds:
            bearable = min(lanes, self.lanes_max or lanes)
            self.lanes_max = max(1, int(bearable * DECREASE))
        elif self.lanes_max is not None and lanes >= self.lanes_max:
            self.lanes_max += 1
        if self.lanes_max == before:
            return False
        self.changed = now
        return True
