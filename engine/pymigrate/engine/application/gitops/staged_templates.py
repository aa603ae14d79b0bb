"""Templates that a set of definitions writes, or that rules in it tell by: rendered before it is kept, each once, as the calls that write
one do."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from pymigrate.engine.application.gitops.applying import Applied
from pymigrate.engine.application.gitops.definition import Definition, DefinitionsRead
from pymigrate.engine.application.notification_kinds import ALERT_RULES, NOTIFICATION_TEMPLATES
from pymigrate.engine.application.template_checks import template_problems
from pymigrate.engine.application.template_writes import Rendering, rendering_of_template, renderings_of_rule
from pymigrate.engine.domain.errors import Problem, StaleWrite
from pymigrate.engine.domain.names import last_segment
from pymigrate.engine.ports.rendering import Renderer
from pymigrate.engine.ports.store import Store, Unit
from pymigrate.v1 import definition_pb2, notification_pb2
from pymigrate.v1.definition_pb2 import DefinitionProblem

_WRITTEN = frozenset({definition_pb2.CHANGE_ACTION_CREATE, definition_pb2.CHANGE_ACTION_UPDATE})


@dataclass(frozen=True, slots=True)
class WantedRendering:
    """A template with every type of event that it must render for, and the names of the rules that ask for it."""

    template: notification_pb2.NotificationTemplate
    types: frozenset[str]
    rules: tuple[str, ...]

    def content(self) -> tuple[str, bytes, frozenset[str]]:
        """What the result of rendering depends on."""
        texts = notification_pb2.NotificationTemplate(texts=self.template.texts)
        return self.template.name, texts.SerializeToString(deterministic=True), self.types


def wanted_renderings(applied: Applied) -> list[WantedRendering]:
    """What must render once this is kept. Called where the unit is open that it was staged over."""
    if applied.staged is None:
        return []
    unit = applied.staged.as_unit
    found: dict[str, WantedRendering] = {}

    def want(rendering: Rendering, rule: str = "") -> None:
        name = rendering.template.name
        known = found.get(name)
        types = rendering.types | (known.types if known else frozenset())
        rules = (*(known.rules if known else ()), *([rule] if rule else ()))
        found[name] = WantedRendering(rendering.template, types, rules)

    for change in applied.changes:
        resource = unit.resources.get(change.name) if change.action in _WRITTEN else None
        if resource is None:
            continue
        if resource.kind == NOTIFICATION_TEMPLATES.collection:
            want(rendering_of_template(unit, NOTIFICATION_TEMPLATES.held(resource)))
        elif resource.kind == ALERT_RULES.collection:
            for rendering in renderings_of_rule(unit, ALERT_RULES.held(resource)):
                want(rendering, change.name)
    return list(found.values())


class TemplateRendering:
    """Renders what a set of definitions would keep, before it does."""

    def __init__(self, store: Store, renderer: Renderer) -> None:
        self._store = store
        self._renderer = renderer

    async def checked(self, read: DefinitionsRead, stage: Callable[[Unit], Applied]) -> DefinitionsRead:
        """What was read, with what does not render among its problems. `stage` tells what it makes of what a unit holds."""
        if not has_rendered(read):
            return read
        wanted = await self._store.read(lambda unit: wanted_renderings(stage(unit)))
        problems = await rendering_problems(wanted, read.definitions, self._renderer)
        return replace(read, problems=[*read.problems, *problems]) if problems else read


def has_rendered(read: DefinitionsRead) -> bool:
    """Whether anything that is declared must render."""
    kinds = (NOTIFICATION_TEMPLATES, ALERT_RULES)
    return any(each.kind is kind for each in read.definitions for kind in kinds)


async def rendering_problems(
    wanted: Sequence[WantedRendering], definitions: Sequence[Definition], renderer: Renderer
) -> list[DefinitionProblem]:
    """What does not render: told at the template where a file declares it, else at the rules that tell by it."""
    declared = {each.name: each for each in definitions}
    return [
        told
        for each in wanted
        for problem in await template_problems(each.template, sorted(each.types), renderer)
        for told in _told(each, problem, declared)
    ]


def require_rendered(applied: Applied, rendered: Sequence[WantedRendering]) -> None:
    """Raises StaleWrite where something else must render than what did."""
    if [each.content() for each in wanted_renderings(applied)] != [each.content() for each in rendered]:
        raise StaleWrite("a template or a rule was written while these were rendered: try again")


def _told(wanted: WantedRendering, problem: Problem, declared: Mapping[str, Definition]) -> Iterator[DefinitionProblem]:
    template = declared.get(wanted.template.name)
    if template is not None:
        yield _at(template, problem.field, problem.description)
        return
    name = last_segment(wanted.template.name)
    for rule in wanted.rules:
        if rule in declared:
            said = f"`{name}` can't tell what the rule matches: {problem.field}: {problem.description}"
            yield _at(declared[rule], "template", said)


def _at(definition: Definition, field: str, description: str) -> DefinitionProblem:
    place = definition.find(field)
    return DefinitionProblem(
        file=definition.file,
        line=place.line,
        column=place.column,
        name=definition.name,
        path=f"spec.{field}",
        description=description,
        rule="invalid",
    )
