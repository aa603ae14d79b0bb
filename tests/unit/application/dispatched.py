"""Deliveries of an environment, and the engine's side of dispatch over them, on a store in memory and a clock of the test's."""

import random
from collections.abc import Collection, Mapping
from itertools import count
from typing import Any

from pymigrate.engine.application.acknowledging import AcknowledgeLinks, Acknowledging
from pymigrate.engine.application.caller import Surroundings
from pymigrate.engine.application.cloud_events import event_id
from pymigrate.engine.application.deliveries import Deliveries
from pymigrate.engine.application.directories import Directories
from pymigrate.engine.application.notification_metrics import NotificationMetrics
from pymigrate.engine.application.occurrences import Occurrences
from pymigrate.engine.application.outgoing_messages import OutgoingMessages
from pymigrate.engine.application.redriving import Redriving
from pymigrate.engine.application.work_bell import WorkBell
from pymigrate.engine.domain.delivery import Delivery
from pymigrate.engine.ports.store import AuditEntry, Unit
from pymigrate.engine.testing.metrics import MemoryMetrics
from pymigrate.v1 import notification_pb2
from tests.unit.application.engines import Engine
from tests.unit.application.noticed import declare_notices
from tests.unit.domain.delivered import ENVIRONMENT, NOW

URL = "https://migrations.example.com"
KEY = b"a key of the test, which is long"


def events_of(unit: Unit, numbers: Collection[int]) -> Mapping[int, notification_pb2.NotificationEvent]:
    """Entries as events, with what tests look at."""
    return {
        entry.id: notification_pb2.NotificationEvent(id=event_id(entry), type=entry.type, subject=entry.subject)
        for entry in unit.feed.get(numbers)
    }


class Dispatch:
    """The use cases, and what tests ask of the store."""

    def __init__(self, engine: Engine, seed: int = 1, public_url: str = URL) -> None:
        numbers = count(1)
        self.engine, self.store, self.clock = engine, engine.store, engine.clock
        surroundings = Surroundings(self.clock, lambda: f"lease{next(numbers)}")
        self.bell, self.freezing = WorkBell(), WorkBell()
        self.metrics = MemoryMetrics()
        self.links = AcknowledgeLinks(KEY, public_url)
        messages = OutgoingMessages("pymigrate", self.links, events_of, self.clock)
        self.deliveries = Deliveries(
            self.store, surroundings, messages, random.Random(seed), self.bell, NotificationMetrics(self.metrics)
        )
        self.redriving = Redriving(self.store, Directories(), surroundings, self.bell, self.freezing)
        self.acknowledging = Acknowledging(
            self.store, Directories(), Occurrences(), self.clock, self.links, NotificationMetrics(self.metrics)
        )

    async def make(self, *deliveries: Delivery) -> None:
        """Stores them."""
        await self.store.transact(lambda unit: unit.deliveries.insert(deliveries))

    async def get(self, number: int = 1) -> Delivery:
        """The delivery of that number as it is stored."""
        found = await self.store.read(lambda unit: unit.deliveries.get(f"{ENVIRONMENT}/deliveries/d{number}"))
        assert found is not None
        return found

    async def happen(self, type_: str) -> int:
        """Something happens; the number of its entry."""

        def work(unit: Unit) -> int:
            unit.audit.append(AuditEntry(NOW, "me", type_, f"{ENVIRONMENT}/plans/p", 1))
            return unit.audit.list(0, 1_000)[-1].sequence

        return await self.store.transact(work)

    async def told(self) -> list[AuditEntry]:
        """Everything in the stream that somebody or the engine did to deliveries and channels beyond declaring them."""
        entries = await self.store.read(lambda unit: unit.audit.list(0, 1_000))
        return [entry for entry in entries if entry.action not in {"create", "update"}]

    async def claim(
        self, dispatcher: str = "d1", deliveries_max: int = 100, wait_seconds: float = 0.0, **options: Any
    ) -> list[notification_pb2.OutgoingMessage]:
        """What a dispatcher is given."""
        return await self.deliveries.claim(dispatcher, deliveries_max, wait_seconds, **options)

    async def report(
        self,
        *messages: notification_pb2.OutgoingMessage,
        outcome: str = "accepted",
        dispatcher: str = "d1",
        **more: Any,
    ) -> list[str]:
        """The same came of each of these, tried now."""
        return await self.deliveries.report(
            dispatcher, [report_of(message, outcome, self.clock.now(), **more) for message in messages]
        )


def report_of(
    message: notification_pb2.OutgoingMessage, outcome: str, now: Any, answer: str = "", **more: Any
) -> notification_pb2.DeliveryReport:
    """A report of a try that began now; without an outcome it was not begun."""
    report = notification_pb2.DeliveryReport(delivery=message.delivery, lease=message.lease, **more)
    if outcome:
        attempt = notification_pb2.DeliveryTry(seconds=0.1, outcome=outcome, answer=answer)
        attempt.time.FromDatetime(now)
        getattr(report, "try").CopyFrom(attempt)
    return report


async def dispatch_of(engine: Engine, **options: Any) -> Dispatch:
    """With everything declared that there is to know of notifications."""
    await declare_notices(engine)
    return Dispatch(engine, **options)
