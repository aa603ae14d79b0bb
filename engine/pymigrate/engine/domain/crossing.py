"""Whether a value has crossed a bound: once for each crossing, only after it held, told again while it holds, and over only once the
value has come back far enough. Pure: what is known of a condition, a value and the time make the next step."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, auto

from pymigrate.engine.domain.delivery import Condition


class Unknown(Enum):
    """Why there is no value. `YET`: it is still to be found, and what was told of it stays. `MOOT`: there is none any more, as the lag of
    what no longer catches up has none, and what was told of it is over."""

    YET = auto()
    MOOT = auto()


Value = float | Unknown


class Step(Enum):
    """What becomes of a condition."""

    STAYS = auto()
    BEGINS = auto()  # it is beyond, and must still hold
    CROSSED = auto()
    AGAIN = auto()
    DROPPED = auto()  # it came back before it was told
    RECOVERED = auto()


@dataclass(frozen=True, slots=True)
class Terms:
    """A bound, how long it must be crossed before that is told, how far back the value must come (a share of the bound; never beyond
    `least` and `most`, which the value does not leave), and after how long it is told again (0: never)."""

    is_above: bool
    bound: float
    hold_seconds: float = 0.0
    hysteresis: float = 0.0
    repeat_seconds: float = 0.0
    least: float | None = None
    most: float | None = None

    def is_beyond(self, value: float) -> bool:
        """Whether the value lies beyond the bound; on it is not beyond."""
        return value > self.bound if self.is_above else value < self.bound

    def is_back(self, value: float) -> bool:
        """Whether the value has come back far enough for the crossing to be over."""
        return value <= self.back if self.is_above else value >= self.back

    @property
    def back(self) -> float:
        """How far it must come back. Where the range ends before that, its end is enough."""
        margin = self.hysteresis * abs(self.bound)
        if self.is_above:
            back = self.bound - margin
            return back if self.least is None else min(self.bound, max(back, self.least))
        back = self.bound + margin
        return back if self.most is None else max(self.bound, min(back, self.most))

    def next_time(self, condition: Condition) -> datetime | None:
        """When something becomes of a condition while its value stays as it is; None where nothing does."""
        if condition.told_time is None:
            return condition.since + timedelta(seconds=self.hold_seconds)
        return condition.told_time + timedelta(seconds=self.repeat_seconds) if self.repeat_seconds > 0 else None


def step(terms: Terms, condition: Condition | None, value: Value, now: datetime) -> Step:
    """What becomes of a condition (None: there is none) whose value is this now."""
    if value is Unknown.YET:
        return Step.STAYS
    if condition is None:
        return _begun(terms, value)
    if condition.told_time is None:
        if isinstance(value, Unknown) or not terms.is_beyond(value):
            return Step.DROPPED
        return Step.CROSSED if _is_due(terms, condition, now) else Step.STAYS
    if isinstance(value, Unknown) or terms.is_back(value):
        return Step.RECOVERED
    return Step.AGAIN if _is_due(terms, condition, now) else Step.STAYS


def _begun(terms: Terms, value: Value) -> Step:
    if isinstance(value, Unknown) or not terms.is_beyond(value):
        return Step.STAYS
    return Step.BEGINS if terms.hold_seconds > 0 else Step.CROSSED


def _is_due(terms: Terms, condition: Condition, now: datetime) -> bool:
    moment = terms.next_time(condition)
    return moment is not None and moment <= now
