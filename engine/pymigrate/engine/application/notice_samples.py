"""Made-up events of every type, with what templates read of them: whole, and with as little as there may be. Templates are held to them
when they are saved, and shown by them when they are tried."""

from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from google.protobuf.timestamp_pb2 import Timestamp

from pymigrate.engine.application.findings import DRIFT_CROSSED, FOUND_BY_RULES, KPI_CROSSED, KPI_RECOVERED
from pymigrate.engine.application.notice_contexts import Addressed, own_context, shared_context
from pymigrate.engine.application.notice_facts import NOTHING_KNOWN, Context, Facts
from pymigrate.engine.application.notice_phrases import language_of, phrases_in
from pymigrate.engine.domain.notices import Occurrence, Severity, Stakeholder
from pymigrate.engine.domain.run import Failure, Lane, PhaseRun, Run
from pymigrate.engine.domain.run_states import LaneState, PhaseState, Point, RunState
from pymigrate.engine.domain.severities import severity_of
from pymigrate.engine.domain.watched_figures import DRIFT
from pymigrate.v1 import environment_pb2, kpi_pb2, plan_pb2

SAMPLE_TIME: Final = datetime(2026, 3, 2, 7, 30, tzinfo=UTC)
ENVIRONMENT: Final = "environments/prod"
PLAN: Final = f"{ENVIRONMENT}/plans/warehouse"
RUN: Final = f"{PLAN}/runs/r1"
DISPLAY_NAMES: Final = {PLAN: "Warehouse 2026", f"{ENVIRONMENT}/departments/sales": "Sales"}
ACKNOWLEDGE_URL: Final = "https://pymigrate.example.com/acknowledge/sample"
FAILING: Final = frozenset(
    {"failed", "stalled", "conflict", "rollback_blocked", "quarantined", "repaired", "left", "dead"}
)
_PART_OF_PHASE = {"dataset": "datasets/orders", "gate": "gates/go-live", "step": "steps/announce"}


def sample_contexts(event_type: str, locale: str = "en") -> tuple[Context, Context]:
    """What a template reads of an event of a type: of one of which everything is known, with another one before it, and of one of which
    nothing is known but that it happened."""
    full = sample_occurrence(event_type)
    before = sample_occurrence(event_type, SAMPLE_TIME - timedelta(minutes=5))
    return (
        _context((before, full), sample_facts(full), _whole(locale), locale),
        _context((_sparse(event_type),), NOTHING_KNOWN, Addressed(_nobody(locale), "", Severity.INFO), locale),
    )


def sample_occurrence(event_type: str, time: datetime = SAMPLE_TIME) -> Occurrence:
    """One of which everything is known."""
    kind, _, what = event_type.partition(".")
    is_in_run = kind not in ("audit", "notification")
    has_phase = is_in_run and kind not in ("run", "plan")
    is_found = event_type in FOUND_BY_RULES
    is_figure = event_type in (KPI_CROSSED, KPI_RECOVERED)
    is_drift = kind == DRIFT_CROSSED.partition(".")[0]
    return Occurrence(
        id="3f1c9a0b5d7e48f2a6c4e1b09d8f7a65",
        entry=int((time - SAMPLE_TIME).total_seconds()) + 1_000,
        type=event_type,
        subject=_subject(kind),
        time=time,
        severity=severity_of(event_type),
        environment=ENVIRONMENT,
        plan="warehouse" if is_in_run else "",
        run=RUN if is_in_run else "",
        phase="sales" if has_phase else "",
        department="sales" if has_phase or kind == "audit" else "",
        from_state="running" if is_in_run and not is_found else "",
        to_state=what if is_in_run and not is_found else "",
        actor="ada" if kind in ("audit", "gate", "seal") and what != "waiting" else "engine",
        failure=_FAILURE if what in FAILING else None,
        detail="completion fell behind what was estimated" if is_found else "",
        rule="late" if is_found or kind == "notification" else "",
        figure="completion" if is_figure else DRIFT if is_drift else "",
        value=0.31 if is_figure or is_drift else 1_200.0 if is_found else 0.0,
        bound=0.5 if is_figure or is_drift else 3_600.0 if is_found else 0.0,
    )


def sample_facts(occurrence: Occurrence) -> Facts:
    """Everything that may be known of what it happened to."""
    if not occurrence.run:
        return Facts(department=_department() if occurrence.department else None)
    phases = {
        "sales": PhaseRun(
            "sales",
            "sales",
            dependencies=("base",),
            state=PhaseState.VERIFYING,
            start_time=SAMPLE_TIME - timedelta(hours=1),
            failure=occurrence.failure,
            gates={"go-live": Point.BEFORE_PUBLICATION},
        ),
        "base": PhaseRun("base", "finance", state=PhaseState.PUBLISHED, end_time=SAMPLE_TIME),
    }
    run = Run(
        RUN, PLAN, "k", "h", SAMPLE_TIME - timedelta(hours=2), "cli", state=RunState.RUNNING, failure=occurrence.failure
    )
    return Facts(
        plan_pb2.Plan(name=PLAN, display_name="Warehouse 2026", description="Every department's data in one place."),
        run,
        phases,
        _lane(occurrence) if "/lanes/" in occurrence.subject else None,
        _department() if occurrence.department else None,
        _kpis(),
    )


def sample_stakeholder(locale: str) -> Stakeholder:
    """Somebody who is told."""
    return Stakeholder(
        "ada", "u", "Ada Lovelace", ("operator", "approver"), locale=locale, zone=ZoneInfo("Europe/Zurich")
    )


_FAILURE: Final = Failure(
    "SOURCE_UNAVAILABLE",
    "the source crm does not answer at db.example.com:5432",
    "phases.sales.datasets.orders",
    is_temporary=True,
)


def _whole(locale: str) -> Addressed:
    return Addressed(
        sample_stakeholder(locale),
        "operator",
        Severity.ERROR,
        "on-call",
        2,
        3,
        escalation=1,
        acknowledge_url=ACKNOWLEDGE_URL,
    )


def _nobody(locale: str) -> Stakeholder:
    return Stakeholder("ops", "u", locale=locale)


def _context(occurrences: tuple[Occurrence, ...], facts: Facts, told: Addressed, locale: str) -> Context:
    phrases = phrases_in(language_of(locale))
    return shared_context(occurrences, facts, phrases, DISPLAY_NAMES) | own_context(told, phrases)


def _sparse(event_type: str) -> Occurrence:
    return Occurrence("0" * 32, 1, event_type, ENVIRONMENT, SAMPLE_TIME, Severity.INFO, ENVIRONMENT)


def _subject(kind: str) -> str:
    match kind:
        case "audit":
            return f"{ENVIRONMENT}/departments/sales"
        case "notification":
            return f"{ENVIRONMENT}/deliveries/d1"
        case "run" | "plan":
            return RUN
        case "lane":
            return f"{RUN}/lanes/sales.orders.1"
        case "dataset" | "gate" | "step":
            return f"{RUN}/phases/sales/{_PART_OF_PHASE[kind]}"
        case _:
            return f"{RUN}/phases/sales"


def _lane(occurrence: Occurrence) -> Lane:
    return Lane(
        "sales.orders.1", "sales", "orders", rows_expected=20_000, state=LaneState.STALLED, rows=12_000, bytes=3_400_000,
        failure=occurrence.failure, retries=2, part=1,
    )  # fmt: skip


def _department() -> environment_pb2.Department:
    return environment_pb2.Department(
        name=f"{ENVIRONMENT}/departments/sales",
        display_name="Sales",
        owner="Grace Hopper",
        users=420,
        downtime_cost_per_hour=environment_pb2.Money(currency_code="EUR", amount=12_000),
        systems={
            "crm": environment_pb2.System(
                description="Customers and orders", criticality=environment_pb2.CRITICALITY_HIGH
            )
        },
    )


def _kpis() -> kpi_pb2.Kpis:
    kpis = kpi_pb2.Kpis(
        name=f"{RUN}/phases/sales",
        run=RUN,
        rows=310_000,
        bytes=64_000_000,
        rows_expected=1_000_000,
        completion=0.31,
        throughput=kpi_pb2.Throughput(window=kpi_pb2.Rate(rows_per_second=5_200, bytes_per_second=1_100_000)),
        errors=kpi_pb2.Errors(total=3, retries=2, rate=0.004),
        lanes={"running": 4, "done": 1},
        phases={"verifying": 1, "published": 1},
        quarantined_rows=12,
        conflicts=1,
        repaired_rows=2,
        lag_seconds=14.5,
        downtime=kpi_pb2.DowntimeUse(used_seconds=2_700, budget_seconds=7_200),
        sla_risk=kpi_pb2.SlaRisk(
            level=kpi_pb2.SLA_RISK_LEVEL_MODERATE,
            reasons=["The ninth decile of the downtime is beyond what was agreed."],
        ),
        drift=kpi_pb2.EstimateDrift(expected_seconds=9_000, drift=0.25),
    )
    kpis.downtime.expected_seconds.p50, kpis.downtime.expected_seconds.p90 = 5_400, 7_800
    kpis.drift.estimated_seconds.p50, kpis.drift.estimated_seconds.p90 = 7_200, 8_000
    kpis.remaining_seconds.p50, kpis.remaining_seconds.p90 = 6_300, 7_500
    for moment, hours in ((kpis.end_time.p50, 2), (kpis.end_time.p90, 3)):
        moment.CopyFrom(_timestamp(SAMPLE_TIME + timedelta(hours=hours)))
    return kpis


def _timestamp(moment: datetime) -> Timestamp:
    message = Timestamp()
    message.FromDatetime(moment)
    return message
