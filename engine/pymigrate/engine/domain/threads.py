"""What belongs together: the thread that occurrences gather into, the group that a rule makes of them, and the key that tells repetitions.

All are digests of what they stand for, so that every engine finds the same; of rules and people by their uid, since another one of the
same name is somebody else.
"""

import hashlib
from enum import StrEnum

from pymigrate.engine.domain.audience import Reached
from pymigrate.engine.domain.notices import Occurrence, Rule, Severity
from pymigrate.engine.domain.timing import is_in_digest

# No name holds it.
SEPARATOR = "\x1f"


class ThreadKind(StrEnum):
    """Why occurrences gather."""

    GROUP = "group"
    EVENT = "event"
    DIGEST = "digest"
    QUIET = "quiet"
    OVERFLOW = "overflow"
    UNTOLD = "untold"
    ESCALATION = "escalation"
    INCIDENT = "incident"


def thread_of(kind: ThreadKind, rule: Rule, reached: Reached, *parts: str) -> str:
    """The thread of a rule's messages to one address. `parts` is the group, the event, the silence or the step."""
    return _digest(kind, rule.id, rule.uid, reached.stakeholder, reached.uid, reached.address, *parts)


def incident_thread(rule: Rule, group: str) -> str:
    """The thread of what a rule escalates of a group."""
    return _digest(ThreadKind.INCIDENT, rule.id, rule.uid, group)


def key_of(thread: str, first: Occurrence, escalation: int = 0) -> str:
    """What a receiver tells repetitions by: the same for the same thread that begins with the same event."""
    return _digest(thread, first.id, str(escalation))


def told_with(rule: Rule, occurrence: Occurrence, severity: Severity) -> str:
    """What an occurrence is told and escalated with: its group, or whatever else is in the digest."""
    return ThreadKind.DIGEST if is_in_digest(rule, severity) else group_of(rule, occurrence, severity)


def group_of(rule: Rule, occurrence: Occurrence, severity: Severity) -> str:
    """What an occurrence has in common with others of its group; of a rule that tells each apart, the occurrence itself."""
    if not rule.group_by:
        return occurrence.id
    return SEPARATOR.join([_value(word, occurrence, severity) for word in rule.group_by])


def _value(word: str, occurrence: Occurrence, severity: Severity) -> str:
    match word:
        case "plan":
            return occurrence.plan
        case "run":
            return occurrence.run
        case "phase":
            return occurrence.phase
        case "department":
            return occurrence.department
        case "type":
            return occurrence.type
        case "severity":
            return severity.name
        case "reason":
            return occurrence.reason
        case _:
            raise ValueError(f"occurrences can't be grouped by {word}")


def _digest(*parts: str) -> str:
    return hashlib.sha256(SEPARATOR.join(parts).encode()).hexdigest()
