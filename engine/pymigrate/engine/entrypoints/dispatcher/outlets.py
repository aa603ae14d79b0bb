"""The ways out of a dispatcher, one for each declared channel: what waits for it, and what is under way by it.

A way out is built when there is something to send, and built anew when its channel is declared otherwise; what is under way by the former
one ends by that.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, timedelta

import structlog

from pymigrate.engine.application.declared_notices import channel_of
from pymigrate.engine.domain.delivery import TryOutcome
from pymigrate.engine.ports.channel import ANSWER_CHARACTERS_MAX, Channel, Letter, Sent
from pymigrate.engine.ports.clock import Clock
from pymigrate.v1 import notification_pb2, secret_backend_pb2

log = structlog.get_logger(__name__)
# A channel keeps its own limit of time; one that does not is given up.
OVERTIME_SECONDS = 2.0
# What was resolved when it was built, such as a plugin's secrets, may have changed since.
AGE_SECONDS_MAX = 600.0
Build = Callable[[notification_pb2.NotificationChannel, Mapping[str, secret_backend_pb2.SecretBackend]], Channel]
"""Makes a channel that reads its secrets from these backends."""
Report = Callable[[notification_pb2.DeliveryReport], None]


@dataclass(slots=True)
class _Way:
    """A channel as it is declared at one time, with how many tries are under way by it."""

    declared: bytes
    channel: Channel
    built: float
    try_seconds_max: float
    users: int = 0
    is_retired: bool = False


class _Unbuilt:
    """What stands for a channel that can't be made."""

    def __init__(self, why: str) -> None:
        self._why = why

    async def send(self, letter: Letter) -> Sent:
        """Says why."""
        del letter
        return Sent(TryOutcome.TRANSIENT, self._why)

    async def close(self) -> None:
        """Nothing is open."""


class Outlet:
    """Sends by one channel, so many at once as the newest message says. `clean` takes secrets out of texts."""

    def __init__(
        self, build: Build, report: Report, clock: Clock, dispatcher: str, clean: Callable[[str], str]
    ) -> None:
        self._build = build
        self._report = report
        self._clock = clock
        self._dispatcher = dispatcher
        self._clean = clean
        self._waiting: deque[notification_pb2.OutgoingMessage] = deque()
        self._tries: dict[asyncio.Task[None], notification_pb2.OutgoingMessage] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._at_once_max = 1
        self._way: _Way | None = None
        self._used = clock.monotonic()

    @property
    def held(self) -> int:
        """How many wait or are under way."""
        return len(self._waiting) + len(self._tries)

    @property
    def idle_seconds(self) -> float:
        """For how long nothing was to be sent by it."""
        return 0.0 if self.held else self._clock.monotonic() - self._used

    def add(self, message: notification_pb2.OutgoingMessage) -> None:
        """To be sent as soon as there is room."""
        self._at_once_max = max(1, message.at_once_max)
        self._waiting.append(message)
        self._begin()

    def give_back(self) -> None:
        """What was not begun is another's to send."""
        while self._waiting:
            self._report(_untried(self._waiting.popleft()))

    async def finish(self, seconds: float) -> None:
        """Lets what is under way end within so long; what has not ended then is given up, and whether it was sent is not known."""
        tries = list(self._tries)
        if tries:
            timing = asyncio.ensure_future(self._clock.sleep(seconds))
            ending = asyncio.ensure_future(asyncio.wait(tries))
            await asyncio.wait((timing, ending), return_when=asyncio.FIRST_COMPLETED)
            for task in (timing, ending, *tries):
                task.cancel()
            await asyncio.gather(timing, ending, *tries, return_exceptions=True)
        if self._way is not None:
            self._retire(self._way)
            self._way = None
        await asyncio.gather(*self._closing, return_exceptions=True)

    def _begin(self) -> None:
        """Begins as many tries as there is room for."""
        while self._waiting and len(self._tries) < self._at_once_max:
            message = self._waiting.popleft()
            way = self._way_of(message)
            if not self._is_in_time(message, way):
                self._report(_untried(message))
                continue
            way.users += 1
            task = asyncio.get_running_loop().create_task(self._try(message, way))
            self._tries[task] = message
            task.add_done_callback(self._ended)

    def _is_in_time(self, message: notification_pb2.OutgoingMessage, way: _Way) -> bool:
        """Whether a whole try fits into the lease: after it, another may send it too."""
        left = message.lease_expire_time.ToDatetime(UTC) - self._clock.now()
        return left >= timedelta(seconds=way.try_seconds_max)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        del self._tries[task]
        self._used = self._clock.monotonic()
        self._begin()

    async def _try(self, message: notification_pb2.OutgoingMessage, way: _Way) -> None:
        began, started = self._clock.now(), self._clock.monotonic()
        sent = Sent(TryOutcome.UNKNOWN, "the dispatcher was stopped while it was under way")
        try:
            sent = await self._send(message, way)
        finally:
            report = notification_pb2.DeliveryReport(
                delivery=message.delivery,
                lease=message.lease,
                retry_after_seconds=max(0.0, sent.retry_after_seconds),
                is_delivered=sent.is_delivered,
            )
            attempt: notification_pb2.DeliveryTry = getattr(report, "try")
            attempt.time.FromDatetime(began)
            attempt.seconds = max(0.0, self._clock.monotonic() - started)
            attempt.outcome = sent.outcome
            attempt.answer = self._clean(sent.answer)[:ANSWER_CHARACTERS_MAX]
            attempt.dispatcher = self._dispatcher
            self._report(report)
            way.users -= 1
            if way.is_retired and not way.users:
                self._close(way)

    async def _send(self, message: notification_pb2.OutgoingMessage, way: _Way) -> Sent:
        letter = Letter(
            key=message.key,
            to=message.to,
            display_name=message.display_name,
            subject=message.subject,
            body=message.body,
            html=message.html,
            event=message.event,
            acknowledge_url=message.acknowledge_url,
            try_number=message.try_number,
            time=self._clock.now(),
        )
        limit = way.try_seconds_max + OVERTIME_SECONDS
        try:
            async with asyncio.timeout(limit):
                return await way.channel.send(letter)
        except TimeoutError:
            return Sent(TryOutcome.UNKNOWN, f"the channel did not end within {limit:g} s")
        except Exception as error:  # a defect of the channel's, which may be another package's: it ends no other try
            log.exception("channel.failed", channel=message.channel.name, error=type(error).__name__)
            return Sent(
                TryOutcome.UNKNOWN, f"the channel failed with {type(error).__name__}: the dispatcher's log tells more"
            )

    def _way_of(self, message: notification_pb2.OutgoingMessage) -> _Way:
        declared = message.channel
        text, now = _declared(message), self._clock.monotonic()
        way = self._way
        if way is not None and way.declared == text and now - way.built < AGE_SECONDS_MAX:
            return way
        if way is not None:
            self._retire(way)
        seconds = channel_of(declared).try_seconds_max
        self._way = _Way(text, self._built(message), now, seconds)
        return self._way

    def _built(self, message: notification_pb2.OutgoingMessage) -> Channel:
        declared = message.channel
        try:
            return self._build(declared, message.secret_backends)
        except Exception as error:  # a defect, which keeps nothing but this channel from being used
            log.exception("channel.unbuilt", channel=declared.name, error=type(error).__name__)
            return _Unbuilt(f"the channel can't be made, for {type(error).__name__}: the dispatcher's log tells more")

    def _retire(self, way: _Way) -> None:
        way.is_retired = True
        if not way.users:
            self._close(way)

    def _close(self, way: _Way) -> None:
        closing = asyncio.get_running_loop().create_task(way.channel.close())
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)


def _untried(message: notification_pb2.OutgoingMessage) -> notification_pb2.DeliveryReport:
    return notification_pb2.DeliveryReport(delivery=message.delivery, lease=message.lease)


def _declared(message: notification_pb2.OutgoingMessage) -> bytes:
    """The channel, and the backends that its secrets are in."""
    declared = notification_pb2.OutgoingMessage(channel=message.channel, secret_backends=message.secret_backends)
    return declared.SerializeToString(deterministic=True)
