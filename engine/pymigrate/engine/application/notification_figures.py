"""How notifications fare in an environment: what was told, confirmed in time, late or not at all, by rule and by channel."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from pymigrate.engine.application.impact_messages import quantiles
from pymigrate.engine.application.kpi_subjects import require_declared, subject_of
from pymigrate.engine.application.projections import timestamp
from pymigrate.engine.domain.delivery import DeliveryState
from pymigrate.engine.domain.errors import InvalidDefinition, Problem
from pymigrate.engine.domain.quantiles import quantiles_of
from pymigrate.engine.ports.clock import Clock
from pymigrate.engine.ports.deliveries import DeliveryStanding, DeliveryTally
from pymigrate.engine.ports.store import Store, Unit
from pymigrate.v1 import notification_pb2

DAY_SECONDS = 24 * 3600.0
WINDOW_SECONDS_MAX = 31 * DAY_SECONDS


@dataclass(slots=True)
class _Sum:
    """Tallies together. `seconds` are runs of ordered values, which sort quickly."""

    deliveries: dict[str, int] = field(default_factory=dict)
    agreed: int = 0
    in_time: int = 0
    late: int = 0
    seconds: list[float] = field(default_factory=list)

    def add(self, tally: DeliveryTally, ordered: Iterable[float]) -> None:
        """What was silenced was not to be told, and nothing was agreed of it."""
        self.deliveries[tally.state] = self.deliveries.get(tally.state, 0) + tally.count
        self.seconds.extend(ordered)
        if tally.state is not DeliveryState.SUPPRESSED:
            self.agreed += tally.agreed
            self.in_time += tally.in_time
            self.late += tally.late

    def message(self) -> notification_pb2.NotificationFigures:
        """As the contract tells it."""
        over = self.in_time + self.late
        return notification_pb2.NotificationFigures(
            deliveries=self.deliveries,
            agreed=self.agreed,
            confirmed_in_time=self.in_time,
            late=self.late,
            confirm_seconds=quantiles(quantiles_of(self.seconds)) if self.seconds else None,
            share_in_time=self.in_time / over if over else 1.0,
        )


class NotificationFigures:
    """Counts the ledger when somebody asks."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def kpis(self, environment: str, window_seconds: float = 0.0) -> notification_pb2.NotificationKpis:
        """Of what became due within the last so many seconds, 0 for a day. Raises InvalidDefinition, and NotFound with the nearest name."""
        if not (math.isfinite(window_seconds) and 0 <= window_seconds <= WINDOW_SECONDS_MAX):
            text = f"must be 0 to {WINDOW_SECONDS_MAX:,.0f}, which are 31 days"
            raise InvalidDefinition((Problem("window_seconds", text),))
        now = self._clock.now()
        since = now - timedelta(seconds=window_seconds or DAY_SECONDS)
        return await self._store.read(lambda unit: _counted(unit, environment, since, now))


def lag_seconds(standing: Iterable[DeliveryStanding], now: datetime) -> float:
    """How long ago the oldest became due that is still to be sent; 0 where none is."""
    oldest = min((each.oldest_due_time for each in standing if each.oldest_due_time is not None), default=now)
    return max(0.0, (now - oldest).total_seconds())


def _counted(unit: Unit, environment: str, since: datetime, now: datetime) -> notification_pb2.NotificationKpis:
    require_declared(unit, subject_of(environment))
    total, rules, channels = _Sum(), dict[str, _Sum](), dict[str, _Sum]()
    for tally in unit.deliveries.tallies(environment, since, now):
        ordered = sorted(tally.confirm_seconds)
        total.add(tally, ordered)
        if tally.rule:  # a test of a channel has none
            rules.setdefault(tally.rule, _Sum()).add(tally, ordered)
        if tally.channel:  # who has no address for it is reached by none
            channels.setdefault(tally.channel, _Sum()).add(tally, ordered)
    return notification_pb2.NotificationKpis(
        name=environment,
        total=total.message(),
        rules={name: found.message() for name, found in rules.items()},
        channels={name: found.message() for name, found in channels.items()},
        lag_seconds=lag_seconds(unit.deliveries.standing(environment), now),
        update_time=timestamp(now),
    )
