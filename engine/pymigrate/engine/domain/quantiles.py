"""A figure that varies from draw to draw, told by its median and its ninth decile."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Quantiles:
    """Half of the outcomes lie at or below `p50`, nine of ten at or below `p90`."""

    p50: float
    p90: float


NOTHING = Quantiles(0.0, 0.0)


def quantile(ordered: Sequence[float], share: float) -> float:
    """The value below which a share (0 to 1) of ordered values lies, interpolated linearly between the two nearest. Raises ValueError
    without values."""
    if not ordered:
        raise ValueError("no values, no quantile")
    place = share * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def quantiles_of(values: Sequence[float]) -> Quantiles:
    """The median and the ninth decile of one value for each draw, in any order."""
    ordered = sorted(values)
    return Quantiles(quantile(ordered, 0.5), quantile(ordered, 0.9))
