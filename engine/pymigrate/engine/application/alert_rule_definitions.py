"""What may be declared of alert rules: what they match, who is told and how it gathers, and the tree that they make."""

from collections.abc import Iterator, Mapping

from pymigrate.engine.application.field_definitions import (
    DISPLAY_NAME_MAX,
    line_problems,
    number_problems,
    range_problems,
    text_problems,
)
from pymigrate.engine.application.notification_definitions import (
    Known,
    match_problems,
    missing_problems,
    names_nobody,
    recipients_problems,
    severity_problems,
)
from pymigrate.engine.application.schedules import clock_problems, day_problems
from pymigrate.engine.domain import graph
from pymigrate.engine.domain.errors import Problem
from pymigrate.v1 import notification_pb2
from pymigrate.v1.shape import enum_word

GROUP_WORDS = ("plan", "run", "phase", "department", "type", "severity", "reason")
CONFIRM_STATES = ("accepted", "delivered", "acknowledged")
ORDER_MAX = 1_000_000
DAY_SECONDS = 24 * 3600.0
WAIT_SECONDS_MAX = DAY_SECONDS
REPEAT_SECONDS_MIN = 60.0
ESCALATION_SECONDS_MIN = 60.0
SECONDS_MAX = 31 * DAY_SECONDS
MESSAGES_PER_HOUR_MAX = 10_000
DIGEST_TIMES_MAX = 24
ESCALATIONS_MAX = 10


def alert_rule_problems(
    rule: notification_pb2.AlertRule, known: Known, parents: Mapping[str, str], own: str
) -> Iterator[Problem]:
    """Problems of a rule within an environment that has these others. `parents` has the parent of each of its rules, empty at the top;
    `own` is this one's last segment."""
    yield from text_problems(rule)
    yield from line_problems("display_name", rule.display_name, DISPLAY_NAME_MAX)
    if rule.parent_rule:
        yield from _parent_problems(rule.parent_rule, parents, own)
    yield from range_problems("order", rule.order, -ORDER_MAX, ORDER_MAX)
    yield from match_problems("match", rule.match, may_find=True)
    yield from recipients_problems("recipients", rule.recipients, known)
    if rule.template:
        yield from missing_problems("template", "notification template", rule.template, known.templates)
    yield from _gathering_problems(rule)
    yield from _escalation_problems(rule, known)
    yield from number_problems("confirm_seconds_max", rule.confirm_seconds_max, 0, SECONDS_MAX)
    if rule.confirm_state and _state_word(rule.confirm_state) not in CONFIRM_STATES:
        yield Problem("confirm_state", f"must be one of {', '.join(CONFIRM_STATES)}")
    yield from severity_problems("severity", rule.severity)


def _parent_problems(parent: str, parents: Mapping[str, str], own: str) -> Iterator[Problem]:
    if parent == own:
        yield Problem("parent_rule", "is the rule itself")
        return
    if parent not in parents:
        yield from missing_problems("parent_rule", "alert rule", parent, parents.keys() - {own})
    above, name = {own: (parent,)}, parent
    while name in parents and name not in above:
        above[name] = (parents[name],)
        name = parents[name]
    if cycle := graph.find_cycle(above, through=own):
        yield Problem("parent_rule", f"rules lie below one another in a circle: {graph.spell(cycle)}; choose another")


def _gathering_problems(rule: notification_pb2.AlertRule) -> Iterator[Problem]:
    for word in rule.group_by:
        if word not in GROUP_WORDS:
            yield Problem("group_by", f"is made of {', '.join(GROUP_WORDS)}")
            break
    if len(set(rule.group_by)) < len(rule.group_by):
        yield Problem("group_by", "names one twice")
    yield from number_problems("group_wait_seconds", rule.group_wait_seconds, 0, WAIT_SECONDS_MAX)
    yield from number_problems("group_interval_seconds", rule.group_interval_seconds, 0, WAIT_SECONDS_MAX)
    yield from number_problems(
        "repeat_interval_seconds", rule.repeat_interval_seconds, REPEAT_SECONDS_MIN, SECONDS_MAX, "never"
    )
    yield from number_problems("duplicate_seconds", rule.duplicate_seconds, 0, SECONDS_MAX)
    yield from range_problems("messages_per_hour_max", rule.messages_per_hour_max, 0, MESSAGES_PER_HOUR_MAX)
    if rule.HasField("digest"):
        if not 1 <= len(rule.digest.times) <= DIGEST_TIMES_MAX:
            yield Problem("digest.times", f"has 1 to {DIGEST_TIMES_MAX} entries")
        if len(set(rule.digest.times)) < len(rule.digest.times):
            yield Problem("digest.times", "names a time twice")
        for each in rule.digest.times:
            yield from clock_problems("digest.times", each)
        yield from day_problems("digest.days", rule.digest.days)


def _escalation_problems(rule: notification_pb2.AlertRule, known: Known) -> Iterator[Problem]:
    if len(rule.escalations) > ESCALATIONS_MAX:
        yield Problem("escalations", f"has at most {ESCALATIONS_MAX} entries")
    if rule.escalations and names_nobody(rule.recipients):
        yield Problem("recipients", "is required beside `escalations`: say who is told first")
    for at, step in enumerate(rule.escalations):
        path = f"escalations[{at}]"
        yield from number_problems(f"{path}.after_seconds", step.after_seconds, ESCALATION_SECONDS_MIN, SECONDS_MAX)
        if names_nobody(step.recipients):
            yield Problem(f"{path}.recipients", "is required: say who is told next")
        yield from recipients_problems(f"{path}.recipients", step.recipients, known)


def _state_word(number: int) -> str:
    """The word of a state; empty for one that only a later version knows."""
    states = notification_pb2.DeliveryState.DESCRIPTOR
    return enum_word(states, number) if number in states.values_by_number else ""
