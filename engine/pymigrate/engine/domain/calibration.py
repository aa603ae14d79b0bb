"""How far estimates of a kind have lain off, and what follows for the next one: a factor, a spread, and what may be said of it.

Ratios are compared as logarithms, so that twice and half as long lie equally far off; medians keep one bad day from deciding.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import median

FACTOR_MIN, FACTOR_MAX = 0.1, 10.0
FACTOR_SAMPLES_MAX = 20
DEVIATION_OF_MEDIAN = 1.4826  # a normal distribution's standard deviation, in medians of the distance from its middle
NOISE_SECONDS = 0.02  # by so much everything varies: among durations of this size a ratio says nothing


@dataclass(frozen=True, slots=True)
class Sample:
    """What was estimated, and what happened. `place` is what it was estimated for; `uncalibrated_seconds` the median before what was
    learned was applied. All durations are positive."""

    run: str
    place: str
    time: datetime
    estimated_p50_seconds: float
    estimated_p90_seconds: float
    uncalibrated_seconds: float
    actual_seconds: float

    @property
    def is_sound(self) -> bool:
        """Whether anything can be learned from it."""
        seconds = (
            self.estimated_p50_seconds,
            self.estimated_p90_seconds,
            self.uncalibrated_seconds,
            self.actual_seconds,
        )
        return all(math.isfinite(each) and each > 0 for each in seconds)

    @property
    def error(self) -> float:
        """How far the median lay off, as a share of what happened."""
        return abs(self.estimated_p50_seconds - self.actual_seconds) / self.actual_seconds

    @property
    def log_ratio(self) -> float:
        """The logarithm of how many times longer it took than the measurements gave."""
        return math.log((self.actual_seconds + NOISE_SECONDS) / (self.uncalibrated_seconds + NOISE_SECONDS))


@dataclass(frozen=True, slots=True)
class TrackRecord:
    """How good estimates have been: `runs` that they were compared with, the median `error` as a share of what happened, and the share
    of outcomes at or below the estimated ninth decile."""

    runs: int
    error: float
    p90_share: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """What the next estimate is multiplied with, and the standard deviation of the logarithm of what is left then."""

    factor: float
    spread: float
    record: TrackRecord

    def spread_from(self, assumed: float) -> float:
        """The spread, weighed against one that was assumed before anything happened: a few runs that agree may do so by chance."""
        runs = self.record.runs
        return math.sqrt((runs * self.spread**2 + assumed**2) / (runs + 1))


def calibrate(samples: Iterable[Sample], towards: float = 1.0) -> Calibration | None:
    """What follows from samples of one kind, in whatever order; None where nothing can be learned from any. With few runs the factor
    stays near `towards`: after one it goes half of the way. The factor and the spread follow the newest samples, the record all."""
    sound = sorted((each for each in samples if each.is_sound), key=lambda each: (each.time, each.run, each.place))
    if not sound:
        return None
    ratios = [each.log_ratio for each in sound[-FACTOR_SAMPLES_MAX:]]
    runs = len({each.run for each in sound})
    shrunk = (runs * median(ratios) + math.log(_bounded(towards))) / (runs + 1)
    factor = _bounded(math.exp(shrunk))
    spread = DEVIATION_OF_MEDIAN * median(abs(ratio - math.log(factor)) for ratio in ratios)
    return Calibration(factor, spread, record_of(sound))


def combined(place: str, own: Sequence[Sample], alike: Sequence[Sample]) -> Calibration | None:
    """What follows for one place: from its own samples where there are any, with few of them near what follows from those of its like;
    else from its like alone. Its own among those of its like do not count twice."""
    kind = calibrate([each for each in alike if each.place != place])
    return calibrate(own, kind.factor if kind else 1.0) or kind


def record_of(samples: Sequence[Sample]) -> TrackRecord:
    """How good the estimates of these sound samples were; there is at least one."""
    within = sum(each.actual_seconds <= each.estimated_p90_seconds for each in samples)
    return TrackRecord(
        runs=len({each.run for each in samples}),
        error=median(each.error for each in samples),
        p90_share=within / len(samples),
    )


def _bounded(factor: float) -> float:
    return min(FACTOR_MAX, max(FACTOR_MIN, factor))
