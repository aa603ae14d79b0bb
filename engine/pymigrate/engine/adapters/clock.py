"""The machine's clock: the one place that tells the time and sleeps."""

import asyncio
import time
from datetime import UTC, datetime


class MachineTime:
    """What the machine's clock says."""

    def now(self) -> datetime:
        """The time of day in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return time.monotonic()


class SystemClock(MachineTime):
    """The clock of the machine and of the running event loop."""

    async def sleep(self, seconds: float) -> None:
        """Sleeps on the event loop."""
        await asyncio.sleep(max(0.0, seconds))


class ThreadClock(MachineTime):
    """The clock of the machine and of the thread that asks."""

    def wait(self, seconds: float) -> None:
        """Sleeps on the thread."""
        time.sleep(max(0.0, seconds))
