"""What may be declared of notification templates, but for what rendering them tells: what they are for, and how large their texts are."""

from collections.abc import Iterator

from pymigrate.engine.application.channel_definitions import OWN_KINDS
from pymigrate.engine.application.event_types import event_type_problems
from pymigrate.engine.application.field_definitions import (
    DISPLAY_NAME_MAX,
    id_problems,
    line_problems,
    text_problems,
)
from pymigrate.engine.application.stakeholder_definitions import locale_problems
from pymigrate.engine.domain.errors import Problem
from pymigrate.engine.domain.names import last_segment
from pymigrate.engine.domain.notices import LOCALE_DEFAULT
from pymigrate.v1 import notification_pb2

TEXTS_MAX = 64
SUBJECT_MAX = 1_000
BODY_BYTES_MAX = 64_000
OWN_PREFIX = "default-"
"""How the names of the package's own templates begin."""


def template_own_problems(template: notification_pb2.NotificationTemplate) -> Iterator[Problem]:
    """Problems of a template, as far as it tells them without being rendered."""
    yield from text_problems(template)
    yield from line_problems("display_name", template.display_name, DISPLAY_NAME_MAX)
    if last_segment(template.name).startswith(OWN_PREFIX):
        yield Problem("name", f"begins with `{OWN_PREFIX}`, as PyMigrate's own do: choose another")
    yield from event_type_problems("types", template.types)
    if not 1 <= len(template.texts) <= TEXTS_MAX:
        yield Problem("texts", f"has 1 to {TEXTS_MAX} entries")
    places: dict[tuple[str, str], str] = {}
    for name, text in sorted(template.texts.items()):
        path = f"texts.{name}"
        yield from id_problems(path, name)
        yield from _text_problems(path, text)
        first = places.setdefault(((text.locale or LOCALE_DEFAULT).lower(), text.channel), name)
        if first != name:
            yield Problem(path, f"is for the same language and channel as `{first}`")


def _text_problems(path: str, text: notification_pb2.TemplateText) -> Iterator[Problem]:
    yield from locale_problems(f"{path}.locale", text.locale)
    if text.channel and text.channel not in OWN_KINDS:
        yield from id_problems(f"{path}.channel", text.channel)
    if not text.subject.strip():
        yield Problem(f"{path}.subject", "is required")
    yield from line_problems(f"{path}.subject", text.subject, SUBJECT_MAX)
    if not text.body.strip():
        yield Problem(f"{path}.body", "is required: plain text is what every channel takes")
    for field, value in (("body", text.body), ("html", text.html)):
        if len(value.encode(errors="replace")) > BODY_BYTES_MAX:
            yield Problem(f"{path}.{field}", f"has at most {BODY_BYTES_MAX // 1_000} kB")
