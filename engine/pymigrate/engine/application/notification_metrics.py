"""How deliveries fare, counted as they move: by whoever moves them, once the transaction is committed in which they did."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from pymigrate.engine.domain.delivery import STILL_OPEN, Delivery, DeliveryState, TryOutcome
from pymigrate.engine.domain.names import last_segment
from pymigrate.engine.ports.metric_families import (
    NOTIFICATION_CONFIRM_DURATION,
    NOTIFICATION_TRIES,
    NOTIFICATIONS,
    NOTIFICATIONS_AGREED,
)
from pymigrate.engine.ports.metrics import Metrics

IN_TIME, LATE = "in_time", "late"
# Where deliveries stay unless somebody does something; what they only pass through is told by what waits.
COUNTED = frozenset(DeliveryState) - STILL_OPEN


@dataclass(slots=True)
class Moves:
    """Deliveries within one unit of work, as they were before it changed them. A unit that is done again begins with new ones."""

    before: list[tuple[Delivery, DeliveryState | None, bool]] = field(default_factory=list)
    tries: list[tuple[str, TryOutcome]] = field(default_factory=list)

    def watch(self, deliveries: Iterable[Delivery]) -> None:
        """These may change from now on."""
        self.before.extend((each, each.state, each.is_confirmed) for each in deliveries)

    def made(self, deliveries: Iterable[Delivery]) -> None:
        """These are new."""
        self.before.extend((each, None, False) for each in deliveries)

    def tried(self, kind: str, outcome: TryOutcome) -> None:
        """A try by a kind of channel was noted."""
        self.tries.append((kind, outcome))


class NotificationMetrics:
    """Counts moves."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def count(self, moves: Moves) -> None:
        """What came of deliveries, which are stored as they are now."""
        for kind, outcome in moves.tries:
            self._metrics.add(NOTIFICATION_TRIES, (kind, outcome))
        for delivery, before, was_confirmed in moves.before:
            if delivery.state is not before and delivery.state in COUNTED:
                self._metrics.add(NOTIFICATIONS, (last_segment(delivery.environment), delivery.state))
            if delivery.is_confirmed and not was_confirmed:
                self._confirmed(delivery)

    def count_late(self, deliveries: Iterable[Delivery]) -> None:
        """These were not confirmed in time; each is told once."""
        for delivery in deliveries:
            self._metrics.add(NOTIFICATIONS_AGREED, (last_segment(delivery.environment), LATE))

    def _confirmed(self, delivery: Delivery) -> None:
        environment, time = last_segment(delivery.environment), delivery.confirm_time
        if time is None:
            return
        seconds = max(0.0, (time - delivery.due_time).total_seconds())
        self._metrics.observe(NOTIFICATION_CONFIRM_DURATION, (environment,), seconds)
        if delivery.is_in_time and delivery.confirm_by_time is not None:
            self._metrics.add(NOTIFICATIONS_AGREED, (environment, IN_TIME))
