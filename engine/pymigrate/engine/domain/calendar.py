"""When work may be done: weekly windows and blackouts on a local clock, as moments in UTC.

A local time that the clock skips in spring counts as the moment that the skipped hour leads to; one that it shows twice in autumn counts
as the first. The zone is passed in, so that nothing here reads a database of time zones.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta, tzinfo

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
LOOK_AHEAD_DAYS = 8
STEPS_MAX = 1_000
CALENDARS_KEPT_MAX = 10_000
SPANS_KEPT_MAX = 1_000


@dataclass(frozen=True, slots=True)
class WeeklyWindow:
    """Opens at `start` on each of `days` (0 is Monday; none means every day) and closes at `end`, on the next day where that is not
    later than `start`."""

    start: time
    end: time
    days: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class LocalBlackout:
    """From `start` to before `end` on the local clock; both without a zone."""

    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Calendar:
    """Open inside any window (always, without one) and outside every blackout."""

    zone: tzinfo = UTC
    windows: tuple[WeeklyWindow, ...] = ()
    blackouts: tuple[LocalBlackout, ...] = ()

    def is_open(self, now: datetime) -> bool:
        """Whether work may be done at this moment."""
        if any(start <= now < end for start, end in self._blackouts()):
            return False
        return not self.windows or any(start <= now < end for start, end in self._windows(now, days=1))

    def next_change(self, now: datetime) -> datetime | None:
        """The next moment at which `is_open` may answer otherwise; None when it never will."""
        edges = [edge for span in self._blackouts() for edge in span]
        edges.extend(edge for span in self._windows(now, LOOK_AHEAD_DAYS) for edge in span)
        return min((edge for edge in edges if edge > now), default=None)

    def _windows(self, now: datetime, days: int) -> Iterator[tuple[datetime, datetime]]:
        today = now.astimezone(self.zone).date()
        for offset in range(-2, days + 1):  # a window of the day before yesterday may end today
            date = today + timedelta(days=offset)
            for window in self.windows:
                if window.days and date.weekday() not in window.days:
                    continue
                last = date if window.end > window.start else date + timedelta(days=1)
                start, end = datetime.combine(date, window.start), datetime.combine(last, window.end)
                yield self._moment(start), self._moment(end)

    def _blackouts(self) -> Iterator[tuple[datetime, datetime]]:
        return ((self._moment(blackout.start), self._moment(blackout.end)) for blackout in self.blackouts)

    def _moment(self, local: datetime) -> datetime:
        return local.replace(tzinfo=self.zone).astimezone(UTC)


ALWAYS = Calendar()


@dataclass(frozen=True, slots=True)
class _Span:
    """From `start` to before `end` (None: for ever) a calendar answers the same."""

    start: datetime
    end: datetime | None
    is_open: bool


class Almanac:
    """Remembers since and until when each answer of a calendar holds, so that it is worked out once for each window, however often and
    in whichever order it is asked."""

    def __init__(self) -> None:
        self._spans: dict[int, tuple[Calendar, list[_Span]]] = {}

    def is_open(self, calendar: Calendar, now: datetime) -> bool:
        """As the calendar itself answers."""
        return self._span(calendar, now).is_open

    def next_change(self, calendar: Calendar, now: datetime) -> datetime | None:
        """As the calendar itself answers."""
        return self._span(calendar, now).end

    def _span(self, calendar: Calendar, now: datetime) -> _Span:
        known = self._spans.get(id(calendar))
        if known is None or known[0] is not calendar:  # another one was at the same address, and is gone
            if len(self._spans) >= CALENDARS_KEPT_MAX:
                self._spans.clear()
            known = self._spans[id(calendar)] = (calendar, [])
        spans = known[1]
        place = bisect_right(spans, now, key=_start)
        if place:
            span = spans[place - 1]
            if span.end is None or now < span.end:
                return span
        if len(spans) >= SPANS_KEPT_MAX:
            spans.clear()
            place = 0
        found = _Span(now, calendar.next_change(now), calendar.is_open(now))
        spans.insert(place, found)
        return found


def _start(span: _Span) -> datetime:
    return span.start


def are_open(calendars: Sequence[Calendar], now: datetime) -> bool:
    """Whether every one of them is open."""
    return all(calendar.is_open(now) for calendar in calendars)


def next_opening(calendars: Sequence[Calendar], now: datetime) -> datetime | None:
    """The next moment at which all of them are open: `now` where they are, None where that is not within sight."""
    moment: datetime | None = now
    for _ in range(STEPS_MAX):
        if moment is None or are_open(calendars, moment):
            return moment
        moment = next_change(calendars, moment)
    return None


def next_change(calendars: Sequence[Calendar], now: datetime) -> datetime | None:
    """The next moment at which any of them may open or close."""
    changes = [change for calendar in calendars if (change := calendar.next_change(now)) is not None]
    return min(changes, default=None)


def open_spans(
    calendars: Sequence[Calendar], since: datetime, until: datetime
) -> list[tuple[datetime, datetime | None]]:
    """The times within which all of them are open without a break, from `since` on: each that opens before `until`, with its opening (at
    the earliest `since`) and its close, None where that is not within sight."""
    spans: list[tuple[datetime, datetime | None]] = []
    opening = next_opening(calendars, since)
    while opening is not None and opening < until and len(spans) < STEPS_MAX:
        close = _next_close(calendars, opening)
        spans.append((opening, close))
        opening = next_opening(calendars, close) if close is not None else None
    return spans


def _next_close(calendars: Sequence[Calendar], opening: datetime) -> datetime | None:
    moment: datetime | None = opening
    for _ in range(STEPS_MAX):
        moment = next_change(calendars, moment) if moment is not None else None
        if moment is None or not are_open(calendars, moment):
            return moment
    return None
