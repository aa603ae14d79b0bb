"""Takes the values of secrets out of texts, in every spelling in which logs, errors and answers carry them.

A text is looked at as it is, and as it reads without percent encoding, backslashes and entities, one inside another too; what is found
there is taken out of the text itself. Base64 and hex are looked for as they are written. Values of fewer than four characters can't be
told from ordinary text: they are hidden where they are the whole text, and nowhere else. Of a value that was cut before it came here, the
beginning is found where the text ends with it or leaves something out behind it.
"""

import base64
import html
import json
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pymigrate.engine.ports.secrets import HIDDEN, Secret

VALUES_MAX = 4_096  # remembered of a process: after as many newer ones the oldest is forgotten
CHARACTERS_MIN = 4
LINE_CHARACTERS_MIN = 8  # of one line of a secret that has several
NESTING_MAX = 2
CUT_BYTES_MIN = 8  # of the beginning, and of the end, of what was cut
HEAD_OF_PEM = b"-----"  # tells nothing; the lines behind it are spellings of their own
KEY_BYTES = 4  # by as many first bytes spellings are found
BASE64_EDGE_BYTES = 3  # as many digits beside a value may hold a part of it, or of what it was encoded with
BASE64_DIGITS = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_=")
ENCODING = ("utf-8", "surrogatepass")
PERCENT = re.compile(rb"%([0-9A-Fa-f]{2})")
ENTITY = re.compile(rb"&(?:#([0-9]{1,7})|#[xX]([0-9A-Fa-f]{1,6})|[A-Za-z]{2,8});")
BACKSLASH = re.compile(
    rb"\\(?:u[dD][89abAB][0-9A-Fa-f]{2}\\u[dD][c-fC-F][0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}|x[0-9A-Fa-f]{2}|[0-7]{3}"
    rb"|[^0-9A-Za-z]|[abfnrtv])"
)
# Behind what was cut, with what may be left of an escape in which the cut was made.
CUT = re.compile(rb"(?:%[0-9A-Fa-f]?|\\[uUx]?[0-9A-Fa-f]{0,7}|&[#A-Za-z0-9]{0,7})?(?: ?(?:\.\.\.|\xe2\x80\xa6)|\Z)")
CONTROLS = {b"a": b"\a", b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}
CODE_MAX = 0x10FFFF
CONTINUATION = range(0x80, 0xC0)  # a byte of UTF-8 that no character begins with
Spelling = tuple[bytes, bool]  # and whether it is base64


class Redactor:
    """Takes out the values of the secrets that it was told of, the newest `values_max` of them. Safe on every thread."""

    def __init__(self, values_max: int = VALUES_MAX) -> None:
        self._values_max = values_max
        self._lock = threading.Lock()
        self._spellings: dict[str, frozenset[Spelling]] = {}  # by value, the oldest first
        self._uses: Counter[Spelling] = Counter()
        self._index: dict[bytes, tuple[Spelling, ...]] = {}  # by first bytes, the longest first

    def note(self, secret: Secret) -> None:
        """From now on this secret's value is taken out."""
        value = secret.reveal()
        with self._lock:
            known = self._spellings.pop(value, None)
            if known is not None:
                self._spellings[value] = known
                return
            self._spellings[value] = fresh = frozenset(_spellings(value))
            for spelling in fresh:
                self._use(spelling)
            while len(self._spellings) > self._values_max:
                for spelling in self._spellings.pop(next(iter(self._spellings))):
                    self._disuse(spelling)

    def clean(self, text: str) -> str:
        """The text without any of the values."""
        if not self._spellings or not text:
            return text
        if text in self._spellings:
            return HIDDEN
        raw = text.encode(*ENCODING)
        spans = [
            (view.starts[start], view.ends[end - 1]) for view in _views(raw) for start, end in self._found(view.content)
        ]
        return _without(raw, spans).decode(*ENCODING) if spans else text

    def _found(self, content: bytes) -> Iterator[tuple[int, int]]:
        index = self._index
        for at in range(len(content) - KEY_BYTES + 1):
            known = index.get(content[at : at + KEY_BYTES], ())
            for spelling, is_base64 in known:
                if content.startswith(spelling, at):
                    yield _widened(content, at, at + len(spelling)) if is_base64 else (at, at + len(spelling))
                    break
                if (end := _end_of_cut(content, at, spelling)) > at:
                    yield at, end

    def _use(self, spelling: Spelling) -> None:
        self._uses[spelling] += 1
        key = spelling[0][:KEY_BYTES]
        if self._uses[spelling] == 1:
            listed = (*self._index.get(key, ()), spelling)
            self._index[key] = tuple(sorted(listed, key=lambda each: len(each[0]), reverse=True))

    def _disuse(self, spelling: Spelling) -> None:
        self._uses[spelling] -= 1
        if self._uses[spelling]:
            return
        del self._uses[spelling]
        key = spelling[0][:KEY_BYTES]
        left = tuple(each for each in self._index[key] if each != spelling)
        if left:
            self._index[key] = left
        else:
            del self._index[key]


@dataclass(frozen=True, slots=True)
class _View:
    """A text as it reads, and for each of its bytes where in the text that was given the byte comes from."""

    content: bytes
    starts: "range | list[int]"
    ends: "range | list[int]"


def _views(raw: bytes) -> Iterator[_View]:
    """The text as it is, and as it reads after each decoding that changes it, and after two of them."""
    level = [_View(raw, range(len(raw)), range(1, len(raw) + 1))]
    yield level[0]
    for _ in range(NESTING_MAX):
        level = [fresh for view in level for rule in DECODINGS if (fresh := _decoded(view, *rule)) is not None]
        yield from level


def _end_of_cut(content: bytes, start: int, spelling: bytes) -> int:
    """Where a part of a spelling ends that was cut, with its own end where that stands behind the gap; `start` where none was."""
    if spelling.startswith(HEAD_OF_PEM) or not content.startswith(spelling[:CUT_BYTES_MIN], start):
        return start
    pairs = zip(spelling, content[start : start + len(spelling)], strict=False)
    alike = next(
        (at for at, (mine, told) in enumerate(pairs) if mine != told), min(len(spelling), len(content) - start)
    )
    gap = CUT.match(content, start + alike)
    if gap is None:
        return start
    for size in range(len(spelling) - alike, CUT_BYTES_MIN - 1, -1):
        if content.startswith(spelling[-size:], gap.end()):
            return gap.end() + size
    return start + alike


def _decoded(view: _View, pattern: re.Pattern[bytes], replaced: Callable[[re.Match[bytes]], bytes]) -> _View | None:
    """The text as it reads without one kind of encoding; None where that changes nothing."""
    content, starts, ends, last = bytearray(), list[int](), list[int](), 0
    for found in pattern.finditer(view.content):
        fresh = replaced(found)
        content += view.content[last : found.start()] + fresh
        starts += view.starts[last : found.start()]
        ends += view.ends[last : found.start()]
        starts += [view.starts[found.start()]] * len(fresh)
        ends += [view.ends[found.end() - 1]] * len(fresh)
        last = found.end()
    if not last:
        return None
    return _View(bytes(content + view.content[last:]), [*starts, *view.starts[last:]], [*ends, *view.ends[last:]])


def _from_percent(found: re.Match[bytes]) -> bytes:
    return bytes((int(found[1], 16),))


def _from_entity(found: re.Match[bytes]) -> bytes:
    decimal, hexadecimal = found[1], found[2]
    if decimal is None and hexadecimal is None:
        return html.unescape(found[0].decode()).encode(*ENCODING)
    return chr(min(int(decimal) if hexadecimal is None else int(hexadecimal, 16), CODE_MAX)).encode(*ENCODING)


def _from_backslash(found: re.Match[bytes]) -> bytes:
    said = found[0][1:]
    match chr(said[0]):
        case "u" | "U":
            pair = said.decode().split("\\")
            text = "".join(chr(min(int(unit[1:], 16), CODE_MAX)) for unit in pair)
            return text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass").encode(*ENCODING)
        case "x":
            return bytes((int(said[1:], 16),))
        case digit if digit.isdigit():
            return bytes((int(said, 8) & 0xFF,))
        case _:
            return CONTROLS.get(said, said)


DECODINGS = ((PERCENT, _from_percent), (BACKSLASH, _from_backslash), (ENTITY, _from_entity))


def _spellings(value: str) -> Iterator[Spelling]:
    """How a value is written, besides what decoding a text brings to light. None for one that is too short to be told from text."""
    if len(value.strip()) < CHARACTERS_MIN:
        return
    lines = [line.strip() for line in value.splitlines()] if "\n" in value or "\r" in value else []
    texts = {value, value.strip()}
    texts |= {line for line in lines if len(line) >= LINE_CHARACTERS_MIN and not line.startswith(HEAD_OF_PEM.decode())}
    for text in texts:
        for form in (
            text,
            repr(text)[1:-1],
            ascii(text)[1:-1],
            json.dumps(text)[1:-1],
            text.replace(" ", "+"),
            text.replace("'", "''"),
            text.replace('"', '""'),
            text.replace("'", "'\"'\"'"),
            text.replace("%", "%%"),
        ):
            yield form.encode(*ENCODING), False
    # One byte for a character that has one, as escapes of single bytes say it.
    yield (
        b"".join(chr(code).encode("latin-1" if code < 0x100 else "utf-8", "replace") for code in map(ord, value)),
        False,
    )
    raw = _bytes_of(value)
    yield raw, False
    for before in range(3):  # how many bytes of something else share the first digits: of `user:`, as headers have it
        encoded = base64.b64encode(bytes(before) + raw)
        shared_end = -(len(raw) + before) % 3
        core = encoded[(0, 2, 3)[before] : len(encoded) - (0, 2, 3)[shared_end]]
        yield core, True
        yield core.translate(bytes.maketrans(b"+/", b"-_")), True
    yield raw.hex().encode(), False
    yield raw.hex().upper().encode(), False


def _bytes_of(value: str) -> bytes:
    """What a value stands for: bytes that are no text are carried as Python escapes them (PEP 383)."""
    try:
        return value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return value.encode(*ENCODING)


def _widened(content: bytes, start: int, end: int) -> tuple[int, int]:
    """With the digits of base64 beside it that share a byte with the value."""
    first, last = max(0, start - BASE64_EDGE_BYTES), min(len(content), end + BASE64_EDGE_BYTES)
    while start > first and content[start - 1] in BASE64_DIGITS:
        start -= 1
    while end < last and content[end] in BASE64_DIGITS:
        end += 1
    return start, end


def _without(raw: bytes, spans: list[tuple[int, int]]) -> bytes:
    """What is left: spans that touch one another are one, and each is of whole characters."""
    pieces, last = list[bytes](), 0
    for start, end in sorted(spans):
        while start > last and raw[start] in CONTINUATION:
            start -= 1
        while end < len(raw) and raw[end] in CONTINUATION:
            end += 1
        if end <= last:
            continue
        if start > last or not pieces:
            pieces += (raw[last:start], HIDDEN.encode())
        last = end
    return b"".join((*pieces, raw[last:]))
