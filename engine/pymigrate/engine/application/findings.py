"""What the engine found beyond a bound, as entries of the stream carry it in their `detail`: a figure, a drift, a window, or a delivery.

Entries of the types below are written by whoever looks (conditions, deliveries), and read by whoever routes and tells them.
"""

import json
from dataclasses import asdict, dataclass, fields
from typing import Any, Final

KPI_CROSSED: Final = "kpi.crossed"
KPI_RECOVERED: Final = "kpi.recovered"
DRIFT_CROSSED: Final = "drift.crossed"
DRIFT_RECOVERED: Final = "drift.recovered"
WINDOW_CLOSING: Final = "window.closing"
DELIVERY_DEAD: Final = "notification.dead"
DELIVERY_UNDELIVERABLE: Final = "notification.undeliverable"
DELIVERY_OVERDUE: Final = "notification.overdue"
ESCALATED: Final = "notification.escalated"

# What a rule with `kpi`, `drift_min` or `window_closes_seconds` finds itself, and matches by being the rule that found it.
FOUND_BY_RULES: Final = frozenset({KPI_CROSSED, KPI_RECOVERED, DRIFT_CROSSED, DRIFT_RECOVERED, WINDOW_CLOSING})
OF_DELIVERIES: Final = frozenset({DELIVERY_DEAD, DELIVERY_UNDELIVERABLE, DELIVERY_OVERDUE, ESCALATED})
# Their entries keep these types; everything else that somebody did is told as `audit.` and the action's first word.
FINDING_TYPES: Final = FOUND_BY_RULES | OF_DELIVERIES


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found. `rule` is the last segment of the rule that found it (FOUND_BY_RULES) or whose delivery it tells of (OF_DELIVERIES);
    `figure` is a path in Kpis, `drift.drift` of a drift and empty of a window and a delivery. `value` and `bound` are in the figure's own
    unit, in seconds of a window and a delivery. `run` is a resource name, `text` a sentence for people."""

    rule: str
    figure: str = ""
    value: float = 0.0
    bound: float = 0.0
    run: str = ""
    text: str = ""

    def detail(self) -> str:
        """As an entry's `detail` carries it; what is empty is left out."""
        known = {name: value for name, value in asdict(self).items() if value}
        return json.dumps({"rule": self.rule} | known, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def finding_of(detail: str) -> Finding | None:
    """What `detail()` wrote; None of a detail that is anything else, as entries of other types have."""
    if not detail.startswith("{"):
        return None
    try:
        found = json.loads(detail)
    except ValueError:
        return None
    return _read(found) if isinstance(found, dict) else None


def _read(found: dict[str, Any]) -> Finding | None:
    """Fields that a later version wrote are passed over; one of another kind makes it no finding."""
    known = {each.name: found[each.name] for each in fields(Finding) if each.name in found}
    for name, value in known.items():
        if name in {"value", "bound"}:
            if isinstance(value, bool) or not isinstance(value, int | float):
                return None
            known[name] = float(value)
        elif not isinstance(value, str):
            return None
    return Finding(**known) if "rule" in known else None
