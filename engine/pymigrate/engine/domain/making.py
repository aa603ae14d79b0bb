"""New deliveries and what is added to them: who is told of what by which rule, before anything is rendered or sent."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from pymigrate.engine.domain.audience import Reached
from pymigrate.engine.domain.delivery import ENTRIES_MAX, Delivery, DeliveryState
from pymigrate.engine.domain.notices import Occurrence, Rule, Severity
from pymigrate.engine.domain.run import Failure
from pymigrate.engine.domain.threads import key_of

ACKNOWLEDGED = "acknowledged"


@dataclass(frozen=True, slots=True)
class Maker:
    """Makes the deliveries of one environment at one time. `new_name` gives a fresh resource name."""

    environment: str
    now: datetime
    new_name: Callable[[], str]

    def make(
        self,
        rule: Rule,
        reached: Reached,
        severity: Severity,
        thread: str,
        occurrences: Sequence[Occurrence],
        due: datetime,
        *,
        failure: Failure | None = None,
        escalation: int = 0,
        incident: str = "",
    ) -> Delivery:
        """A delivery of these occurrences, of which there is at least one. With a `failure` it is one that is not told: UNDELIVERABLE where
        the recipient can't be reached, else SUPPRESSED."""
        state = DeliveryState.SUPPRESSED if failure is not None and reached.is_told else reached.state
        is_told = state is DeliveryState.WAITING
        delivery = Delivery(
            name=self.new_name(),
            environment=self.environment,
            state=state,
            rule=rule.id,
            stakeholder=reached.stakeholder,
            address=reached.address,
            channel=reached.channel,
            to=reached.to,
            thread=thread,
            key=key_of(thread, occurrences[0], escalation),
            severity=severity,
            create_time=self.now,
            due_time=due,
            template=rule.template,
            template_role=reached.role,
            incident=incident,
            escalation=escalation,
            needs_acknowledgement=is_told and (bool(rule.escalations) or rule.confirm_state == ACKNOWLEDGED),
            failure=failure or reached.failure,
            confirm_state=rule.confirm_state,
        )
        add_occurrences(delivery, occurrences)
        set_due(delivery, rule, due)
        return delivery


def add_occurrences(delivery: Delivery, occurrences: Sequence[Occurrence]) -> None:
    """Lets a delivery tell of more; beyond ENTRIES_MAX they are only counted. What is in no stream, as in a dry run, has no number."""
    delivery.entry_count += len(occurrences)
    room = ENTRIES_MAX - len(delivery.entries)
    if room > 0:
        delivery.entries.extend(occurrence.entry for occurrence in occurrences[:room] if occurrence.entry)
    if not delivery.run:
        delivery.run = next((occurrence.run for occurrence in occurrences if occurrence.run), "")


def set_due(delivery: Delivery, rule: Rule, due: datetime) -> None:
    """It is due then, and agreed to be confirmed so long after. What is suppressed was never meant to arrive."""
    delivery.due_time = due
    if rule.confirm_seconds_max > 0 and delivery.state is not DeliveryState.SUPPRESSED:
        delivery.confirm_by_time = due + timedelta(seconds=rule.confirm_seconds_max)


def untellable(
    environment: str, name: str, occurrence_id: str, entry: int, failure: Failure, now: datetime
) -> Delivery:
    """What an entry leaves in the ledger that can't be routed at all: nobody is told by it, and it says why."""
    thread = f"untellable-{occurrence_id}"
    return Delivery(
        name=name,
        environment=environment,
        state=DeliveryState.UNDELIVERABLE,
        rule="",
        stakeholder="",
        address="",
        channel="",
        to="",
        thread=thread,
        key=thread,
        severity=Severity.ERROR,
        create_time=now,
        due_time=now,
        entries=[entry],
        entry_count=1,
        failure=failure,
    )
