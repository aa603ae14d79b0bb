"""What of a plan's newest run is at risk or waits for a person: each told with what, where and what to do next."""

from collections.abc import Iterator
from datetime import datetime

from pymigrate.engine.application.projections import timestamp
from pymigrate.engine.domain.kpi import RunKpis
from pymigrate.engine.domain.kpi_moments import CAUGHT_UP, OTHER_PLAN_SUCCEEDED, PAUSED, STALLED, VERIFYING, Moments
from pymigrate.engine.domain.kpi_phase import PhaseKpis
from pymigrate.engine.domain.kpi_tally import QUARANTINED
from pymigrate.engine.domain.names import last_segment
from pymigrate.engine.domain.run import Failure, Lane, PhaseRun, Run
from pymigrate.engine.domain.run_states import LaneState, PhaseState, RunState
from pymigrate.engine.domain.spelling import spell_seconds
from pymigrate.v1 import kpi_pb2

DRIFT_TOLD_SHARE = 0.2
DRIFT_BAD_SHARE = 0.5
INFO, WARNING, CRITICAL = (
    kpi_pb2.RISK_SEVERITY_INFO,
    kpi_pb2.RISK_SEVERITY_WARNING,
    kpi_pb2.RISK_SEVERITY_CRITICAL,
)
_UNDONE = frozenset({RunState.ROLLING_BACK, RunState.ROLLED_BACK})


def plan_risks(run: RunKpis, kpis: kpi_pb2.Kpis) -> list[kpi_pb2.Risk]:
    """The risks of a run, which is its plan's newest one; `kpis` are its own."""
    if run.record is None:
        return []
    phases = [phase for _, phase in sorted(run.phases.items())]
    found = [*_of_run(run.record, run.moments), *_of_agreement(run, kpis), *_of_estimate(run, kpis)]
    for phase in phases:
        found += _of_phase(run.record, phase, run.moments)
    return [*found, *_of_gates(run)]


def _of_run(run: Run, moments: Moments) -> Iterator[kpi_pb2.Risk]:
    why = _because(run.failure)
    match run.state:
        case RunState.FAILED:
            text = (
                f"{run.name} failed{why}. Mend that, then go on with `pymigrate retry {run.name}`, or undo it with "
                f"`pymigrate rollback {run.name}`."
            )
            yield _risk(run, run.name, "RUN_FAILED", text, CRITICAL, run.end_time)
        case RunState.ROLLBACK_BLOCKED:
            text = (
                f"{run.name} could not be undone entirely{why}. Mend what is said of its phases, then ask again with "
                f"`pymigrate rollback {run.name}`."
            )
            yield _risk(run, run.name, "ROLLBACK_BLOCKED", text, CRITICAL, run.end_time)
        case RunState.PAUSED:
            text = f"{run.name} is paused. Let it go on with `pymigrate resume {run.name}`, or end it with `pymigrate cancel {run.name}`."
            yield _risk(run, run.name, "RUN_PAUSED", text, INFO, moments.last(PAUSED, last_segment(run.name)))
        case _:
            pass
    if run.waiting_for and run.end_time is None:
        text = f"{run.name} waits until the newest runs of {', '.join(run.waiting_for)} have succeeded. See how they stand."
        yield _risk(run, run.name, "RUN_WAITING", text, INFO, run.create_time)


def _of_agreement(run: RunKpis, kpis: kpi_pb2.Kpis) -> Iterator[kpi_pb2.Risk]:
    level = kpis.sla_risk.level
    is_broken = level == kpi_pb2.SLA_RISK_LEVEL_BREACHED
    if run.record is None or level < kpi_pb2.SLA_RISK_LEVEL_MODERATE or not (is_broken or run.is_active):
        return
    what = "What was agreed is broken" if is_broken else "What was agreed may be broken"
    why = " ".join(kpis.sla_risk.reasons)
    text = f"{what} by {run.name}. {why} Look at `pymigrate forecast {run.name}`, and tell whom it concerns."
    yield _risk(run.record, run.name, "SLA_AT_RISK", text, CRITICAL if is_broken else WARNING, None)


def _of_estimate(run: RunKpis, kpis: kpi_pb2.Kpis) -> Iterator[kpi_pb2.Risk]:
    drift = kpis.drift.drift
    if run.record is None or not run.is_active or drift < DRIFT_TOLD_SHARE:
        return
    took, estimated = spell_seconds(kpis.drift.expected_seconds), spell_seconds(kpis.drift.estimated_seconds.p50)
    text = f"{run.name} takes {took}, where {estimated} were estimated ({drift:+.0%}). Look at `pymigrate forecast {run.name}`."
    severity = WARNING if drift >= DRIFT_BAD_SHARE else INFO
    yield _risk(run.record, run.name, "ESTIMATE_DRIFT", text, severity, None)


def _of_phase(run: Run, phase: PhaseKpis, moments: Moments) -> Iterator[kpi_pb2.Risk]:
    name = f"{run.name}/phases/{phase.id}"
    record = phase.record
    if record is not None and record.state is PhaseState.FAILED and run.state not in _UNDONE:
        text = f"{name} failed{_because(record.failure)}. Mend that, then go on with `pymigrate retry {run.name}` once the run has ended."
        yield _risk(run, name, "PHASE_FAILED", text, CRITICAL, record.end_time)
    if record is not None and record.state is PhaseState.ROLLBACK_BLOCKED:
        text = (
            f"{name} could not be undone entirely{_because(record.failure)}. Mend that, then ask again with "
            f"`pymigrate rollback {run.name}`."
        )
        yield _risk(run, name, "ROLLBACK_BLOCKED", text, CRITICAL, record.end_time)
    if rows := phase.tally.get(QUARANTINED, 0):
        text = (
            f"{rows:,} rows of {name} were refused and lie in quarantine. Look at them there, mend the source or the "
            "transforms, and run it again."
        )
        yield _risk(run, name, "ROWS_QUARANTINED", text, WARNING, None)
    if run.end_time is None:
        for lane in phase.lanes().values():
            if lane.state is LaneState.STALLED:
                yield _stalled(run, lane, moments)


def _stalled(run: Run, lane: Lane, moments: Moments) -> kpi_pb2.Risk:
    name = f"{run.name}/lanes/{lane.id}"
    text = f"{name} has stalled{_because(lane.failure)}. It is tried again by itself; see whether its source and its target answer."
    return _risk(run, name, "LANE_STALLED", text, WARNING, moments.last(STALLED, lane.id))


def _of_gates(run: RunKpis) -> Iterator[kpi_pb2.Risk]:
    for phase, gate in run.waiting_gates():
        if run.record is not None:
            name = f"{run.name}/phases/{phase.id}"
            text = f"{name} waits at its gate `{gate}`. Look at what it waits with, then `pymigrate approve {run.name} {phase.id} {gate}`."
            yield _risk(run.record, name, "GATE_WAITING", text, WARNING, _waits_since(run, phase))


def _waits_since(run: RunKpis, phase: PhaseRun) -> datetime | None:
    """Since when a phase waits at a gate: to begin, since the last of what it and its run need was done; to be published, since it can be
    looked at."""
    if phase.state is not PhaseState.PENDING:
        return run.moments.last(CAUGHT_UP if phase.is_online else VERIFYING, phase.id)
    if run.record is None:
        return None
    needed = [run.phases[name].record for name in phase.dependencies if name in run.phases]
    ends = [record.end_time for record in needed if record is not None and record.end_time is not None]
    others = run.moments.last(OTHER_PLAN_SUCCEEDED, last_segment(run.name))
    return max(*ends, others or run.record.create_time, run.record.create_time)


def _because(failure: Failure | None) -> str:
    return "" if failure is None else f" ({failure.reason}): {failure.message.rstrip('.')}"


def _risk(
    run: Run, subject: str, reason: str, message: str, severity: kpi_pb2.RiskSeverity.ValueType, since: datetime | None
) -> kpi_pb2.Risk:
    return kpi_pb2.Risk(
        plan=run.plan, subject=subject, reason=reason, message=message, severity=severity, since=timestamp(since)
    )
