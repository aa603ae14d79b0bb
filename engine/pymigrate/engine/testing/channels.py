"""A way out in memory, which answers as a test says and keeps what it has taken."""

import asyncio
from collections.abc import Callable

from pymigrate.engine.domain.delivery import TryOutcome
from pymigrate.engine.ports.channel import Letter, Sent


class MemoryChannel:
    """`answer` may be set to anything that judges a letter; at first everything is taken. A letter whose answer is None hangs until the
    limit of time, and `loses` says whether a letter's answer is lost after it was taken."""

    def __init__(self, try_seconds_max: float = 10.0) -> None:
        self.asked: list[Letter] = []
        self.taken: list[Letter] = []
        self.answer: Callable[[Letter], Sent | None] = lambda _: Sent(TryOutcome.ACCEPTED)
        self.loses: Callable[[Letter], bool] = lambda _: False
        self.is_closed = False
        self._try_seconds_max = try_seconds_max

    async def send(self, letter: Letter) -> Sent:
        """Judges it, and keeps what is taken."""
        self.asked.append(letter)
        sent = self.answer(letter)
        if sent is None:
            await asyncio.sleep(self._try_seconds_max)
            return Sent(TryOutcome.TRANSIENT, f"no answer within {self._try_seconds_max:g} s")
        if sent.outcome is TryOutcome.ACCEPTED:
            self.taken.append(letter)
            if self.loses(letter):
                return Sent(TryOutcome.UNKNOWN, "the answer was lost")
        return sent

    async def close(self) -> None:
        """Notes it."""
        self.is_closed = True
