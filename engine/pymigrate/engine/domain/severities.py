"""How grave each type of event is, where no rule says otherwise."""

from pymigrate.engine.domain.notices import Severity

_GRAVE = {
    # Data stays where it must not, and nothing goes on by itself: only a person can undo the rest.
    Severity.CRITICAL: ("run.rollback_blocked", "phase.rollback_blocked"),
    Severity.ERROR: ("run.failed", "phase.failed", "lane.failed", "lane.conflict", "notification.dead", "audit.fail"),
    Severity.WARNING: (
        *("run.cancelled", "run.rolling_back", "run.rolled_back"),
        *("phase.skipped", "phase.rolling_back", "phase.rolled_back"),
        *("lane.stalled", "dataset.quarantined", "dataset.repaired", "seal.failed", "staging.left"),
        "gate.waiting",
        *("kpi.crossed", "drift.crossed", "window.closing"),
        *("notification.undeliverable", "notification.overdue", "notification.escalated"),
        *("audit.delete", "audit.cancelled", "audit.roll"),
        *("audit.refuse", "audit.rewrite", "audit.correct"),
        "audit.deny",
    ),
}
SEVERITIES = {type_: severity for severity, types in _GRAVE.items() for type_ in types}


def severity_of(type_: str) -> Severity:
    """INFO for everything that asks nothing of anybody."""
    return SEVERITIES.get(type_, Severity.INFO)
