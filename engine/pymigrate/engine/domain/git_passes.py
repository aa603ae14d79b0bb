"""When a Git source is due: at its interval, with some jitter, later and later after failures, and at once when somebody asks.

Hosts are told apart too, so that one that is slow to answer takes no more than its share of the passes that go on at once.
"""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

INTERVAL_SECONDS_DEFAULT = 60.0
BACKOFF_SECONDS_MAX = 600.0
JITTER = 0.1
DOUBLINGS_MAX = 12
APART_SECONDS = 0.05
PASSES_AT_ONCE_MAX = 4
HOST_AT_ONCE_MAX = 3  # of a host of which nothing is known yet: one place is always left for others
SLOW_SECONDS = 5.0
SLOW_AT_ONCE_MAX = 1


@dataclass(frozen=True, slots=True)
class Schedule:
    """One source's: `due` is a moment of a clock that never goes back; `failures` counts those since the last pass that went well."""

    interval_seconds: float
    due: float
    host: str = ""
    failures: int = 0
    is_rung: bool = False

    def after(self, now: float, fraction: float, *, is_well: bool) -> "Schedule":
        """What it is when a pass has ended now. `fraction` is a random number, 0 to 1."""
        failures = 0 if is_well else self.failures + 1
        wait = wait_seconds(self.interval_seconds, failures)
        return replace(self, due=now + wait * (1.0 - JITTER + 2.0 * JITTER * fraction), failures=failures)

    def rung(self) -> "Schedule":
        """It is due at once."""
        return replace(self, is_rung=True)

    def begun(self) -> "Schedule":
        """Its pass has begun: who asks from now on asks for another."""
        return replace(self, is_rung=False)


def wait_seconds(interval_seconds: float, failures: int) -> float:
    """How long to wait after so many failures in a row: twice as long with each, up to ten minutes or the interval, whatever is more."""
    longest = max(BACKOFF_SECONDS_MAX, interval_seconds)
    return float(min(longest, interval_seconds * 2.0 ** min(failures, DOUBLINGS_MAX)))


def first_due(now: float, interval_seconds: float, fraction: float, sources: int) -> float:
    """When one of so many sources is looked at first after a start: at once where there are few, and where there are many spread, so that a
    thousand do not come at the same time."""
    return now + min(interval_seconds, sources * APART_SECONDS) * fraction


def next_begun(
    schedules: Mapping[str, Schedule],
    under_way: Collection[str],
    slow_hosts: Collection[str],
    now: float,
    at_once_max: int = PASSES_AT_ONCE_MAX,
) -> str | None:
    """The source whose pass begins now, if any: first those that somebody asked for, then those that are due the longest. A source whose
    pass is under way waits for its end, and of a slow host one goes on at once."""
    if len(under_way) >= at_once_max:
        return None
    full = _full_hosts(schedules, under_way, slow_hosts)
    ready = [
        (not each.is_rung, each.due, name)
        for name, each in schedules.items()
        if (each.due <= now or each.is_rung) and each.host not in full and name not in under_way
    ]
    return min(ready)[2] if ready else None


def sleep_seconds(
    schedules: Mapping[str, Schedule],
    under_way: Collection[str],
    slow_hosts: Collection[str],
    now: float,
    longest: float,
    at_once_max: int = PASSES_AT_ONCE_MAX,
) -> float:
    """How long nothing can begin by itself, at most `longest`. What waits for the end of a pass is begun when that comes."""
    if len(under_way) >= at_once_max:
        return longest
    full = _full_hosts(schedules, under_way, slow_hosts)
    soon = [
        0.0 if each.is_rung else each.due - now
        for name, each in schedules.items()
        if (each.due < now + longest or each.is_rung) and each.host not in full and name not in under_way
    ]
    return max(0.0, min(soon, default=longest))


def _full_hosts(
    schedules: Mapping[str, Schedule], under_way: Collection[str], slow_hosts: Collection[str]
) -> frozenset[str]:
    """The hosts of which as many passes are under way as may be."""
    busy = Counter(schedules[name].host for name in under_way if name in schedules)
    return frozenset(
        host for host, count in busy.items() if count >= (SLOW_AT_ONCE_MAX if host in slow_hosts else HOST_AT_ONCE_MAX)
    )
