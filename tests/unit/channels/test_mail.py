"""Letters as mail: the library reads back exactly what was meant, and nobody adds a header by what they write into a name."""

from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import SMTP

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pymigrate.engine.adapters.channels.mail import Mailbox, address, mail_of, mailbox
from pymigrate.engine.domain.errors import InvalidDefinition
from tests.letters import KEY, letter

SENDER = mailbox("PyMigrate <ops@example.com>", "smtp.sender")
HEADERS = [
    "From",
    "To",
    "Subject",
    "Date",
    "Message-ID",
    "X-PyMigrate-Key",
    "Auto-Submitted",
    "X-Auto-Response-Suppress",
    "MIME-Version",
    "Content-Type",
]
# What a person writes into one line or several: anything that can be encoded and controls nothing.
LINES = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"], exclude_characters="\x85"), max_size=200)
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\x0b\x0c\x1c\x1d\x1e"), max_size=2_000)
BREAKS = ["\r\nBcc: eve@example.com", "a\nb", "a\rb", "\x00", "a\u2028b", "a\x85b", "\x1b[2J", "\ud800"]


def read(data: bytes) -> EmailMessage:
    """The mail as a server has it, and the library reads it."""
    assert data.endswith(b"\r\n.\r\n")
    assert data.isascii()
    assert b"\n" not in data.replace(b"\r\n", b"")
    assert b"\r" not in data.replace(b"\r\n", b"")
    lines = data[: -len(b".\r\n")].split(b"\r\n")
    assert max(map(len, lines)) <= 998
    stuffed = [line for line in lines if line.startswith(b".")]
    assert all(line.startswith(b"..") for line in stuffed)
    message = BytesParser(policy=SMTP).parsebytes(b"\r\n".join(line.removeprefix(b".") for line in lines))
    assert isinstance(message, EmailMessage)
    assert not message.defects
    return message


def lines(part: EmailMessage) -> str:
    """A part's text, without what may follow its last line."""
    return str(part.get_content()).replace("\r\n", "\n").rstrip("\r\n")


def spaced(text: str) -> str:
    """A header's text with what folding may do to spaces undone."""
    return " ".join(text.split())


@given(LINES, LINES, TEXTS, TEXTS)
def test_a_mail_reads_back_as_it_was_meant(subject: str, name: str, body: str, html: str) -> None:
    told = letter(subject=subject, display_name=name, body=body, html=html)
    message = read(mail_of(told, SENDER, None).data)
    assert list(message.keys())[: len(HEADERS) - 1] == HEADERS[:-1]
    assert spaced(str(message["Subject"])) == spaced(subject)
    (to,) = message["To"].addresses
    # The library keeps the space between encoded words of a name, which RFC 2047, 6.2, has nobody see.
    assert (to.addr_spec, "".join(to.display_name.split())) == ("ada@example.com", "".join(name.split()))
    plain = message.get_body(("plain",))
    assert isinstance(plain, EmailMessage)
    assert lines(plain) == body.rstrip("\n")
    if html:
        rich = message.get_body(("html",))
        assert isinstance(rich, EmailMessage)
        assert lines(rich) == html.rstrip("\n")
        assert message.get_content_type() == "multipart/alternative"


def test_a_mail_has_these_headers_and_no_others() -> None:
    message = read(mail_of(letter(), SENDER, mailbox("help@example.com", "smtp.reply_to")).data)
    assert sorted(message.keys()) == sorted([*HEADERS, "Reply-To", "Content-Transfer-Encoding"])
    assert message["From"] == "PyMigrate <ops@example.com>"
    assert message["To"] == "Ada Lovelace <ada@example.com>"
    assert message["Reply-To"] == "help@example.com"
    assert message["Date"] == "Sun, 01 Mar 2026 12:00:00 +0000"
    assert message["Message-ID"] == f"<{KEY}@pymigrate>"
    assert message["X-PyMigrate-Key"] == KEY
    assert message["Auto-Submitted"] == "auto-generated"


def test_a_body_ends_with_its_own_last_line() -> None:
    assert mail_of(letter(body="one\ntwo\n"), SENDER, None).data.endswith(b"\r\n\r\none\r\ntwo\r\n.\r\n")


def test_every_try_of_a_letter_has_the_same_message_id() -> None:
    tries = [read(mail_of(letter(try_number=number), SENDER, None).data)["Message-ID"] for number in (1, 2)]
    assert tries[0] == tries[1]


@pytest.mark.parametrize("field", ["subject", "display_name", "key", "to"])
@pytest.mark.parametrize("text", BREAKS)
def test_whatever_would_end_a_header_is_refused(field: str, text: str) -> None:
    with pytest.raises(InvalidDefinition) as refused:
        mail_of(letter(**{field: text}), SENDER, None)
    assert refused.value.message.isprintable()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ada",
        "@example.com",
        "ada@",
        "ada@example.com, eve@example.com",
        "ada@example.com>",
        "<ada@example.com>",
        "ada lovelace@example.com",
        "ada@exam ple.com",
        "ada@example.com NOTIFY=NEVER",
        "ada..l@example.com",
        ".ada@example.com",
        "ada@-example.com",
        "ada@example..com",
        "ädä@example.com",
        f"{'a' * 65}@example.com",
        f"ada@{'a.' * 130}com",
        f"ada@{'ä' * 70}.com",
    ],
)
def test_what_is_not_one_address_is_refused(text: str) -> None:
    with pytest.raises(InvalidDefinition, match="is no mail address"):
        address(text, "to")


def test_a_domain_is_written_as_dns_has_it() -> None:
    assert address("ada@bücher.example", "to") == "ada@xn--bcher-kva.example"


@pytest.mark.parametrize(
    "text", ["", "PyMigrate", "a@example.com, b@example.com", "PyMigrate <>", "P\n<a@example.com>"]
)
def test_a_sender_that_is_not_one_address_is_refused(text: str) -> None:
    with pytest.raises(InvalidDefinition, match=r"smtp\.sender"):
        mailbox(text, "smtp.sender")


@pytest.mark.parametrize("name", ["Doe, Jane", 'Jane "JD" Doe', "Jane \\ Doe", "Jürg =?utf-8?q?x?=", "a@b", "(x)"])
def test_a_name_with_signs_of_the_syntax_stays_a_name(name: str) -> None:
    message = read(mail_of(letter(display_name=name), SENDER, None).data)
    (to,) = message["To"].addresses
    assert (to.display_name, to.addr_spec) == (name, "ada@example.com")


def test_the_link_to_acknowledge_is_added_where_the_texts_do_not_have_it() -> None:
    link = "https://engine.example/acknowledge?d=1&s=2"
    told = letter(html="<p>It failed.</p>", acknowledge_url=link)
    message = read(mail_of(told, SENDER, None).data)
    plain, rich = message.get_body(("plain",)), message.get_body(("html",))
    assert isinstance(plain, EmailMessage)
    assert isinstance(rich, EmailMessage)
    assert link in plain.get_content()
    assert 'href="https://engine.example/acknowledge?d=1&amp;s=2"' in rich.get_content()
    again = read(mail_of(letter(body=f"See {link}\n", acknowledge_url=link), SENDER, None).data)
    assert again.get_content().count(link) == 1


def test_a_mailbox_without_a_name_is_its_address() -> None:
    assert Mailbox("ops@example.com").header() == "ops@example.com"
