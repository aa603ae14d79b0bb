"""How deliveries fare, counted as they move: by whoever moves them, once the transaction is committed in which they did."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from pymigrate.engine.domain.delivery import STILL_OPEN, Delivery, DeliveryState, DeliveryTry
from pymigrate.engine.domain.names import last_segment
from pymigrate.engine.ports.metric_families import (
    NOTIFICATION_CONFIRM_DURATION,
    NOTIFICATION_TRIES,
    NOTIFICATIONS,
    NOTIFICATIONS_AGREED,
)
from pymigrate.engine.ports.metrics import Metrics

IN_TIME, LATE = "in_time", "late"
# The kind of a channel that is not declared any more.
GONE = "gone"
# Where deliveries stay unless somebody does something; what they only pass through is told by what waits.
COUNTED = frozenset(DeliveryState) - STILL_OPEN


@dataclass(frozen=True, slots=True)
class _Before:
    """A delivery, and how it stood: None where it is new. `kind` is its channel's."""

    delivery: Delivery
    state: DeliveryState | None
    is_confirmed: bool
    tries: tuple[DeliveryTry, ...] = ()
    kind: str = GONE

    def tries_since(self) -> list[DeliveryTry]:
        """What was noted since; those that were noted before are the very same."""
        known = {id(each) for each in self.tries}
        return [each for each in self.delivery.tries if id(each) not in known]


@dataclass(slots=True)
class Moves:
    """Deliveries within one unit of work, as they were before it changed them. A unit that is done again begins with new ones."""

    before: list[_Before] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.before)

    def watch(self, deliveries: Iterable[Delivery], kind: str = GONE) -> None:
        """These may change from now on; they go out by a kind of channel."""
        self.before.extend(_Before(each, each.state, each.is_confirmed, tuple(each.tries), kind) for each in deliveries)

    def made(self, deliveries: Iterable[Delivery]) -> None:
        """These are new."""
        self.before.extend(_Before(each, None, is_confirmed=False) for each in deliveries)


class NotificationMetrics:
    """Counts moves."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def count(self, moves: Moves) -> None:
        """What came of deliveries, which are stored as they are now."""
        for before in moves.before:
            delivery = before.delivery
            environment = last_segment(delivery.environment)
            for attempt in before.tries_since():
                self._metrics.add(NOTIFICATION_TRIES, (environment, before.kind, attempt.outcome))
            if delivery.state is not before.state and delivery.state in COUNTED:
                self._metrics.add(NOTIFICATIONS, (environment, delivery.state))
            if delivery.is_confirmed and not before.is_confirmed:
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
