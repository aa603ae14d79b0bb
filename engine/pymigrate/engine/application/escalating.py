"""Tells the next step of what nobody has acknowledged in time.

A step is told to whoever its recipients are now, with everything that belongs to the incident, by messages of its own: quiet hours hold
them back as they do others, digests, groups and an hour's limit do not. An incident whose rule is gone, is paused or has no further step
ends.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

import structlog

from pymigrate.engine.application.caller import Surroundings
from pymigrate.engine.application.directories import Directories
from pymigrate.engine.application.findings import ESCALATED, OF_DELIVERIES, Finding
from pymigrate.engine.application.notification_metrics import Moves, NotificationMetrics
from pymigrate.engine.application.occurrences import Occurrences
from pymigrate.engine.application.routes import RoutesKept
from pymigrate.engine.application.telling import undeliverable_entry
from pymigrate.engine.application.work_bell import WorkBell
from pymigrate.engine.domain.delivery import Delivery, DeliveryState, Incident
from pymigrate.engine.domain.incidents import end_incident, escalation_deliveries, step_told
from pymigrate.engine.domain.making import Maker
from pymigrate.engine.domain.notices import Occurrence, Rule
from pymigrate.engine.domain.routing import Routes
from pymigrate.engine.domain.run_ledger import ENGINE
from pymigrate.engine.ports.metrics import Metrics
from pymigrate.engine.ports.store import AuditEntry, Store, Unit

log = structlog.get_logger(__name__)
POLL_SECONDS = 1.0
INCIDENTS_AT_ONCE_MAX = 100


@dataclass(slots=True)
class Escalated:
    """What a pass did: incidents that it looked at, and deliveries that it made."""

    incidents: int = 0
    moves: Moves = field(default_factory=Moves)
    has_messages: bool = False


class Escalating:
    """The loop over incidents. It rings `freezing` when there is something to render."""

    def __init__(
        self,
        store: Store,
        directories: Directories,
        occurrences: Occurrences,
        surroundings: Surroundings,
        metrics: Metrics,
        freezing: WorkBell,
    ) -> None:
        self._store = store
        self._directories = directories
        self._occurrences = occurrences
        self._surroundings = surroundings
        self._clock = surroundings.clock
        self._metrics = NotificationMetrics(metrics)
        self._freezing = freezing
        self._routes = RoutesKept()

    async def run_loop(self) -> None:
        """Escalates until it is cancelled. A pass that fails is logged and done again."""
        while True:
            escalated = Escalated()
            try:
                escalated = await self.step()
            except Exception as error:
                log.exception("escalating.failed", error=type(error).__name__)
            is_more = escalated.incidents >= INCIDENTS_AT_ONCE_MAX
            await self._clock.sleep(0.0 if is_more else POLL_SECONDS)

    async def step(self) -> Escalated:
        """One pass over what is due."""
        if not await self._store.read(lambda unit: unit.incidents.due(self._clock.now(), 1)):
            return Escalated()
        escalated = await self._store.transact(self._pass)
        self._metrics.count(escalated.moves)
        if escalated.has_messages:
            self._freezing.ring()
        return escalated

    def _pass(self, unit: Unit) -> Escalated:
        now, escalated = self._clock.now(), Escalated()
        due = unit.incidents.due(now, INCIDENTS_AT_ONCE_MAX)
        for incident in due:
            self._escalate(unit, incident, now, escalated)
        unit.incidents.save(due)
        escalated.incidents = len(due)
        return escalated

    def _escalate(self, unit: Unit, incident: Incident, now: datetime, escalated: Escalated) -> None:
        directory = self._directories.of(unit, incident.environment)
        rule = directory.rules.get(incident.rule)
        told = self._occurrences.of(unit, unit.feed.get(incident.entries))
        if rule is None or rule.is_paused or incident.step >= len(rule.escalations) or not told:
            end_incident(incident)
            log.info("incident.ended", incident=incident.id, rule=incident.rule, step=incident.step)
            return
        made = self._tell(self._routes.of(directory, now), rule, incident, told, now)
        unit.deliveries.insert(made)
        new = [each for each in made if each.version]
        due = min((each.due_time for each in new if each.state is DeliveryState.WAITING), default=now)
        step_told(incident, rule, due)
        escalated.moves.made(new)
        escalated.has_messages |= any(each.state is DeliveryState.WAITING for each in new)
        if all(occurrence.type in OF_DELIVERIES for occurrence in told):
            return  # what tells of deliveries makes no more of its kind, or it would never end
        unit.audit.append(_escalated_entry(incident, made, told, now))
        for delivery in new:
            if delivery.state is DeliveryState.UNDELIVERABLE:
                unit.audit.append(undeliverable_entry(delivery, now))

    def _tell(
        self, routes: Routes, rule: Rule, incident: Incident, told: Sequence[Occurrence], now: datetime
    ) -> list[Delivery]:
        environment = incident.environment
        maker = Maker(environment, now, lambda: f"{environment}/deliveries/{self._surroundings.new_id()}")
        return escalation_deliveries(routes, maker, rule, incident, told)


def _escalated_entry(
    incident: Incident, made: Sequence[Delivery], told: Sequence[Occurrence], now: datetime
) -> AuditEntry:
    """What the stream says of a step: nobody has acknowledged, and who is told now."""
    people = sorted({each.stakeholder for each in made if each.stakeholder})
    whom = ", ".join(people) or "nobody"
    run = next((occurrence.run for occurrence in told if occurrence.run), "")
    text = f"Nobody has acknowledged what rule {incident.rule} told: step {incident.step} tells {whom}."
    seconds = (now - incident.open_time).total_seconds()
    finding = Finding(incident.rule, run=run, value=seconds, text=text)
    return AuditEntry(now, ENGINE, ESCALATED, made[0].name, 0, finding.detail())
