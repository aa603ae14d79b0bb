"""Figures as the contract tells them."""

from collections.abc import Mapping

from pymigrate.engine.application.projections import timestamp
from pymigrate.engine.domain.kpi_arrivals import Rate
from pymigrate.engine.domain.kpi_figures import Figures
from pymigrate.v1 import kpi_pb2, run_pb2

REASONS_MAX = 50
OTHER = "OTHER"


def kpis_message(name: str, figures: Figures) -> kpi_pb2.Kpis:
    """A subject's figures, without what is forecast and agreed."""
    state = "UNSPECIFIED" if figures.state is None else figures.state.name
    return kpi_pb2.Kpis(
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
        downtime=kpi_pb2.DowntimeUse(used_seconds=figures.downtime_seconds, budget_seconds=-1.0),
        update_time=timestamp(figures.update_time),
    )


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
