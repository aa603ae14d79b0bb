"""What is taken out of texts once a secret has been read, and what stays."""

import base64
import html
import json
import random
import shlex
import string
import threading
from collections.abc import Callable, Mapping
from urllib.parse import quote, quote_plus, urlencode
from xml.sax.saxutils import escape, quoteattr

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pymigrate.engine.ports.redaction import CUT_BYTES_MIN, LINE_CHARACTERS_MIN, Redactor
from pymigrate.engine.ports.secrets import HIDDEN, Secret

VALUES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters=HIDDEN), min_size=8).filter(
    lambda text: text.strip() == text
)
TRICKY = "pa ss'w\"o%rd\\é&<中>/+:@$\U0001f511\x07"
PEM = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC\nBKcwggSjAgEAAoIBAQDf0f0cLmtkoQ==\n-----END PRIVATE KEY-----"


def lower_digits(text: str) -> str:
    """Percent encoding with digits in small letters."""
    first, *rest = text.split("%")
    return "%".join((first, *(part[:2].lower() + part[2:] for part in rest)))


SPELLINGS: Mapping[str, Callable[[str], str]] = {
    "itself": str,
    "percent": lambda value: quote(value, safe=""),
    "percent, paths": quote,
    "percent, some of it": lambda value: quote(value, safe=" +:@"),
    "percent, small digits": lambda value: lower_digits(quote(value, safe="")),
    "percent, all of it": lambda value: "".join(f"%{byte:02X}" for byte in value.encode()),
    "percent, twice": lambda value: quote(quote(value, safe=""), safe=""),
    "form": quote_plus,
    "form, whole": lambda value: urlencode({"password": value, "user": "me"}),
    "JSON": json.dumps,
    "JSON, not ASCII": lambda value: json.dumps(value, ensure_ascii=False),
    "JSON in JSON": lambda value: json.dumps(json.dumps({"password": value})),
    "JSON in a URL": lambda value: quote(json.dumps({"password": value})),
    "repr": repr,
    "repr of bytes": lambda value: repr(value.encode()),
    "ascii": ascii,
    "SQL": lambda value: value.replace("'", "''"),
    "SQL, name": lambda value: value.replace('"', '""'),
    "conninfo": lambda value: "password='" + value.replace("\\", "\\\\").replace("'", "\\'") + "'",
    "shell": shlex.quote,
    "HTML": html.escape,
    "XML": lambda value: escape(value) + quoteattr(value),
    "HTML, numbers": lambda value: "".join(f"&#{ord(character)};" for character in value),
    "hex": lambda value: value.encode().hex(),
    "hex, capitals": lambda value: value.encode().hex().upper(),
    "base64": lambda value: base64.b64encode(value.encode()).decode(),
    "base64, URLs": lambda value: base64.urlsafe_b64encode(value.encode()).decode().rstrip("="),
    "Basic, 1": lambda value: base64.b64encode(f"user:{value}".encode()).decode(),
    "Basic, 2": lambda value: base64.b64encode(f"users:{value}".encode()).decode(),
    "Basic, 3": lambda value: base64.b64encode(f"legacy:{value}:x".encode()).decode(),
}


def knowing(*values: str, values_max: int = 100) -> Redactor:
    redactor = Redactor(values_max)
    for value in values:
        redactor.note(Secret(value))
    return redactor


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("value", [TRICKY, "hunter22", "t0ken/with+base64=="])
def test_a_value_is_taken_out_in_every_spelling(spelling: str, value: str) -> None:
    spelled = SPELLINGS[spelling](value)
    cleaned = knowing(value).clean(f"before {spelled} after")
    assert cleaned.startswith("before ")
    assert cleaned.endswith(" after")
    assert HIDDEN in cleaned
    assert value not in cleaned
    assert spelled not in cleaned


@pytest.mark.parametrize("spelling", SPELLINGS)
@given(VALUES, st.text(max_size=20), st.text(max_size=20))
def test_any_value_is_taken_out_whatever_stands_around_it(spelling: str, value: str, before: str, after: str) -> None:
    cleaned = knowing(value).clean(f"{before} {SPELLINGS[spelling](value)} {after}")
    assert value not in cleaned
    assert HIDDEN in cleaned


@given(st.text(), st.lists(VALUES, max_size=3))
def test_a_text_without_any_value_is_left_as_it_is(text: str, values: list[str]) -> None:
    cleaned = knowing(*values).clean(text)
    assert cleaned == text or any(value.encode()[:CUT_BYTES_MIN] in text.encode() for value in values)


def test_the_longest_value_is_taken_out_first() -> None:
    redactor = knowing("pass", "password-2", "")
    assert redactor.clean("user:password-2@host pass") == f"user:{HIDDEN}@host {HIDDEN}"


def test_values_that_overlap_or_touch_leave_one_mark() -> None:
    assert knowing("abcdef", "defghi").clean("x abcdefghi y abcdefdefghi z") == f"x {HIDDEN} y {HIDDEN} z"


@pytest.mark.parametrize("value", ["x", "no", "abc", " a "])
def test_a_value_that_is_too_short_cuts_no_text_to_pieces(value: str) -> None:
    text = "no abc of x: a line"
    assert knowing(value).clean(text) == text
    assert knowing(value).clean(value) == HIDDEN


def test_no_line_of_a_secret_with_several_is_left() -> None:
    redactor = knowing(PEM)
    for line in PEM.splitlines()[1:-1]:
        assert redactor.clean(f"can't read key: {line} is no key") == f"can't read key: {HIDDEN} is no key"
    assert redactor.clean(json.dumps({"key": PEM})) == f'{{"key": "{HIDDEN}"}}'
    assert redactor.clean("-----BEGIN PRIVATE KEY-----") == "-----BEGIN PRIVATE KEY-----"
    assert len(min(PEM.splitlines(), key=len)) >= LINE_CHARACTERS_MIN


@pytest.mark.parametrize("spelling", ["itself", "repr", "hex", "hex, capitals", "base64"])
@pytest.mark.parametrize("end", ["", "…", "...", " ...", "…` is no int64", '\\u2026" is no int64'])
def test_a_value_that_was_cut_is_taken_out_from_its_beginning(spelling: str, end: str) -> None:
    spelled = SPELLINGS[spelling]("s3cret-0f-the-warehouse").strip("\"'")
    for kept in range(len(spelled) // 2, len(spelled)):
        assert knowing("s3cret-0f-the-warehouse").clean(f"`{spelled[:kept]}{end}") == f"`{HIDDEN}{end}"


def test_a_value_that_was_cut_in_the_middle_is_taken_out_with_its_end() -> None:
    redactor = knowing("s3cret-0f-the-warehouse")
    assert redactor.clean("input 's3cret-0f...warehouse' is none") == f"input '{HIDDEN}' is none"
    assert redactor.clean("input 's3cret-0f...house' is none") == f"input '{HIDDEN}...house' is none"


@pytest.mark.parametrize(
    "text", ["warehouse-1", "warehouse-1 is open", "a warehouse-of-all...", "warehou...", "warehou"]
)
def test_what_only_begins_as_a_value_does_is_left_as_it_is(text: str) -> None:
    assert knowing("warehouse-of-s3crets").clean(text) == text


def test_base64_is_taken_out_with_the_digits_that_share_a_byte_with_it() -> None:
    for user in ("u", "us", "use"):
        header = base64.b64encode(f"{user}:hunter22".encode()).decode()
        left = knowing("hunter22").clean(header).replace(HIDDEN, "")
        assert b"h" not in base64.b64decode(left + "A" * (-len(left) % 4))


def test_bytes_that_are_no_text_are_taken_out_as_they_are_written() -> None:
    key = bytes(range(200, 232))
    redactor = knowing(key.decode("utf-8", "surrogateescape"))
    for text in (repr(key)[2:-1], key.hex(), base64.b64encode(key).decode(), quote(key)):
        assert redactor.clean(f"key {text} end") == f"key {HIDDEN} end"


def test_an_old_version_stays_hidden_until_as_many_newer_ones_are_known() -> None:
    redactor = knowing("version-1", "version-2", values_max=2)
    redactor.note(Secret("version-1"))  # read again, and so the newest
    redactor.note(Secret("version-3"))
    assert redactor.clean("version-1 version-2 version-3") == f"{HIDDEN} version-2 {HIDDEN}"


def test_what_a_forgotten_value_shares_with_another_stays_hidden() -> None:
    redactor = knowing("pass\nshared-line", "word\nshared-line", values_max=1)
    assert redactor.clean("shared-line") == HIDDEN
    redactor.note(Secret("another"))
    assert redactor.clean("shared-line") == "shared-line"


def test_it_holds_while_values_are_told_on_other_threads() -> None:
    redactor = knowing("hunter22", values_max=10_000)
    dice = random.Random(7)
    values = ["".join(dice.choices(string.ascii_letters, k=24)) for _ in range(400)]

    def tell() -> None:
        for value in values:
            redactor.note(Secret(value))

    teller = threading.Thread(target=tell)
    teller.start()
    while teller.is_alive():
        assert redactor.clean("a hunter22 b") == f"a {HIDDEN} b"
    teller.join()
    assert redactor.clean(" ".join(values)) == " ".join([HIDDEN] * len(values))
