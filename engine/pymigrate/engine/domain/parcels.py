"""A batch of occurrences sorted by where they go: by one rule, of one group, to one audience. What was told lately is counted here, and not
told again.

What becomes of a parcel depends on what is there already, and nothing here reads a store: `threads`, `limited` and `incident_threads` say
what must be known.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime

from pymigrate.engine.domain.audience import Reached
from pymigrate.engine.domain.delivery import Delivery, DeliveryState
from pymigrate.engine.domain.duplicates import Sameness, ToldLately, is_so_recent, sameness
from pymigrate.engine.domain.notices import Occurrence, Rule, Severity, Silence
from pymigrate.engine.domain.routing import Audience, Routes, Told, silenced
from pymigrate.engine.domain.run import Failure
from pymigrate.engine.domain.threads import ThreadKind, incident_thread, thread_of, told_with
from pymigrate.engine.domain.timing import is_held, is_in_digest, quiet_until

OF_DELIVERIES = "notification."
Place = tuple[str, str]
"""A stakeholder and an address."""


@dataclass(slots=True)
class Parcel:
    """Occurrences that go the same way. `same` is what each was the first of its sameness with, `duplicates` how many more were the same as
    one of them, `told` the deliveries that they came into."""

    rule: Rule
    severity: Severity
    audience: Audience
    group: str
    is_digest: bool
    silence: Silence | None
    occurrences: list[Occurrence] = field(default_factory=list)
    same: list[tuple[Sameness, datetime]] = field(default_factory=list)
    duplicates: int = 0
    told: list[Delivery] = field(default_factory=list)

    def failure(self, reached: Reached) -> Failure | None:
        """Why an address of its audience is not told; None where it is."""
        return silenced(self.silence) if self.silence is not None and reached.is_told else reached.failure

    @property
    def is_told(self) -> bool:
        """Whether anybody is told."""
        return self.silence is None and any(reached.is_told for reached in self.audience)

    @property
    def is_of_deliveries(self) -> bool:
        """Whether all of it tells of what became of deliveries."""
        return all(occurrence.type.startswith(OF_DELIVERIES) for occurrence in self.occurrences)

    @property
    def escalates(self) -> bool:
        """Whether somebody must acknowledge it: nobody has to what is kept back from everybody, and whom nobody reaches must be helped."""
        is_kept_back = all(reached.state is DeliveryState.SUPPRESSED for reached in self.audience)
        return bool(self.rule.escalations) and self.silence is None and not is_kept_back


class Parcels:
    """One batch of one environment. `lately` is what its rules have told before."""

    def __init__(self, routes: Routes, lately: ToldLately, now: datetime) -> None:
        self.routes = routes
        self._lately = lately
        self.now = now
        self._parcels: dict[tuple[str, int, str, str], Parcel] = {}
        self._same: dict[Sameness, tuple[datetime, Parcel]] = {}
        self._quiet: dict[str, datetime] = {}
        self.repeated: dict[str, int] = {}
        self.messages_max = 0

    def __iter__(self) -> Iterator[Parcel]:
        return iter(self._parcels.values())

    def add(self, occurrence: Occurrence) -> bool:
        """Takes an occurrence in; they come in the order of the stream. Whether any rule tells of it. `messages_max` grows by as many
        messages as may come of it, and `repeated` counts by a delivery's name what was the same as something that it has told."""
        found = self.routes.told(occurrence, self.now)
        for told in found:
            self._add(occurrence, told)
        return bool(found)

    def _add(self, occurrence: Occurrence, told: Told) -> None:
        rule = told.rule
        group = told_with(rule, occurrence, told.severity)
        key = (rule.id, id(told.audience), group, told.silence.id if told.silence else "")
        parcel = self._parcels.get(key)
        if parcel is None:
            parcel = Parcel(rule, told.severity, told.audience, group, is_in_digest(rule, told.severity), told.silence)
        if rule.duplicate_seconds > 0 and parcel.is_told:
            same = sameness(rule, occurrence)
            if self._is_repeated(rule, same, occurrence):
                return
            parcel.same.append((same, occurrence.time))
            self._same[same] = (occurrence.time, parcel)
        if key not in self._parcels:
            self._parcels[key] = parcel
            self.messages_max += len(told.audience)
        parcel.occurrences.append(occurrence)

    def _is_repeated(self, rule: Rule, same: Sameness, occurrence: Occurrence) -> bool:
        """Counts it with what was told, where that was so recently."""
        if (here := self._same.get(same)) is not None:
            if not is_so_recent(rule, here[0], occurrence):
                return False
            here[1].duplicates += 1
            return True
        lately = self._lately.find(same)
        if lately is None or not is_so_recent(rule, lately.time, occurrence):
            return False
        for name in lately.deliveries:
            self.repeated[name] = self.repeated.get(name, 0) + 1
        return True

    # Where it goes -------------------------------------------------------------------------------------------------------------------

    def kind(self, parcel: Parcel, reached: Reached) -> ThreadKind:
        """What a told address's message gathers by. What is told apart gathers in quiet hours, so that nobody wakes to hundreds."""
        if parcel.is_digest:
            return ThreadKind.DIGEST
        if parcel.rule.group_by:
            return ThreadKind.GROUP
        is_quiet = is_held(parcel.severity) and self.quiet_until(reached.stakeholder, self.now) > self.now
        return ThreadKind.QUIET if is_quiet else ThreadKind.EVENT

    def thread(self, parcel: Parcel, reached: Reached) -> str:
        """The thread of that address; of one that is not told the one that gathers what it is not told, for the same reason."""
        if (failure := parcel.failure(reached)) is not None:
            why = parcel.silence.id if parcel.silence is not None and reached.is_told else ""
            return thread_of(ThreadKind.UNTOLD, parcel.rule, reached, failure.reason, why)
        kind = self.kind(parcel, reached)
        group = (parcel.group,) if kind in {ThreadKind.GROUP, ThreadKind.EVENT} else ()
        return thread_of(kind, parcel.rule, reached, *group)

    def quiet_until(self, stakeholder: str, moment: datetime) -> datetime:
        """When somebody's quiet hours are over that `moment` lies in; `moment` outside of them."""
        known = self.routes.directory.stakeholders.get(stakeholder)
        if known is None or not known.quiet_hours:
            return moment
        if moment != self.now:
            return quiet_until(known.quiet_hours, known.zone, moment) or moment
        if stakeholder not in self._quiet:
            self._quiet[stakeholder] = quiet_until(known.quiet_hours, known.zone, moment) or moment
        return self._quiet[stakeholder]

    # What must be known --------------------------------------------------------------------------------------------------------------

    def threads(self) -> set[str]:
        """The threads whose newest deliveries must be known."""
        found = set[str]()
        for parcel in self:
            for reached in parcel.audience:
                if parcel.failure(reached) is not None:
                    found.add(self.thread(parcel, reached))
                    continue
                if self.kind(parcel, reached) is not ThreadKind.EVENT:
                    found.add(self.thread(parcel, reached))
                if parcel.rule.messages_per_hour_max > 0:
                    found.add(overflow_thread(parcel.rule, reached))
        return found

    def limited(self) -> dict[str, dict[Place, int]]:
        """By rule with a limit, how many messages each address may be told by this batch at most."""
        found: dict[str, dict[Place, int]] = {}
        for parcel in self:
            if parcel.rule.messages_per_hour_max <= 0 or not parcel.is_told:
                continue
            places = found.setdefault(parcel.rule.id, {})
            for reached in parcel.audience:
                if reached.is_told:
                    place = reached.stakeholder, reached.address
                    places[place] = places.get(place, 0) + 1
        return found

    def incident_threads(self) -> set[str]:
        """The threads whose incidents under way must be known."""
        return {incident_thread(parcel.rule, parcel.group) for parcel in self if parcel.escalates}


def overflow_thread(rule: Rule, reached: Reached) -> str:
    """What gathers that is beyond the hour's limit."""
    return thread_of(ThreadKind.OVERFLOW, rule, reached)
