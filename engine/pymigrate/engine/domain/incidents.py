"""What escalates: opened by the first occurrence of a rule's group, told further step by step, ended with its last step or, as `delivering`
says, by an acknowledgement. Until then what the group adds belongs to it."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from pymigrate.engine.domain.delivery import ENTRIES_MAX, Incident
from pymigrate.engine.domain.notices import Occurrence, Rule


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


def is_under_way(incident: Incident) -> bool:
    """Whether another step is due some time."""
    return incident.next_time is not None


def step_told(incident: Incident, rule: Rule, due: datetime) -> None:
    """Its next step is told at `due`; the one after it follows so much later, or it has ended."""
    incident.step += 1
    is_last = incident.step >= len(rule.escalations)
    incident.next_time = None if is_last else due + timedelta(seconds=rule.escalations[incident.step].after_seconds)


def end_incident(incident: Incident) -> None:
    """Nothing more is told of it: its rule is gone, or has no further step."""
    incident.next_time = None
