"""What of notifications is still to be sent or was given up: read from the store now and then, and told at each scrape."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

import structlog

from pymigrate.engine.application.notification_figures import lag_seconds
from pymigrate.engine.domain.delivery import STILL_OPEN, DeliveryState
from pymigrate.engine.domain.errors import PyMigrateError
from pymigrate.engine.domain.names import last_segment
from pymigrate.engine.ports.clock import Clock
from pymigrate.engine.ports.deliveries import STANDING, DeliveryStanding
from pymigrate.engine.ports.metric_families import NOTIFICATION_LAG, NOTIFICATIONS_FAILED, NOTIFICATIONS_WAITING
from pymigrate.engine.ports.metrics import Labels, Metrics, Reading
from pymigrate.engine.ports.store import Store, Unit

log = structlog.get_logger(__name__)
COLLECTOR = "notifications"
INTERVAL_SECONDS = 5.0
PAUSE_SHARE = 20.0  # of the time that reading took, where that is longer
FAILED = tuple(state for state in STANDING if state not in STILL_OPEN)


class NotificationGauges:
    """A collector, and the loop that reads for it."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._standing: Mapping[str, Sequence[DeliveryStanding]] = {}

    def tell(self, metrics: Metrics) -> None:
        """Is read at each scrape from now on."""
        metrics.collect(COLLECTOR, self.read)

    async def run_loop(self) -> None:
        """Reads until it is cancelled. What the store does not tell now is told as it was."""
        while True:
            begun = self._clock.monotonic()
            try:
                await self.step()
            except PyMigrateError as error:
                log.warning("notifications.not_read", error=error.message)
            spent = self._clock.monotonic() - begun
            await self._clock.sleep(max(INTERVAL_SECONDS, spent * PAUSE_SHARE))

    async def step(self) -> None:
        """Reads how everything stands."""
        self._standing = await self._store.read(_standing)

    def read(self) -> Iterator[Reading]:
        """As it was read last. The lag goes on meanwhile."""
        now = self._clock.now()
        yield Reading(NOTIFICATIONS_WAITING, list(self._counts(sorted(STILL_OPEN))))
        yield Reading(NOTIFICATIONS_FAILED, list(self._counts(FAILED)))
        yield Reading(NOTIFICATION_LAG, list(self._lags(now)))

    def _counts(self, states: Sequence[DeliveryState]) -> Iterator[tuple[Labels, float]]:
        for environment, found in self._standing.items():
            counts = {each.state: each.count for each in found}
            for state in states:
                yield (environment, str(state)), counts.get(state, 0)

    def _lags(self, now: datetime) -> Iterator[tuple[Labels, float]]:
        for environment, found in self._standing.items():
            yield (environment,), lag_seconds(found, now)


def _standing(unit: Unit) -> dict[str, Sequence[DeliveryStanding]]:
    names = unit.resources.names("environments", "")
    return {last_segment(name): unit.deliveries.standing(name) for name in names}
