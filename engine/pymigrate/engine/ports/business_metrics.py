"""Business metrics of another package, found by entry point (`pymigrate.metrics`): what its figures are made from, and what may be told.

The package runs in a process of its own, which is asked again and again while somebody scrapes, and ended where it takes too long.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from pymigrate.engine.ports.metrics import Reading

ENTRY_POINTS = "pymigrate.metrics"
FAMILIES_MAX = 20
FAMILY_SERIES_MAX = 500
LABELS_MAX = 4


@dataclass(frozen=True, slots=True)
class PlanFigures:
    """Where a plan's newest run stands. `environment` and `plan` are their last segments; `completion` is 0 to 1."""

    environment: str
    plan: str
    state: str
    rows: int
    bytes: int
    completion: float


class BusinessMetrics(Protocol):
    """What the entry point names is called without arguments, and is to give one of these."""

    def collect(self, plans: Sequence[PlanFigures]) -> Iterable[Reading]:
        """Counters and gauges as they are now, each family once. Their names begin with the entry point's and an underscore, those of
        counters end in `_total`; a family has at most LABELS_MAX labels and FAMILY_SERIES_MAX series, and there are at most
        FAMILIES_MAX families. It has a few seconds. What it raises is counted, and the engine's log says it."""
        ...
