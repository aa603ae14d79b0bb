"""Times from a moment to another, in seconds: what lies in several of them counts once."""

import math
from collections.abc import Iterable, Sequence

Span = tuple[float, float]


def union(spans: Iterable[Span]) -> list[Span]:
    """The same times as spans that neither overlap nor touch, in order. Empty ones are left out."""
    joined: list[Span] = []
    begun, until = math.inf, -math.inf
    for start, end in sorted(spans):
        if start <= until:
            until = max(until, end)
        elif start < end:
            if begun < until:
                joined.append((begun, until))
            begun, until = start, end
    if begun < until:
        joined.append((begun, until))
    return joined


def total_seconds(joined: Sequence[Span]) -> float:
    """How long spans are in all that do not overlap."""
    return sum(end - start for start, end in joined)


def longest_seconds(joined: Sequence[Span]) -> float:
    """How long the longest is of spans that do not overlap; 0 without any."""
    return max((end - start for start, end in joined), default=0.0)
