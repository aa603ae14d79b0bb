"""Figures as the contract tells them."""

from collections.abc import Mapping

from pymigrate.engine.application.impact_messages import quantiles
from pymigrate.engine.application.projections import timestamp
from pymigrate.engine.domain.kpi_arrivals import Rate
from pymigrate.engine.domain.kpi_figures import Figures
from pymigrate.engine.domain.kpi_outlook import UNKNOWN, Outlook
from pymigrate.v1 import impact_pb2, kpi_pb2, run_pb2

REASONS_MAX = 50
OTHER = "OTHER"


def kpis_message(name: str, figures: Figures, outlook: Outlook = UNKNOWN) -> kpi_pb2.Kpis:
    """A subject's figures, and what is expected of it."""
    state = "UNSPECIFIED" if figures.state is None else figures.state.name
    message = kpi_pb2.Kpis(
        name=name,
        run=figures.run,
        state=run_pb2.RunState.Value(f"RUN_STATE_{state}"),
        rows=figures.rows,
        bytes=figures.bytes,
        rows_expected=figures.rows_expected,
        completion=figures.completion,
        throughput=kpi_pb2.Throughput(
            now=_rate(figures.now), window=_rate(figures.window), average=_rate(figures.average)
        ),
        errors=kpi_pb2.Errors(
            total=figures.failures,
            by_reason=_bounded(figures.failures_by_reason),
            retries=figures.retries,
            rate=figures.failure_rate,
        ),
        lanes=figures.lanes,
        phases=figures.phases,
        runs=figures.runs,
        verifications=figures.verifications,
        quarantined_rows=figures.quarantined_rows,
        conflicts=figures.conflicts,
        repaired_rows=figures.repaired_rows,
        lag_seconds=figures.lag_seconds,
        downtime=kpi_pb2.DowntimeUse(used_seconds=figures.downtime_seconds, budget_seconds=outlook.budget_seconds),
        sla_risk=kpi_pb2.SlaRisk(level=outlook.level.value, reasons=outlook.reasons),  # type: ignore[arg-type]  # as the contract numbers it
        update_time=timestamp(figures.update_time),
    )
    if outlook.end is not None and figures.update_time is not None:
        p50, p90 = outlook.end.p50, outlook.end.p90
        message.end_time.CopyFrom(impact_pb2.Moments(p50=timestamp(p50), p90=timestamp(p90)))
        left = [max(0.0, (end - figures.update_time).total_seconds()) for end in (p50, p90)]
        message.remaining_seconds.CopyFrom(impact_pb2.Quantiles(p50=left[0], p90=left[1]))
    if outlook.downtime is not None:
        message.downtime.expected_seconds.CopyFrom(quantiles(outlook.downtime))
    if outlook.estimated is not None and outlook.expected_seconds is not None:
        message.drift.estimated_seconds.CopyFrom(quantiles(outlook.estimated))
        message.drift.expected_seconds = outlook.expected_seconds
        message.drift.drift = outlook.drift or 0.0
    return message


def nothing_yet(name: str) -> kpi_pb2.Kpis:
    """Those of a subject of which nothing has been run."""
    return kpis_message(name, Figures(rows=0, bytes=0, rows_expected=0, completion=0.0))


def _rate(rate: Rate) -> kpi_pb2.Rate:
    return kpi_pb2.Rate(rows_per_second=rate.rows_per_second, bytes_per_second=rate.bytes_per_second)


def _bounded(reasons: Mapping[str, int]) -> dict[str, int]:
    """The most frequent ones, and the others together."""
    if len(reasons) <= REASONS_MAX:
        return dict(reasons)
    ordered = sorted(reasons, key=lambda reason: (-reasons[reason], reason))
    kept = [reason for reason in ordered if reason != OTHER][: REASONS_MAX - 1]
    return {
        **{reason: reasons[reason] for reason in kept},
        OTHER: sum(reasons.values()) - sum(reasons[r] for r in kept),
    }
