"""The package's own templates, one for each role: what is told where a rule names none. Their texts lie in `default_templates`.

A file holds the sections `subject`, `body`, `html` and `short`, each below a line of three dashes and its name; a line `@name` stands for
the fragment of that name in the language's shared file, since a text of the sandbox includes nothing.
"""

import re
from collections.abc import Mapping
from functools import cache
from typing import Final

from pymigrate.engine.application.notice_phrases import LANGUAGES, packaged
from pymigrate.engine.domain.notices import Stakeholder
from pymigrate.v1 import notification_pb2

ROLES: Final = ("executive", "owner", "operator", "engineer", "approver", "security")
ROLE_DEFAULT: Final = "operator"
PREFIX: Final = "default-"
SHORT_CHANNEL: Final = "apprise"
_PARTS: Final = ("subject", "body", "html", "short")
_SECTION = re.compile(r"^--- ([a-z_]+)\n", re.MULTILINE)
_FRAGMENT = re.compile(r"^@([a-z_]+)\n", re.MULTILINE)


@cache
def default_template(role: str) -> notification_pb2.NotificationTemplate:
    """That of one of ROLES, with a text for each language, and a short one for channels of chats. It is not to be changed."""
    template = notification_pb2.NotificationTemplate(display_name=f"Default for the role {role}", version=1)
    for language in LANGUAGES:
        parts = _sections(f"{role}.{language}.j2")
        shared = _sections(f"shared.{language}.j2")
        subject, body, html, short = (_whole(parts[name], shared) for name in _PARTS)
        template.texts[language].MergeFrom(
            notification_pb2.TemplateText(locale=language, subject=subject.strip(), body=body, html=html)
        )
        template.texts[f"{language}-{SHORT_CHANNEL}"].MergeFrom(
            notification_pb2.TemplateText(locale=language, channel=SHORT_CHANNEL, subject=subject.strip(), body=short)
        )
    return template


def told_role(role: str, stakeholder: Stakeholder | None = None) -> str:
    """The one of ROLES in whose words somebody is told: the role that they were found by, else the first of their own that has a template,
    else ROLE_DEFAULT."""
    roles = (role, *(stakeholder.roles if stakeholder is not None else ()))
    return next((each for each in roles if each in ROLES), ROLE_DEFAULT)


def pick_text(
    texts: Mapping[str, notification_pb2.TemplateText], locale: str, channel_kind: str
) -> notification_pb2.TemplateText:
    """The text that fits best: that of the locale, then of its language, then of English, then any; of those that of the channel's
    kind before one for any channel. One for another kind is taken only where there is no other. `texts` has one at least."""
    wanted = _tag(locale)
    order = (wanted, wanted.partition("-")[0], LANGUAGES[0])

    def rank(name: str) -> tuple[bool, int, bool, str]:
        text, tag = texts[name], _tag(texts[name].locale)
        is_for_another = text.channel not in ("", channel_kind)
        return is_for_another, order.index(tag) if tag in order else len(order), not text.channel, name

    return texts[min(texts, key=rank)]


def _tag(locale: str) -> str:
    return locale.replace("_", "-").lower() or LANGUAGES[0]


def _whole(text: str, shared: Mapping[str, str]) -> str:
    return _FRAGMENT.sub(lambda at: shared[at[1]], text)


def _sections(name: str) -> Mapping[str, str]:
    _, *pieces = _SECTION.split(packaged(name))
    return dict(zip(pieces[::2], pieces[1::2], strict=True))
