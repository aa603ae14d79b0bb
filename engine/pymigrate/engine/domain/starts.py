"""The best moment to start a plan: of the moments within 14 days at which its windows open, the earliest with the lowest cost that fits."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from pymigrate.engine.domain.bearing import Bearing
from pymigrate.engine.domain.business import Move
from pymigrate.engine.domain.calendar import Calendar
from pymigrate.engine.domain.outages import PhaseTimes
from pymigrate.engine.domain.systems import Landscape
from pymigrate.engine.domain.windows import OpenTimes, start_candidates

DIGITS = 6
Rehearse = Callable[[datetime], Mapping[str, PhaseTimes] | None]


@dataclass(frozen=True, slots=True)
class _Trial:
    start: datetime
    costs: Mapping[str, float]
    blocked_seconds: float


def best_start(moves: Mapping[str, Move], landscape: Landscape, now: datetime, rehearse: Rehearse) -> datetime | None:
    """The earliest of the starts with the lowest cost from which every phase fits its windows; None where none does. Of a plan
    without windows and blackouts it is now. `rehearse` plays the plan once from a start with the durations' medians (None: it would never
    end); it is asked at most 40 times.

    Costs in several currencies are added as shares of the highest of each. Where they are equal, the shorter outage counts.
    """
    schedules = [move.calendars for move in moves.values()]
    if not any(schedules):
        return now
    trials = [trial for start in start_candidates(schedules, now) if (trial := _try(moves, landscape, start, rehearse))]
    highest: dict[str, float] = {}
    for trial in trials:
        for currency, amount in trial.costs.items():
            highest[currency] = max(highest.get(currency, 0.0), amount)

    def price(trial: _Trial) -> tuple[float, float, datetime]:
        shares = sum(amount / highest[currency] for currency, amount in trial.costs.items() if highest[currency])
        return round(shares, DIGITS), round(trial.blocked_seconds, 0), trial.start

    return min(trials, key=price).start if trials else None


def _try(moves: Mapping[str, Move], landscape: Landscape, start: datetime, rehearse: Rehearse) -> _Trial | None:
    times = rehearse(start)
    if times is None or not _fits(moves, times, start):
        return None
    bearing = Bearing(moves, times, landscape)
    costs = {currency: amounts[0] for currency, amounts in bearing.costs().items()}
    return _Trial(start, costs, sum(bearing.blocked_seconds()))


def _fits(moves: Mapping[str, Move], times: Mapping[str, PhaseTimes], start: datetime) -> bool:
    end = max((max(each.ends) for each in times.values()), default=0.0)
    open_times: dict[tuple[Calendar, ...], OpenTimes] = {}
    for name, each in times.items():
        calendars = moves[name].calendars
        if calendars:
            if calendars not in open_times:
                open_times[calendars] = OpenTimes(calendars, start, end)
            if not open_times[calendars].fit(each.starts, each.ends).fits:
                return False
    return True
