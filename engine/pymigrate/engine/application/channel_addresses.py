"""Addresses as channels take them: of mail (RFC 5321, domains of other scripts by IDNA), URLs of webhooks, and what others make of theirs.

Each may become part of a header or an envelope, so that nothing that could end a line gets through.
"""

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from pymigrate.engine.application.field_definitions import line_problems
from pymigrate.engine.domain.errors import Problem
from pymigrate.v1 import notification_pb2

ADDRESS_MAX = 1_000
URL_MAX = 2_000
MAIL_MAX = 254
LOCAL_PART_MAX = 64
DOMAIN_MAX = 255
_LOCAL_PART = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
# What has a meaning of its own in a header stands in quotes.
_MAILBOX = re.compile(r"""(?:"(?:[^"\\]|\\.)*"|[^"<>@,:;.()\[\]\\]*)\s*<(?P<address>[^<>]+)>""")
_MAIL = "is no mail address: write it as ann@example.com"
_URL = "is no address of HTTP: write it as https://hooks.example.com/pymigrate"


def address_problems(path: str, to: str, channel: notification_pb2.NotificationChannel) -> Iterator[Problem]:
    """Problems of an address that a channel is to reach."""
    match channel.WhichOneof("system"):
        case "smtp":
            yield from mail_problems(path, to)
        case "webhook" if not to:
            if not channel.webhook.url:
                yield Problem(path, "is required: the channel has no URL of its own")
        case "webhook":
            yield from url_problems(path, to)
        case _:
            yield from line_problems(path, to, ADDRESS_MAX)


def mail_problems(path: str, address: str) -> Iterator[Problem]:
    """Problems of a mail address. What is wrong is not repeated: it may hold anything."""
    local_part, separator, domain = address.rpartition("@")
    if not separator or not _LOCAL_PART.fullmatch(local_part) or len(local_part) > LOCAL_PART_MAX:
        yield Problem(path, _MAIL)
    elif len(address) > MAIL_MAX:
        yield Problem(path, f"has at most {MAIL_MAX} characters")
    elif not _is_domain(domain):
        yield Problem(path, f"{_MAIL}; what follows the @ is no domain")


def mailbox_problems(path: str, mailbox: str) -> Iterator[Problem]:
    """Problems of an address that may have a name before it: `PyMigrate <migrations@example.com>`."""
    yield from line_problems(path, mailbox, ADDRESS_MAX)
    named = _MAILBOX.fullmatch(mailbox)
    if named is None and mailbox.endswith(">"):
        yield Problem(path, 'is no address with a name: write it as "Migrations, Prod" <migrations@example.com>')
    else:
        yield from mail_problems(path, named["address"] if named else mailbox)


def url_problems(path: str, url: str) -> Iterator[Problem]:
    """Problems of a webhook's URL. Whether its host may be reached is found when it is: it may lead elsewhere by then."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        yield Problem(path, _URL)
        return
    if len(url) > URL_MAX:
        yield Problem(path, f"has at most {URL_MAX:,} characters")
    if parts.scheme not in {"http", "https"} or not host or not url.isascii() or not url.isprintable() or " " in url:
        yield Problem(path, _URL)
    elif parts.username is not None or parts.password is not None:
        yield Problem(path, "must hold no user and no password: send them as a header that refers to a secret")
    elif parts.fragment:
        yield Problem(path, "must hold no fragment: servers never see one")


def host_problems(path: str, host: str) -> Iterator[Problem]:
    """Problems of a server's name or address."""
    if not _is_domain(host) and not re.fullmatch(r"[0-9A-Fa-f:.]+", host):
        yield Problem(path, "is no host: write it as mail.example.com" if host else "is required")


def _is_domain(text: str) -> bool:
    """Whether the text is a domain, also of another script than DNS has."""
    try:
        labels = text.encode("idna").decode().split(".")
    except UnicodeError:
        return False
    return len(text) <= DOMAIN_MAX and all(_LABEL.fullmatch(label) for label in labels)
