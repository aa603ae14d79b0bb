"""What deliveries say: rendered from the template of their rule, or the package's own of the recipient's role, in the recipient's language
and for the kind of channel.

Nothing is lost to a template: in place of one that fails stands the package's own, which says so; where that can't be rendered either, what
happened is told in plain sentences.
"""

import hashlib
import html
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import structlog

from pymigrate.engine.application.default_texts import PREFIX, ROLES, default_template, pick_text, told_role
from pymigrate.engine.application.directories import Directories
from pymigrate.engine.application.kpis import FleetKpis
from pymigrate.engine.application.notice_contexts import Addressed, gravest, own_context, shared_context
from pymigrate.engine.application.notice_facts import NOTHING_KNOWN, Context
from pymigrate.engine.application.notice_phrases import LANGUAGES, language_of, phrases_in
from pymigrate.engine.application.notice_samples import sample_contexts
from pymigrate.engine.application.notice_sources import FactsFound, Notice, read_declared, template_name
from pymigrate.engine.application.template_checks import source_of
from pymigrate.engine.domain.delivery import Content, Delivery
from pymigrate.engine.domain.notices import Directory, Stakeholder
from pymigrate.engine.ports.rendering import RenderedText, Renderer, RenderRequest, TemplateSource
from pymigrate.engine.ports.store import Store
from pymigrate.v1 import notification_pb2

log = structlog.get_logger(__name__)
PROBLEM_CHARACTERS_MAX = 300
NO_TEMPLATE = "none"
FIRST_TYPE = "phase.failed"
# What these carry is plain text: pages for them would be rendered and kept for nobody.
WITHOUT_HTML = frozenset({"apprise", "webhook"})
_INSTEAD = {
    "en": "This is the default text: the template {template} could not be used ({problem}).",
    "de": "Dies ist der Standardtext: Die Vorlage {template} liess sich nicht verwenden ({problem}).",
}
_Sources = dict[tuple[str, str, str], TemplateSource]


@dataclass(frozen=True, slots=True)
class _Message:
    """One message on its way: by which template, in which language, of what."""

    template: str
    version: int
    language: str
    request: RenderRequest
    default: TemplateSource
    role: str


class Contents:
    """Makes contents. `acknowledge_url` gives the link of a delivery, empty where there is none."""

    def __init__(
        self,
        store: Store,
        directories: Directories,
        kpis: FleetKpis,
        renderer: Renderer,
        acknowledge_url: Callable[[Delivery], str],
    ) -> None:
        self._store = store
        self._directories = directories
        self._kpis = kpis
        self._renderer = renderer
        self._acknowledge_url = acknowledge_url

    async def of(self, notices: Sequence[Notice]) -> list[Content]:
        """What each would say now, in order."""
        declared = await self._store.read(lambda unit: read_declared(unit, self._directories, notices))
        names, found = declared.display_names(), FactsFound(self._kpis, declared)
        shared: dict[tuple[int, str], Context] = {}
        recipients: dict[tuple[str, str, str], Context] = {}
        sources: _Sources = {}
        messages: list[_Message] = []
        for notice in notices:
            directory, delivery = declared.directories[notice.delivery.environment], notice.delivery
            stakeholder = _stakeholder(directory, delivery)
            role, language = told_role(delivery.template_role, stakeholder), language_of(stakeholder.locale)
            place = (id(notice.occurrences), language)
            if place not in shared:
                facts = await found.of(gravest(notice.occurrences))
                shared[place] = shared_context(notice.occurrences, facts, phrases_in(language), names)
            own = own_context(self._addressed(delivery, stakeholder, role), phrases_in(language))
            # Values that several read are the same object: they are said once to the process that renders.
            own["recipient"] = recipients.setdefault((directory.environment, stakeholder.id, role), own["recipient"])
            template = declared.templates.get(template_name(delivery))
            kind = _kind(directory, delivery)
            default = _source(sources, default_template(role), f"{PREFIX}{role}", stakeholder.locale, kind)
            if template is None or not template.texts:
                named, version, source = f"{PREFIX}{role}", default_template(role).version, default
            else:
                named, version = delivery.template, template.version
                source = _source(sources, template, template.name, stakeholder.locale, kind)
            request = RenderRequest(source, shared[place] | own)
            messages.append(_Message(named, version, language, request, default, role))
        return await self._rendered(messages)

    async def warm(self) -> None:
        """Has every text of the package's own rendered once, so that the first message waits for no process to start and no template to be
        read."""
        requests = [
            RenderRequest(source_of(text), sample_contexts(FIRST_TYPE, text.locale)[0])
            for role in ROLES
            for text in default_template(role).texts.values()
        ]
        await self._renderer.render(requests)

    def plain(self, notice: Notice) -> Content:
        """What happened, from nothing but what is told: for what can't be rendered at all."""
        shared = shared_context(notice.occurrences, NOTHING_KNOWN, phrases_in(LANGUAGES[0]), {})
        return _plain(shared, "")

    def _addressed(self, delivery: Delivery, stakeholder: Stakeholder, role: str) -> Addressed:
        return Addressed(
            stakeholder,
            role,
            delivery.severity,
            delivery.rule,
            max(1, delivery.entry_count),
            delivery.duplicates,
            delivery.escalation,
            self._acknowledge_url(delivery),
        )

    async def _rendered(self, messages: Sequence[_Message]) -> list[Content]:
        """Those that fail are rendered once more, by the default text."""
        texts = await self._renderer.render([message.request for message in messages])
        contents = [_content(message, text) for message, text in zip(messages, texts, strict=True)]
        failed = [at for at, text in enumerate(texts) if text.problem]
        if failed:
            requests = [replace(messages[at].request, source=messages[at].default) for at in failed]
            for at, text in zip(failed, await self._renderer.render(requests), strict=True):
                contents[at] = _content_instead(messages[at], texts[at].problem, text)
        return contents


def content_digest(subject: str, body: str, page: str) -> str:
    """The SHA-256 of what is sent."""
    return hashlib.sha256(f"{subject}\0{body}\0{page}".encode()).hexdigest()


def _stakeholder(directory: Directory, delivery: Delivery) -> Stakeholder:
    """Who is told; by their id alone where they are gone by now."""
    return directory.stakeholders.get(delivery.stakeholder) or Stakeholder(delivery.stakeholder, "")


def _kind(directory: Directory, delivery: Delivery) -> str:
    channel = directory.channels.get(delivery.channel)
    return channel.kind if channel is not None else ""


def _source(
    sources: _Sources, template: notification_pb2.NotificationTemplate, name: str, locale: str, kind: str
) -> TemplateSource:
    place = (name, locale, kind)
    if place not in sources:
        source = source_of(pick_text(template.texts, locale, kind))
        sources[place] = replace(source, html="") if kind in WITHOUT_HTML else source
    return sources[place]


def _content(message: _Message, text: RenderedText) -> Content:
    return Content(
        text.subject,
        text.body,
        text.html,
        message.template,
        message.version,
        content_digest(text.subject, text.body, text.html),
    )


def _content_instead(message: _Message, problem: str, text: RenderedText) -> Content:
    """The default text, which says why it stands there; plain sentences where that fails too."""
    log.warning("notice.template_failed", template=message.template, problem=problem)
    note = _storable(
        _INSTEAD[message.language].format(template=message.template, problem=problem[:PROBLEM_CHARACTERS_MAX])
    )
    if text.problem:
        log.error("notice.default_failed", role=message.role, problem=text.problem)
        return _plain(message.request.context, note)
    page = f"{text.html}<p>{html.escape(note)}</p>\n" if text.html else ""
    body = f"{text.body.rstrip()}\n\n{note}\n"
    return Content(
        text.subject,
        body,
        page,
        f"{PREFIX}{message.role}",
        default_template(message.role).version,
        content_digest(text.subject, body, page),
    )


def _plain(context: Mapping[str, Any], note: str) -> Content:
    """What happened, without any template."""
    told = [f"{event['time']} {event['title']}{_reason(event)}" for event in context["events"]]
    subject = _storable(" ".join(str(context["event"]["title"]).split()))
    body = _storable("\n".join([*told, "", note, ""]) if note else "\n".join([*told, ""]))
    return Content(subject, body, "", NO_TEMPLATE, 0, content_digest(subject, body, ""))


def _storable(text: str) -> str:
    """Without what neither mail nor a database takes; what is rendered has none."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")


def _reason(event: Context) -> str:
    failure = event["failure"]
    return f" ({failure['reason']}: {failure['message']})" if failure else ""
