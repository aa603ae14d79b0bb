"""What was made of occurrences so far, as a store would know it, for tests of what becomes of the next ones."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import count

from pymigrate.engine.domain.delivery import Delivery, DeliveryState, Incident
from pymigrate.engine.domain.duplicates import ToldLately
from pymigrate.engine.domain.gathering import Gathered, Gathering, Known
from pymigrate.engine.domain.notices import Directory, Occurrence
from pymigrate.engine.domain.parcels import Parcels, Place
from pymigrate.engine.domain.routing import Routes
from pymigrate.engine.domain.timing import HOUR, LIMIT_STEPS


@dataclass
class Ledger:
    """Deliveries in the order in which they were made, and incidents. `routes` and `gathering` are for what is wrong on purpose."""

    directory: Directory
    deliveries: dict[str, Delivery] = field(default_factory=dict)
    incidents: dict[str, Incident] = field(default_factory=dict)
    lately: ToldLately = field(default_factory=ToldLately)
    numbers: Iterator[int] = field(default_factory=count)
    routes: type[Routes] = Routes
    gathering: type[Gathering] = Gathering

    def tell(self, now: datetime, *occurrences: Occurrence) -> Gathered:
        """Everything that becomes of a batch."""
        parcels = Parcels(self.routes(self.directory, now), self.lately, now)
        for occurrence in occurrences:
            parcels.add(occurrence)
        gathered = self.gathering(parcels, self._known(parcels, now), lambda: f"{next(self.numbers):06d}").gather()
        for delivery in gathered.deliveries.values():
            delivery.version += 1
        for incident in gathered.incidents.values():
            incident.version += 1
        self.deliveries |= gathered.deliveries
        self.incidents |= gathered.incidents
        for name, repeated in gathered.repeated.items():
            self.deliveries[name].duplicates += repeated
        self.lately.keep(gathered.lately)
        return gathered

    def freeze(self, now: datetime) -> list[Delivery]:
        """Takes what is due out of waiting, as rendering does."""
        due = [each for each in self.of(DeliveryState.WAITING) if each.due_time <= now]
        for each in due:
            each.state, each.frozen_time = DeliveryState.PENDING, now
        return due

    def of(self, *states: DeliveryState) -> Sequence[Delivery]:
        """Those that stand so; all without a state."""
        return [each for each in self.deliveries.values() if not states or each.state in states]

    def _known(self, parcels: Parcels, now: datetime) -> Known:
        threads = parcels.threads()
        counts: dict[tuple[str, Place], int] = {}
        free: dict[tuple[str, Place], datetime] = {}
        for rule, places in parcels.limited().items():
            most = self.directory.rules[rule].messages_per_hour_max
            for place, asked in places.items():
                found = counts[rule, place] = self._count(rule, place, now - HOUR)
                for step in reversed(LIMIT_STEPS) if found + asked > most else ():
                    if self._count(rule, place, now - HOUR + step) < min(found, most):
                        free[rule, place] = now + step
        incidents = {each.thread: each for each in self.incidents.values() if each.next_time is not None}
        newest = {each.thread: each for each in self.deliveries.values() if each.thread in threads}
        return Known(newest, incidents, counts, free)

    def _count(self, rule: str, place: Place, since: datetime) -> int:
        return sum(
            each.state is DeliveryState.WAITING or (each.frozen_time is not None and each.frozen_time >= since)
            for each in self.deliveries.values()
            if (each.rule, (each.stakeholder, each.address)) == (rule, place)
        )
