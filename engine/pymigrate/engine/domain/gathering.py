"""What becomes of a batch of occurrences: which deliveries are new, which that wait are added to, which incidents are opened.

A batch comes to the same as its occurrences one by one: what gathers is found among what the batch has made as among what was there.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from pymigrate.engine.domain.audience import Reached
from pymigrate.engine.domain.delivery import Delivery, DeliveryState, Incident
from pymigrate.engine.domain.duplicates import Lately, Sameness
from pymigrate.engine.domain.incidents import add_to_incident, open_incident
from pymigrate.engine.domain.making import Maker, add_occurrences, set_due
from pymigrate.engine.domain.parcels import Parcel, Parcels, Place, overflow_thread
from pymigrate.engine.domain.threads import ThreadKind, incident_thread
from pymigrate.engine.domain.timing import HOUR, digest_time, group_time, is_held

# What nobody is told gathers so long, so that the ledger stays small and yet says when it was.
UNTOLD_GATHERS = HOUR


@dataclass(frozen=True, slots=True)
class Known:
    """What is there already: the newest delivery of each thread, the incident of each that has one under way, how many messages of a rule
    an address was told within the last hour, and when the next one is allowed where that may be too many."""

    newest: Mapping[str, Delivery] = field(default_factory=dict)
    incidents: Mapping[str, Incident] = field(default_factory=dict)
    counts: Mapping[tuple[str, Place], int] = field(default_factory=dict)
    free: Mapping[tuple[str, Place], datetime] = field(default_factory=dict)


@dataclass(slots=True)
class Gathered:
    """What is to be stored: new ones have version 0. `repeated` counts by a delivery's name what was the same as something that it told
    before; `lately` is what was told first. `outcomes` say of every address of every parcel which delivery it came to.
    `undeliverable` are new ones that somebody should hear of; what tells of deliveries themselves is left out, so that it ends."""

    deliveries: dict[str, Delivery] = field(default_factory=dict)
    incidents: dict[str, Incident] = field(default_factory=dict)
    repeated: dict[str, int] = field(default_factory=dict)
    lately: dict[Sameness, Lately] = field(default_factory=dict)
    outcomes: list[tuple[Parcel, Reached, Delivery]] = field(default_factory=list)
    undeliverable: list[Delivery] = field(default_factory=list)


class Gathering:
    """Makes of a batch's parcels what is stored. What is known changes in place. `new_id` gives fresh identifiers."""

    def __init__(self, parcels: Parcels, known: Known, new_id: Callable[[], str]) -> None:
        self._directory = parcels.routes.directory
        self._parcels = parcels
        self._known = known
        self._now = parcels.now
        self._new_id = new_id
        environment = self._directory.environment
        self._maker = Maker(environment, self._now, lambda: f"{environment}/deliveries/{new_id()}")
        self._newest = dict(known.newest)
        self._used = dict(known.counts)
        self._open = dict(known.incidents)
        self._gathered = Gathered()

    def gather(self) -> Gathered:
        """Everything that becomes of the batch."""
        for parcel in self._parcels:
            incident = self._incident(parcel) if parcel.escalates else None
            name = incident.id if incident is not None else self._new_id() if parcel.escalates else ""
            for reached in parcel.audience:
                is_told = parcel.failure(reached) is None
                delivery = self._tell(parcel, reached, name) if is_told else self._leave_untold(parcel, reached)
                if is_told:
                    parcel.told.append(delivery)
                delivery.entries.sort()
                self._gathered.deliveries[delivery.name] = delivery
                self._gathered.outcomes.append((parcel, reached, delivery))
            if parcel.escalates and incident is None:
                self._open_incident(name, parcel)
        self._count_repeated()
        return self._gathered

    # Messages ------------------------------------------------------------------------------------------------------------------------

    def _tell(self, parcel: Parcel, reached: Reached, incident: str) -> Delivery:
        rule, is_limited = parcel.rule, parcel.rule.messages_per_hour_max > 0
        place = rule.id, (reached.stakeholder, reached.address)
        if is_limited and (beyond := self._waiting(overflow_thread(rule, reached))) is not None:
            if not is_held(parcel.severity) and is_held(beyond.severity):
                # The limit holds it back, and quiet hours no longer.
                free = self._now if self._used.get(place, 0) <= rule.messages_per_hour_max else self._free(place)
                set_due(beyond, rule, min(beyond.due_time, free))
            return self._add(beyond, parcel, incident)
        thread = self._parcels.thread(parcel, reached)
        kind = self._parcels.kind(parcel, reached)
        if (waiting := self._waiting(thread)) is not None:
            if not is_held(parcel.severity) and is_held(waiting.severity):
                # What is critical does not wait for the end of the quiet hours that the others wait for.
                soon = self._now + timedelta(seconds=rule.group_wait_seconds)
                set_due(waiting, rule, min(waiting.due_time, soon))
            return self._add(waiting, parcel, incident)
        due = self._due(kind, parcel, reached, self._newest.get(thread))
        if is_limited and self._used.get(place, 0) >= rule.messages_per_hour_max:
            thread, due = overflow_thread(rule, reached), self._free(place)
        if is_held(parcel.severity):
            due = self._parcels.quiet_until(reached.stakeholder, due)
        self._used[place] = self._used.get(place, 0) + 1
        made = self._maker.make(rule, reached, parcel.severity, thread, parcel.occurrences, due, incident=incident)
        self._newest[thread] = made
        return made

    def _free(self, place: tuple[str, Place]) -> datetime:
        return self._known.free.get(place, self._now + HOUR)

    def _due(self, kind: ThreadKind, parcel: Parcel, reached: Reached, previous: Delivery | None) -> datetime:
        if kind is ThreadKind.DIGEST and parcel.rule.digest is not None:
            return digest_time(parcel.rule.digest, self._directory.stakeholders[reached.stakeholder].zone, self._now)
        return group_time(parcel.rule, previous, self._now) if kind is ThreadKind.GROUP else self._now

    def _waiting(self, thread: str) -> Delivery | None:
        found = self._newest.get(thread)
        return found if found is not None and found.state is DeliveryState.WAITING else None

    def _add(self, delivery: Delivery, parcel: Parcel, incident: str) -> Delivery:
        add_occurrences(delivery, parcel.occurrences)
        delivery.severity = max(delivery.severity, parcel.severity)
        if incident:
            delivery.incident = incident
        return delivery

    def _leave_untold(self, parcel: Parcel, reached: Reached) -> Delivery:
        thread, failure = self._parcels.thread(parcel, reached), parcel.failure(reached)
        known = self._newest.get(thread)
        is_redriven = known is not None and known.state not in {DeliveryState.UNDELIVERABLE, DeliveryState.SUPPRESSED}
        if known is not None and not is_redriven and self._now - known.create_time < UNTOLD_GATHERS:
            return self._add(known, parcel, "")
        made = self._maker.make(
            parcel.rule, reached, parcel.severity, thread, parcel.occurrences, self._now, failure=failure
        )
        self._newest[thread] = made
        if made.state is DeliveryState.UNDELIVERABLE and not parcel.is_of_deliveries:
            self._gathered.undeliverable.append(made)
        return made

    # Incidents and repetitions -------------------------------------------------------------------------------------------------------

    def _incident(self, parcel: Parcel) -> Incident | None:
        """The one under way that the parcel belongs to."""
        incident = self._open.get(incident_thread(parcel.rule, parcel.group))
        if incident is not None:
            add_to_incident(incident, parcel.occurrences)
            self._gathered.incidents[incident.id] = incident
        return incident

    def _open_incident(self, name: str, parcel: Parcel) -> None:
        thread = incident_thread(parcel.rule, parcel.group)
        due = min((delivery.due_time for delivery in parcel.told), default=self._now)
        environment = self._directory.environment
        incident = open_incident(name, environment, parcel.rule, thread, parcel.occurrences, self._now, due)
        self._open[thread] = self._gathered.incidents[name] = incident

    def _count_repeated(self) -> None:
        for parcel in self._parcels:
            names = tuple(delivery.name for delivery in parcel.told)
            for delivery in parcel.told:
                delivery.duplicates += parcel.duplicates
            self._gathered.lately.update({same: Lately(time, names) for same, time in parcel.same})
        for name, count in self._parcels.repeated.items():
            if (known := self._gathered.deliveries.get(name)) is not None:
                known.duplicates += count
            else:
                self._gathered.repeated[name] = count
