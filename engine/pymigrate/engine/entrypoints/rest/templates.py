"""Path templates of `google.api.http`, such as `/v1/{name=environments/*/plans/*}:validate`: read once, matched against many paths.

A `*` stands for one segment, never for several, and `**` is refused: no resource of the contract has a name of unknown length.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

SEGMENTS_MAX = 32
_PIECE = re.compile(
    r"\{(?P<field>[a-z][a-z0-9_]*(?:\.[a-z][a-z0-9_]*)*)(?:=(?P<inner>[^{}]+))?\}|(?P<plain>\*|[A-Za-z0-9_.~-]+)"
)
_SEGMENT = re.compile(r"\*|[A-Za-z0-9_.~-]+")
_VERB = re.compile(r"[A-Za-z][A-Za-z0-9]*")
_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")


@dataclass(frozen=True, slots=True)
class Variable:
    """A field of the request that the segments from `start` to before `end` give, joined by slashes."""

    field: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Path:
    """A path that somebody asked for: its decoded segments, and what follows the last colon of the last of them."""

    segments: tuple[str, ...]
    verb: str


@dataclass(frozen=True, slots=True)
class Template:
    """A template's segments (`*` or literal), its variables, and its verb (empty: none)."""

    text: str
    segments: tuple[str, ...]
    variables: tuple[Variable, ...]
    verb: str

    def match(self, path: Path) -> dict[str, str] | None:
        """The variables' values by field; None for a path of another form."""
        if path.verb != self.verb or len(path.segments) != len(self.segments):
            return None
        if not all(map(fits, self.segments, path.segments)):
            return None
        return {found.field: "/".join(path.segments[found.start : found.end]) for found in self.variables}


def fits(segment: str, given: str) -> bool:
    """Whether a segment of a template admits one of a path."""
    return segment in {"*", given}


def parse_template(text: str) -> Template:
    """Raises ValueError for what is no template, or one that has `**`."""
    head, colon, verb = text.rpartition(":")
    if not colon:
        head, verb = text, ""
    elif not _VERB.fullmatch(verb):
        raise ValueError(f"{text!r} has no word after its colon")
    segments: list[str] = []
    variables: list[Variable] = []
    at = 0
    while at < len(head):
        piece = _PIECE.match(head, at + 1) if head[at] == "/" else None
        if piece is None:
            raise ValueError(f"{text!r} is no path template from character {at + 1} on")
        inner = (piece["plain"] or piece["inner"] or "*").split("/")
        if not all(map(_SEGMENT.fullmatch, inner)):
            raise ValueError(f"{text!r} has a segment that is neither a word nor `*`")
        if piece["field"]:
            variables.append(Variable(piece["field"], len(segments), len(segments) + len(inner)))
        segments += inner
        at = piece.end()
    if not segments:
        raise ValueError(f"{text!r} is no path template: it has no segment")
    return Template(text, tuple(segments), tuple(variables), verb)


def parse_path(raw: str) -> Path | None:
    """A path as it came over the wire, without its query. None for one that no template admits: an empty segment, a slash or a control
    character in disguise, what is no UTF-8, or too many segments."""
    first, *rest = raw.split("/")
    if first or not rest or len(rest) > SEGMENTS_MAX:
        return None
    last, _, verb = rest[-1].rpartition(":") if ":" in rest[-1] else (rest[-1], "", "")
    decoded = decode([*rest[:-1], last, verb])
    if decoded is None or not all(decoded[:-1]):
        return None
    return Path(tuple(decoded[:-1]), decoded[-1])


def decode(segments: Sequence[str]) -> list[str] | None:
    """Segments without their percent signs; None where one can't be, or would become more than one segment."""
    found = []
    for segment in segments:
        if _PERCENT.search(segment):
            return None
        try:
            text = unquote_to_bytes(segment).decode()
        except UnicodeDecodeError:
            return None
        if "/" in text or not text.isprintable():
            return None
        found.append(text)
    return found
