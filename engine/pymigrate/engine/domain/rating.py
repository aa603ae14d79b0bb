"""How grave an impact is, and why, in sentences with figures.

- critical: an agreed longest outage, monthly availability or window is broken in the median;
- high: one of them is broken in more than one of ten cases; or a system of criticality `high` or `critical` is down, and nothing was
  agreed of its outages;
- moderate: somebody is without a system, or can't write to one, for a second or longer in the P90; or something that the estimate needs
  is not known;
- low: none of these.

The rating is the gravest of its reasons', and they are told the gravest first.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import assert_never

from pymigrate.engine.domain.agreements import Breach, Level
from pymigrate.engine.domain.quantiles import Quantiles
from pymigrate.engine.domain.reach import Hit
from pymigrate.engine.domain.spelling import spell_costs, spell_count, spell_names, spell_quantiles, spell_seconds
from pymigrate.engine.domain.systems import Criticality, Landscape

NOTICED_SECONDS = 1.0
REASONS_MAX = 20


class Rating(IntEnum):
    """How grave something is."""

    LOW = 1
    MODERATE = 2
    HIGH = 3
    CRITICAL = 4


@dataclass(frozen=True, slots=True)
class Reason:
    """Why something is as grave as this."""

    rating: Rating
    text: str


@dataclass(frozen=True, slots=True)
class Rated:
    """A rating with its reasons, the gravest first."""

    rating: Rating
    reasons: tuple[Reason, ...]


def rate(reasons: Iterable[Reason]) -> Rated:
    """The gravest rating; of equally grave reasons the one that was found first comes first. Of more than 20 the rest is counted."""
    ordered = sorted(dict.fromkeys(reasons), key=lambda reason: -reason.rating)
    if not ordered:
        ordered = [Reason(Rating.LOW, "No system is down, and writing is blocked for less than a second.")]
    left_out = len(ordered) - REASONS_MAX
    told = tuple(ordered[:REASONS_MAX])
    if left_out > 0:
        told = (*told, Reason(ordered[REASONS_MAX].rating, f"{spell_count(left_out, 'further reason')} of the kind."))
    return Rated(ordered[0].rating, told)


def breach_reasons(breaches: Iterable[Breach]) -> Iterator[Reason]:
    """A reason for each agreement that is broken, or may be."""
    for breach in breaches:
        may = "is" if breach.is_certain else "may be"
        took, borne = spell_quantiles(breach.seconds), spell_seconds(breach.seconds_max)
        match breach.level:
            case Level.RTO:
                text = f"{breach.system} {may} down for longer at once than the agreed {borne}: {took}."
            case Level.AVAILABILITY:
                text = f"{breach.system} {may} down for longer than the {borne} that its availability leaves a month: {took}."
            case Level.WINDOW:
                text = f"{breach.system} {may} still at work when its window closes after {borne}: it takes {took}."
            case _:
                assert_never(breach.level)
        yield Reason(Rating.CRITICAL if breach.is_certain else Rating.HIGH, text)


def unagreed_reasons(landscape: Landscape, hits: Iterable[Hit], downtime: Quantiles) -> Iterator[Reason]:
    """A reason for each important system that is down while nothing was agreed of its outages."""
    if downtime.p90 < NOTICED_SECONDS:
        return
    for hit in hits:
        system = landscape.system((hit.department, hit.system))
        if hit.is_down and system and hit.criticality >= Criticality.HIGH and not system.has_agreement:
            what = "The business stops" if hit.criticality is Criticality.CRITICAL else "Work stops"
            seconds = spell_quantiles(downtime)
            text = f"{what} while {hit.label} is down, for {seconds}, and nothing was agreed of its outages."
            yield Reason(Rating.HIGH, text)


def outage_reasons(
    subject: str,
    hits: Sequence[Hit],
    users: int,
    downtime: Quantiles,
    write_downtime: Quantiles,
    costs: Mapping[str, Quantiles],
) -> Iterator[Reason]:
    """Which systems are down for how long, or can't be written to, for how many people, and what that costs. `subject` stands for a
    department that declares none of them."""
    people = "" if not users else " for 1 person" if users == 1 else f" for {users:,} people"
    price = f", at a cost of {spelled}" if (spelled := spell_costs(costs)) else ""
    if downtime.p90 >= NOTICED_SECONDS:
        names = [hit.label for hit in hits if hit.is_down] or [subject]
        are = "is" if len(names) == 1 else "are"
        text = f"{spell_names(names)} {are} down{people} for {spell_quantiles(downtime)}{price}."
        yield Reason(Rating.MODERATE, text)
    elif write_downtime.p90 >= NOTICED_SECONDS:
        names = [hit.label for hit in hits if hit.is_source] or [subject]
        text = f"Nobody can write to {spell_names(names)} for {spell_quantiles(write_downtime)}{price}."
        yield Reason(Rating.MODERATE, text)


def unknown_reasons(unknowns: Iterable[str]) -> Iterator[Reason]:
    """A reason for each thing that is not known."""
    yield from (Reason(Rating.MODERATE, unknown) for unknown in unknowns)
