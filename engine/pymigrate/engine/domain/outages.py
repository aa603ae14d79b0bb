"""How long departments and their systems are down over several phases, and what that costs, draw by draw. Overlapping downtimes count
once; a downtime ends when its phase is published.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from pymigrate.engine.domain.spans import longest_seconds, total_seconds, union
from pymigrate.engine.domain.systems import Department

HOUR_SECONDS = 3_600.0
Costs = dict[str, list[float]]  # by currency, one amount for each draw


class PhaseTimes(Protocol):
    """When a phase starts and ends, and how long its sources are down and can't be written to: one entry for each draw, in seconds since
    the start."""

    @property
    def starts(self) -> Sequence[float]:
        """When it starts."""
        ...

    @property
    def ends(self) -> Sequence[float]:
        """When it is published."""
        ...

    @property
    def downtimes(self) -> Sequence[float]:
        """How long its sources are down."""
        ...

    @property
    def write_downtimes(self) -> Sequence[float]:
        """How long nobody can write to them."""
        ...


@dataclass(frozen=True, slots=True)
class Outage:
    """How long something is down in all and at once, one entry for each draw, in seconds."""

    totals: list[float]
    longest: list[float]


class Outages:
    """The outages of any phases together. What was found is kept, since many departments hang on the same phases."""

    def __init__(self, phases: Mapping[str, PhaseTimes], draws: int) -> None:
        self._phases = phases
        self._draws = draws
        self._found: dict[tuple[frozenset[str], frozenset[str]], Outage] = {}

    def of(self, down: Collection[str], unwritable: Collection[str] = ()) -> Outage:
        """While any of the first is down or any of the second can't be written to."""
        key = (frozenset(down), frozenset(unwritable))
        if key not in self._found:
            self._found[key] = self._outage(*key)
        return self._found[key]

    def _outage(self, down: frozenset[str], unwritable: frozenset[str]) -> Outage:
        pairs = [(self._phases[name].ends, self._phases[name].downtimes) for name in sorted(down)]
        pairs += [(self._phases[name].ends, self._phases[name].write_downtimes) for name in sorted(unwritable)]
        pairs = [(ends, seconds) for ends, seconds in pairs if any(seconds)]
        if not pairs:
            return Outage([0.0] * self._draws, [0.0] * self._draws)
        if len(pairs) == 1:
            return Outage(list(pairs[0][1]), list(pairs[0][1]))
        totals, longest = [], []
        for draw in range(self._draws):
            joined = union((ends[draw] - seconds[draw], ends[draw]) for ends, seconds in pairs)
            totals.append(total_seconds(joined))
            longest.append(longest_seconds(joined))
        return Outage(totals, longest)


def cost(department: Department, downtimes: Sequence[float], write_downtimes: Sequence[float]) -> list[float]:
    """What it costs the department to be without its systems so long, and not to write to them so long, in its currency; writing is
    blocked at least while they are down."""
    return [
        department.hour_cost * (down + department.read_only_share * max(0.0, blocked - down)) / HOUR_SECONDS
        for down, blocked in zip(downtimes, write_downtimes, strict=True)
    ]


def add_cost(costs: Costs, currency: str, amounts: Sequence[float]) -> None:
    """Adds amounts to those of the same currency; what has no currency was not declared."""
    if currency:
        before = costs.get(currency)
        costs[currency] = list(amounts) if before is None else [a + b for a, b in zip(before, amounts, strict=True)]
