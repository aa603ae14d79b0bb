"""The figures of a run or of a phase that a rule may hold to a bound: each a path in the contract's `Kpis`, with its unit and range."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from pymigrate.engine.domain.run_states import LaneState, PhaseState, RunState
from pymigrate.engine.domain.spelling import spell_seconds

BY_REASON = "errors.by_reason."
THROUGHPUT = "throughput."
DRIFT = "drift.drift"


class FigureUnit(StrEnum):
    """What a figure counts."""

    ROWS = "rows"
    BYTES = "bytes"
    ROWS_PER_SECOND = "rows a second"
    BYTES_PER_SECOND = "bytes a second"
    SECONDS = "seconds"
    SHARE = "share, 1 is all"
    COUNT = "count"
    LEVEL = "level: 1 low, 2 moderate, 3 high, 4 breached"


@dataclass(frozen=True, slots=True)
class Figure:
    """What a figure says. Its values are at least `least` and at most `most`, where they are bounded."""

    about: str
    unit: FigureUnit
    least: float | None = 0.0
    most: float | None = None

    def spell(self, value: float) -> str:
        """A value as people read it in a sentence."""
        match self.unit:
            case FigureUnit.SECONDS:
                return spell_seconds(value) if value >= 0 else f"-{spell_seconds(-value)}"
            case FigureUnit.SHARE:
                return f"{value:.1%}" if self.least is not None else f"{value:+.1%}"
            case FigureUnit.LEVEL | FigureUnit.COUNT:
                return f"{value:,g}"
            case _:
                return f"{value:,.0f} {self.unit}" if value == round(value) else f"{value:,.1f} {self.unit}"


def _rates() -> Iterator[tuple[str, Figure]]:
    for window, about in (("now", "in the last five seconds"), ("window", "in the last minute"), ("average", "so far")):
        yield f"throughput.{window}.rows_per_second", Figure(f"Rows a second {about}.", FigureUnit.ROWS_PER_SECOND)
        yield f"throughput.{window}.bytes_per_second", Figure(f"Bytes a second {about}.", FigureUnit.BYTES_PER_SECOND)


def _quantiles(path: str, about: str) -> Iterator[tuple[str, Figure]]:
    for quantile, share in (("p50", "the median"), ("p90", "the ninth decile")):
        yield f"{path}.{quantile}", Figure(f"{about}, {share}.", FigureUnit.SECONDS)


def _counts() -> Iterator[tuple[str, Figure]]:
    for of, states in (("lanes", LaneState), ("phases", PhaseState), ("runs", RunState)):
        for state in states:
            yield f"{of}.{state}", Figure(f"{of.capitalize()} that are {state}.", FigureUnit.COUNT)
    for word, about in (
        ("pending", "are still to be verified"),
        ("verified", "are verified"),
        ("failed", "failed their verification"),
        ("none", "have no verification"),
    ):
        yield f"verifications.{word}", Figure(f"Datasets that {about}.", FigureUnit.COUNT)


FIGURES: Mapping[str, Figure] = {
    "rows": Figure("Rows committed in staging or published.", FigureUnit.ROWS),
    "bytes": Figure("Bytes of source data that those rows took.", FigureUnit.BYTES),
    "rows_expected": Figure("Rows that are expected in all; no value while any part is not known.", FigureUnit.ROWS),
    "completion": Figure("The share that is done.", FigureUnit.SHARE, most=1.0),
    **dict(_rates()),
    "errors.total": Figure("Failures in all, mended by another try or not.", FigureUnit.COUNT),
    "errors.retries": Figure("How often a lane was tried again.", FigureUnit.COUNT),
    "errors.rate": Figure("Failures over chunks committed and failures together.", FigureUnit.SHARE, most=1.0),
    **dict(_quantiles("remaining_seconds", "What is left until the expected end")),
    **dict(_counts()),
    "quarantined_rows": Figure("Rows that were refused and lie in quarantine.", FigureUnit.ROWS),
    "conflicts": Figure("Rows whose key the target held with other content.", FigureUnit.ROWS),
    "repaired_rows": Figure("Rows that verification had to copy again.", FigureUnit.ROWS),
    "lag_seconds": Figure(
        "How far staging is behind its source at most; no value where nothing catches up.", FigureUnit.SECONDS
    ),
    "downtime.used_seconds": Figure("How long sources have been down.", FigureUnit.SECONDS),
    "downtime.budget_seconds": Figure("How long they may be; no value where nothing was agreed.", FigureUnit.SECONDS),
    **dict(_quantiles("downtime.expected_seconds", "What downtime is expected in all")),
    "sla_risk.level": Figure(
        "How likely what was agreed is broken; no value where nothing was.", FigureUnit.LEVEL, least=1.0, most=4.0
    ),
    **dict(_quantiles("drift.estimated_seconds", "What was estimated at the start")),
    "drift.expected_seconds": Figure("What it took, or is expected to take after all.", FigureUnit.SECONDS),
    DRIFT: Figure("How far that lies off the estimated median, as a share of it.", FigureUnit.SHARE, least=None),
}
_OF_A_REASON = Figure("Failures for this reason.", FigureUnit.COUNT)


def figure_of(path: str) -> Figure | None:
    """The figure at a path; None where there is none. After `errors.by_reason.` any reason may stand."""
    if path.startswith(BY_REASON):
        return _OF_A_REASON if path.removeprefix(BY_REASON).replace("_", "").isalnum() else None
    return FIGURES.get(path)
