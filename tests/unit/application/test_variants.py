"""What-ifs: what each change of a variant makes of a frozen revision, and what is refused."""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pymigrate.engine.application import definitions
from pymigrate.engine.application.revisions import aggregate_of, plan_hash
from pymigrate.engine.application.variants import Variant, apply_variants
from pymigrate.engine.domain.errors import InvalidDefinition
from pymigrate.engine.domain.run import Run
from pymigrate.v1 import connection_pb2, impact_pb2, plan_pb2, run_pb2
from pymigrate.v1.shape import from_data
from tests.unit.application.engines import PLAN, phase, systems

ImpactVariant, PhaseVariant = impact_pb2.ImpactVariant, impact_pb2.PhaseVariant
GUIDE = Path(__file__).resolve().parents[3] / "docs" / "impact.md"
DEPARTMENTS = ("sales", "finance")
RUN = Run(f"{PLAN}/runs/r", PLAN, "", "", datetime(2026, 3, 2, tzinfo=UTC), "api")


def connections() -> dict[str, connection_pb2.Connection]:
    """Those of the plan, and others of the environment."""
    postgres = connection_pb2.Connection(postgres=connection_pb2.PostgresSystem(host="h", database="d", user="u"))
    api = connection_pb2.Connection(http=connection_pb2.HttpApiSystem(base_url="https://a.example"))
    return {**systems(), "crm": postgres, "api": api}


def revision() -> run_pb2.PlanRevision:
    """Four phases: items after orders, totals after everything of sales, and the archive of a PostgreSQL by itself."""
    found = run_pb2.PlanRevision()
    plan = found.plan
    plan.name, plan.lanes_max = PLAN, 4
    plan.schedule.windows["nights"].start, plan.schedule.windows["nights"].end = "22:00", "04:00"
    plan.phases["orders"].CopyFrom(phase("orders"))
    plan.phases["items"].CopyFrom(phase("items", needs=["orders"]))
    plan.phases["totals"].CopyFrom(phase("totals"))
    plan.phases["totals"].department = "finance"
    plan.phases["totals"].department_dependencies.append("sales")
    plan.phases["archive"].CopyFrom(phase("archive"))
    plan.phases["archive"].department = "finance"
    plan.phases["archive"].datasets["archive"].source.connection = "crm"
    for name in ("legacy", "warehouse", "crm"):
        found.connections[name].CopyFrom(connections()[name])
    for name in plan.phases:
        inspection = found.inspections[f"{name}/{name}"]
        inspection.source.rows, inspection.source.bytes, inspection.path = 100, 1_000, "arrow"
        inspection.is_target_present, inspection.target_rows = True, 7
    plan.plan_hash = plan_hash(plan.phases, found.connections)
    return found


def applied(**variants: impact_pb2.ImpactVariant) -> dict[str, Variant]:
    return apply_variants(revision(), variants, connections(), DEPARTMENTS)


def changed(variant: impact_pb2.ImpactVariant) -> run_pb2.PlanRevision:
    """What one variant makes of the revision."""
    return applied(v=variant)["v"].revision


def of_phase(name: str, change: impact_pb2.PhaseVariant) -> impact_pb2.ImpactVariant:
    """A variant that changes one phase."""
    return ImpactVariant(phases={name: change})


def refused(variants: Mapping[str, impact_pb2.ImpactVariant]) -> dict[str, str]:
    """Why variants are refused, by field."""
    with pytest.raises(InvalidDefinition) as error:
        apply_variants(revision(), variants, connections(), DEPARTMENTS)
    return {problem.field: problem.description for problem in error.value.problems}


def needs(found: run_pb2.PlanRevision) -> dict[str, tuple[str, ...]]:
    return definitions.phase_dependencies(found.plan.phases)


def test_a_variant_without_changes_is_the_plan_as_it_stands() -> None:
    assert changed(ImpactVariant()) == revision()


def test_the_guides_example_of_what_ifs_is_one() -> None:
    text = re.search(r"```json\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    assert text is not None
    request = impact_pb2.CompareImpactRequest()
    from_data(json.loads(text[1]), request)
    assert sorted(request.variants) == ["more-lanes", "readable", "untangled", "weekend", "without-archive"]
    plan = revision()
    plan.plan.phases["crm"].CopyFrom(phase("crm"))
    plan.plan.phases["customers"].CopyFrom(phase("customers"))
    plan.plan.phases["orders"].dependencies.append("customers")
    found = apply_variants(plan, request.variants, connections(), DEPARTMENTS)
    assert needs(found["untangled"].revision)["orders"] == ()


def test_the_plan_itself_stays_as_it_is() -> None:
    before = revision()
    apply_variants(before, {"v": of_phase("orders", PhaseVariant(is_left_out=True))}, connections(), DEPARTMENTS)
    assert before == revision()


@pytest.mark.parametrize(("lanes_max", "becomes"), [(0, 4), (-1, 0), (50, 50)])
def test_the_most_lanes_are_as_declared_without_limit_or_others(lanes_max: int, becomes: int) -> None:
    assert changed(ImpactVariant(lanes_max=lanes_max)).plan.lanes_max == becomes


def test_windows_take_the_place_of_the_plans_or_are_left_out() -> None:
    other = plan_pb2.Schedule(windows={"days": plan_pb2.Window(start="08:00", end="18:00")})
    assert changed(ImpactVariant(schedule=other)).plan.schedule == other
    assert not changed(ImpactVariant(is_unscheduled=True)).plan.HasField("schedule")


def test_a_phase_has_other_windows_another_policy_and_other_lanes() -> None:
    other = plan_pb2.Schedule(windows={"days": plan_pb2.Window(start="08:00", end="18:00")})
    read_only = plan_pb2.DOWNTIME_POLICY_READ_ONLY
    found = changed(of_phase("orders", PhaseVariant(schedule=other, downtime_policy=read_only, lanes=3)))
    orders = found.plan.phases["orders"]
    assert (orders.schedule, orders.downtime_policy, orders.datasets["orders"].lanes) == (other, read_only, 3)
    lanes = aggregate_of(RUN, found).datasets["orders", "orders"].ranges
    assert len(lanes) == 3
    assert found.inspections["orders/orders"].source.rows == 100
    assert found.plan.plan_hash != revision().plan.plan_hash


def test_one_lane_is_no_range() -> None:
    assert not changed(of_phase("orders", PhaseVariant(lanes=1))).inspections["orders/orders"].ranges


def test_a_phase_that_becomes_online_follows_the_log_where_its_source_has_one() -> None:
    online = PhaseVariant(downtime_policy=plan_pb2.DOWNTIME_POLICY_ONLINE)
    archive = changed(of_phase("archive", online)).plan.phases["archive"].datasets["archive"]
    assert archive.catch_up.WhichOneof("by") == "logical"


def test_a_phase_whose_source_has_no_log_can_not_become_online_without_saying_how() -> None:
    online = PhaseVariant(downtime_policy=plan_pb2.DOWNTIME_POLICY_ONLINE)
    told = refused({"v": of_phase("orders", online)})
    assert told.keys() == {"variants.v.phases.orders.datasets.orders.catch_up"}


def test_a_phase_that_is_online_no_longer_follows_nothing() -> None:
    online = phase("orders")
    online.downtime_policy = plan_pb2.DOWNTIME_POLICY_ONLINE
    online.datasets["orders"].catch_up.column.name = "changed"
    change = PhaseVariant(definition=online, downtime_policy=plan_pb2.DOWNTIME_POLICY_OFFLINE)
    assert not changed(of_phase("orders", change)).plan.phases["orders"].datasets["orders"].HasField("catch_up")


def test_what_depends_on_a_phase_that_is_left_out_no_longer_waits_for_it() -> None:
    found = changed(of_phase("orders", PhaseVariant(is_left_out=True)))
    assert needs(found) == {"archive": (), "items": (), "totals": ("items",)}
    assert "orders/orders" not in found.inspections


def test_connections_that_nothing_uses_any_more_are_left_out() -> None:
    assert "crm" not in changed(of_phase("archive", PhaseVariant(is_left_out=True))).connections


def test_a_dependency_is_dropped() -> None:
    found = changed(of_phase("items", PhaseVariant(dropped_dependencies=["orders"])))
    assert needs(found)["items"] == ()


def test_of_a_department_that_a_phase_depends_on_one_phase_is_dropped_and_the_others_stay() -> None:
    found = changed(of_phase("totals", PhaseVariant(dropped_dependencies=["orders"])))
    assert needs(found)["totals"] == ("items",)
    assert not found.plan.phases["totals"].department_dependencies


def test_a_phase_that_is_added_was_not_looked_at() -> None:
    added = phase("returns", needs=["items"])
    added.datasets["returns"].source.connection = "api"
    found = changed(of_phase("returns", PhaseVariant(definition=added, lanes=4)))
    inspection = found.inspections["returns/returns"]
    assert (inspection.source.rows, inspection.source.bytes, inspection.path) == (-1, -1, "")
    assert not inspection.ranges, "an API is not split"
    assert "api" in found.connections
    run = aggregate_of(RUN, found)
    assert run.datasets["returns", "returns"].rows_expected == -1
    assert "returns" in needs(found)["totals"], "it belongs to sales, all of which the totals wait for"


def test_a_definition_in_the_place_of_another_keeps_what_is_still_known() -> None:
    elsewhere, other = phase("orders"), phase("orders")
    elsewhere.datasets["orders"].target.relation = "orders2"
    other.datasets["orders"].source.relation = "orders2"
    moved = changed(of_phase("orders", PhaseVariant(definition=elsewhere))).inspections["orders/orders"]
    assert (moved.source.rows, moved.path, moved.target_rows) == (100, "", 0)
    another = changed(of_phase("orders", PhaseVariant(definition=other))).inspections["orders/orders"]
    assert (another.source.rows, another.path) == (-1, "")
    same = phase("orders")
    same.priority = 7
    kept = changed(of_phase("orders", PhaseVariant(definition=same))).inspections["orders/orders"]
    assert kept == revision().inspections["orders/orders"]


def test_what_reads_or_writes_otherwise_is_told_as_unmeasured_and_what_is_split_otherwise_is_not() -> None:
    elsewhere, verified = phase("orders"), phase("items", needs=["orders"])
    elsewhere.datasets["orders"].target.relation = "orders2"
    verified.datasets["items"].verification = plan_pb2.VERIFICATION_LEVEL_FULL
    changes = {
        "orders": PhaseVariant(definition=elsewhere),
        "items": PhaseVariant(definition=verified),
        "totals": PhaseVariant(lanes=4),
        "returns": PhaseVariant(definition=phase("returns")),
    }
    found = applied(v=ImpactVariant(phases=changes))["v"].unmeasured
    assert found == frozenset({("orders", "orders"), ("items", "items"), ("returns", "returns")})
    assert not applied(v=ImpactVariant(lanes_max=3))["v"].unmeasured


def test_a_dataset_that_could_not_be_looked_at_stays_so_where_nothing_changes_it() -> None:
    away = revision()
    del away.inspections["orders/orders"]
    variants = {"v": ImpactVariant(lanes_max=3), "w": of_phase("orders", PhaseVariant(lanes=2))}
    found = apply_variants(away, variants, connections(), DEPARTMENTS)
    assert "orders/orders" not in found["v"].revision.inspections
    split = found["w"].revision.inspections["orders/orders"]
    assert (split.source.rows, len(split.ranges)) == (-1, 2)


def test_a_start_of_its_own_is_told() -> None:
    variant = ImpactVariant()
    variant.start_time.FromJsonString("2026-03-02T22:00:00Z")
    assert applied(v=variant)["v"].start_time == datetime(2026, 3, 2, 22, tzinfo=UTC)
    assert applied(v=ImpactVariant())["v"].start_time is None


@pytest.mark.parametrize("count", [0, 21])
def test_there_is_at_least_one_variant_and_at_most_twenty(count: int) -> None:
    assert refused({f"v{number}": ImpactVariant() for number in range(count)}).keys() == {"variants"}


def windows(start: str) -> plan_pb2.Schedule:
    return plan_pb2.Schedule(windows={"w": plan_pb2.Window(start=start, end="18:00")})


def ring() -> impact_pb2.PhaseVariant:
    return PhaseVariant(definition=phase("orders", needs=["items"]))


@pytest.mark.parametrize(
    ("variant", "field", "says"),
    [
        (ImpactVariant(lanes_max=-2), "lanes_max", "-1 to 10,000"),
        (ImpactVariant(schedule=windows("8")), "schedule.windows.w.start", "no time of day"),
        (ImpactVariant(schedule=windows("08:00"), is_unscheduled=True), "is_unscheduled", "beside `schedule`"),
        (of_phase("order", PhaseVariant(lanes=2)), "phases.order", "did you mean `orders`?"),
        (of_phase("orders", PhaseVariant(lanes=65)), "phases.orders.lanes", "0 to 64"),
        (of_phase("orders", PhaseVariant(lanes=-1)), "phases.orders.lanes", "0 to 64"),
        (of_phase("orders", PhaseVariant(schedule=windows("8"))), "phases.orders.schedule.windows.w.start", "no time"),
        (of_phase("orders", PhaseVariant(is_left_out=True, lanes=2)), "phases.orders.is_left_out", "changed too"),
        (
            of_phase("items", PhaseVariant(dropped_dependencies=["oders"])),
            "phases.items.dropped_dependencies",
            "did you mean `orders`?",
        ),
        (
            of_phase("orders", PhaseVariant(dropped_dependencies=["items"])),
            "phases.orders.dropped_dependencies",
            "none is declared",
        ),
        (of_phase("orders", ring()), "phases.items.dependencies", "items → orders → items"),
        (
            of_phase("orders", PhaseVariant(definition=plan_pb2.Phase(department="sales"))),
            "phases.orders.definition.datasets",
            "1 to 10,000",
        ),
        (
            ImpactVariant(phases={n: PhaseVariant(is_left_out=True) for n in revision().plan.phases}),
            "phases",
            "nothing to run",
        ),
    ],
)
def test_what_is_wrong_with_a_variant_is_told_at_its_field(
    variant: impact_pb2.ImpactVariant, field: str, says: str
) -> None:
    told = refused({"v": variant})
    assert says in told[f"variants.v.{field}"]


def test_a_name_that_is_none_is_refused() -> None:
    assert refused({"More lanes": ImpactVariant()}).keys() == {"variants.More lanes"}


def test_problems_of_all_variants_are_told_at_once() -> None:
    told = refused({"a": ImpactVariant(lanes_max=-2), "b": of_phase("x", PhaseVariant()), "c": ImpactVariant()})
    assert told.keys() == {"variants.a.lanes_max", "variants.b.phases.x"}


def test_a_circle_that_a_dropped_dependency_opens_is_none() -> None:
    variant = ImpactVariant(phases={"orders": ring(), "items": PhaseVariant(dropped_dependencies=["orders"])})
    assert needs(changed(variant))["orders"] == ("items",)


@pytest.mark.parametrize(
    ("declared", "size_bytes", "lanes"), [(4, 1_000, 4), (0, 1_000, 0), (0, 2_000_000_000, 4), (0, 10**12, 8)]
)
def test_lanes_of_a_dataset_are_those_that_are_asked_for_or_one_for_each_half_gigabyte(
    declared: int, size_bytes: int, lanes: int
) -> None:
    before = revision()
    before.plan.phases["orders"].datasets["orders"].lanes = 2
    before.inspections["orders/orders"].source.bytes = size_bytes
    definition = phase("orders")
    definition.datasets["orders"].lanes = declared
    variants = {"v": of_phase("orders", PhaseVariant(definition=definition))}
    found = apply_variants(before, variants, connections(), DEPARTMENTS)["v"].revision
    assert len(found.inspections["orders/orders"].ranges) == lanes
