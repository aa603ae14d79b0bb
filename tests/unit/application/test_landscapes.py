"""Declarations as the business figures take them."""

import pytest

from pymigrate.engine.application.kinds import DEPARTMENTS
from pymigrate.engine.application.landscapes import landscape_of, load_of, move_of, read_department
from pymigrate.engine.domain.reach import Effect
from pymigrate.engine.domain.resources import ReadBack
from pymigrate.engine.domain.systems import Criticality, System
from pymigrate.v1 import connection_pb2, environment_pb2, plan_pb2, run_pb2
from tests.unit.application.engines import ENVIRONMENT, ME, PLAN, Engine, phase, systems


def department() -> environment_pb2.Department:
    """Finance, whose ledger needs a system of sales."""
    found = environment_pb2.Department(users=7, dependencies=["sales"])
    found.downtime_cost_per_hour.currency_code, found.downtime_cost_per_hour.amount = "EUR", 100.0
    found.systems["ledger"].connection = "legacy"
    found.systems["ledger"].criticality = environment_pb2.CRITICALITY_CRITICAL
    found.systems["ledger"].rto_seconds = 60
    found.systems["ledger"].availability_percent = 99.0
    found.systems["ledger"].dependencies.append("sales/crm")
    return found


def revision() -> run_pb2.PlanRevision:
    """A phase out of a SQLite file into a DuckDB file that holds ten rows."""
    found = run_pb2.PlanRevision()
    found.plan.name = PLAN
    found.plan.phases["orders"].CopyFrom(phase("orders"))
    for name, system in systems().items():
        found.connections[name].CopyFrom(system)
    inspection = found.inspections["orders/orders"]
    inspection.is_target_present, inspection.target_rows, inspection.path = True, 10, "arrow"
    inspection.ranges.extend(["a", "b", "c"])
    return found


def test_a_department_is_read_with_what_was_agreed_of_its_systems() -> None:
    found = read_department(department())
    assert found.systems == {"ledger": System("legacy", Criticality.CRITICAL, 60.0, 99.0, ("sales/crm",))}
    assert (found.users, found.currency, found.hour_cost, found.dependencies) == (7, "EUR", 100.0, ("sales",))


def test_what_is_left_out_of_a_department_has_its_default() -> None:
    bare = environment_pb2.Department()
    bare.systems["crm"].SetInParent()
    found = read_department(bare)
    assert found.systems["crm"].criticality is Criticality.MEDIUM
    assert (found.currency, found.read_only_share, found.systems["crm"].has_agreement) == ("", 1.0, False)


async def test_the_departments_of_an_environment_are_found_in_the_store() -> None:
    engine = Engine()
    await engine.declare({"orders": phase("orders")})
    await engine.store.transact(
        lambda unit: engine.catalog.create(unit, DEPARTMENTS, ENVIRONMENT, "finance", department(), ME)
    )
    found = await engine.store.read(lambda unit: landscape_of(unit, ENVIRONMENT))
    assert sorted(found.departments) == ["finance", "sales"]
    assert found.unknowns == ("finance/ledger needs sales/crm, which is not declared.",)


@pytest.mark.parametrize(
    ("policy", "effect"),
    [
        (plan_pb2.DOWNTIME_POLICY_UNSPECIFIED, Effect.DOWN),
        (plan_pb2.DOWNTIME_POLICY_OFFLINE, Effect.DOWN),
        (plan_pb2.DOWNTIME_POLICY_READ_ONLY, Effect.READ_ONLY),
        (plan_pb2.DOWNTIME_POLICY_ONLINE, Effect.LOAD),
    ],
)
def test_what_a_phase_does_to_its_sources_follows_from_its_policy(
    policy: plan_pb2.DowntimePolicy.ValueType, effect: Effect
) -> None:
    frozen = revision()
    frozen.plan.phases["orders"].downtime_policy = policy
    found = move_of(frozen, "orders", rows=5, size_bytes=50, unknowns=["x"])
    assert (found.department, found.effect) == ("sales", effect)
    assert (*found.sources, *found.loaded) == ("legacy", "warehouse")
    assert (found.rows, found.bytes, found.unknowns, found.calendars) == (5, 50, ("x",), ())


def test_what_a_phase_looks_up_in_is_loaded_as_its_targets_are() -> None:
    frozen = revision()
    frozen.plan.phases["orders"].datasets["orders"].transforms.add().lookup.source.connection = "rates"
    assert move_of(frozen, "orders").loaded == frozenset({"warehouse", "rates"})


def test_the_calendars_of_environment_plan_and_phase_are_those_with_windows_or_blackouts() -> None:
    frozen = revision()
    plan = frozen.plan
    plan.schedule.windows["nights"].start, plan.schedule.windows["nights"].end = "22:00", "04:00"
    plan.phases["orders"].schedule.time_zone = "Europe/Berlin"
    assert len(move_of(frozen, "orders").calendars) == 1
    plan.phases["orders"].schedule.blackouts["x"].start, plan.phases["orders"].schedule.blackouts["x"].end = (
        "2026-03-01",
        "2026-03-02",
    )
    assert len(move_of(frozen, "orders").calendars) == 2
    frozen.policy.schedule.windows["weekends"].start, frozen.policy.schedule.windows["weekends"].end = "06:00", "20:00"
    assert len(move_of(frozen, "orders").calendars) == 3


def test_a_dataset_needs_what_its_sides_and_its_verification_ask_for() -> None:
    found = load_of(revision(), "orders", "orders", rows=100, size_bytes=1_000, target_row_bytes=4.0)
    assert (found.source, found.target, found.lanes, found.chunk_bytes) == ("legacy", "warehouse", 3, 64_000_000)
    assert (found.bytes, found.target_bytes, found.kept_bytes, found.read_back) == (1_000, 400, 0, ReadBack.SAMPLE)
    assert found.source_sessions == 1


def test_a_dataset_of_which_nothing_is_known_has_no_figures() -> None:
    found = load_of(revision(), "orders", "orders")
    assert (found.bytes, found.target_bytes) == (-1, -1)
    bare = revision()
    bare.inspections.clear()
    assert load_of(bare, "orders", "orders").lanes == 1


@pytest.mark.parametrize(
    ("mode", "rows", "kept"),
    [
        (plan_pb2.LOAD_MODE_CREATE, 4, 0),
        (plan_pb2.LOAD_MODE_APPEND, 4, 0),
        (plan_pb2.LOAD_MODE_REPLACE, 4, 50),
        (plan_pb2.LOAD_MODE_MERGE, 4, 20),
        (plan_pb2.LOAD_MODE_MERGE, 40, 50),
    ],
)
def test_what_a_publication_keeps_for_the_way_back_follows_from_its_load_mode(
    mode: plan_pb2.LoadMode.ValueType, rows: int, kept: int
) -> None:
    replacing = revision()
    replacing.plan.phases["orders"].datasets["orders"].target.load_mode = mode
    found = load_of(replacing, "orders", "orders", rows=rows, size_bytes=rows * 5)
    assert found.kept_bytes == kept
    unknown = load_of(replacing, "orders", "orders").kept_bytes
    assert unknown == (-1 if kept else 0)


def test_of_a_relation_that_is_replaced_its_measured_size_is_kept() -> None:
    replacing = revision()
    replacing.plan.phases["orders"].datasets["orders"].target.load_mode = plan_pb2.LOAD_MODE_REPLACE
    assert load_of(replacing, "orders", "orders", rows=4, size_bytes=20, replaced_bytes=77).kept_bytes == 77
    merging = revision()
    merging.plan.phases["orders"].datasets["orders"].target.load_mode = plan_pb2.LOAD_MODE_MERGE
    assert load_of(merging, "orders", "orders", rows=4, size_bytes=20, replaced_bytes=77).kept_bytes == 20


@pytest.mark.parametrize(("path", "sessions"), [("arrow", 2), ("", 2), ("postgres_binary", 1)])
def test_a_postgres_source_that_is_read_decoded_has_two_sessions_a_lane(path: str, sessions: int) -> None:
    found = revision()
    postgres = connection_pb2.PostgresSystem(host="h", database="d", user="u")
    found.connections["legacy"].CopyFrom(connection_pb2.Connection(postgres=postgres))
    found.inspections["orders/orders"].path = path
    assert load_of(found, "orders", "orders").source_sessions == sessions


def test_chunks_are_as_declared_or_as_the_target_takes_them() -> None:
    found = revision()
    found.plan.phases["orders"].datasets["orders"].chunk_bytes = 1_000_000
    assert load_of(found, "orders", "orders").chunk_bytes == 1_000_000
    found.plan.phases["orders"].datasets["orders"].chunk_bytes = 0
    found.connections["warehouse"].CopyFrom(systems()["legacy"])
    assert load_of(found, "orders", "orders").chunk_bytes == 20_000_000
