"""Figures as people read them in sentences: durations, amounts, counts and lists of names."""

import math
from collections.abc import Mapping, Sequence

from pymigrate.engine.domain.quantiles import Quantiles

NAMES_MAX = 3
_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


def spell_seconds(seconds: float) -> str:
    """`2 h 10 min`: the two largest units; below ten seconds with a decimal."""
    if math.isinf(seconds):
        return "any time"
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for place, (size, unit) in enumerate(_UNITS):
        if whole >= size:
            count, rest = divmod(whole, size)
            if place + 1 == len(_UNITS):
                return f"{count} {unit}"
            smaller, smaller_unit = _UNITS[place + 1]
            return f"{count} {unit} {rest // smaller} {smaller_unit}" if rest >= smaller else f"{count} {unit}"
    return f"{whole} s"


def spell_quantiles(seconds: Quantiles) -> str:
    """`2 h 10 min (P90 2 h 30 min)`."""
    median, most = spell_seconds(seconds.p50), spell_seconds(seconds.p90)
    return median if median == most else f"{median} (P90 {most})"


def spell_costs(costs: Mapping[str, Quantiles]) -> str:
    """`EUR 1,200 (P90 EUR 1,500) and USD 10`; empty without costs."""
    told = []
    for currency, cost in sorted(costs.items()):
        if cost.p90 > 0:
            median, most = f"{currency} {cost.p50:,.0f}", f"{currency} {cost.p90:,.0f}"
            told.append(median if median == most else f"{median} (P90 {most})")
    return " and ".join(told)


def spell_names(names: Sequence[str]) -> str:
    """`crm, erp, hr and 4 others`."""
    if len(names) > NAMES_MAX + 1:
        return f"{', '.join(names[:NAMES_MAX])} and {len(names) - NAMES_MAX} others"
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


def spell_count(count: int, noun: str) -> str:
    """`1 department`, `1,200 users`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
