"""When rows arrived, second by second of the last minute: what throughput is found from.

Of a lane the lowest and highest count of each second are kept, so that it makes no difference in which order counts are told, nor how
often. What has arrived in a second is how far its highest count lies above the one before. The first count of all says only where it was
then: what an earlier engine saw arrive is not taken for new.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

NOW_SECONDS = 5
WINDOW_SECONDS = 60
KEPT_SECONDS = WINDOW_SECONDS + 4
SECONDS_MAX = 4 * KEPT_SECONDS
Arrived = tuple[int, int, int]  # a second since 1970, and the rows and bytes that arrived in it
Counts = tuple[int, int]  # rows and bytes


@dataclass(frozen=True, slots=True)
class Rate:
    """How fast rows and bytes arrive."""

    rows_per_second: float = 0.0
    bytes_per_second: float = 0.0


STILL = Rate()


def second_of(time: datetime) -> int:
    """The second since 1970 that a moment lies in."""
    return int(time.timestamp())


class LaneArrivals:
    """The counts of one lane."""

    __slots__ = ("_base", "_highest", "_lowest", "_newest", "_top")

    def __init__(self) -> None:
        self._lowest: dict[int, Counts] = {}
        self._highest: dict[int, Counts] = {}
        self._base: Counts | None = None  # the highest count of all seconds that are no longer kept
        self._newest = 0
        self._top: Counts = (0, 0)

    def observe(self, second: int, rows: int, size_bytes: int) -> list[Arrived]:
        """Takes in a count; by how much the arrivals of seconds that are kept change for it."""
        counts = (rows, size_bytes)
        if not self._highest and self._base is None:
            self._lowest[second] = self._highest[second] = self._top = counts
            self._newest = second
            return []
        if second < self._newest:
            return self._insert(second, counts)
        if second == self._newest and not _is_below(self._lowest[second], counts):
            return self._insert(second, counts)
        before, self._top = self._top, _higher(self._top, counts)
        if second > self._newest:
            self._newest = second
            self._lowest[second] = counts
        self._highest[second] = _higher(self._highest.get(second, counts), counts)
        self._forget()
        return [] if self._top == before else [(second, self._top[0] - before[0], self._top[1] - before[1])]

    def arrived(self) -> list[Arrived]:
        """What has arrived, as far as it is kept."""
        return [(second, *counts) for second, counts in self._arrivals()]

    def _insert(self, second: int, counts: Counts) -> list[Arrived]:
        """A count from before the newest one, or the lowest of its second."""
        before = dict(self._arrivals())
        if second <= self._newest - KEPT_SECONDS:
            self._base = counts if self._base is None else _higher(self._base, counts)
        else:
            self._lowest[second] = _lower(self._lowest.get(second, counts), counts)
            self._highest[second] = _higher(self._highest.get(second, counts), counts)
        self._top = _higher(self._top, counts)
        after = dict(self._arrivals())
        changes = []
        for each in before.keys() | after.keys():
            was, is_now = before.get(each, (0, 0)), after.get(each, (0, 0))
            if was != is_now:
                changes.append((each, is_now[0] - was[0], is_now[1] - was[1]))
        return sorted(changes)

    def _arrivals(self) -> Iterator[tuple[int, Counts]]:
        reached = self._base
        for second in sorted(self._highest):
            if reached is None:
                reached = self._lowest[second]
            highest = _higher(reached, self._highest[second])
            yield second, (highest[0] - reached[0], highest[1] - reached[1])
            reached = highest

    def _forget(self) -> None:
        for second in [each for each in self._highest if each <= self._newest - KEPT_SECONDS]:
            highest = self._highest.pop(second)
            del self._lowest[second]
            self._base = highest if self._base is None else _higher(self._base, highest)


@dataclass(slots=True)
class Arrivals:
    """What has arrived of any lanes together."""

    _seconds: dict[int, Counts] = field(default_factory=dict)

    def put(self, arrived: Iterable[Arrived], sign: int = 1) -> None:
        """Adds what has arrived; with -1 takes it away again."""
        for second, rows, size_bytes in arrived:
            known = self._seconds.get(second, (0, 0))
            self._seconds[second] = (known[0] + sign * rows, known[1] + sign * size_bytes)
        if len(self._seconds) > SECONDS_MAX:
            oldest = max(self._seconds) - KEPT_SECONDS
            self._seconds = {second: counts for second, counts in self._seconds.items() if second > oldest}

    def all(self) -> list[Arrived]:
        """What is kept."""
        return [(second, *counts) for second, counts in self._seconds.items() if counts != (0, 0)]

    def rate(self, now: datetime, seconds: int) -> Rate:
        """How fast rows and bytes arrived in the last so many seconds, at most WINDOW_SECONDS."""
        last = second_of(now)
        found = [counts for second, counts in self._seconds.items() if last - seconds < second <= last]
        return Rate(sum(rows for rows, _ in found) / seconds, sum(size for _, size in found) / seconds)


def _is_below(one: Counts, other: Counts) -> bool:
    return one[0] <= other[0] and one[1] <= other[1]


def _higher(one: Counts, other: Counts) -> Counts:
    return (max(one[0], other[0]), max(one[1], other[1]))


def _lower(one: Counts, other: Counts) -> Counts:
    return (min(one[0], other[0]), min(one[1], other[1]))
