"""A circuit breaker for a system that is away: after a few failures in a row nobody tries for a while, then one lane does.

It spares the system a herd of lanes at each of its returns, and spares the lanes their tries; checkpoints stay as they are.
"""

import random
from dataclasses import dataclass
from datetime import datetime, timedelta

FAILURES_TO_OPEN = 3
WAIT_FIRST_SECONDS = 1.0
WAIT_MAX_SECONDS = 30.0
DOUBLINGS_MAX = 8


@dataclass(slots=True)
class Breaker:
    """One system's breaker. `probe` is the task that tries for all while it is half open. `is_login`: it was a login that failed, of which
    sessions that are open tell nothing."""

    is_login: bool = False
    failures: int = 0
    openings: int = 0
    opens_until: datetime | None = None
    probe: str = ""

    def admits(self, task: str, now: datetime) -> bool:
        """Whether the task may try the system now."""
        if self.opens_until is None:
            return True
        return now >= self.opens_until and self.probe in {"", task}

    def try_by(self, task: str) -> None:
        """The task was handed out: while the breaker is half open, it tries for all."""
        if self.opens_until is not None:
            self.probe = task

    def succeed(self) -> bool:
        """The system answered. True: it had been away."""
        was_away = self.opens_until is not None
        self.failures = self.openings = 0
        self.opens_until, self.probe = None, ""
        return was_away

    def fail(self, task: str, now: datetime, rng: random.Random) -> bool:
        """The system did not answer, or refused a login. True: from now on it counts as away."""
        if self.opens_until is not None and (now < self.opens_until or self.probe not in {"", task}):
            return False  # it was tried before the breaker opened
        self.failures += 1
        # Too many refused logins lock an account: one is enough.
        if self.failures < (1 if self.is_login else FAILURES_TO_OPEN):
            return False
        wait = min(WAIT_MAX_SECONDS, WAIT_FIRST_SECONDS * 2 ** min(self.openings, DOUBLINGS_MAX))
        was_open = self.opens_until is not None
        self.openings += 1
        self.opens_until, self.probe = now + timedelta(seconds=wait * rng.uniform(0.5, 1.0)), ""
        return not was_open

    def give_back(self, task: str) -> None:
        """The task ended without having told anything about the system."""
        if self.probe == task:
            self.probe = ""
