"""What is rendered before it is stored: a template for every type of event that it is for or that a rule tells by it, and a rule's template
for what the rule tells. Rendering takes longer than a transaction may, so it comes before; the transaction then sees to it that nothing
else was written meanwhile.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from pymigrate.engine.application.event_types import EVENT_TYPES, types_named
from pymigrate.engine.application.findings import (
    DRIFT_CROSSED,
    DRIFT_RECOVERED,
    KPI_CROSSED,
    KPI_RECOVERED,
    WINDOW_CLOSING,
)
from pymigrate.engine.application.notification_kinds import ALERT_RULES, NOTIFICATION_TEMPLATES, rules_of
from pymigrate.engine.application.template_checks import template_problems
from pymigrate.engine.domain.errors import InvalidDefinition, Problem, StaleWrite
from pymigrate.engine.domain.names import environment_of, last_segment
from pymigrate.engine.ports.rendering import Renderer
from pymigrate.engine.ports.store import Store, Unit
from pymigrate.v1 import notification_pb2

PARENTS_MAX = 1_000


@dataclass(frozen=True, slots=True)
class Rendering:
    """A template that must render for these types of events."""

    template: notification_pb2.NotificationTemplate
    types: frozenset[str]


class TemplateWrites:
    """The checks of templates and of rules, with the renderer that messages are made by later."""

    def __init__(self, store: Store, renderer: Renderer) -> None:
        self._store = store
        self._renderer = renderer

    async def check_template(
        self, write: Callable[[Unit], notification_pb2.NotificationTemplate]
    ) -> Callable[[Unit], None]:
        """Raises InvalidDefinition unless what `write` would store renders for everything that it is for."""

        def wanted(unit: Unit) -> list[Rendering]:
            return [rendering_of_template(unit, write(unit))]

        renderings = await self._store.read(wanted)
        for each in renderings:
            problems = await template_problems(each.template, sorted(each.types), self._renderer)
            _refuse([Problem(f"{NOTIFICATION_TEMPLATES.noun}.{p.field}", p.description) for p in problems])
        return _unchanged(wanted, renderings)

    async def check_rule(self, write: Callable[[Unit], notification_pb2.AlertRule]) -> Callable[[Unit], None]:
        """Raises InvalidDefinition unless the templates of the rule that `write` would store, and of those below it, render for what they
        then tell."""

        def wanted(unit: Unit) -> list[Rendering]:
            return renderings_of_rule(unit, write(unit))

        renderings = await self._store.read(wanted)
        found = []
        for each in renderings:
            name = last_segment(each.template.name)
            for problem in await template_problems(each.template, sorted(each.types), self._renderer):
                said = f"`{name}` can't tell what the rule matches: {problem.field}: {problem.description}"
                found.append(Problem(f"{ALERT_RULES.noun}.template", said))
        _refuse(found)
        return _unchanged(wanted, renderings)


def _refuse(problems: list[Problem]) -> None:
    if problems:
        raise InvalidDefinition(tuple(problems))


def _unchanged(wanted: Callable[[Unit], list[Rendering]], rendered: list[Rendering]) -> Callable[[Unit], None]:
    def check(unit: Unit) -> None:
        if [_content(each) for each in wanted(unit)] != [_content(each) for each in rendered]:
            raise StaleWrite("a template or a rule was written while this one was rendered: try again")

    return check


def _content(rendering: Rendering) -> tuple[str, bytes, frozenset[str]]:
    """What the result of rendering depends on."""
    texts = notification_pb2.NotificationTemplate(texts=rendering.template.texts)
    return rendering.template.name, texts.SerializeToString(deterministic=True), rendering.types


def rendering_of_template(unit: Unit, template: notification_pb2.NotificationTemplate) -> Rendering:
    """A template with its own types and those of every rule that names it."""
    rules = {last_segment(each.name): each for each in rules_of(unit, environment_of(template.name))}
    types = own_types(template)
    for rule in rules.values():
        if rule.template == last_segment(template.name):
            types |= told_types(rule, rules)
    return Rendering(template, types)


def renderings_of_rule(unit: Unit, rule: notification_pb2.AlertRule) -> list[Rendering]:
    """The templates of the rule and of those below it, each with the types that they then tell by it."""
    environment, own = environment_of(rule.name), last_segment(rule.name)
    rules = {last_segment(each.name): each for each in rules_of(unit, environment)} | {own: rule}
    types: dict[str, frozenset[str]] = {}
    for each in rules.values():
        if each.template and own in _line(each, rules) and (told := told_types(each, rules)):
            types[each.template] = types.get(each.template, frozenset()) | told
    found = {name: unit.resources.get(f"{environment}/notificationTemplates/{name}") for name in sorted(types)}
    return [Rendering(NOTIFICATION_TEMPLATES.held(each), types[name]) for name, each in found.items() if each]


def own_types(template: notification_pb2.NotificationTemplate) -> frozenset[str]:
    """The types that a template says it is for; all of them where it says nothing."""
    return _all_named(template.types) if template.types else EVENT_TYPES


def told_types(rule: notification_pb2.AlertRule, rules: Mapping[str, notification_pb2.AlertRule]) -> frozenset[str]:
    """The types that a rule can tell: those that it and every rule above it match."""
    types = EVENT_TYPES
    for name in _line(rule, rules):
        types &= _matched(rules[name].match)
    return types


def _line(rule: notification_pb2.AlertRule, rules: Mapping[str, notification_pb2.AlertRule]) -> list[str]:
    """The rule and those above it."""
    line: list[str] = []
    name = last_segment(rule.name)
    while name in rules and name not in line and len(line) < PARENTS_MAX:
        line.append(name)
        name = rules[name].parent_rule
    return line


def _matched(match: notification_pb2.EventMatch) -> frozenset[str]:
    """The types that a rule matches by itself: those that it names, or makes where it looks for something."""
    found: set[str] = set()
    if match.HasField("kpi"):
        found |= {KPI_CROSSED, KPI_RECOVERED}
    if match.drift_min:
        found |= {DRIFT_CROSSED, DRIFT_RECOVERED}
    if match.window_closes_seconds:
        found.add(WINDOW_CLOSING)
    if not found and not match.types:
        return EVENT_TYPES
    return frozenset(found or _all_named(match.types))


def _all_named(patterns: Iterable[str]) -> frozenset[str]:
    return frozenset(each for pattern in patterns for each in types_named(pattern))
