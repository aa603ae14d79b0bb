"""Which rules tell of an occurrence, and to whom: the tree of an environment's rules, compiled once for the many occurrences of a while.

An occurrence enters every rule without a parent, in the order of `order` and id, until one matches that does not let it continue. Below a
rule that matches its children are tried likewise. The deepest that match tell; a rule with children tells itself only where none of them
matches, so that a child refines its parent and does not repeat it. One that names no recipients tells nobody: it is a place for others to
lie below. A paused rule is left out with all that lies below it. Rules that lie
below one another in a circle, or below one that is gone, are not reached by anything.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from pymigrate.engine.domain.audience import Audiences, Reached
from pymigrate.engine.domain.delivery import DeliveryState
from pymigrate.engine.domain.duty import OnDuty, on_duty
from pymigrate.engine.domain.matching import Matcher
from pymigrate.engine.domain.notices import Directory, Occurrence, Recipients, Rule, Severity, Silence
from pymigrate.engine.domain.run import Failure
from pymigrate.engine.domain.timing import is_always_quiet

SILENCED = "SILENCED"
RECIPIENTS_KEPT_MAX = 50_000
MATCHED_KEPT_MAX = 10_000
Audience = tuple[Reached, ...]


@dataclass(frozen=True, slots=True)
class Told:
    """A rule that tells of an occurrence: to whom, how grave it says that it is, and by which silence it is kept back where one does."""

    rule: Rule
    severity: Severity
    audience: Audience
    silence: Silence | None = None


@dataclass(frozen=True, slots=True)
class Routed:
    """What becomes of one address by one rule. `silence` is the one that suppresses it, by its id."""

    rule: Rule
    severity: Severity
    reached: Reached
    silence: str = ""

    @property
    def state(self) -> DeliveryState:
        """How the delivery begins."""
        is_silenced = self.silence and self.reached.is_told
        return DeliveryState.SUPPRESSED if is_silenced else self.reached.state


@dataclass(frozen=True, slots=True)
class Routing:
    """Everything that becomes of an occurrence, in the order of rules, stakeholders and addresses. `steps` say which rules were tried and
    whether they matched, each as a sentence."""

    routed: tuple[Routed, ...]
    steps: tuple[str, ...]


class Routes:
    """An environment's rules as they stand."""

    def __init__(self, directory: Directory, now: datetime) -> None:
        self.directory = directory
        self._matchers = {rule.id: Matcher(rule.match, rule.id) for rule in directory.rules.values()}
        self._children = _by_parent(directory)
        self._silences = [(each, Matcher(each.match)) for _, each in sorted(directory.silences.items())]
        quiet = [each.id for each in directory.stakeholders.values() if is_always_quiet(each, now)]
        self._audiences = Audiences(directory, quiet)
        self._found: dict[tuple[str, int, str, Severity, tuple[tuple[OnDuty, ...], ...]], Audience] = {}
        self._kept = 0
        self._matched: dict[tuple[str, Severity, str, str, str, str, str], list[Rule]] = {}
        self._duty: dict[str, tuple[OnDuty, ...]] = {}
        self._duty_time: datetime | None = None

    def told(self, occurrence: Occurrence, now: datetime) -> tuple[Told, ...]:
        """The rules that tell of it, in order."""
        rules = self._rules_of(occurrence)
        if not rules:
            return ()
        silence = self.silence_of(occurrence, now)
        return tuple(self._told(rule, occurrence, now, silence) for rule in rules)

    def route(self, occurrence: Occurrence, now: datetime) -> Routing:
        """The same, address by address, with what was tried on the way: for a dry run."""
        steps, told, silence = list[str](), list[Told](), self.silence_of(occurrence, now)
        for rule, tells in self._walk(occurrence, steps):
            if tells and rule.recipients.is_empty:
                steps.append(f"Rule {rule.id} names no recipients, and no rule below it matches.")
            elif tells:
                told.append(self._told(rule, occurrence, now, silence))
                steps.append(f"Rule {rule.id} tells of it.")
                steps.extend(self._foreseen(rule, told[-1].severity, occurrence.department, now))
        if not told:
            steps.append("No rule tells of it.")
        elif silence is not None:
            steps.append(f"Silence {silence.id} keeps it back until {silence.end.isoformat()}.")
        routed = (
            Routed(each.rule, each.severity, reached, each.silence.id if each.silence else "")
            for each in told
            for reached in each.audience
        )
        return Routing(tuple(routed), (*steps, *self._unreached()))

    def _rules_of(self, occurrence: Occurrence) -> list[Rule]:
        """The rules that tell: the same for all that have the same in what rules match."""
        about = occurrence
        key = (about.type, about.severity, about.plan, about.phase, about.department, about.reason, about.rule)
        found = self._matched.get(key)
        if found is None:
            if len(self._matched) >= MATCHED_KEPT_MAX:
                self._matched.clear()
            walked = self._walk(occurrence)
            found = [rule for rule, tells in walked if tells and not rule.recipients.is_empty]
            self._matched[key] = found
        return found

    def _foreseen(self, rule: Rule, severity: Severity, department: str, now: datetime) -> Iterator[str]:
        """What a dry run says besides who is told first."""
        for name in rule.recipients.on_call_schedules:
            if not self._duty.get(name):
                yield f"Nobody is on duty by schedule {name}."
        for step, escalation in enumerate(rule.escalations, 1):
            audience = self.audience(rule, escalation.recipients, department, severity, now, step)
            people = dict.fromkeys(reached.stakeholder for reached in audience if reached.is_told)
            whom = ", ".join(people) or "nobody as things stand"
            seconds = f"{escalation.after_seconds:g} s after the message before"
            yield f"Where nobody acknowledges it, step {step} tells {whom}, {seconds}."

    def audience(
        self, rule: Rule, recipients: Recipients, department: str, severity: Severity, now: datetime, step: int = 0
    ) -> Audience:
        """Who is told by a rule, in one of its steps: 0 is the first, and escalations count from 1."""
        if now != self._duty_time:
            self._duty = {name: on_duty(schedule, now) for name, schedule in self.directory.schedules.items()}
            self._duty_time = now
        on_call = tuple(self._duty.get(name, ()) for name in recipients.on_call_schedules)
        key = (rule.id, step, department, severity, on_call)
        found = self._found.get(key)
        if found is None:
            if self._kept >= RECIPIENTS_KEPT_MAX:
                self._found.clear()
                self._kept = 0
            who = f"rule {rule.id}" if not step else f"escalation {step} of rule {rule.id}"
            found = self._audiences.find(who, recipients, department, severity, self._duty)
            self._found[key] = found
            self._kept += len(found)
        return found

    def silence_of(self, occurrence: Occurrence, now: datetime) -> Silence | None:
        """The silence that keeps an occurrence back: of several the one that ends last."""
        holding = [
            silence
            for silence, matcher in self._silences
            if silence.start <= now < silence.end and matcher.matches(occurrence)
        ]
        return max(holding, key=lambda silence: (silence.end, silence.id), default=None)

    def _told(self, rule: Rule, occurrence: Occurrence, now: datetime, silence: Silence | None) -> Told:
        severity = rule.severity or occurrence.severity
        audience = self.audience(rule, rule.recipients, occurrence.department, severity, now)
        return Told(rule, severity, audience, silence)

    def _walk(self, occurrence: Occurrence, steps: list[str] | None = None) -> Iterator[tuple[Rule, bool]]:
        """Each rule that matches, and whether it is one that tells. Children come before the parent that they tell for."""
        # A level is what is left to try of one parent's children, the parent, and whether one of them has matched.
        levels: list[_Level] = [_Level(None, iter(self._children.get("", ())))]
        while levels:
            level = levels[-1]
            rule = next(level.left, None)
            if rule is None or level.is_over:
                levels.pop()
                if level.parent is not None:
                    yield level.parent, not level.has_matched
                continue
            if not self._matchers[rule.id].matches(occurrence):
                if steps is not None:
                    steps.append(f"Rule {rule.id} does not match: {self._matchers[rule.id].why_not(occurrence)}.")
                continue
            if steps is not None:
                steps.append(f"Rule {rule.id} matches.")
            level.has_matched = True
            level.is_over = not rule.continues
            levels.append(_Level(rule, iter(self._children.get(rule.id, ()))))

    def _unreached(self) -> Iterator[str]:
        reached, left = set[str](), [""]
        while left:
            for rule in self._children.get(left.pop(), ()):
                reached.add(rule.id)
                left.append(rule.id)
        for name, rule in sorted(self.directory.rules.items()):
            if rule.is_paused:
                yield f"Rule {name} is paused."
            elif name not in reached:
                yield f"Rule {name} is not tried: it lies below {rule.parent}, which is paused, gone or below itself."


@dataclass(slots=True)
class _Level:
    parent: Rule | None
    left: Iterator[Rule]
    has_matched: bool = False
    is_over: bool = False


def _by_parent(directory: Directory) -> dict[str, list[Rule]]:
    """The children of each rule in order. None that is reached from the top has itself above it, since each has one parent."""
    children: dict[str, list[Rule]] = {}
    for rule in sorted(directory.rules.values(), key=lambda rule: (rule.order, rule.id)):
        if not rule.is_paused:
            children.setdefault(rule.parent, []).append(rule)
    return children


def silenced(silence: Silence) -> Failure:
    """Why what a silence keeps back is not told."""
    return Failure(SILENCED, f"silence {silence.id} keeps it back until {silence.end.isoformat()}")
