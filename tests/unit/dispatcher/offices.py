"""An engine that gives what a test puts in, and dispatchers over channels in memory, on a loop on which nothing waits."""

import asyncio
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from pymigrate.engine.domain.delivery import TryOutcome
from pymigrate.engine.domain.errors import EngineUnavailable
from pymigrate.engine.entrypoints.dispatcher.dispatcher import Dispatcher
from pymigrate.engine.ports.channel import Channel, Letter, Sent
from pymigrate.engine.testing.channels import MemoryChannel
from pymigrate.engine.testing.virtual_loop import VirtualClock, VirtualLoop
from pymigrate.v1 import notification_pb2

SECRET = "hunter2"
LEASE_SECONDS = 25.0
MAIL = notification_pb2.NotificationChannel(
    name="environments/e/notificationChannels/mail", smtp=notification_pb2.SmtpChannel(host="mail.example.com")
)


class ScriptedEngine:
    """Gives messages in the order in which they were put in, and keeps reports. While it `is_away`, it answers nothing."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self._waiting: deque[notification_pb2.OutgoingMessage] = deque()
        self._changed = asyncio.Condition()
        self.claims: list[int] = []
        self.batches: list[list[notification_pb2.DeliveryReport]] = []
        self.is_away = False
        self.refusal: Exception | None = None

    @property
    def reports(self) -> list[notification_pb2.DeliveryReport]:
        """Everything that was reported."""
        return [report for batch in self.batches for report in batch]

    def outcomes(self) -> list[str]:
        """What came of each, in order; empty for what was given back."""
        return [getattr(report, "try").outcome for report in self.reports]

    def put(
        self,
        count: int,
        at_once_max: int = 20,
        channel: notification_pb2.NotificationChannel = MAIL,
        lease_seconds: float = LEASE_SECONDS,
    ) -> None:
        """So many messages are to be sent."""
        for _ in range(count):
            number = len(self._waiting) + sum(self.claims) + 1
            message = notification_pb2.OutgoingMessage(
                delivery=f"environments/e/deliveries/d{number}",
                lease=f"l{number}",
                channel=channel,
                to="ann@example.com",
                key=f"k{number}",
                try_number=1,
                at_once_max=at_once_max,
            )
            message.lease_expire_time.FromDatetime(self._clock.now() + timedelta(seconds=lease_seconds))
            self._waiting.append(message)

    async def claim(self, deliveries_max: int, wait_seconds: float) -> Sequence[notification_pb2.OutgoingMessage]:
        """As many as there are, or none after a while."""
        if self.refusal is not None:
            raise self.refusal
        if self.is_away:
            raise EngineUnavailable("away")
        for _ in range(int(wait_seconds * 10)):
            if self._waiting:
                break
            await self._clock.sleep(0.1)
        given = [self._waiting.popleft() for _ in range(min(deliveries_max, len(self._waiting)))]
        self.claims.append(len(given))
        return given

    async def report(self, reports: Sequence[notification_pb2.DeliveryReport]) -> None:
        """Notes them."""
        if self.is_away:
            raise EngineUnavailable("away")
        self.batches.append(list(reports))


class OfficeChannel(MemoryChannel):
    """Takes its time with each letter, and counts how many are under way."""

    def __init__(self, clock: VirtualClock, seconds: float) -> None:
        super().__init__()
        self._clock, self._seconds = clock, seconds
        self.under_way = self.most_under_way = 0

    async def send(self, letter: Letter) -> Sent:
        """Judges it after a while."""
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            await self._clock.sleep(self._seconds)
            return await super().send(letter)
        finally:
            self.under_way -= 1


@dataclass
class Office:
    """A dispatcher at work. Each try takes `try_seconds` and is answered by `answer`; `build_error` is what building a channel raises."""

    loop: VirtualLoop
    try_seconds: float = 0.0
    grace_seconds: float = 15.0
    answer: Callable[[Letter], Sent | None] = lambda _: Sent(TryOutcome.ACCEPTED)
    build_error: Exception | None = None
    built: list[OfficeChannel] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.clock = VirtualClock(self.loop)
        self.engine = ScriptedEngine(self.clock)
        self.ending = asyncio.Event()
        self.dispatcher = Dispatcher(
            self.engine,
            self.build,
            self.clock,
            random.Random(1),
            "d1",
            lambda text: text.replace(SECRET, "***"),
            self.grace_seconds,
        )

    def build(self, declared: notification_pb2.NotificationChannel, backends: object) -> Channel:
        """A channel in memory."""
        if self.build_error is not None:
            raise self.build_error
        channel = OfficeChannel(self.clock, self.try_seconds)
        channel.answer = self.answer
        self.built.append(channel)
        return channel

    def start(self) -> "asyncio.Task[int]":
        """Begins."""
        return asyncio.get_running_loop().create_task(self.dispatcher.run(self.ending))

    async def run_for(self, seconds: float) -> int:
        """Works so long and ends; how many reports were not heard."""
        running = self.start()
        await self.clock.sleep(seconds)
        self.ending.set()
        return await running
