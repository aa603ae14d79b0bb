"""Entries of the stream as what rules match and messages tell of."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from pymigrate.engine.application.cloud_events import event_id
from pymigrate.engine.application.event_types import EVENT_TYPES
from pymigrate.engine.application.findings import Finding
from pymigrate.engine.application.occurrences import Occurrences, event_message
from pymigrate.engine.domain.notices import Occurrence, Severity
from pymigrate.engine.domain.run import Failure, Run, RunAggregate
from pymigrate.engine.domain.severities import SEVERITIES, severity_of
from pymigrate.engine.ports.feed import FeedEntry
from pymigrate.engine.ports.store import Resource, Unit
from pymigrate.engine.testing.store import MemoryStore
from pymigrate.v1 import notification_pb2, plan_pb2, run_pb2

ENVIRONMENT = "environments/e"
RUN = f"{ENVIRONMENT}/plans/p/runs/r"
TIME = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
FAILED = FeedEntry(
    id=7,
    position="0.7",
    time=TIME,
    type="phase.failed",
    subject=f"{RUN}/phases/sales",
    actor="engine",
    run=RUN,
    sequence=4,
    from_state="staging",
    to_state="failed",
    failure=Failure("DATA_REFUSED", "row 3 is refused", "phases.sales"),
)
DONE = FeedEntry(
    id=8, position="0.8", time=TIME, type="update", subject=f"{ENVIRONMENT}/departments/retail", actor="me"
)


async def stored() -> MemoryStore:
    """A store with the run, whose phase `sales` is of department `retail`."""
    revision = run_pb2.PlanRevision()
    revision.plan.phases["sales"].department = "retail"
    store = MemoryStore()
    run = Run(RUN, f"{ENVIRONMENT}/plans/p", "k", "h", TIME, "api")
    await store.transact(lambda unit: unit.runs.insert(RunAggregate(run), revision.SerializeToString()))
    return store


async def told(entry: FeedEntry) -> Occurrence:
    store = await stored()
    (found,) = await store.read(lambda unit: Occurrences().of(unit, [entry]))
    return found


async def test_what_happened_in_a_run_tells_its_plan_phase_and_department() -> None:
    found = await told(FAILED)
    assert (found.environment, found.plan, found.run, found.phase) == (ENVIRONMENT, "p", RUN, "sales")
    assert (found.department, found.reason, found.severity) == ("retail", "DATA_REFUSED", Severity.ERROR)
    assert (found.entry, found.time, found.from_state, found.to_state) == (7, TIME, "staging", "failed")


@pytest.mark.parametrize("below", ["gates/go", "datasets/orders", "steps/call"])
async def test_what_happened_below_a_phase_is_of_its_phase(below: str) -> None:
    found = await told(replace(FAILED, subject=f"{RUN}/phases/sales/{below}"))
    assert (found.phase, found.department) == ("sales", "retail")


async def test_a_lane_is_of_the_phase_that_its_name_begins_with() -> None:
    found = await told(replace(FAILED, type="lane.failed", subject=f"{RUN}/lanes/sales.orders.2"))
    assert (found.phase, found.department) == ("sales", "retail")


async def test_what_happened_to_a_whole_run_has_no_phase_and_no_department() -> None:
    found = await told(replace(FAILED, type="run.failed", subject=RUN))
    assert (found.plan, found.phase, found.department) == ("p", "", "")


async def test_a_run_that_is_gone_leaves_the_department_open() -> None:
    gone = RUN + "x"
    found = await told(replace(FAILED, run=gone, subject=f"{gone}/phases/sales"))
    assert (found.plan, found.phase, found.department) == ("p", "sales", "")


async def test_what_somebody_did_is_an_event_of_the_audit_trail() -> None:
    found = await told(DONE)
    assert (found.type, found.actor, found.department, found.run) == ("audit.update", "me", "retail", "")
    assert (found.severity, found.detail) == (Severity.INFO, "")


@pytest.mark.parametrize(
    ("action", "type_", "phase"),
    [
        ("approve sales/go", "audit.approve", "sales"),
        ("roll back sales", "audit.roll", "sales"),
        ("retry", "audit.retry", ""),
    ],
)
async def test_what_somebody_asked_of_a_run_tells_the_phase_and_what_was_asked(
    action: str, type_: str, phase: str
) -> None:
    found = await told(replace(DONE, type=action, subject=RUN))
    assert (found.type, found.plan, found.run, found.phase) == (type_, "p", RUN, phase)
    assert found.department == ("retail" if phase else "")
    assert found.detail == (action if phase else "")


async def test_a_declared_phase_has_its_department_from_the_declaration() -> None:
    store = await stored()
    name = f"{ENVIRONMENT}/plans/p/phases/sales"
    body = plan_pb2.Phase(name=name, department="retail").SerializeToString()
    declared = Resource(name, "phases", f"{ENVIRONMENT}/plans/p", "u", 1, body, TIME, TIME, "api")
    await store.transact(lambda unit: unit.resources.insert(declared))
    found = await store.read(lambda unit: Occurrences().one(unit, replace(DONE, subject=name)))
    assert (found.plan, found.phase, found.department) == ("p", "sales", "retail")
    gone = await told(replace(DONE, subject=name))
    assert (gone.phase, gone.department) == ("sales", "")


async def test_what_a_rule_found_keeps_its_type_and_tells_figure_value_and_bound() -> None:
    finding = Finding("lagging", "lag_seconds", 75.0, 60.0, RUN, "It lags by 75 s.")
    found = await told(replace(DONE, type="kpi.crossed", subject=f"{RUN}/phases/sales", detail=finding.detail()))
    assert (found.type, found.severity, found.rule) == ("kpi.crossed", Severity.WARNING, "lagging")
    assert (found.figure, found.value, found.bound) == ("lag_seconds", 75.0, 60.0)
    assert (found.plan, found.run, found.phase, found.department) == ("p", RUN, "sales", "retail")
    assert found.detail == "It lags by 75 s."


async def test_what_is_told_of_a_delivery_names_the_run_that_it_tells_of() -> None:
    finding = Finding("failures", run=RUN, text="ann was not told.")
    found = await told(
        replace(DONE, type="notification.dead", subject=f"{ENVIRONMENT}/deliveries/d", detail=finding.detail())
    )
    assert (found.type, found.plan, found.run, found.rule) == ("notification.dead", "p", RUN, "failures")


async def test_ids_are_those_of_the_cloud_events() -> None:
    assert (await told(FAILED)).id == event_id(FAILED)


def test_the_table_of_severities_names_types_that_there_are() -> None:
    assert set(SEVERITIES) <= EVENT_TYPES
    assert severity_of("phase.published") is Severity.INFO
    assert severity_of("phase.rollback_blocked") is Severity.CRITICAL


async def test_an_event_comes_back_from_the_contract_as_it_went() -> None:
    store = await stored()
    found = await told(FAILED)
    back = await store.read(lambda unit: Occurrences().described(unit, ENVIRONMENT, event_message(found), TIME))
    assert back == replace(found, entry=0)


async def test_what_is_left_open_of_an_event_is_found_for_a_dry_run() -> None:
    store = await stored()
    event = notification_pb2.NotificationEvent(type="phase.failed", run=RUN, phase="sales")
    found = await store.read(lambda unit: Occurrences().described(unit, ENVIRONMENT, event, TIME))
    assert (found.subject, found.plan, found.department) == (f"{RUN}/phases/sales", "p", "retail")
    assert (found.time, found.severity, found.actor) == (TIME, Severity.ERROR, "engine")
    assert (found.from_state, found.to_state) == ("", "failed")
    named = notification_pb2.NotificationEvent(type="phase.failed", plan="p", phase="sales", department="finance")
    found = await store.read(lambda unit: Occurrences().described(unit, ENVIRONMENT, named, TIME))
    assert (found.subject, found.department) == (f"{ENVIRONMENT}/plans/p/phases/sales", "finance")


async def test_a_phase_without_its_plan_is_of_the_only_plan_that_has_it() -> None:
    store = await stored()
    event = notification_pb2.NotificationEvent(type="phase.failed", phase="sales")
    body = plan_pb2.Phase(department="retail").SerializeToString()

    async def with_plan(plan: str) -> Occurrence:
        name = f"{ENVIRONMENT}/plans/{plan}"
        phase = f"{name}/phases/sales"

        def work(unit: Unit) -> Occurrence:
            unit.resources.insert(Resource(name, "plans", ENVIRONMENT, name, 1, b"", TIME, TIME, "api"))
            unit.resources.insert(Resource(phase, "phases", name, phase, 1, body, TIME, TIME, "api"))
            return Occurrences().described(unit, ENVIRONMENT, event, TIME)

        return await store.transact(work)

    found = await with_plan("p")
    assert (found.plan, found.department, found.subject) == ("p", "retail", f"{ENVIRONMENT}/plans/p/phases/sales")
    found = await with_plan("q")
    assert (found.plan, found.phase, found.department) == ("", "sales", "")
