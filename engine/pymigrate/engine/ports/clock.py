"""Time as the engine knows it. Nothing below the composition root asks the machine, so that tests and rehearsals own the time."""

from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    """Tells the time and lets it pass."""

    def now(self) -> datetime:
        """The time of day, aware and in UTC. It may jump when the machine's clock is set."""
        ...

    def monotonic(self) -> float:
        """Seconds from some point in the past. It never goes back, so that durations are measured with it."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Returns after so many seconds at the earliest. None or fewer lets everything else go first, and returns."""
        ...


class BlockingClock(Protocol):
    """A clock for threads that may wait: those of a worker host."""

    def now(self) -> datetime:
        """As `Clock.now`."""
        ...

    def monotonic(self) -> float:
        """As `Clock.monotonic`."""
        ...

    def wait(self, seconds: float) -> None:
        """Returns after so many seconds at the earliest; at once for none or fewer."""
        ...
