"""What is expected of a subject beside its figures: its end, its downtime in all against what was agreed, and what was estimated."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import IntEnum

from pymigrate.engine.domain.agreements import Breach
from pymigrate.engine.domain.quantiles import Quantiles
from pymigrate.engine.domain.rating import breach_reasons
from pymigrate.engine.domain.reach import Hit
from pymigrate.engine.domain.spelling import spell_seconds
from pymigrate.engine.domain.systems import Landscape

NOTHING_AGREED = -1.0
REASONS_MAX = 10


class RiskLevel(IntEnum):
    """How likely it is that what was agreed is broken, as the contract numbers it."""

    UNSPECIFIED = 0
    LOW = 1
    MODERATE = 2
    HIGH = 3
    BREACHED = 4


@dataclass(frozen=True, slots=True)
class End:
    """When it ends: not later in half of the cases, and in nine of ten."""

    p50: datetime
    p90: datetime


@dataclass(frozen=True, slots=True)
class Outlook:
    """What is expected of one subject; None where it was not found. `downtime` is what its sources are down for in all, `estimated` how
    long it was to take when the run started, and `expected_seconds` how long it takes after all."""

    budget_seconds: float = NOTHING_AGREED
    level: RiskLevel = RiskLevel.UNSPECIFIED
    reasons: tuple[str, ...] = ()
    end: End | None = None
    downtime: Quantiles | None = None
    estimated: Quantiles | None = None
    expected_seconds: float | None = None

    @property
    def drift(self) -> float | None:
        """How far it lies off the estimated median, as a share of it; None where either is not known."""
        if self.estimated is None or self.expected_seconds is None or self.estimated.p50 <= 0:
            return None
        return self.expected_seconds / self.estimated.p50 - 1.0

    def without_forecast(self) -> "Outlook":
        """The same once it has ended: what was found while it went on no longer lies ahead, and its drift is yet to be found."""
        return replace(self, level=RiskLevel.UNSPECIFIED, reasons=(), end=None, downtime=None, expected_seconds=None)

    def after(self, used_seconds: float) -> "Outlook":
        """The same once the sources have been down so long: what is used up is broken."""
        if self.budget_seconds < 0 or used_seconds <= self.budget_seconds:
            return self
        used, agreed = spell_seconds(used_seconds), spell_seconds(self.budget_seconds)
        told = f"Sources have been down for {used}, longer than the {agreed} that they may be."
        return replace(self, level=RiskLevel.BREACHED, reasons=(told, *self.reasons)[:REASONS_MAX])

    def broken_by(self, parts: Iterable["Outlook"]) -> "Outlook":
        """The same where what was agreed of any part is broken."""
        told = [reason for part in parts if part.level is RiskLevel.BREACHED for reason in part.reasons[:1]]
        if not told:
            return self
        reasons = tuple(dict.fromkeys((*told, *self.reasons)))[:REASONS_MAX]
        return replace(self, level=RiskLevel.BREACHED, reasons=reasons)


UNKNOWN = Outlook()


@dataclass(frozen=True, slots=True)
class RunOutlook:
    """What is expected of a run, its phases and the departments whose data it moves; and how long the lanes of each dataset, by (phase,
    dataset), were to copy. `is_final`: the run had ended, and nothing is forecast any more."""

    whole: Outlook = UNKNOWN
    phases: Mapping[str, Outlook] = field(default_factory=dict)
    departments: Mapping[str, Outlook] = field(default_factory=dict)
    lanes: Mapping[tuple[str, str], Quantiles] = field(default_factory=dict)
    is_final: bool = False


NOT_FOUND_YET = RunOutlook()


def end_after(now: datetime, seconds: Quantiles) -> End:
    """An end that lies so far ahead."""
    return End(now + timedelta(seconds=seconds.p50), now + timedelta(seconds=seconds.p90))


def agreed_seconds(landscape: Landscape, hits: Iterable[Hit]) -> float:
    """The least downtime that was agreed of the systems that are down; NOTHING_AGREED where nothing was."""
    found: list[float] = []
    for hit in hits:
        system = landscape.system((hit.department, hit.system))
        if hit.is_down and system is not None:
            found += [system.rto_seconds] if system.rto_seconds > 0 else []
            found += [system.month_seconds_max] if system.month_seconds_max is not None else []
    return min(found, default=NOTHING_AGREED)


def risk(breaches: Iterable[Breach], *, is_agreed: bool) -> tuple[RiskLevel, tuple[str, ...]]:
    """How likely it is that anything is broken, and why."""
    found = sorted(set(breaches), key=lambda breach: (not breach.is_certain, breach.system, breach.level))
    if not found:
        return (RiskLevel.LOW if is_agreed else RiskLevel.UNSPECIFIED), ()
    level = RiskLevel.HIGH if found[0].is_certain else RiskLevel.MODERATE
    return level, tuple(dict.fromkeys(reason.text for reason in breach_reasons(found)))[:REASONS_MAX]


def together(parts: Sequence[tuple[Outlook, float]]) -> Outlook:
    """Several runs' together, each with how long its sources have been down so far."""
    found = [part for part, _ in parts]
    ends = [part.end for part in found if part.end is not None]
    worst = sorted(found, key=lambda part: -part.level)
    expected = [part.downtime or Quantiles(used, used) for part, (_, used) in zip(found, parts, strict=True)]
    is_expected = any(part.downtime is not None for part in found)
    return Outlook(
        budget_seconds=min((part.budget_seconds for part in found if part.budget_seconds >= 0), default=NOTHING_AGREED),
        level=max((part.level for part in found), default=RiskLevel.UNSPECIFIED),
        reasons=tuple(dict.fromkeys(reason for part in worst for reason in part.reasons))[:REASONS_MAX],
        end=End(max(end.p50 for end in ends), max(end.p90 for end in ends)) if ends else None,
        downtime=Quantiles(sum(e.p50 for e in expected), sum(e.p90 for e in expected)) if is_expected else None,
    )
