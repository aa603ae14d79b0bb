"""Whether a template renders: every text of it, for every type of event that it is for, with everything that may be known and with as
little as may be. A template that would fail when it is needed is refused when it is saved."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from pymigrate.engine.application.default_texts import PREFIX, ROLES, default_template
from pymigrate.engine.application.event_types import EVENT_TYPES, types_named
from pymigrate.engine.application.notice_facts import Context
from pymigrate.engine.application.notice_samples import sample_contexts
from pymigrate.engine.domain.errors import NotFound, Problem
from pymigrate.engine.domain.names import last_segment, nearest
from pymigrate.engine.domain.notices import LOCALE_DEFAULT
from pymigrate.engine.ports.rendering import Renderer, RenderRequest, TemplateSource
from pymigrate.v1 import notification_pb2

PROBLEMS_MAX: Final = 100
CONTEXTS_KEPT_MAX: Final = 500
SPARSE: Final = "where little is known"


@dataclass(frozen=True, slots=True)
class _Case:
    """A text with a made-up event: `when` says which."""

    text: str
    when: str
    request: RenderRequest


async def template_problems(
    template: notification_pb2.NotificationTemplate, types: Iterable[str], renderer: Renderer
) -> list[Problem]:
    """What can't be rendered, by the path of the text's part: `texts.mail.body`. `types` are those that it is for, as `phase.failed` or
    `phase.*`: its own, and those of the rules that name it; none means every type. One and the same problem is told once, with the first
    type that has it."""
    wanted = sorted({each for pattern in types for each in types_named(pattern)} or EVENT_TYPES)
    cases = [
        _Case(name, when, RenderRequest(source_of(text), context))
        for name, text in sorted(template.texts.items())
        for event_type in wanted
        for when, context in _contexts(event_type, text.locale)
    ]
    rendered = await renderer.render([case.request for case in cases])
    found: dict[tuple[str, str], Problem] = {}
    for case, text in zip(cases, rendered, strict=True):
        if text.problem and (key := (case.text, text.problem)) not in found:
            part, _, said = text.problem.partition(": ")
            found[key] = Problem(f"texts.{case.text}.{part}", f"{said} ({case.when})")
    return list(found.values())[:PROBLEMS_MAX]


async def rendered_samples(
    template: notification_pb2.NotificationTemplate, event_type: str, renderer: Renderer
) -> notification_pb2.RenderNotificationTemplateResponse:
    """Every text as it would read for a made-up event of a type, and what of it can't be rendered, whole or where little is known. An
    unknown type is told in general words."""
    cases = [
        _Case(name, when, RenderRequest(source_of(text), context))
        for name, text in sorted(template.texts.items())
        for when, context in _contexts(event_type, text.locale)
    ]
    response = notification_pb2.RenderNotificationTemplateResponse()
    for case, text in zip(cases, await renderer.render([case.request for case in cases]), strict=True):
        if text.problem:
            response.problems.append(f"texts.{case.text}.{text.problem} ({case.when})")
        elif SPARSE not in case.when:
            own = template.texts[case.text]
            response.texts[case.text].MergeFrom(
                notification_pb2.TemplateText(
                    locale=own.locale, channel=own.channel, subject=text.subject, body=text.body, html=text.html
                )
            )
    return response


def packaged_template(name: str) -> notification_pb2.NotificationTemplate | None:
    """The package's own template of a name such as `environments/prod/notificationTemplates/default-executive`; None where the name is no
    such. Raises NotFound for a role that has none."""
    role = last_segment(name).removeprefix(PREFIX)
    if role == last_segment(name):
        return None
    if role not in ROLES:
        raise NotFound(f"the package has no template `{PREFIX}{role}`{nearest(role, ROLES)}", field="template.name")
    return default_template(role)


def source_of(text: notification_pb2.TemplateText) -> TemplateSource:
    """A text as renderers take it."""
    return TemplateSource(text.subject, text.body, text.html)


@lru_cache(maxsize=CONTEXTS_KEPT_MAX)
def _contexts(event_type: str, locale: str) -> Collection[tuple[str, Context]]:
    full, sparse = sample_contexts(event_type, locale or LOCALE_DEFAULT)
    return ((event_type, full), (f"{event_type}, {SPARSE}", sparse))
