"""Times from a moment to another, in seconds: what lies in several of them counts once."""

from collections.abc import Iterable, Sequence

Span = tuple[float, float]


def union(spans: Iterable[Span]) -> list[Span]:
    """The same times as spans that neither overlap nor touch, in order. Empty ones are left out."""
    joined: list[Span] = []
    for start, end in sorted(span for span in spans if span[0] < span[1]):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], end))
        else:
            joined.append((start, end))
    return joined


def total_seconds(joined: Sequence[Span]) -> float:
    """How long spans are in all that do not overlap."""
    return sum(end - start for start, end in joined)


def longest_seconds(joined: Sequence[Span]) -> float:
    """How long the longest is of spans that do not overlap; 0 without any."""
    return max((end - start for start, end in joined), default=0.0)
