"""How far a relation has been read, and the parts that it is read in.

A position is in the source's own words; only the source that made it reads it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NewType

Position = NewType("Position", str)


@dataclass(frozen=True, slots=True)
class SourceRange:
    """A part of a relation: the rows after one position, up to and including another. None: from its start, to its end."""

    after: Position | None = None
    until: Position | None = None

    def text(self) -> str:
        """The range as a text that `parse_range` reads; empty for everything."""
        return "" if self == EVERYTHING else json.dumps([self.after, self.until])


EVERYTHING = SourceRange()


def parse_range(text: str) -> SourceRange:
    """The range of a text."""
    if not text:
        return EVERYTHING
    after, until = json.loads(text)
    return SourceRange(after, until)


def ranges_between(ends: Sequence[Position]) -> tuple[SourceRange, ...]:
    """The ranges that these positions divide a relation into, in order."""
    return tuple(SourceRange(after, until) for after, until in zip((None, *ends), (*ends, None), strict=True))
