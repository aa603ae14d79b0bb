"""What was agreed of systems, and whether an outage breaks it.

A level is broken for certain when the median of the rehearsals breaks it, and may be broken when their ninth decile does.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from pymigrate.engine.domain.quantiles import Quantiles
from pymigrate.engine.domain.systems import System
from pymigrate.engine.domain.windows import WindowFit

CERTAIN_SHARE = 0.5


class Level(StrEnum):
    """What was agreed: the longest outage at once, the downtime of a month, or the maintenance window."""

    RTO = "rto"
    AVAILABILITY = "availability"
    WINDOW = "window"


@dataclass(frozen=True, slots=True)
class Breach:
    """An agreement that would be broken: what is borne and what is to be expected, in seconds."""

    system: str
    level: Level
    seconds_max: float
    seconds: Quantiles
    is_certain: bool


def outage_breaches(
    label: str, system: System, longest_seconds: Quantiles, total_seconds: Quantiles
) -> Iterator[Breach]:
    """What is broken of a system that is down so long at once, and in all."""
    if system.rto_seconds > 0:
        yield from _broken(label, Level.RTO, system.rto_seconds, longest_seconds)
    if (month_seconds_max := system.month_seconds_max) is not None:
        yield from _broken(label, Level.AVAILABILITY, month_seconds_max, total_seconds)


def window_breaches(label: str, fit: WindowFit) -> Iterator[Breach]:
    """The window that a phase of the system does not fit."""
    if fit.is_scheduled and not fit.fits:
        yield Breach(label, Level.WINDOW, fit.room_seconds, fit.work_seconds, fit.fit_share < CERTAIN_SHARE)


def _broken(label: str, level: Level, seconds_max: float, seconds: Quantiles) -> Iterator[Breach]:
    if seconds.p90 > seconds_max:
        yield Breach(label, level, seconds_max, seconds, seconds.p50 > seconds_max)
