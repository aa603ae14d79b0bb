"""A letter as a mail of RFC 5322: a few headers, plain text, and HTML beside it where there is one.

It is written here and not by `email.message`, which takes more than a millisecond for each, most of what sending one costs; a property
holds that the library reads back exactly what was meant. Everything is ASCII, so that every server takes it.
"""

import binascii
import re
from collections.abc import Iterator
from dataclasses import dataclass
from email.header import Header
from email.policy import default as policy
from email.utils import format_datetime, formatdate
from functools import lru_cache
from html import escape

from pymigrate.engine.adapters.channels.lines import is_one_line
from pymigrate.engine.domain.errors import InvalidDefinition, Problem
from pymigrate.engine.ports.channel import Letter

MESSAGE_ID_DOMAIN = "pymigrate"
LINE_CHARACTERS_MAX = 900  # RFC 5322 ends at 998
HEADER_CHARACTERS_MAX = 76
ADDRESS_CHARACTERS_MAX = 254
LOCAL_CHARACTERS_MAX = 64
ENCODED_KEPT_MAX = 1_000
SPECIALS = re.compile(r'[()<>@,:;.\[\]"\\]')
ATOMS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
DOMAIN = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*")
KEY = re.compile(r"[A-Za-z0-9_.-]+")
LINE_END = re.compile(r"\r\n|\r")
LONG_LINE = re.compile(rf"[^\n]{{{LINE_CHARACTERS_MAX}}}")
LEADING_DOT = re.compile(rb"(?m)^\.")
PLAIN = re.compile(r"[\t\n -~]*")


@dataclass(frozen=True, slots=True)
class Mailbox:
    """An address as servers take it, and the name beside it."""

    address: str
    name: str = ""

    def header(self) -> str:
        """As a header holds it."""
        if not self.name:
            return self.address
        if not self.name.isascii() or "=?" in self.name:
            return f"{_encoded(self.name)} <{self.address}>"
        if SPECIALS.search(self.name):
            quoted = self.name.replace("\\", "\\\\").replace('"', '\\"')
            return f'"{quoted}" <{self.address}>'
        return f"{self.name} <{self.address}>"


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail as it goes over the wire after DATA, its dots doubled and its end included."""

    recipient: str
    data: bytes


def mailbox(text: str, field: str) -> Mailbox:
    """Reads `PyMigrate <migrations@example.com>`. Raises InvalidDefinition."""
    if not is_one_line(text):
        raise InvalidDefinition((Problem(field, "has a line break or a control character"),))
    found = policy.header_factory("From", text)
    if found.defects or len(found.addresses) != 1:
        raise InvalidDefinition((Problem(field, f"`{text}` is not one address such as PyMigrate <ops@example.com>"),))
    return Mailbox(address(found.addresses[0].addr_spec, field), found.addresses[0].display_name)


def address(text: str, field: str) -> str:
    """One address, its domain as DNS has it. Raises InvalidDefinition for anything else, whatever it was meant to do."""
    local, separator, domain = text.rpartition("@")
    try:
        encoded = domain if domain.isascii() else domain.encode("idna").decode()
    except UnicodeError:
        encoded = ""
    if (
        not separator
        or len(text) > ADDRESS_CHARACTERS_MAX
        or len(local) > LOCAL_CHARACTERS_MAX
        or not ATOMS.fullmatch(local)
        or not DOMAIN.fullmatch(encoded)
    ):
        shown = text if is_one_line(text) and len(text) <= ADDRESS_CHARACTERS_MAX else "what was given"
        raise InvalidDefinition((Problem(field, f"`{shown}` is no mail address such as ops@example.com"),))
    return f"{local}@{encoded}"


def mail_of(letter: Letter, sender: Mailbox, reply_to: Mailbox | None) -> Mail:
    """The mail. Raises InvalidDefinition where something would end a line that it must not."""
    recipient = Mailbox(address(letter.to, "to"), letter.display_name.strip())
    for field, text in (("display_name", letter.display_name), ("subject", letter.subject)):
        if not is_one_line(text):
            raise InvalidDefinition((Problem(field, "has a line break or a control character, which a header can't"),))
    if not KEY.fullmatch(letter.key) or len(letter.key) > LINE_CHARACTERS_MAX:
        raise InvalidDefinition((Problem("key", "is none that a Message-ID can be made of"),))
    lines = "\r\n".join((*_headers(letter, sender, reply_to, recipient), *_parts(letter)))
    return Mail(recipient.address, LEADING_DOT.sub(b"..", lines.encode("ascii")) + b"\r\n.\r\n")


def _headers(letter: Letter, sender: Mailbox, reply_to: Mailbox | None, recipient: Mailbox) -> Iterator[str]:
    yield f"From: {sender.header()}"
    yield f"To: {recipient.header()}"
    if reply_to is not None:
        yield f"Reply-To: {reply_to.header()}"
    yield f"Subject: {_unstructured(letter.subject)}"
    yield f"Date: {format_datetime(letter.time) if letter.time is not None else formatdate()}"
    yield f"Message-ID: <{letter.key}@{MESSAGE_ID_DOMAIN}>"
    yield f"X-PyMigrate-Key: {letter.key}"
    # RFC 3834: nobody's absence is answered to a machine.
    yield "Auto-Submitted: auto-generated"
    yield "X-Auto-Response-Suppress: All"
    yield "MIME-Version: 1.0"


def _parts(letter: Letter) -> Iterator[str]:
    text, html, link = letter.body, letter.html, letter.acknowledge_url
    if link and link not in text:
        text = f"{text.rstrip()}\n\n{link}\n"
    if not html:
        yield from _part("plain", text, is_quoted=not PLAIN.fullmatch(text) or bool(LONG_LINE.search(text)))
        return
    if link and link not in html and escape(link) not in html:
        html = f'{html.rstrip()}\n<p><a href="{escape(link)}">{escape(link)}</a></p>\n'
    # Both are quoted-printable, in which `=_` can't occur: nothing in them ends a part.
    boundary = f"=_{letter.key[:32]}"
    yield f'Content-Type: multipart/alternative; boundary="{boundary}"'
    for kind, content in (("plain", text), ("html", html)):
        yield f"\r\n--{boundary}"
        yield from _part(kind, content, is_quoted=True)
    yield f"--{boundary}--"


def _part(kind: str, text: str, *, is_quoted: bool) -> Iterator[str]:
    lines = LINE_END.sub("\n", text).removesuffix("\n")  # whoever comes next ends the last line
    yield f'Content-Type: text/{kind}; charset="utf-8"'
    yield f"Content-Transfer-Encoding: {'quoted-printable' if is_quoted else '7bit'}\r\n"
    if is_quoted:
        lines = binascii.b2a_qp(lines.encode(errors="replace")).decode("ascii")
    yield lines.replace("\n", "\r\n")


def _unstructured(text: str) -> str:
    if text.isascii() and "=?" not in text and len(text) <= LINE_CHARACTERS_MAX:
        return text.strip()
    return _encoded(text.strip())


@lru_cache(maxsize=ENCODED_KEPT_MAX)
def _encoded(text: str) -> str:
    """As encoded words of RFC 2047, on as many lines as they take. Many recipients are told the same."""
    return Header(text, "utf-8", maxlinelen=HEADER_CHARACTERS_MAX, header_name="Subject").encode(linesep="\r\n")
