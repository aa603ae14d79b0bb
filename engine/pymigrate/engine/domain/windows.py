"""Whether phases fit their maintenance windows, and at which opening they would.

A phase fits when it is published in the same uninterrupted open time that it starts in; one that becomes ready while its windows are
closed starts with the next opening. Time is in seconds since the start of the rehearsals; local clocks are the calendars' business.
"""

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from pymigrate.engine.domain.calendar import Calendar, open_spans
from pymigrate.engine.domain.quantiles import Quantiles, quantile, quantiles_of
from pymigrate.engine.domain.spans import Span

SIGHT = timedelta(days=14)
FIT_SHARE = 0.9
CANDIDATES_MAX = 40
TOLERANCE_SECONDS = 1e-6


@dataclass(frozen=True, slots=True)
class WindowFit:
    """Whether a phase fits in nine of ten cases, and the share in which it does; when the window closes that it starts in (None: not
    within sight), how long that leaves it (infinite where it does not close) and how long it works, both in seconds; and the earliest
    opening within 14 days at which it would fit in nine of ten cases (None: none was found)."""

    is_scheduled: bool
    fits: bool
    fit_share: float
    close_time: datetime | None
    room_seconds: float
    work_seconds: Quantiles
    best_start_time: datetime | None


class OpenTimes:
    """The open times of calendars from a start on, for 14 days or until a number of seconds after it, whichever is later."""

    def __init__(self, calendars: Sequence[Calendar], start: datetime, seconds_max: float) -> None:
        self._start = start
        until = start + max(SIGHT, timedelta(seconds=seconds_max + 1))
        self._spans: list[Span] = [
            (
                (opening - start).total_seconds(),
                math.inf if close is None else (close - start).total_seconds(),
            )
            for opening, close in open_spans(calendars, start, until)
        ]
        self._openings = [opening for opening, _ in self._spans]

    def span_at(self, seconds: float) -> Span | None:
        """The open time that contains a moment, or else the next one."""
        place = bisect_right(self._openings, seconds) - 1
        if place >= 0 and seconds < self._spans[place][1]:
            return self._spans[place]
        return self._spans[place + 1] if place + 1 < len(self._spans) else None

    def open_seconds(self, start: float, end: float) -> float:
        """How much of a time is open."""
        found = 0.0
        for opening, close in self._spans[max(0, bisect_right(self._openings, start) - 1) :]:
            if opening >= end:
                break
            found += max(0.0, min(end, close) - max(start, opening))
        return found

    def first_fitting(self, seconds: float) -> datetime | None:
        """The earliest opening within 14 days, or the start, from which so many seconds fit."""
        for opening, close in self._spans:
            if opening > SIGHT.total_seconds():
                return None
            if opening + seconds <= close + TOLERANCE_SECONDS:
                return self._start + timedelta(seconds=opening)
        return None

    def fit(self, starts: Sequence[float], ends: Sequence[float]) -> WindowFit:
        """How a phase fits that starts and ends so, one entry for each draw."""
        fitting = 0
        for start, end in zip(starts, ends, strict=True):
            span = self.span_at(start)
            fitting += span is not None and end <= span[1] + TOLERANCE_SECONDS
        work = quantiles_of([self.open_seconds(start, end) for start, end in zip(starts, ends, strict=True)])
        median_start = quantile(sorted(starts), 0.5)
        span = self.span_at(median_start)
        close = math.inf if span is None else span[1]
        return WindowFit(
            is_scheduled=True,
            fits=fitting / len(starts) >= FIT_SHARE,
            fit_share=fitting / len(starts),
            close_time=None if math.isinf(close) else self._start + timedelta(seconds=close),
            room_seconds=0.0 if span is None else close - max(median_start, span[0]),
            work_seconds=work,
            best_start_time=self.first_fitting(work.p90),
        )


def unscheduled(starts: Sequence[float], ends: Sequence[float]) -> WindowFit:
    """A phase without windows and blackouts fits always."""
    seconds = [end - start for start, end in zip(starts, ends, strict=True)]
    return WindowFit(False, True, 1.0, None, math.inf, quantiles_of(seconds), None)


def start_candidates(schedules: Iterable[Sequence[Calendar]], now: datetime) -> list[datetime]:
    """Now, and each opening within 14 days of any of these (a plan's calendars with those of each phase), in order, at most 40."""
    found = {now}
    for calendars in {tuple(schedule) for schedule in schedules}:
        if calendars:
            found.update(opening for opening, _ in open_spans(calendars, now, now + SIGHT))
    return sorted(found)[:CANDIDATES_MAX]
