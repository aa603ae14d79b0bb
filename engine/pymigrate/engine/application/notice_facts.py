"""What is known of what something happened to, as templates read it: the plan, the run, the phase, the lane, the department and its costs,
and the KPIs. Each is None where there is none; figures that are not known are None too."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from pymigrate.engine.domain.gates import waiting_gates
from pymigrate.engine.domain.names import last_segment
from pymigrate.engine.domain.notices import Occurrence
from pymigrate.engine.domain.run import Failure, Lane, PhaseRun, Run
from pymigrate.v1 import environment_pb2, impact_pb2, kpi_pb2, plan_pb2
from pymigrate.v1.shape import enum_word

GATES_MAX = 50
SYSTEMS_MAX = 50
SECONDS_AN_HOUR = 3_600.0

Context = dict[str, Any]
Quantified = kpi_pb2.Kpis | kpi_pb2.DowntimeUse | kpi_pb2.EstimateDrift


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known. `phases` are all of the run; `kpis` those of the phase, of the run where there is no phase, of the plan where there
    is no run."""

    plan: plan_pb2.Plan | None = None
    run: Run | None = None
    phases: Mapping[str, PhaseRun] = field(default_factory=dict)
    lane: Lane | None = None
    department: environment_pb2.Department | None = None
    kpis: kpi_pb2.Kpis | None = None

    def contexts(self, occurrence: Occurrence) -> Context:
        """What templates read of it, by name."""
        return {
            "plan": _plan(occurrence, self.plan),
            "run": _run(self),
            "phase": _phase(occurrence, self),
            "lane": _lane(self.lane),
            "department": _department(occurrence, self),
            "kpis": None if self.kpis is None else _kpis(self.kpis),
        }


NOTHING_KNOWN = Facts()


def failure_context(failure: Failure | None) -> Context | None:
    """Why something failed; None where it did not."""
    if failure is None:
        return None
    return {
        "reason": failure.reason,
        "message": failure.message,
        "field": failure.field,
        "is_temporary": failure.is_temporary,
    }


def time_text(moment: datetime | None) -> str | None:
    """A moment as RFC 3339 has it; None where there is none."""
    return None if moment is None else moment.isoformat(timespec="seconds").replace("+00:00", "Z")


def _plan(occurrence: Occurrence, plan: plan_pb2.Plan | None) -> Context | None:
    if not occurrence.plan:
        return None
    known = plan if plan is not None else plan_pb2.Plan()
    return {
        "id": occurrence.plan,
        "name": f"{occurrence.environment}/plans/{occurrence.plan}",
        "display_name": known.display_name or occurrence.plan,
        "description": known.description,
        "labels": dict(known.labels),
    }


def _run(facts: Facts) -> Context | None:
    run = facts.run
    if run is None:
        return None
    gates = [
        {"phase": name, "gate": gate, "command": f"pymigrate approve {run.name} {name} {gate}"}
        for name, phase in sorted(facts.phases.items())
        for gate in waiting_gates(run, phase, facts.phases)
    ]
    return {
        "id": last_segment(run.name),
        "name": run.name,
        "state": str(run.state),
        "attempt": run.attempt,
        "create_time": time_text(run.create_time),
        "end_time": time_text(run.end_time),
        "failure": failure_context(run.failure),
        "waiting_for": [last_segment(plan) for plan in run.waiting_for],
        "waiting_gates": gates[:GATES_MAX],
        "started_by": run.managed_by,
    }


def _phase(occurrence: Occurrence, facts: Facts) -> Context | None:
    phase = facts.phases.get(occurrence.phase)
    if phase is None:
        return None
    return {
        "id": phase.id,
        "state": str(phase.state),
        "attempt": phase.attempt,
        "department": phase.department,
        "dependencies": list(phase.dependencies),
        "start_time": time_text(phase.start_time),
        "end_time": time_text(phase.end_time),
        "failure": failure_context(phase.failure),
        "waiting_gates": [] if facts.run is None else list(waiting_gates(facts.run, phase, facts.phases)),
    }


def _lane(lane: Lane | None) -> Context | None:
    if lane is None:
        return None
    return {
        "id": lane.id,
        "dataset": lane.dataset,
        "part": lane.part,
        "state": str(lane.state),
        "rows": lane.rows,
        "rows_expected": lane.rows_expected if lane.rows_expected >= 0 else None,
        "bytes": lane.bytes,
        "retries": lane.retries,
        "failure": failure_context(lane.failure),
    }


def _department(occurrence: Occurrence, facts: Facts) -> Context | None:
    if not occurrence.department:
        return None
    known = facts.department if facts.department is not None else environment_pb2.Department()
    cost = known.downtime_cost_per_hour if known.HasField("downtime_cost_per_hour") else None
    return {
        "id": occurrence.department,
        "display_name": known.display_name or occurrence.department,
        "owner": known.owner,
        "users": known.users,
        "cost_per_hour": _money(cost, 1.0),
        "cost_so_far": _money(cost, _hours(facts.kpis)),
        "cost_expected": _money(cost, _hours_expected(facts.kpis)),
        "systems": [
            {
                "name": name,
                "description": system.description,
                "criticality": enum_word(environment_pb2.Criticality.DESCRIPTOR, system.criticality) or "medium",
            }
            for name, system in sorted(known.systems.items())
        ][:SYSTEMS_MAX],
    }


def _money(cost: environment_pb2.Money | None, hours: float | None) -> Context | None:
    if cost is None or hours is None:
        return None
    return {"currency_code": cost.currency_code, "amount": cost.amount * hours}


def _hours(kpis: kpi_pb2.Kpis | None) -> float | None:
    return None if kpis is None else kpis.downtime.used_seconds / SECONDS_AN_HOUR


def _hours_expected(kpis: kpi_pb2.Kpis | None) -> float | None:
    expected = None if kpis is None else _quantiles(kpis.downtime, "expected_seconds")
    return None if expected is None else expected["p50"] / SECONDS_AN_HOUR


def _kpis(kpis: kpi_pb2.Kpis) -> Context:
    downtime = kpis.downtime
    return {
        "subject": kpis.name,
        "completion": kpis.completion,
        "rows": kpis.rows,
        "rows_expected": _known(kpis.rows_expected),
        "bytes": kpis.bytes,
        "rows_per_second": kpis.throughput.window.rows_per_second,
        "bytes_per_second": kpis.throughput.window.bytes_per_second,
        "errors": {"total": kpis.errors.total, "retries": kpis.errors.retries, "rate": kpis.errors.rate},
        "quarantined_rows": kpis.quarantined_rows,
        "conflicts": kpis.conflicts,
        "repaired_rows": kpis.repaired_rows,
        "lag_seconds": _known(kpis.lag_seconds),
        "phases": dict(kpis.phases),
        "lanes": dict(kpis.lanes),
        "end_time": None
        if not kpis.HasField("end_time")
        else {"p50": _moment(kpis.end_time.p50), "p90": _moment(kpis.end_time.p90)},
        "remaining_seconds": _quantiles(kpis, "remaining_seconds"),
        "downtime": {
            "used_seconds": downtime.used_seconds,
            "budget_seconds": _known(downtime.budget_seconds),
            "expected_seconds": _quantiles(downtime, "expected_seconds"),
        },
        "sla_risk": {
            "level": enum_word(kpi_pb2.SlaRiskLevel.DESCRIPTOR, kpis.sla_risk.level),
            "reasons": list(kpis.sla_risk.reasons),
        },
        "drift": _drift(kpis),
    }


def _drift(kpis: kpi_pb2.Kpis) -> Context | None:
    estimated = _quantiles(kpis.drift, "estimated_seconds")
    if estimated is None or not math.isfinite(kpis.drift.drift) or not math.isfinite(kpis.drift.expected_seconds):
        return None
    return {
        "share": kpis.drift.drift,
        "estimated_seconds": estimated,
        "expected_seconds": kpis.drift.expected_seconds,
    }


def _known(value: float) -> float | None:
    """None where the contract says -1: it is not known, or there is none."""
    return value if value >= 0 and math.isfinite(value) else None


def _quantiles(message: Quantified, field: str) -> Context | None:
    """None where they are not known, or have no end: no text could say when."""
    if not message.HasField(field):  # type: ignore[arg-type]  # one of its own fields, as callers name them
        return None
    seconds: impact_pb2.Quantiles = getattr(message, field)
    if not (math.isfinite(seconds.p50) and math.isfinite(seconds.p90)):
        return None
    return {"p50": seconds.p50, "p90": seconds.p90}


def _moment(moment: Timestamp) -> str | None:
    return time_text(moment.ToDatetime(UTC))
