"""What templates read: plain data about what happened, what it happened to, and who is told. Names are in snake_case, as in HCL.

Every name is always there: texts that are not known are empty, and what is not there at all (the run of something that happened in no
run) is None. docs/notification_templates.md lists them; `notice_samples` has some of every kind.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC

from pymigrate.engine.application.notice_facts import Context, Facts, failure_context, time_text
from pymigrate.engine.application.notice_phrases import Phrases
from pymigrate.engine.domain.names import last_segment
from pymigrate.engine.domain.notices import LOCALE_DEFAULT, Occurrence, Severity, Stakeholder
from pymigrate.engine.domain.watched_figures import figure_of

EVENTS_MAX = 50
RUN_SEGMENTS = 6


@dataclass(frozen=True, slots=True)
class Addressed:
    """One message's own: whom it is for, in which role, and how it is answered."""

    stakeholder: Stakeholder
    role: str
    severity: Severity
    rule: str = ""
    count: int = 1
    duplicates: int = 0
    escalation: int = 0
    acknowledge_url: str = ""


def gravest(occurrences: Sequence[Occurrence]) -> Occurrence:
    """What a message is about first: the gravest, of those the latest."""
    return max(occurrences, key=lambda each: (each.severity, each.time, each.entry))


def shared_context(
    occurrences: Sequence[Occurrence], facts: Facts, phrases: Phrases, display_names: Mapping[str, str]
) -> Context:
    """What everybody reads whom the same is told in the same language. `facts` are of the gravest; plans and departments are called by
    their `display_names`, by resource name, where they have one."""
    first = gravest(occurrences)
    latest = sorted(occurrences, key=lambda each: (each.time, each.entry))[-EVENTS_MAX:]
    return {
        "environment": last_segment(first.environment),
        "event": _event(first, phrases, display_names),
        "events": [_event(each, phrases, display_names) for each in latest],
        **facts.contexts(first),
    }


def own_context(told: Addressed, phrases: Phrases) -> Context:
    """What only this one reads."""
    severity = told.severity.name.lower()
    return {
        "recipient": _recipient(told.stakeholder, told.role),
        "severity": severity,
        "severity_word": phrases.word(severity),
        "rule": told.rule,
        "count": told.count,
        "duplicates": told.duplicates,
        "escalation": told.escalation,
        "acknowledge_url": told.acknowledge_url,
    }


def _recipient(stakeholder: Stakeholder, role: str) -> Context:
    zone = stakeholder.zone
    return {
        "id": stakeholder.id,
        "name": stakeholder.display_name or stakeholder.id,
        "role": role,
        "roles": list(stakeholder.roles),
        "locale": stakeholder.locale or LOCALE_DEFAULT,
        "zone": "UTC" if zone is UTC else str(zone),
    }


def _event(occurrence: Occurrence, phrases: Phrases, display_names: Mapping[str, str]) -> Context:
    environment = occurrence.environment
    plan = _display(display_names, environment, "plans", occurrence.plan)
    department = _display(display_names, environment, "departments", occurrence.department)
    places, figure = _places(occurrence), figure_of(occurrence.figure)
    words = {
        "object": places["object"],
        "type": occurrence.type,
        "actor": occurrence.actor,
        "from_state": occurrence.from_state,
        "to_state": occurrence.to_state,
        "figure": occurrence.figure,
        "rule": occurrence.rule,
        "subject": occurrence.subject,
        "phase": occurrence.phase,
        "run": last_segment(occurrence.run),
        "run_name": occurrence.run,
        "plan": plan,
        "what": department or plan or places["object"],
        **{name: places[name] for name in ("lane", "dataset", "gate", "step")},
    }
    said = phrases.of(occurrence.type, words)
    return {
        "id": occurrence.id,
        "type": occurrence.type,
        "kind": occurrence.type.partition(".")[0],
        "title": said.title,
        "headline": said.headline,
        "advice": said.advice,
        "subject": occurrence.subject,
        "time": time_text(occurrence.time),
        "severity": occurrence.severity.name.lower(),
        "plan": occurrence.plan,
        "run": last_segment(occurrence.run),
        "phase": occurrence.phase,
        "department": occurrence.department,
        **places,
        "from_state": occurrence.from_state,
        "to_state": occurrence.to_state,
        "actor": occurrence.actor,
        "failure": failure_context(occurrence.failure),
        "detail": occurrence.detail,
        "rule": occurrence.rule,
        "figure": occurrence.figure,
        "value": occurrence.value,
        "bound": occurrence.bound,
        "unit": figure.unit.name.lower() if figure is not None else "",
    }


def _places(occurrence: Occurrence) -> dict[str, str]:
    """Which part of a run, or which object, it happened to: by the last two segments, and what they name."""
    segments = occurrence.subject.split("/")
    inside = segments[RUN_SEGMENTS:] if occurrence.run else []
    parts = dict(zip(inside[::2], inside[1::2], strict=False))
    return {
        "object": "/".join(segments[-2:]),
        "lane": parts.get("lanes", ""),
        "dataset": parts.get("datasets", ""),
        "gate": parts.get("gates", ""),
        "step": parts.get("steps", ""),
    }


def _display(display_names: Mapping[str, str], environment: str, collection: str, name: str) -> str:
    return display_names.get(f"{environment}/{collection}/{name}") or name if name else ""
