"""Entries of the stream as occurrences: what rules match, and what messages tell of. And both as the contract shows them.

What a run's phases are is frozen with the run, so that it is read once for each run and kept.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from pymigrate.engine.application.cloud_events import event_id, event_type
from pymigrate.engine.application.findings import FINDING_TYPES, Finding, finding_of
from pymigrate.engine.application.kinds import PHASES
from pymigrate.engine.application.projections import failure_message, failure_record, timestamp
from pymigrate.engine.application.told_environments import told_environment
from pymigrate.engine.domain.names import matches
from pymigrate.engine.domain.notices import Occurrence, Severity
from pymigrate.engine.domain.run_ledger import ENGINE
from pymigrate.engine.domain.severities import severity_of
from pymigrate.engine.ports.feed import FeedEntry
from pymigrate.engine.ports.store import Unit
from pymigrate.v1 import notification_pb2, run_pb2

RUNS_KEPT_MAX = 1_000
_NONE: Mapping[str, str] = {}
# Whose types end with the state that they come to.
STATED = frozenset({"run", "phase", "lane"})
# What somebody asks of one phase of a run, with the phase behind it: `approve sales/go`, `roll back sales`.
_OF_PHASES = ("approve ", "roll back ")


class Occurrences:
    """Makes occurrences. May be asked on several threads at once: what is kept of a run never changes."""

    def __init__(self) -> None:
        self._departments: dict[str, Mapping[str, str]] = {}

    def of(self, unit: Unit, entries: Sequence[FeedEntry]) -> list[Occurrence]:
        """One for each entry, in order."""
        return [self.one(unit, entry) for entry in entries]

    def one(self, unit: Unit, entry: FeedEntry) -> Occurrence:
        """What an entry tells of."""
        finding = finding_of(entry.detail) if not entry.run and entry.type in FINDING_TYPES else None
        run = entry.run or (finding.run if finding else "") or _run_of(entry.subject)
        phase = _phase_of(entry.subject) or _phase_asked(entry)
        type_ = event_type(entry)
        return Occurrence(
            id=event_id(entry),
            entry=entry.id,
            type=type_,
            subject=entry.subject,
            time=entry.time,
            severity=severity_of(type_),
            environment=told_environment(unit, entry.subject),
            plan=_part(run or entry.subject, "plans", 2),
            run=run,
            phase=phase,
            department=self._department(unit, entry.subject, run, phase),
            from_state=entry.from_state,
            to_state=entry.to_state,
            actor=entry.actor,
            failure=entry.failure,
            detail=_detail(entry, finding),
            rule=finding.rule if finding else "",
            figure=finding.figure if finding else "",
            value=finding.value if finding else 0.0,
            bound=finding.bound if finding else 0.0,
        )

    def described(
        self, unit: Unit, environment: str, event: notification_pb2.NotificationEvent, now: datetime
    ) -> Occurrence:
        """What somebody describes, as it would happen: an unset time means now, an unset severity and state after what its type has, an
        unset subject the most narrow thing that is named, an unset department that of the phase, and an unset plan the only one that has
        the phase."""
        plan = f"{environment}/plans/{event.plan}" if event.plan else _plan_with(unit, environment, event.phase)
        above = event.run or plan
        subject = event.subject or (f"{above}/phases/{event.phase}" if event.phase else above)
        run, phase = event.run or _run_of(subject), event.phase or _phase_of(subject)
        return Occurrence(
            id=event.id or "preview",
            entry=0,
            type=event.type,
            subject=subject,
            time=event.time.ToDatetime(UTC) if event.HasField("time") else now,
            severity=Severity(event.severity) if event.severity else severity_of(event.type),
            environment=environment,
            plan=event.plan or _part(run or subject, "plans", 2),
            run=run,
            phase=phase,
            department=event.department or self._department(unit, subject, run, phase),
            from_state=event.from_state,
            to_state=event.to_state or _state_after(event.type),
            actor=event.actor or ENGINE,
            failure=failure_record(event.failure) if event.HasField("failure") else None,
            detail=event.detail,
            rule=event.rule,
            figure=event.figure,
            value=event.value,
            bound=event.bound,
        )

    def _department(self, unit: Unit, subject: str, run: str, phase: str) -> str:
        if not phase:
            return _part(subject, "departments", 2)
        if run:
            return self._of_run(unit, run).get(phase, "")
        if not matches(subject, "environments", "plans", "phases"):
            return ""
        declared = unit.resources.get(subject)
        return PHASES.held(declared).department if declared is not None else ""

    def _of_run(self, unit: Unit, run: str) -> Mapping[str, str]:
        """The department of each of its phases; of a run that is gone, or has no revision, nothing is known."""
        known = self._departments.get(run)
        if known is not None:
            return known
        body = unit.runs.revision(run)
        if body is None:
            return _NONE
        plan = run_pb2.PlanRevision.FromString(body).plan
        found = {name: phase.department for name, phase in plan.phases.items()}
        if len(self._departments) >= RUNS_KEPT_MAX:
            self._departments = {}
        self._departments[run] = found
        return found


def event_message(occurrence: Occurrence) -> notification_pb2.NotificationEvent:
    """An occurrence as the contract shows it."""
    return notification_pb2.NotificationEvent(
        id=occurrence.id,
        type=occurrence.type,
        subject=occurrence.subject,
        time=timestamp(occurrence.time),
        severity=notification_pb2.Severity.Value(f"SEVERITY_{occurrence.severity.name}"),
        plan=occurrence.plan,
        run=occurrence.run,
        phase=occurrence.phase,
        department=occurrence.department,
        from_state=occurrence.from_state,
        to_state=occurrence.to_state,
        actor=occurrence.actor,
        failure=failure_message(occurrence.failure),
        detail=occurrence.detail,
        rule=occurrence.rule,
        figure=occurrence.figure,
        value=occurrence.value,
        bound=occurrence.bound,
    )


def _part(name: str, collection: str, at: int) -> str:
    """The last segment of the part of a name that lies in a collection: `warehouse` of everything below that plan."""
    parts = name.split("/")
    return parts[at + 1] if len(parts) > at + 1 and parts[at] == collection else ""


def _plan_with(unit: Unit, environment: str, phase: str) -> str:
    """The only plan that has a phase of that name; the environment where none or several have."""
    plans = unit.resources.names("plans", environment) if phase else ()
    having = [plan for plan in plans if unit.resources.get(f"{plan}/phases/{phase}") is not None]
    return having[0] if len(having) == 1 else environment


def _state_after(type_: str) -> str:
    """Where something comes to by an event of the type, where the type says so."""
    subject, _, state = type_.partition(".")
    return state if subject in STATED else ""


def _run_of(subject: str) -> str:
    parts = subject.split("/")
    return "/".join(parts[:6]) if len(parts) >= 6 and parts[2] == "plans" and parts[4] == "runs" else ""


def _phase_of(subject: str) -> str:
    """Of a phase and what lies below it, in a run or as declared; of a lane, whose name begins with its phase's."""
    parts = subject.split("/")
    for at in (4, 6):
        if len(parts) > at + 1:
            if parts[at] == "phases":
                return parts[at + 1]
            if parts[at] == "lanes":
                return parts[at + 1].partition(".")[0]
    return ""


def _phase_asked(entry: FeedEntry) -> str:
    if entry.run:
        return ""
    for beginning in _OF_PHASES:
        if entry.type.startswith(beginning):
            return entry.type.removeprefix(beginning).partition("/")[0]
    return ""


def _detail(entry: FeedEntry, finding: Finding | None) -> str:
    """More of it: what was found; else what was asked, where that is more than a word."""
    if finding is not None:
        return finding.text
    is_more = not entry.run and " " in entry.type
    # What differs in a declared object is told by the trail: people are told of it, not all of it.
    said = "" if entry.before_digest and entry.after_digest else entry.detail
    return said or (entry.type if is_more else "")
