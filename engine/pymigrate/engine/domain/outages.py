"""How long departments and their systems are down over several phases, and what that costs, draw by draw. Overlapping downtimes count
once; a downtime ends when its phase is published.
"""

from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Protocol

from pymigrate.engine.domain.quantiles import NOTHING, Quantiles, quantiles_of
from pymigrate.engine.domain.spans import Span, longest_seconds, total_seconds, union

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
    """How long something is down in all, one entry for each draw in seconds, and in all and at once over the draws."""

    totals: Sequence[float]
    total: Quantiles
    longest: Quantiles


class Outages:
    """The outages of any phases together. What was found is kept, since many departments and systems hang on the same phases; phases of
    one group hit the same ones, and so are put together first."""

    def __init__(self, phases: Mapping[str, PhaseTimes], groups: Mapping[str, Hashable], draws: int) -> None:
        self._phases = phases
        self._groups = groups
        self._draws = draws
        self._found: dict[tuple[frozenset[str], frozenset[str]], Outage] = {}
        self._joined: dict[tuple[bool, tuple[str, ...]], list[list[Span]] | None] = {}

    def of(self, down: Collection[str], unwritable: Collection[str] = ()) -> Outage:
        """While any of the first is down or any of the second can't be written to."""
        key = (frozenset(down), frozenset(unwritable))
        if key not in self._found:
            self._found[key] = self._outage(*key)
        return self._found[key]

    def _outage(self, down: frozenset[str], unwritable: frozenset[str]) -> Outage:
        parts = [*self._parts(down, is_writing=False), *self._parts(unwritable, is_writing=True)]
        if not parts:
            return Outage([0.0] * self._draws, NOTHING, NOTHING)
        whole = parts[0] if len(parts) == 1 else [union(chain.from_iterable(each)) for each in zip(*parts, strict=True)]
        totals = [total_seconds(joined) for joined in whole]
        return Outage(totals, quantiles_of(totals), quantiles_of([longest_seconds(joined) for joined in whole]))

    def _parts(self, names: Iterable[str], *, is_writing: bool) -> Iterator[list[list[Span]]]:
        """The outages of each group of phases, draw by draw; groups without any are left out."""
        groups: dict[Hashable, list[str]] = {}
        for name in sorted(names):
            groups.setdefault(self._groups[name], []).append(name)
        for group in groups.values():
            key = (is_writing, tuple(group))
            if key not in self._joined:
                self._joined[key] = self._join(group, is_writing=is_writing)
            if (joined := self._joined[key]) is not None:
                yield joined

    def _join(self, names: Sequence[str], *, is_writing: bool) -> list[list[Span]] | None:
        phases = [self._phases[name] for name in names]
        pairs = [(phase.ends, phase.write_downtimes if is_writing else phase.downtimes) for phase in phases]
        pairs = [(ends, seconds) for ends, seconds in pairs if any(seconds)]
        if not pairs:
            return None
        return [
            union((ends[draw] - seconds[draw], ends[draw]) for ends, seconds in pairs) for draw in range(self._draws)
        ]


def cost(
    down_hour: float, read_only_hour: float, downtimes: Sequence[float], write_downtimes: Sequence[float]
) -> list[float]:
    """What it costs to be without systems so long, and not to write to them so long, given what an hour of either costs; writing is
    blocked at least while they are down."""
    down_second, read_only_second = down_hour / HOUR_SECONDS, read_only_hour / HOUR_SECONDS
    return [
        down * down_second + max(0.0, blocked - down) * read_only_second
        for down, blocked in zip(downtimes, write_downtimes, strict=True)
    ]


def add_cost(costs: Costs, currency: str, amounts: Sequence[float]) -> None:
    """Adds amounts to those of the same currency; what has no currency was not declared."""
    if currency:
        before = costs.get(currency)
        costs[currency] = list(amounts) if before is None else [a + b for a, b in zip(before, amounts, strict=True)]
