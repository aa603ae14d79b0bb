"""What an analysis found, as the contract tells it."""

import math
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from pymigrate.engine.application.estimating import Estimate
from pymigrate.engine.application.projections import timestamp
from pymigrate.engine.domain.agreements import Breach
from pymigrate.engine.domain.business import BusinessFigures, DepartmentFigures, PhaseFigures, SummaryFigures
from pymigrate.engine.domain.calibration import TrackRecord
from pymigrate.engine.domain.drawing import Draws, PhaseDraws
from pymigrate.engine.domain.quantiles import Quantiles, quantiles_of
from pymigrate.engine.domain.rating import Rated, Rating
from pymigrate.engine.domain.reach import Hit
from pymigrate.engine.domain.resources import Resources
from pymigrate.engine.domain.windows import WindowFit
from pymigrate.v1 import environment_pb2, impact_pb2, run_pb2

LANE_USES_MAX = 2_000
NINTH_DECILE = 1.2815515655446004  # of the standard normal distribution
_RATINGS = {
    Rating.LOW: impact_pb2.IMPACT_RATING_LOW,
    Rating.MODERATE: impact_pb2.IMPACT_RATING_MODERATE,
    Rating.HIGH: impact_pb2.IMPACT_RATING_HIGH,
    Rating.CRITICAL: impact_pb2.IMPACT_RATING_CRITICAL,
}


def quantiles(found: Quantiles) -> impact_pb2.Quantiles:
    """A figure that varies."""
    return impact_pb2.Quantiles(p50=found.p50, p90=found.p90)


def moments(start: datetime, seconds: Quantiles) -> impact_pb2.Moments:
    """A moment that varies, so many seconds after the start."""
    return impact_pb2.Moments(
        p50=timestamp(start + timedelta(seconds=seconds.p50)), p90=timestamp(start + timedelta(seconds=seconds.p90))
    )


def phase_message(
    figures: PhaseFigures, draws: PhaseDraws, start: datetime, datasets: Mapping[str, impact_pb2.DatasetEstimate]
) -> impact_pb2.PhaseImpact:
    """A phase, without what the plan says of it by itself."""
    return impact_pb2.PhaseImpact(
        start_time=moments(start, figures.start),
        end_time=moments(start, figures.end),
        duration_seconds=quantiles(figures.duration),
        downtime_seconds=quantiles(figures.downtime),
        write_downtime_seconds=quantiles(figures.write_downtime),
        slack_seconds=quantiles_of(draws.slacks).p50,
        critical_share=draws.critical_share,
        systems=[_system(hit) for hit in figures.reach.hits],
        costs=_costs(figures.costs),
        users=figures.users,
        breaches=[_breach(breach) for breach in figures.breaches],
        window=_window(figures.window),
        rating=_RATINGS[figures.rated.rating],
        reasons=_reasons(figures.rated),
        datasets=datasets,
    )


def department_message(figures: DepartmentFigures, start: datetime) -> impact_pb2.DepartmentImpact:
    """A department."""
    return impact_pb2.DepartmentImpact(
        phases=figures.phases,
        because_of=figures.because_of,
        start_time=moments(start, figures.start),
        end_time=moments(start, figures.end),
        duration_seconds=quantiles(figures.duration),
        downtime_seconds=quantiles(figures.downtime),
        write_downtime_seconds=quantiles(figures.write_downtime),
        costs=_costs(figures.costs),
        users=figures.users,
        systems=[_system(hit) for hit in figures.hits],
        breaches=[_breach(breach) for breach in figures.breaches],
        rating=_RATINGS[figures.rated.rating],
        reasons=_reasons(figures.rated),
    )


def summary_message(figures: SummaryFigures, draws: Draws, best_start: datetime | None) -> impact_pb2.ImpactSummary:
    """What the plan comes down to."""
    makespan = quantiles_of(draws.makespans)
    return impact_pb2.ImpactSummary(
        rating=_RATINGS[figures.rated.rating],
        reasons=_reasons(figures.rated),
        makespan_seconds=quantiles(makespan),
        end_time=moments(draws.start, makespan),
        downtime_seconds=quantiles(figures.downtime),
        costs=_costs(figures.costs),
        users=figures.users,
        rows=figures.rows,
        bytes=figures.bytes,
        phases=figures.phases,
        phases_in_window=figures.phases_in_window,
        breaches=figures.breaches,
        best_start_time=timestamp(best_start),
    )


def impact_message(figures: BusinessFigures, draws: Draws, best_start: datetime | None) -> impact_pb2.Impact:
    """A plan with its departments and its summary; the phases are the caller's."""
    return impact_pb2.Impact(
        start_time=timestamp(draws.start),
        draws=len(draws.makespans),
        summary=summary_message(figures.summary, draws, best_start),
        departments={name: department_message(each, draws.start) for name, each in figures.departments.items()},
        critical_path=draws.critical_path,
        lane_uses=_lane_uses(draws.lane_changes),
    )


def dataset_message(
    estimate: Estimate, look: run_pb2.Inspection, unknowns: Sequence[str]
) -> impact_pb2.DatasetEstimate:
    """How long a dataset takes by itself, and how that was found."""
    model, lanes = estimate.model, max(1, len(look.ranges))
    copying = model.copy.row_seconds * model.rows
    is_measured = estimate.measure.HasField("time")
    return impact_pb2.DatasetEstimate(
        rows=model.rows if estimate.has_size else -1,
        bytes=model.bytes if estimate.has_size else -1,
        path=look.path,
        path_reason=look.path_reason,
        lanes=lanes,
        copy_seconds=varying(model.copy_seconds(lanes), model.spread),
        verify_seconds=varying(model.verify_seconds, model.spread),
        publish_seconds=varying(model.publish_seconds, model.spread),
        basis=str(model.basis),
        record=record_message(estimate.record),
        unknowns=unknowns,
        measure_time=estimate.measure.time if is_measured else None,
        bytes_per_second=model.bytes / copying if copying > 0 else 0.0,
        source_share=estimate.measure.source_share,
    )


def varying(seconds: float, spread: float) -> impact_pb2.Quantiles:
    """A duration whose logarithm has this standard deviation."""
    return impact_pb2.Quantiles(p50=seconds, p90=seconds * math.exp(NINTH_DECILE * spread))


def resources_message(found: Resources) -> impact_pb2.Resources:
    """What is needed."""
    return impact_pb2.Resources(
        lanes_peak=found.lanes_peak,
        connections_peak=found.connections_peak,
        memory_bytes=found.memory_bytes,
        staging_bytes=found.staging_bytes,
        storage_bytes=found.storage_bytes,
        network_bytes=found.network_bytes,
    )


def record_message(record: TrackRecord | None) -> impact_pb2.EstimateRecord | None:
    """How good estimates have been; None where none was compared."""
    if record is None:
        return None
    return impact_pb2.EstimateRecord(runs=record.runs, error=record.error, p90_share=record.p90_share)


def _lane_uses(changes: Sequence[tuple[float, int]]) -> list[impact_pb2.LaneUse]:
    """At most LANE_USES_MAX of them, evenly spread: a picture needs no more."""
    every = -(-len(changes) // LANE_USES_MAX) or 1
    return [impact_pb2.LaneUse(seconds=seconds, lanes=lanes) for seconds, lanes in changes[::every]]


def _system(hit: Hit) -> impact_pb2.SystemImpact:
    return impact_pb2.SystemImpact(
        department=hit.department,
        system=hit.system,
        connection=hit.connection,
        effect=str(hit.effect),
        via=hit.via,
        criticality=environment_pb2.Criticality.Value(f"CRITICALITY_{hit.criticality.name}"),
    )


def _breach(breach: Breach) -> impact_pb2.Breach:
    return impact_pb2.Breach(
        system=breach.system,
        level=str(breach.level),
        seconds_max=breach.seconds_max,
        seconds=quantiles(breach.seconds),
        is_certain=breach.is_certain,
    )


def _window(fit: WindowFit) -> impact_pb2.WindowFit:
    return impact_pb2.WindowFit(
        is_scheduled=fit.is_scheduled,
        fits=fit.fits,
        fit_share=fit.fit_share,
        close_time=timestamp(fit.close_time),
        best_start_time=timestamp(fit.best_start_time),
    )


def _costs(costs: Mapping[str, Quantiles]) -> dict[str, impact_pb2.Quantiles]:
    return {currency: quantiles(found) for currency, found in costs.items()}


def _reasons(rated: Rated) -> list[str]:
    return [reason.text for reason in rated.reasons]
