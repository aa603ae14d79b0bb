"""What escalates: opened by the first occurrence of a rule's group, told further step by step, ended with its last step or, as `delivering`
says, by an acknowledgement. Until then what the group adds belongs to it."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from pymigrate.engine.domain.delivery import ENTRIES_MAX, Delivery, Incident
from pymigrate.engine.domain.making import Maker
from pymigrate.engine.domain.notices import Occurrence, Rule
from pymigrate.engine.domain.routing import Routes, silenced
from pymigrate.engine.domain.threads import ThreadKind, incident_thread, thread_of, told_with
from pymigrate.engine.domain.timing import is_held, quiet_until


def open_incident(
    name: str,
    environment: str,
    rule: Rule,
    thread: str,
    occurrences: Sequence[Occurrence],
    now: datetime,
    due: datetime,
) -> Incident:
    """A new one whose first message is due at `due`. The rule has at least one escalation."""
    incident = Incident(name, environment, rule.id, thread, now)
    add_to_incident(incident, occurrences)
    incident.next_time = due + timedelta(seconds=rule.escalations[0].after_seconds)
    return incident


def add_to_incident(incident: Incident, occurrences: Sequence[Occurrence]) -> None:
    """What the group adds while it is under way; what is beyond ENTRIES_MAX is told by the deliveries alone."""
    room = ENTRIES_MAX - len(incident.entries)
    if room > 0:
        incident.entries.extend(occurrence.entry for occurrence in occurrences[:room] if occurrence.entry)


def incident_threads(rule: Rule, told: Iterable[Occurrence]) -> set[str]:
    """The threads of what a rule escalates of these occurrences."""
    return {incident_thread(rule, told_with(rule, each, rule.severity or each.severity)) for each in told}


def escalation_deliveries(
    routes: Routes, maker: Maker, rule: Rule, incident: Incident, told: Sequence[Occurrence]
) -> list[Delivery]:
    """The messages of its next step, of everything that belongs to it: to whoever that step's recipients are now, as grave as the gravest,
    whose department counts. What keeps somebody from being told is told as for any other message, a silence that has begun since too."""
    step, now = incident.step + 1, maker.now
    gravest = max(told, key=lambda occurrence: occurrence.severity)
    severity = rule.severity or gravest.severity
    recipients = rule.escalations[incident.step].recipients
    silence = routes.silence_of(gravest, now)
    made: list[Delivery] = []
    for reached in routes.audience(rule, recipients, gravest.department, severity, now, step):
        thread = thread_of(ThreadKind.ESCALATION, rule, reached, incident.id, str(step))
        due = now
        someone = routes.directory.stakeholders.get(reached.stakeholder)
        if someone is not None and reached.is_told and is_held(severity):
            due = quiet_until(someone.quiet_hours, someone.zone, now) or now
        failure = silenced(silence) if silence is not None and reached.is_told else None
        made.append(
            maker.make(
                rule, reached, severity, thread, told, due, failure=failure, escalation=step, incident=incident.id
            )
        )
    return made


def step_told(incident: Incident, rule: Rule, due: datetime) -> None:
    """Its next step is told at `due`; the one after it follows so much later, or it has ended."""
    incident.step += 1
    is_last = incident.step >= len(rule.escalations)
    incident.next_time = None if is_last else due + timedelta(seconds=rule.escalations[incident.step].after_seconds)


def end_incident(incident: Incident) -> None:
    """Nothing more is told of it: its rule is gone, or has no further step."""
    incident.next_time = None
