"""What there is to warn of when a plan's impact is compared with that of a change: phases that no longer fit their windows, and downtimes
that rise. Pure: two impacts in, sentences out."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

INCREASE_SECONDS_MIN = 0.5  # what an estimate can't tell apart is no rise
PHASES_TOLD_MAX = 5
UNKNOWNS_TOLD_MAX = 3
MEASURES = (("downtime_seconds", "Downtime"), ("write_downtime_seconds", "Write downtime"))
_UNITS = ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "min"), (60, "min", 1, "s"))  # with the next smaller one


@dataclass(frozen=True)
class Told:
    """A warning's two parts."""

    summary: str
    detail: str


@dataclass(frozen=True)
class _Finding:
    """One phase's. Where several are told, the changed phase comes first and the heaviest of the others after it."""

    phase: str
    summary: str
    detail: str
    weight: float


def warnings(base: Any, changed: Any, phase: str, share_max: float) -> list[Told]:
    """One warning for windows and one for downtimes, or none. `base` and `changed` are Impact messages; `phase` is the changed one,
    told first, or empty for a change of the plan itself. A downtime is told that rises by more than `share_max` of itself and by more
    than half a second in the median."""
    names = sorted(set(base.phases) & set(changed.phases))
    pairs = [(name, base.phases[name], changed.phases[name]) for name in names]
    windows = [finding for name, before, after in pairs if (finding := _window(name, before, after))]
    downtimes = [finding for name, before, after in pairs if (finding := _downtime(name, before, after, share_max))]
    limit = f"That is more than the {share_max:.0%} of `downtime_increase_share_max`."
    return [*_merged(windows, phase, "", changed), *_merged(downtimes, phase, limit, changed)]


def duration(seconds: float) -> str:
    """As people say it: `0.4 s`, `95 s`, `14 min 5 s`, `3 h 12 min`."""
    if not math.isfinite(seconds):
        return "an unknown time"
    if seconds < 10:
        return f"{seconds:.2g} s" if seconds < 1 else f"{seconds:.1f} s".replace(".0 ", " ")
    whole = round(seconds)
    if whole < 120:
        return f"{whole} s"
    large, word, small, part = next(unit for unit in _UNITS if whole >= 2 * unit[0])
    rest = whole % large // small
    return f"{whole // large} {word}" + (f" {rest} {part}" if rest else "")


def _window(name: str, before: Any, after: Any) -> _Finding | None:
    if not _fits(before.window) or _fits(after.window):
        return None
    window = after.window
    detail = f"In {window.fit_share:.0%} of the rehearsals it ends in the window that it starts in"
    detail += f", which closes at {window.close_time.ToJsonString()}." if window.HasField("close_time") else "."
    if window.HasField("best_start_time"):
        detail += f" It would fit from {window.best_start_time.ToJsonString()} on."
    else:
        detail += " No opening of the next 14 days would hold it."
    last, now = before.duration_seconds, after.duration_seconds
    detail += f" It takes {duration(now.p50)} (P50) and {duration(now.p90)} (P90); before: {duration(last.p50)} and {duration(last.p90)}."
    return _Finding(name, f"Phase {name} no longer fits its window", detail, 1 - window.fit_share)


def _fits(window: Any) -> bool:
    return bool(window.fits or not window.is_scheduled)


def _downtime(name: str, before: Any, after: Any, share_max: float) -> _Finding | None:
    for measure, title in MEASURES:
        last, now = getattr(before, measure), getattr(after, measure)
        increase = now.p50 - last.p50
        if increase > INCREASE_SECONDS_MIN and increase > share_max * last.p50:
            summary = f"{title} of phase {name} rises from {duration(last.p50)} to {duration(now.p50)} (P50)"
            return _Finding(name, summary, f"P90: from {duration(last.p90)} to {duration(now.p90)}.", increase)
    return None


def _merged(findings: list[_Finding], phase: str, ending: str, changed: Any) -> Iterator[Told]:
    if not findings:
        return
    first, *others = sorted(findings, key=lambda finding: (finding.phase != phase, -finding.weight))
    summary = first.summary + (f", and {_phases(len(others))} more" if others else "")
    lines = [first.detail] + [f"{other.summary}. {other.detail}" for other in others[: PHASES_TOLD_MAX - 1]]
    if len(findings) > PHASES_TOLD_MAX:
        lines.append(f"So it is for {_phases(len(findings) - PHASES_TOLD_MAX)} more.")
    lines += [ending] if ending else []
    lines += _unknowns(changed.phases[first.phase])
    yield Told(summary, "\n".join(lines))


def _unknowns(phase: Any) -> list[str]:
    """What the estimate of a phase does not know, as far as there is room."""
    told = [(name, each) for name, dataset in sorted(phase.datasets.items()) for each in dataset.unknowns]
    return [f"Not known of {name}: {each.rstrip('.')}." for name, each in told[:UNKNOWNS_TOLD_MAX]]


def _phases(count: int) -> str:
    return "one phase" if count == 1 else f"{count} phases"
