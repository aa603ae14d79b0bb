"""How many lanes a run is given as its load changes: more at once, fewer late, and fewer at once where a source suffers.

Pure, and of one run. What it has to remember from one look to the next is handed to it and handed back. A look after each change of the
load, and after `look_again_seconds` at the latest, sees all there is to see.
"""

from dataclasses import dataclass, replace
from enum import StrEnum

LANES_MAX = 1_000
# What a source or a lag shows of another limit, it shows after so long: until then it is not changed again for that.
SETTLE_SECONDS = 5.0
# As the throttle of live sources has it: what a source that suffers keeps.
DECREASE = 0.7
# A source suffers no more, and a lag is no more, below this share of what calls for something to be done.
RELIEF = 0.5


class ScalingReason(StrEnum):
    """Why the limit is what it became."""

    STEADY = "steady"
    BOUNDS = "bounds"
    BACKLOG = "backlog"
    LAG = "lag"
    SOURCE_SLOW = "source_slow"
    IDLE = "idle"


@dataclass(frozen=True, slots=True)
class ScalingBounds:
    """What is asked for: lanes, 1 to 1,000 with `lanes_min <= lanes_max`, and where load begins to count."""

    lanes_max: int
    lanes_min: int = 1
    lag_seconds_max: float = 60.0
    latency_factor_max: float = 3.0
    cooldown_seconds: float = 60.0

    def clamped(self, lanes: int) -> int:
        """The number of lanes within the bounds that is nearest to this one."""
        return min(max(lanes, self.lanes_min), self.lanes_max)


@dataclass(frozen=True, slots=True)
class LaneLoad:
    """A run's lanes that wait for a host and that are under way, how far its datasets are behind at most (-1: none catches up), and how
    many times slower than at its best its slowest source answers (0: not known)."""

    pending: int
    running: int
    lag_seconds: float = -1.0
    latency_factor: float = 0.0

    @property
    def wanted(self) -> int:
        """The lanes that would be under way if nothing limited them."""
        return self.pending + self.running


@dataclass(frozen=True, slots=True)
class ScalingMemory:
    """The limit (0: none yet), and moments in monotonic seconds: when a lag raised it, when it was taken down for a source, and since when
    fewer lanes were wanted, of which `peak` were the most."""

    limit: int = 0
    raised_at: float | None = None
    slowed_at: float | None = None
    idle_since: float | None = None
    peak: int = 0


@dataclass(frozen=True, slots=True)
class ScalingDecision:
    """The memory with the limit as it is from now on, why, and in how many seconds time alone may change it; None: never."""

    memory: ScalingMemory
    reason: ScalingReason
    look_again_seconds: float | None = None

    @property
    def limit(self) -> int:
        """The most lanes at once from now on."""
        return self.memory.limit


def scaled(bounds: ScalingBounds, load: LaneLoad, memory: ScalingMemory, now_seconds: float) -> ScalingDecision:
    """Looks once. What a source suffers from comes before any backlog, and a backlog or a lag before idleness."""
    before = memory.limit
    memory = replace(memory, limit=bounds.clamped(before or load.wanted))
    is_slow = load.latency_factor > bounds.latency_factor_max
    settling = _left_seconds(memory.slowed_at, SETTLE_SECONDS, now_seconds)
    fewer = bounds.clamped(int(min(memory.limit, load.running) * DECREASE))
    if is_slow and not settling and load.running and fewer < memory.limit:
        again = SETTLE_SECONDS if fewer > bounds.lanes_min else None
        return ScalingDecision(ScalingMemory(fewer, slowed_at=now_seconds), ScalingReason.SOURCE_SLOW, again)
    held = _left_seconds(memory.slowed_at, bounds.cooldown_seconds, now_seconds)
    is_held = is_slow or (memory.slowed_at is not None and (held is not None or not _is_relieved(bounds, load)))
    if not is_held:
        memory = replace(memory, slowed_at=None)
        if memory.limit < bounds.lanes_max and load.wanted > memory.limit:
            return ScalingDecision(_raised(memory, bounds.clamped(load.wanted)), ScalingReason.BACKLOG)
        if memory.limit < bounds.lanes_max and load.lag_seconds > bounds.lag_seconds_max:
            return _followed(memory, before, now_seconds)
    again = settling if is_slow else held
    if load.wanted >= memory.limit or load.lag_seconds > bounds.lag_seconds_max * RELIEF:
        return ScalingDecision(_raised(memory, memory.limit), _kept(before, memory.limit), again)
    return _idled(bounds, load, memory, before, now_seconds, again)


def _is_relieved(bounds: ScalingBounds, load: LaneLoad) -> bool:
    return load.latency_factor <= max(1.0, bounds.latency_factor_max * RELIEF)


def _followed(memory: ScalingMemory, before: int, now_seconds: float) -> ScalingDecision:
    """One lane at a time: what is behind shows only after a while whether it comes closer."""
    left = _left_seconds(memory.raised_at, SETTLE_SECONDS, now_seconds)
    if left:
        return ScalingDecision(_raised(memory, memory.limit), _kept(before, memory.limit), left)
    raised = replace(_raised(memory, memory.limit + 1), raised_at=now_seconds)
    return ScalingDecision(raised, ScalingReason.LAG, SETTLE_SECONDS)


def _idled(
    bounds: ScalingBounds, load: LaneLoad, memory: ScalingMemory, before: int, now_seconds: float, again: float | None
) -> ScalingDecision:
    """After the cooldown, as few as were wanted at most within it, so that what comes and goes keeps its lanes."""
    if memory.limit == bounds.lanes_min:
        return ScalingDecision(_raised(memory, memory.limit), _kept(before, memory.limit), again)
    since = now_seconds if memory.idle_since is None else memory.idle_since
    memory = replace(memory, idle_since=since, peak=max(memory.peak, load.wanted))
    if left := _left_seconds(since, bounds.cooldown_seconds, now_seconds):
        return ScalingDecision(memory, _kept(before, memory.limit), min(left, again or left))
    fewer = bounds.clamped(memory.peak)
    is_idle_still = load.wanted < fewer and fewer > bounds.lanes_min
    memory = replace(memory, limit=fewer, idle_since=now_seconds if is_idle_still else None, peak=load.wanted)
    return ScalingDecision(memory, ScalingReason.IDLE, bounds.cooldown_seconds if is_idle_still else again)


def _raised(memory: ScalingMemory, limit: int) -> ScalingMemory:
    """With another limit, or the same: nobody is idle."""
    return replace(memory, limit=limit, idle_since=None, peak=0)


def _kept(before: int, limit: int) -> ScalingReason:
    return ScalingReason.STEADY if before == limit else ScalingReason.BOUNDS


def _left_seconds(since: float | None, seconds: float, now_seconds: float) -> float | None:
    """What is left of a time that began then; None: nothing."""
    if since is None:
        return None
    left = since + seconds - now_seconds
    return left if left > 0 else None
