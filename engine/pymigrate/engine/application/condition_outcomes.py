"""What becomes of conditions at a look, and the entries of the stream that tell of it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from pymigrate.engine.application.condition_watches import Looked, Watch
from pymigrate.engine.application.findings import Finding
from pymigrate.engine.domain.crossing import Step, Unknown, Value, step
from pymigrate.engine.domain.delivery import Condition
from pymigrate.engine.domain.names import environment_of, run_of
from pymigrate.engine.domain.run_ledger import ENGINE
from pymigrate.engine.ports.store import AuditEntry, Unit

Key = tuple[str, str]
"""The rule and the subject of a condition; the subject's name tells the environment."""


# In the place of a rule: that a run is watched. It is forgotten with the look after the run's end, so that an engine which goes on knows
# whether there was one.
WATCHED = ""


@dataclass(slots=True)
class Held:
    """A condition, with what was seen of it last: after a start, nothing."""

    condition: Condition
    watch: Watch | None = None
    value: float = 0.0

    def next_time(self) -> datetime | None:
        """When something becomes of it while its value stays as it is."""
        return self.watch.terms.next_time(self.condition) if self.watch is not None else None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a condition is from now on, and the entry that tells of it, if any. One that no longer holds is forgotten."""

    held: Held
    holds: bool
    entry: AuditEntry | None = None

    @property
    def key(self) -> Key:
        """Whose it is."""
        return self.held.condition.rule, self.held.condition.subject


def outcome_of(known: Held | None, watch: Watch, looked: Looked, phase: str) -> Iterator[Outcome]:
    """What becomes of a condition whose subject was looked at; nothing where it stays as it is."""
    value, now = watch.value(looked, phase), looked.now
    if known is not None:
        known.watch = watch
        known.value = known.value if isinstance(value, Unknown) else value
    condition = known.condition if known is not None else None
    match step(watch.terms, condition, value, now):
        case Step.STAYS:
            pass
        case Step.BEGINS:
            yield Outcome(Held(_begun(watch, looked, phase), watch, _number(value)), holds=True)
        case Step.CROSSED | Step.AGAIN:
            begun = condition or _begun(watch, looked, phase)
            text = watch.tell_crossed(looked, phase, _number(value))
            entry = _entry(watch, watch.crossed, begun.subject, value, text, now)
            yield Outcome(Held(replace(begun, told_time=now), watch, _number(value)), holds=True, entry=entry)
        case Step.DROPPED | Step.RECOVERED:
            if known is not None:
                yield _over(known, value, now)


def dropped(known: Held, why: str, now: datetime) -> Outcome:
    """What becomes of a condition that nobody watches any more. `why` begins a sentence that the subject's name ends."""
    return _over(known, known.value, now, why)


def watching(known: Held | None, looked: Looked, *, is_watched: bool) -> Iterator[Outcome]:
    """What becomes of the note that a run is watched."""
    run = looked.run
    if known is None and is_watched and run.is_active:
        yield Outcome(Held(Condition(environment_of(run.name), WATCHED, run.name, since=looked.now)), holds=True)
    if known is not None and not run.is_active:
        yield Outcome(known, holds=False)


def store(unit: Unit, outcomes: Sequence[Outcome]) -> list[Condition]:
    """Keeps conditions and writes entries; the conditions as they are stored. May be done again: nothing that was given changes."""
    stored = []
    for outcome in outcomes:
        condition = replace(outcome.held.condition)
        if outcome.holds:
            unit.conditions.put(condition)
        else:
            unit.conditions.delete(condition)
        if outcome.entry is not None:
            unit.audit.append(outcome.entry)
        stored.append(condition)
    return stored


def _over(known: Held, value: Value, now: datetime, why: str = "") -> Outcome:
    """Told only where the crossing was told, and where its rule is known still."""
    watch, subject = known.watch, known.condition.subject
    if known.condition.told_time is None or watch is None or not watch.recovered:
        return Outcome(known, holds=False)
    text = f"{why} {subject}." if why else watch.tell_recovered(subject, value)
    return Outcome(known, holds=False, entry=_entry(watch, watch.recovered, subject, value, text, now))


def _begun(watch: Watch, looked: Looked, phase: str) -> Condition:
    name = looked.name(phase)
    return Condition(environment_of(name), watch.rule.id, name, since=looked.now)


def _entry(watch: Watch, type_: str, subject: str, value: Value, text: str, now: datetime) -> AuditEntry:
    finding = Finding(watch.rule.id, watch.figure, _number(value), watch.terms.bound, run_of(subject), text)
    return AuditEntry(now, ENGINE, type_, subject, 0, detail=finding.detail())


def _number(value: Value) -> float:
    return 0.0 if isinstance(value, Unknown) else value
